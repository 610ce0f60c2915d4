//! What was planted, and what a run found of it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::customers::{self, Feature};
use super::niche::{Plans, SHARES};
use super::{PlantError, Planting, truth_path, write};
use crate::highlight::Direction;
use crate::score::{Measures, measures};
use crate::stats::{MetricKind, Scale, Stats};

/// The niches of a planted table, counted over its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub customers: u64,
    pub features: usize,
    pub seed: u64,
    /// The metric's column.
    pub metric: String,
    /// Share of the customers who converted.
    pub base_mean: f64,
    /// The one with the largest impact first.
    pub niches: Vec<Niche>,
}

/// A niche as it is in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Niche {
    /// As a run's tables write it.
    pub segment: String,
    pub uv: i64,
    /// Customers of the niche who converted.
    pub metric_sum: i64,
    pub lift: f64,
    pub direction: Direction,
}

impl Truth {
    /// `tallies` are those of all customers, then of each niche.
    pub(super) fn of(planting: &Planting, features: &[Feature], plans: &Plans, tallies: &[Stats]) -> Truth {
        let of = |stats: &Stats| measures(MetricKind::Rate, Scale::default(), stats, &tallies[0]);
        let mut niches: Vec<(Measures, Niche)> = plans
            .niches
            .iter()
            .zip(&tallies[1..])
            .map(|(plan, stats)| {
                let item = |&(feature, code): &(usize, u16)| {
                    let feature = &features[feature];
                    format!("{}={}", feature.name, feature.items[usize::from(code)])
                };
                let measures = of(stats);
                assert!(
                    (SHARES[0]..=SHARES[1]).contains(&measures.uv_share),
                    "the sample misses a niche's share by far less than what is left to the limits: {measures:?}"
                );
                let niche = Niche {
                    segment: plan.items.iter().map(item).collect::<Vec<_>>().join(" & "),
                    uv: measures.uv,
                    metric_sum: measures.metric_sum as i64,
                    lift: measures.lift.expect("a base of 20,000 customers has conversions"),
                    direction: plan.direction,
                };
                (measures, niche)
            })
            .collect();
        niches.sort_by(|(a, x), (b, y)| {
            b.impact.abs().total_cmp(&a.impact.abs()).then(a.uv.cmp(&b.uv)).then(x.segment.cmp(&y.segment))
        });
        Truth {
            customers: planting.customers,
            features: features.len(),
            seed: planting.seed,
            metric: customers::name(customers::CONVERTED, planting.language),
            base_mean: of(&tallies[0]).metric_mean,
            niches: niches.into_iter().map(|(_, niche)| niche).collect(),
        }
    }

    pub(super) fn write(&self, table: &Path) -> Result<(), PlantError> {
        let path = truth_path(table);
        let text = serde_json::to_string_pretty(self).expect("text and finite numbers can be written as JSON");
        write::replace(&path, |mut out| {
            out.write_all(text.as_bytes())
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.flush())
                .map_err(|source| PlantError::Write { path: path.clone(), source })
        })
    }

    /// The truth that was written beside a table.
    pub fn read(table: &Path) -> Result<Truth, CompareError> {
        let path = truth_path(table);
        let text = std::fs::read(&path).map_err(|source| CompareError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| CompareError::Truth { path, source })
    }
}

/// Looks the niches up among the highlights of the published run in the folder `run`.
pub fn compare(truth: &Truth, run: &Path) -> Result<Comparison, CompareError> {
    let highlights = highlights(&run.join("highlights.parquet"))?;
    let compared = |niche: &Niche| Compared { niche: niche.clone(), finding: find(niche, &highlights) };
    Ok(Comparison { niches: truth.niches.iter().map(compared).collect() })
}

/// What a run says of a niche.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A highlight with exactly its customers, in its direction.
    Highlight {
        rank: i32,
    },
    /// A highlight, but with another number of customers or in the other direction.
    Differs {
        rank: i32,
        uv: i64,
        direction: String,
    },
    /// Folded under the highlight of this rank.
    Folded {
        rank: i32,
        under: String,
    },
    Missing,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub niche: Niche,
    pub finding: Finding,
}

/// What a run found of what was planted.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// In the order of the truth.
    pub niches: Vec<Compared>,
}

impl Comparison {
    /// Whether every niche is a highlight with exactly its customers.
    pub fn all_found(&self) -> bool {
        self.found() == self.niches.len()
    }

    /// Niches that are highlights with exactly their customers.
    pub fn found(&self) -> usize {
        self.niches.iter().filter(|n| matches!(n.finding, Finding::Highlight { .. })).count()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::Highlight { rank } => write!(f, "found, rank {rank}"),
            Finding::Differs { rank, uv, direction } => write!(f, "differs: rank {rank}, {uv} customers, {direction}"),
            Finding::Folded { rank, under } => write!(f, "folded under rank {rank}, {under}"),
            Finding::Missing => f.write_str("missing"),
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = LineStyle::none().fill('─').junction('─');
        let mut table = Table::new();
        table
            .load_style(TableStyle::new().header_separator(line).bottom_border(line))
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["planted niche", "customers", "lift", "in the run"]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for Compared { niche, finding } in &self.niches {
            table.add_row([
                Cell::new(&niche.segment),
                right(niche.uv.to_string()),
                right(format!("{:.2}", niche.lift)),
                Cell::new(finding),
            ]);
        }
        writeln!(f, "{table}")?;
        write!(f, "{} of {} niches found with exactly their customers", self.found(), self.niches.len())
    }
}

/// What keeps a run from being compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("cannot read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path:?} is not the truth about a planted table")]
    Truth {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot read {path:?} as Parquet")]
    Table {
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },
    #[error("{path:?} has no column {column:?} of the type that highlights have")]
    Column { path: PathBuf, column: &'static str },
}

struct Highlight {
    rank: i32,
    segment: String,
    uv: i64,
    direction: String,
    folds: Vec<String>,
}

fn find(niche: &Niche, highlights: &[Highlight]) -> Finding {
    let direction = match niche.direction {
        Direction::Over => "over",
        Direction::Under => "under",
    };
    if let Some(found) = highlights.iter().find(|h| h.segment == niche.segment) {
        let rank = found.rank;
        return match found.uv == niche.uv && found.direction == direction {
            true => Finding::Highlight { rank },
            false => Finding::Differs { rank, uv: found.uv, direction: found.direction.clone() },
        };
    }
    match highlights.iter().find(|h| h.folds.contains(&niche.segment)) {
        Some(over) => Finding::Folded { rank: over.rank, under: over.segment.clone() },
        None => Finding::Missing,
    }
}

fn highlights(path: &Path) -> Result<Vec<Highlight>, CompareError> {
    let file = File::open(path).map_err(|source| CompareError::Read { path: path.to_owned(), source })?;
    let failed = |source| CompareError::Table { path: path.to_owned(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build()).map_err(failed)?;
    let mut all = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| failed(error.into()))?;
        all.extend(of_batch(&batch).map_err(|column| CompareError::Column { path: path.to_owned(), column })?);
    }
    Ok(all)
}

/// `Err` has the column that is not as it should be.
fn of_batch(batch: &RecordBatch) -> Result<Vec<Highlight>, &'static str> {
    let column = |name: &'static str| batch.column_by_name(name).ok_or(name);
    let text = |name: &'static str| column(name)?.as_string_opt::<i32>().ok_or(name);
    let (segments, directions) = (text("segment")?, text("direction")?);
    let uv = column("uv")?.as_primitive_opt::<Int64Type>().ok_or("uv")?;
    let ranks = column("rank")?.as_primitive_opt::<Int32Type>().ok_or("rank")?;
    let folds = column("folds")?.as_list_opt::<i32>().ok_or("folds")?;
    (0..batch.num_rows())
        .map(|row| {
            let texts = folds.value(row);
            let texts = texts.as_string_opt::<i32>().ok_or("folds")?;
            Ok(Highlight {
                rank: ranks.value(row),
                segment: segments.value(row).to_owned(),
                uv: uv.value(row),
                direction: directions.value(row).to_owned(),
                folds: texts.iter().flatten().map(str::to_owned).collect(),
            })
        })
        .collect()
}
