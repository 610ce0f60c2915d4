//! The rows of a published run's tables that say something of a segment.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::VerifyError;
use super::documents::Manifest;
use super::explain::{Asked, Figures, Tested};
use super::sums::{column_name, sums_of, uv_name};
use crate::encode::Codebook;
use crate::highlight::{Condition, Direction, Frequent, Rule, Scored, Status};
use crate::job::Job;
use crate::score::{Component, Measures, Shrinkage, Test, measures, test};
use crate::segment::Segment;
use crate::stats::{DISCOVERY, MetricKind, Moments, PARTS, Parts, Scale, Stats, VALIDATION};

/// One row of the tables.
struct Row {
    segment: Segment,
    status: String,
    /// On the whole base.
    measures: Measures,
    test: Option<Tested>,
    q: Option<f64>,
    cautious_q: Option<f64>,
    /// By metric; none where they are withheld.
    sums: Option<Vec<Parts<Stats>>>,
}

/// A segment and all simpler ones that contain its customers, as far as they are listed.
pub(super) struct Known {
    /// By segment.
    rows: Vec<Row>,
    /// Sums of the base, by metric; none where they are withheld.
    base: Option<Vec<Parts<Stats>>>,
    kinds: Vec<MetricKind>,
    scales: Vec<Scale>,
    names: Vec<String>,
    prior: Vec<Component>,
    /// Parts that have customers.
    parts: usize,
}

const CAUTIOUS_Q: &str = "cautious_q";

/// The columns read of `segments.parquet`, with their kind.
const COLUMNS: [(&str, Kind); 17] = [
    ("segment", Kind::Text),
    ("status", Kind::Text),
    ("uv", Kind::Whole),
    ("uv_share", Kind::Float),
    ("metric_sum", Kind::Float),
    ("metric_mean", Kind::Float),
    ("lift", Kind::Float),
    ("effect", Kind::Float),
    ("impact", Kind::Float),
    ("metric_share", Kind::Float),
    ("log_p", Kind::Float),
    ("q", Kind::Float),
    (CAUTIOUS_Q, Kind::Float),
    ("effect_low", Kind::Float),
    ("effect_high", Kind::Float),
    ("lift_low", Kind::Float),
    ("lift_high", Kind::Float),
];

const HIGHLIGHT_COLUMNS: [(&str, Kind); 4] =
    [("rank", Kind::Rank), ("segment", Kind::Text), ("validated", Kind::Flag), ("folds", Kind::Texts)];

impl Known {
    pub fn read(run: &Path, manifest: &Manifest, codebook: &Codebook, segment: Segment) -> Result<Known, VerifyError> {
        let mut wanted = vec![segment];
        let mut at = 0;
        while at < wanted.len() {
            for parent in wanted[at].parents() {
                if !wanted.contains(&parent) {
                    wanted.push(parent);
                }
            }
            at += 1;
        }
        let texts: Vec<String> = wanted.iter().map(|s| codebook.text(*s)).collect();
        let mut found: Vec<(usize, Row)> = Vec::new();
        // Of a rate it is q, and not written.
        let cautious = manifest.metrics[0].kind != MetricKind::Rate;
        let columns: Vec<(&str, Kind)> =
            COLUMNS.into_iter().filter(|(name, _)| cautious || *name != CAUTIOUS_Q).collect();
        let segments = each_batch(&run.join("segments.parquet"), &columns, |first, batch| {
            for row in 0..batch.rows() {
                if let Some(at) = texts.iter().position(|text| batch.text("segment", row) == text) {
                    found.push((first + row, Row::read(wanted[at], batch, row, cautious)));
                }
            }
        })?;
        let held_out = manifest.job["highlight"]["holdout"].as_f64() > Some(0.0);
        let mut known = Known {
            rows: Vec::new(),
            base: None,
            kinds: manifest.metrics.iter().map(|metric| metric.kind).collect(),
            scales: manifest.metrics.iter().map(|metric| metric.scale).collect(),
            names: manifest.metrics.iter().map(|metric| metric.name.clone()).collect(),
            prior: manifest.prior.clone(),
            parts: if held_out { PARTS } else { 1 },
        };
        let path = run.join("sums.parquet");
        let columns = known.columns();
        let columns: Vec<(&str, Kind)> = columns.iter().map(|name| (name.as_str(), Kind::Whole)).collect();
        let sums = each_batch(&path, &columns, |first, batch| {
            if first == 0 && batch.rows() > 0 {
                known.base = known.sums(batch, 0);
            }
            for (at, row) in &mut found {
                // The base's row comes before the segments'.
                let at = *at + 1;
                if (first..first + batch.rows()).contains(&at) {
                    row.sums = known.sums(batch, at - first);
                }
            }
        })?;
        if sums != segments + 1 {
            let message = format!("it has {sums} rows for {segments} segments and the base");
            return Err(VerifyError::Malformed { path, message });
        }
        known.rows = found.into_iter().map(|(_, row)| row).collect();
        known.rows.sort_by_key(|row| row.segment);
        Ok(known)
    }

    /// The columns of `sums.parquet`.
    fn columns(&self) -> Vec<String> {
        let of_part = |part: usize| {
            let of_metric = |(kind, name): (&MetricKind, &String)| {
                sums_of(*kind).iter().map(|(sum, _)| column_name(part, name, sum)).collect::<Vec<_>>()
            };
            let sums = self.kinds.iter().zip(&self.names).flat_map(of_metric).collect::<Vec<_>>();
            std::iter::once(uv_name(part)).chain(sums)
        };
        (0..self.parts).flat_map(of_part).collect()
    }

    /// The sums of one row, by metric; none where they are withheld.
    fn sums(&self, batch: &Columns, row: usize) -> Option<Vec<Parts<Stats>>> {
        let mut all = vec![Parts::<Stats>::default(); self.kinds.len()];
        for ((own, kind), name) in all.iter_mut().zip(&self.kinds).zip(&self.names) {
            for (part, own) in own.iter_mut().enumerate().take(self.parts) {
                let uv = batch.whole(&uv_name(part), row)? as i64;
                let sum = |(sum, _): &(&str, _)| batch.whole(&column_name(part, name, sum), row);
                let sums: Option<Vec<i128>> = sums_of(*kind).iter().map(sum).collect();
                *own = Moments::of(&[*kind]).stats(0, uv, &sums?);
            }
        }
        Some(all)
    }

    /// Where the segment is, if it is listed.
    pub fn listed(&self, segment: Segment) -> Option<usize> {
        self.rows.binary_search_by_key(&segment, |row| row.segment).ok()
    }

    pub fn status(&self, at: usize) -> &str {
        &self.rows[at].status
    }

    /// What each condition finds, by the code that a run decides by; those that need what is withheld are left out.
    pub fn conditions(&self, job: &Job, codebook: &Codebook, at: usize) -> Vec<Asked> {
        let part = |part: usize| move |row: &Row| row.sums.as_ref().map_or(Stats::default(), |sums| sums[0][part]);
        let segments: Vec<Segment> = self.rows.iter().map(|row| row.segment).collect();
        let discovery: Vec<Stats> = self.rows.iter().map(part(DISCOVERY)).collect();
        // Only customers are asked of the whole base.
        let whole: Vec<Stats> = self.rows.iter().map(|row| Stats { uv: row.measures.uv, ..Stats::default() }).collect();
        let of_base = |part: usize| self.base.as_ref().map_or(Stats::default(), |base| base[0][part]);
        let frequent = Frequent {
            segments: &segments,
            whole: &whole,
            discovery: &discovery,
            base_whole: of_base(DISCOVERY) + of_base(VALIDATION),
            base_discovery: of_base(DISCOVERY),
            unlisted: None,
        };
        let row = &self.rows[at];
        let scored = Scored {
            segment: row.segment,
            measures: row.measures,
            test: row.test.map(|t| Test {
                log_p: t.log_p,
                // What was made of it is in `cautious_q`.
                cautious_log_p: t.log_p,
                effect_low: t.effect_low,
                effect_high: t.effect_high,
                lift_low: t.lift_low,
                lift_high: t.lift_high,
            }),
            q: row.q,
            cautious_q: row.cautious_q,
            status: Status::Rejected(Condition::Top),
        };
        let rule = Rule::new(&job.highlight, &frequent, self.kinds[0], self.scales[0]);
        let mut case = rule.case(at, &scored);
        let own = row.sums.is_some() && self.base.is_some();
        if let (false, Some(test)) = (own, row.test) {
            case.direction = if test.effect_low + test.effect_high < 0.0 { Direction::Under } else { Direction::Over };
        }
        let parents = || row.segment.parents().map(|parent| self.listed(parent));
        let told = |condition: &Condition| match condition {
            Condition::UvShare | Condition::Impact => own,
            Condition::Testable | Condition::Fdr | Condition::Bound => true,
            Condition::NewCustomers => parents().all(|parent| parent.is_some()),
            Condition::Gain => own && parents().all(|parent| parent.is_some_and(|p| self.rows[p].sums.is_some())),
            Condition::Top => false,
        };
        let ask = |condition: Condition| {
            let reading = case.ask(condition);
            Asked { against: reading.against.map(|s| codebook.text(s)), reading }
        };
        Condition::ALL.into_iter().filter(told).map(ask).collect()
    }

    pub fn figures(&self, job: &Job, at: usize) -> Figures {
        let row = &self.rows[at];
        let (kind, scale) = (self.kinds[0], self.scales[0]);
        let both = row.sums.as_ref().zip(self.base.as_ref());
        let part = |part: usize| both.map(|(own, base)| (own[0][part], base[0][part]));
        let whole = |metric: usize| -> Option<(Stats, Stats)> {
            let (own, base) = both?;
            Some((own[metric].into_iter().sum(), base[metric].into_iter().sum()))
        };
        let of =
            |metric: usize, (own, base): (Stats, Stats)| measures(self.kinds[metric], self.scales[metric], &own, &base);
        let held_out = part(VALIDATION).filter(|(own, base)| own.uv > 0 && base.uv > 0);
        let shrinkage = |base: &Stats| Shrinkage::new(kind, scale, self.prior.clone(), base);
        Figures {
            whole: row.measures,
            discovery: part(DISCOVERY).map(|both| of(0, both)),
            validation: held_out.map(|both| of(0, both)),
            test: row.test,
            q: row.q,
            cautious_q: row.cautious_q,
            validation_log_p: held_out.and_then(|(own, base)| test(kind, scale, &own, &base)).map(|t| t.log_p),
            shrunken_lift: whole(0).and_then(|(own, base)| shrinkage(&base).shrunken_lift(&own)),
            shrunken_effect: whole(0).map(|(own, base)| shrinkage(&base).shrunken_effect(&own)),
            secondary: (1..self.kinds.len())
                .filter_map(|metric| Some((self.names[metric].clone(), of(metric, whole(metric)?))))
                .collect(),
            kind,
            unit: job.metric.unit.clone(),
        }
    }

    /// The highlight that the segment is or is folded under, and what became of it in one sentence.
    pub fn verdict(
        &self,
        run: &Path,
        codebook: &Codebook,
        job: &Job,
        at: usize,
    ) -> Result<(Option<(i64, String)>, String), VerifyError> {
        let row = &self.rows[at];
        let text = codebook.text(row.segment);
        let path = run.join("highlights.parquet");
        let mut found = None;
        each_batch(&path, &HIGHLIGHT_COLUMNS, |_, batch| {
            for i in 0..batch.rows() {
                let segment = batch.text("segment", i);
                if segment == text || batch.texts("folds", i).contains(&text) {
                    found = Some((batch.rank("rank", i), segment.to_owned(), batch.flag("validated", i)));
                }
            }
        })?;
        let verdict = match (row.status.as_str(), &found) {
            ("highlight", Some((rank, _, validated))) => {
                let held = match validated {
                    Some(true) => "; it held on the validation part",
                    Some(false) => "; it did not hold on the validation part",
                    None => "; nothing was held out to validate it on",
                };
                format!("A highlight, rank {rank}{held}.")
            }
            ("folded", Some((rank, under, _))) => format!(
                "Folded under highlight {rank}, {under}: nearly the same customers, or those customers are what it stands out by."
            ),
            ("highlight" | "folded", None) => {
                let message = format!("it does not name {text:?}, which segments.parquet calls {}", row.status);
                return Err(VerifyError::Malformed { path, message });
            }
            ("top", _) => format!(
                "Meets every condition by itself, but is not among the {} candidates that add most (highlight.top).",
                job.highlight.top
            ),
            (condition, _) => format!("Not a highlight: the first condition it fails is `{condition}`."),
        };
        let withheld = match row.sums.is_some() && self.base.is_some() {
            true => "",
            false => {
                " So few of its customers, or of the others, are in one of the parts that the figures of both are withheld."
            }
        };
        Ok((found.map(|(rank, segment, _)| (rank, segment)), verdict + withheld))
    }
}

impl Row {
    fn read(segment: Segment, batch: &Columns, row: usize, cautious: bool) -> Row {
        let float = |name: &str| batch.float(name, row);
        let measure = |name: &str| float(name).unwrap_or(0.0);
        let test = float("log_p").zip(float("effect_low").zip(float("effect_high")));
        Row {
            segment,
            status: batch.text("status", row).to_owned(),
            measures: Measures {
                uv: batch.whole("uv", row).unwrap_or(0) as i64,
                uv_share: measure("uv_share"),
                metric_sum: measure("metric_sum"),
                metric_mean: measure("metric_mean"),
                lift: float("lift"),
                effect: measure("effect"),
                impact: measure("impact"),
                metric_share: float("metric_share"),
            },
            test: test.map(|(log_p, (effect_low, effect_high))| Tested {
                log_p,
                effect_low,
                effect_high,
                lift_low: float("lift_low"),
                lift_high: float("lift_high"),
            }),
            q: float("q"),
            cautious_q: float(if cautious { CAUTIOUS_Q } else { "q" }),
            sums: None,
        }
    }
}

/// What a column has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Float,
    /// As 64 bits or as a decimal.
    Whole,
    Rank,
    Flag,
}

impl Kind {
    fn is(self, kind: &DataType) -> bool {
        match (self, kind) {
            (Kind::Text, DataType::Utf8) | (Kind::Float, DataType::Float64) => true,
            (Kind::Whole, DataType::Int64 | DataType::Decimal128(_, 0)) => true,
            (Kind::Rank, DataType::Int32) | (Kind::Flag, DataType::Boolean) => true,
            (Kind::Texts, DataType::List(item)) => *item.data_type() == DataType::Utf8,
            _ => false,
        }
    }
}

/// A batch whose columns have been looked at.
pub(super) struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    pub fn rows(&self) -> usize {
        self.0.num_rows()
    }

    fn column(&self, name: &str) -> &ArrayRef {
        self.0.column_by_name(name).expect("asked for")
    }

    pub fn text(&self, name: &str, row: usize) -> &str {
        self.column(name).as_string::<i32>().value(row)
    }

    fn texts(&self, name: &str, row: usize) -> Vec<String> {
        let list = self.column(name).as_list::<i32>().value(row);
        list.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    pub fn float(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.column(name);
        column.is_valid(row).then(|| column.as_primitive::<Float64Type>().value(row))
    }

    pub fn whole(&self, name: &str, row: usize) -> Option<i128> {
        let column = self.column(name);
        column.is_valid(row).then(|| match column.data_type() {
            DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row),
            _ => column.as_primitive::<Int64Type>().value(row).into(),
        })
    }

    pub fn rank(&self, name: &str, row: usize) -> i64 {
        self.column(name).as_primitive::<Int32Type>().value(row).into()
    }

    pub fn flag(&self, name: &str, row: usize) -> Option<bool> {
        let column = self.column(name);
        column.is_valid(row).then(|| column.as_boolean().value(row))
    }
}

/// Calls `each` with every batch of some columns of a file, and the number of its first row; gives the number of rows.
pub(super) fn each_batch(
    path: &Path,
    columns: &[(&str, Kind)],
    mut each: impl FnMut(usize, &Columns),
) -> Result<usize, VerifyError> {
    let malformed = |message: String| VerifyError::Malformed { path: path.to_owned(), message };
    let file = File::open(path).map_err(|source| VerifyError::Read { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| malformed(e.to_string()))?;
    for (name, kind) in columns {
        match builder.schema().field_with_name(name) {
            Ok(field) if kind.is(field.data_type()) => {}
            Ok(field) => return Err(malformed(format!("its column {name:?} is of type {}", field.data_type()))),
            Err(_) => return Err(malformed(format!("it has no column {name:?}"))),
        }
    }
    let fields = builder.schema().fields().iter().enumerate();
    let roots = fields.filter(|(_, field)| columns.iter().any(|(name, _)| name == field.name())).map(|(i, _)| i);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut first = 0;
    for batch in builder.with_projection(mask).with_batch_size(1 << 16).build().map_err(|e| malformed(e.to_string()))? {
        let batch = batch.map_err(|e| malformed(e.to_string()))?;
        each(first, &Columns(&batch));
        first += batch.num_rows();
    }
    Ok(first)
}
