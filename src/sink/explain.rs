//! What a published run says of any segment: its figures, each condition of the rule, and where it was folded.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::documents::{Manifest, read_features, read_manifest};
use super::sums::{column_name, sums_of, uv_name};
use super::{VerifyError, visible};
use crate::encode::Codebook;
use crate::highlight::{Condition, Frequent, Reading, Rule, Scored, Status};
use crate::job::{Job, JobSpec, closest};
use crate::score::{Component, Measures, Shrinkage, Test, measures, test};
use crate::screen::Verdict;
use crate::segment::{Item, MAX_LEVEL, Segment};
use crate::stats::{DISCOVERY, MetricKind, PARTS, Parts, Scale, Stats, VALIDATION};

/// Everything that a run says of a segment.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub segment: String,
    pub level: usize,
    /// As in `segments.parquet`; none for a segment that is not listed there.
    pub status: Option<String>,
    /// In one sentence.
    pub verdict: String,
    /// Each condition, in the order in which they are asked, as far as they can be told.
    pub conditions: Vec<Asked>,
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// The rank of the highlight that this segment is, or is folded under, and that highlight.
    pub highlight: Option<(i64, String)>,
    pub sql: String,
}

/// The figures of a listed segment.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub whole: Measures,
    /// None where too few customers are in one of the parts.
    pub discovery: Option<Measures>,
    /// None also where nothing was held out.
    pub validation: Option<Measures>,
    /// Against the rest of the discovery part.
    pub test: Option<Test>,
    pub q: Option<f64>,
    pub cautious_q: Option<f64>,
    /// Natural logarithm of the p-value on the validation part.
    pub validation_log_p: Option<f64>,
    pub shrunken_lift: Option<f64>,
    pub shrunken_effect: Option<f64>,
    /// By name, on the whole base.
    pub secondary: Vec<(String, Measures)>,
    #[serde(skip)]
    pub kind: MetricKind,
    #[serde(skip)]
    pub unit: Option<String>,
}

/// A condition of the rule and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    #[serde(flatten)]
    pub reading: Reading,
    /// The simpler segment that it was compared with.
    pub against: Option<String>,
}

/// Why a segment cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Run(#[from] VerifyError),
    #[error("{0}")]
    Segment(String),
    #[error("this run has no sums.parquet; it was made by version {version}, which did not write it")]
    Old { version: String },
}

/// Explains `text`, a segment as `feature=item & feature=item` in any order, by the run `DIR/latest` or `DIR/runs/<run id>`.
pub fn explain(run: &Path, text: &str) -> Result<Explanation, ExplainError> {
    if !run.join("_SUCCESS").is_file() {
        return Err(VerifyError::Unpublished { path: run.to_owned() }.into());
    }
    let manifest = read_manifest(run)?;
    let (codebook, verdicts) = read_features(run)?;
    let job = job_of(run, &manifest)?;
    if !run.join("sums.parquet").is_file() {
        return Err(ExplainError::Old { version: manifest.version });
    }
    let segment = parse(text, &codebook, &verdicts).map_err(ExplainError::Segment)?;
    let known = Known::read(run, &manifest, &codebook, segment)?;
    let sql = codebook.sql(segment);
    let blank = |verdict: String| Explanation {
        segment: codebook.text(segment),
        level: segment.level(),
        status: None,
        verdict,
        conditions: Vec::new(),
        figures: None,
        highlight: None,
        sql: sql.clone(),
    };
    let Some(listed) = known.listed(segment) else { return Ok(blank(unlisted(segment, &job, &manifest))) };
    let own = known.rows[listed].sums.is_some();
    let conditions = if own { known.conditions(&job, &codebook, listed) } else { Vec::new() };
    let row = &known.rows[listed];
    let (highlight, verdict) = known.verdict(run, &codebook, &job, listed, own)?;
    Ok(Explanation {
        status: Some(row.status.clone()),
        conditions,
        figures: Some(known.figures(&manifest, &job, listed)),
        highlight,
        ..blank(verdict)
    })
}

fn job_of(run: &Path, manifest: &Manifest) -> Result<Job, VerifyError> {
    let malformed = |message: String| VerifyError::Malformed { path: run.join("manifest.json"), message };
    let spec: JobSpec = serde_json::from_value(manifest.job.clone()).map_err(|e| malformed(e.to_string()))?;
    Job::check(spec).map_err(|e| malformed(e.to_string()))
}

/// Why a segment is not in the tables.
fn unlisted(segment: Segment, job: &Job, manifest: &Manifest) -> String {
    let (level, most) = (segment.level(), job.enumerate.max_level);
    if level > most {
        return format!("Not counted: it has {level} items and enumerate.max_level is {most}.");
    }
    let min_uv = manifest.privacy.min_uv;
    let mut verdict =
        format!("Not listed: fewer than {min_uv} customers have all of these items (enumerate.min_uv, min_share)");
    if manifest.job["enumerate"]["keep"] == "highlights" {
        verdict.push_str(", or none of its customers could have the impact of a highlight (enumerate.keep)");
    }
    if manifest.privacy.withheld > 0 {
        verdict.push_str(", or so few have not that the privacy floor would be undercut");
    }
    verdict + "."
}

/// One row of the tables.
struct Row {
    segment: Segment,
    status: String,
    test: Option<Test>,
    q: Option<f64>,
    cautious_q: Option<f64>,
    uv: i64,
    /// By metric; none where they are withheld.
    sums: Option<Vec<Parts<Stats>>>,
}

/// A segment and all simpler ones that contain its customers, as far as they are listed.
struct Known {
    /// By segment.
    rows: Vec<Row>,
    /// By metric.
    base: Vec<Parts<Stats>>,
    kinds: Vec<MetricKind>,
    scales: Vec<Scale>,
    prior: Vec<Component>,
}

impl Known {
    fn read(run: &Path, manifest: &Manifest, codebook: &Codebook, segment: Segment) -> Result<Known, VerifyError> {
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
        let columns = [
            "segment",
            "uv",
            "status",
            "log_p",
            "q",
            "cautious_q",
            "effect_low",
            "effect_high",
            "lift_low",
            "lift_high",
        ];
        let path = run.join("segments.parquet");
        each_batch(&path, &columns, |first, batch| {
            let text = batch.column_by_name("segment").expect("asked for").as_string::<i32>();
            for row in 0..batch.num_rows() {
                let Some(at) = texts.iter().position(|t| t == text.value(row)) else { continue };
                let float = |name: &str| float(batch.column_by_name(name).expect("asked for"), row);
                let test = float("log_p").zip(float("effect_low").zip(float("effect_high")));
                found.push((
                    first + row,
                    Row {
                        segment: wanted[at],
                        status: batch
                            .column_by_name("status")
                            .expect("asked for")
                            .as_string::<i32>()
                            .value(row)
                            .to_owned(),
                        test: test.map(|(log_p, (effect_low, effect_high))| Test {
                            log_p,
                            // Known from its q alone.
                            cautious_log_p: log_p,
                            effect_low,
                            effect_high,
                            lift_low: float("lift_low"),
                            lift_high: float("lift_high"),
                        }),
                        q: float("q"),
                        cautious_q: float("cautious_q"),
                        uv: batch.column_by_name("uv").expect("asked for").as_primitive::<Int64Type>().value(row),
                        sums: None,
                    },
                ));
            }
        })?;
        let (kinds, scales) = manifest.metrics.iter().map(|m| (m.kind, m.scale)).unzip();
        let mut known = Known { rows: Vec::new(), base: Vec::new(), kinds, scales, prior: manifest.prior.clone() };
        let parts = if manifest.job["highlight"]["holdout"].as_f64() > Some(0.0) { PARTS } else { 1 };
        let path = run.join("sums.parquet");
        each_batch(&path, &known.columns(manifest, parts), |first, batch| {
            if first == 0 {
                known.base = known.sums(manifest, batch, 0, parts).unwrap_or_default();
            }
            for (at, row) in &mut found {
                // The base's row comes before the segments'.
                let at = *at + 1;
                if (first..first + batch.num_rows()).contains(&at) {
                    row.sums = known.sums(manifest, batch, at - first, parts);
                }
            }
        })?;
        known.rows = found.into_iter().map(|(_, row)| row).collect();
        known.rows.sort_by_key(|row| row.segment);
        Ok(known)
    }

    /// The columns of `sums.parquet`.
    fn columns(&self, manifest: &Manifest, parts: usize) -> Vec<String> {
        let of_part = |part: usize| {
            let of_metric = |(metric, kind): (usize, &MetricKind)| {
                let name = &manifest.metrics[metric].name;
                sums_of(*kind).iter().map(|(sum, _)| column_name(part, name, sum)).collect::<Vec<_>>()
            };
            let sums = self.kinds.iter().enumerate().flat_map(of_metric).collect::<Vec<_>>();
            std::iter::once(uv_name(part)).chain(sums)
        };
        (0..parts).flat_map(of_part).collect()
    }

    /// The sums of one row, by metric; none where they are withheld.
    fn sums(&self, manifest: &Manifest, batch: &RecordBatch, row: usize, parts: usize) -> Option<Vec<Parts<Stats>>> {
        let integer = |name: String| integer(batch.column_by_name(&name).expect("asked for"), row);
        let mut all = vec![Parts::<Stats>::default(); self.kinds.len()];
        for (metric, kind) in self.kinds.iter().enumerate() {
            for (part, own) in all[metric].iter_mut().enumerate().take(parts) {
                let uv = integer(uv_name(part))? as i64;
                let name = &manifest.metrics[metric].name;
                let sums: Option<Vec<i128>> =
                    sums_of(*kind).iter().map(|(sum, _)| integer(column_name(part, name, sum))).collect();
                *own = crate::stats::Moments::of(&[*kind]).stats(0, uv, &sums?);
            }
        }
        Some(all)
    }

    fn listed(&self, segment: Segment) -> Option<usize> {
        self.rows.binary_search_by_key(&segment, |row| row.segment).ok()
    }

    fn base_of(&self, metric: usize) -> Stats {
        self.base[metric].into_iter().sum()
    }

    /// What each condition finds, by the code that a run decides by; those that need what is withheld are left out.
    fn conditions(&self, job: &Job, codebook: &Codebook, at: usize) -> Vec<Asked> {
        let withheld = self.rows.iter().any(|row| row.sums.is_none());
        let part = |part: usize| move |row: &Row| row.sums.as_ref().map_or(Stats::default(), |sums| sums[0][part]);
        let segments: Vec<Segment> = self.rows.iter().map(|row| row.segment).collect();
        let discovery: Vec<Stats> = self.rows.iter().map(part(DISCOVERY)).collect();
        // Only customers are asked of the whole base.
        let whole: Vec<Stats> = self.rows.iter().map(|row| Stats { uv: row.uv, ..Stats::default() }).collect();
        let frequent = Frequent {
            segments: &segments,
            whole: &whole,
            discovery: &discovery,
            base_whole: self.base_of(0),
            base_discovery: self.base[0][DISCOVERY],
            unlisted: None,
        };
        let row = &self.rows[at];
        let scored = Scored {
            segment: row.segment,
            measures: measures(self.kinds[0], self.scales[0], &whole[at], &frequent.base_whole),
            test: row.test,
            q: row.q,
            cautious_q: row.cautious_q,
            status: Status::Rejected(Condition::Top),
        };
        let rule = Rule::new(&job.highlight, &frequent, self.kinds[0], self.scales[0]);
        let told = |reading: &Reading| !(withheld && reading.condition == Condition::Gain);
        let asked = |reading: Reading| Asked { against: reading.against.map(|s| codebook.text(s)), reading };
        rule.case(at, &scored).readings().filter(told).map(asked).collect()
    }

    fn figures(&self, manifest: &Manifest, job: &Job, at: usize) -> Figures {
        let row = &self.rows[at];
        let (kind, scale) = (self.kinds[0], self.scales[0]);
        let of =
            |metric: usize, own: &Stats, base: &Stats| measures(self.kinds[metric], self.scales[metric], own, base);
        let whole = |metric: usize| -> Option<Stats> { Some(row.sums.as_ref()?[metric].into_iter().sum()) };
        let part = |part: usize| row.sums.as_ref().map(|sums| (sums[0][part], self.base[0][part]));
        let held_out = part(VALIDATION).filter(|(own, base)| own.uv > 0 && base.uv > 0);
        let base = self.base_of(0);
        let shrinkage = Shrinkage::new(kind, scale, self.prior.clone(), &base);
        let own = whole(0);
        Figures {
            whole: of(0, &own.unwrap_or(Stats { uv: row.uv, ..Stats::default() }), &base),
            discovery: part(DISCOVERY).map(|(own, base)| of(0, &own, &base)),
            validation: held_out.map(|(own, base)| of(0, &own, &base)),
            test: row.test,
            q: row.q,
            cautious_q: row.cautious_q,
            validation_log_p: held_out.and_then(|(own, base)| test(kind, scale, &own, &base)).map(|t| t.log_p),
            shrunken_lift: own.and_then(|own| shrinkage.shrunken_lift(&own)),
            shrunken_effect: own.map(|own| shrinkage.shrunken_effect(&own)),
            secondary: (1..self.kinds.len())
                .filter_map(|m| Some((manifest.metrics[m].name.clone(), of(m, &whole(m)?, &self.base_of(m)))))
                .collect(),
            kind,
            unit: job.metric.unit.clone(),
        }
    }

    /// The highlight that the segment is or is folded under, and what became of it in one sentence.
    fn verdict(
        &self,
        run: &Path,
        codebook: &Codebook,
        job: &Job,
        at: usize,
        told: bool,
    ) -> Result<(Option<(i64, String)>, String), VerifyError> {
        let row = &self.rows[at];
        let text = codebook.text(row.segment);
        let mut found = None;
        each_batch(&run.join("highlights.parquet"), &["rank", "segment", "validated", "folds"], |_, batch| {
            let column = |name: &str| batch.column_by_name(name).expect("asked for");
            let (rank, segment) = (column("rank").as_primitive::<Int32Type>(), column("segment").as_string::<i32>());
            for i in 0..batch.num_rows() {
                let folds = column("folds").as_list::<i32>().value(i);
                let folded = folds.as_string::<i32>().iter().flatten().any(|fold| fold == text);
                if segment.value(i) == text || folded {
                    let validated = column("validated").as_boolean();
                    let validated = validated.is_valid(i).then(|| validated.value(i));
                    found = Some((i64::from(rank.value(i)), segment.value(i).to_owned(), validated));
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
            ("top", _) => format!(
                "Meets every condition by itself, but is not among the {} candidates that add most (highlight.top).",
                job.highlight.top
            ),
            (condition, _) if told => format!("Not a highlight: the first condition it fails is `{condition}`."),
            (condition, _) => format!(
                "Not a highlight: the first condition it fails is `{condition}`. So few of its customers are in one of the parts \\
                 that their figures are withheld."
            ),
        };
        Ok((found.map(|(rank, segment, _)| (rank, segment)), verdict))
    }
}

fn float(column: &ArrayRef, row: usize) -> Option<f64> {
    column.is_valid(row).then(|| column.as_primitive::<Float64Type>().value(row))
}

fn integer(column: &ArrayRef, row: usize) -> Option<i128> {
    column.is_valid(row).then(|| match column.data_type() {
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row),
        _ => column.as_primitive::<Int64Type>().value(row).into(),
    })
}

/// Calls `each` with every batch of some columns of a file, and the number of its first row.
fn each_batch<S: AsRef<str>>(
    path: &Path,
    columns: &[S],
    mut each: impl FnMut(usize, &RecordBatch),
) -> Result<(), VerifyError> {
    let malformed = |message: String| VerifyError::Malformed { path: path.to_owned(), message };
    let file = File::open(path).map_err(|source| VerifyError::Read { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| malformed(e.to_string()))?;
    for column in columns {
        if builder.schema().field_with_name(column.as_ref()).is_err() {
            return Err(malformed(format!("it has no column {:?}", column.as_ref())));
        }
    }
    let fields = builder.schema().fields().iter().enumerate();
    let roots = fields.filter(|(_, field)| columns.iter().any(|c| c.as_ref() == field.name())).map(|(i, _)| i);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut first = 0;
    for batch in builder.with_projection(mask).with_batch_size(1 << 16).build().map_err(|e| malformed(e.to_string()))? {
        let batch = batch.map_err(|e| malformed(e.to_string()))?;
        each(first, &batch);
        first += batch.num_rows();
    }
    Ok(())
}

/// The segment that a text stands for: `feature=item & feature=item`, written as in the tables, in any order.
fn parse(text: &str, codebook: &Codebook, verdicts: &[Verdict]) -> Result<Segment, String> {
    let mut texts: Vec<(String, Item)> = Vec::new();
    for (feature, of) in (0u16..).zip(&codebook.features) {
        let items = (0..of.items.len() as u16).map(|code| Item { feature, code });
        texts.extend(items.map(|item| (codebook.item_text(item), item)));
    }
    let mut items: Vec<Item> = Vec::new();
    let mut rest = text.trim();
    loop {
        let ends = |left: &str| left.trim_start().is_empty() || left.trim_start().starts_with('&');
        let fits = texts.iter().filter(|(text, _)| rest.strip_prefix(text.as_str()).is_some_and(ends));
        let Some((text, item)) = fits.max_by_key(|(text, _)| text.len()) else {
            return Err(unknown(rest, codebook, verdicts));
        };
        let exclusive = codebook.feature(item.feature).tags.is_none();
        if items.iter().any(|other| other == item || (exclusive && other.feature == item.feature)) {
            return Err(format!(
                "{:?}: a segment has one item of feature {:?}",
                visible(text),
                codebook.feature(item.feature).name
            ));
        }
        items.push(*item);
        rest = rest[text.len()..].trim_start();
        match rest.strip_prefix('&') {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    if items.len() > MAX_LEVEL {
        return Err(format!("{} items: a segment has at most {MAX_LEVEL}", items.len()));
    }
    items.sort_unstable();
    Ok(Segment::of_items(&items))
}

/// What is wrong with the item that a text begins with.
fn unknown(text: &str, codebook: &Codebook, verdicts: &[Verdict]) -> String {
    let item = text.split(" & ").next().unwrap_or_default().trim();
    let Some((name, value)) = item.split_once('=') else {
        return format!("{:?} is no item; a segment is written `feature=item & feature=item`", visible(item));
    };
    let named = |verdict: &&Verdict| verdict.feature == name;
    let Some((feature, of)) = (0u16..).zip(&codebook.features).find(|(_, f)| f.name == name) else {
        if let Some(verdict) = verdicts.iter().find(named) {
            return format!("feature {name:?} was not combined: {}", visible(&verdict.reason));
        }
        let names = verdicts.iter().map(|v| v.feature.as_str());
        let near = closest(name, names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        return format!("there is no feature {:?}{near}", visible(name));
    };
    let labels: Vec<String> =
        (0..of.items.len() as u16).map(|code| codebook.item_label(Item { feature, code })).collect();
    let near = closest(value, labels.iter().map(String::as_str));
    let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let some = labels.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
    let more = if labels.len() > 12 { ", ..." } else { "" };
    let rest = if of.rest { "; values of too few customers are no items" } else { "" };
    visible(&format!("feature {name:?} has no item {value:?}{near}; it has {some}{more}{rest}"))
}
