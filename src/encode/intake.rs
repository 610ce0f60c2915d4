//! Record batches to a worker's own columns: values as they are, coded only within this worker.
//!
//! One pass over the table fills these; the codebook agreed afterwards turns them into codes without reading again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::features::LocalFeature;
use super::ids::LocalIds;
use super::metrics::LocalMetric;
use super::origin::Origins;
use super::period::{ANOTHER_PERIOD, LocalPeriods};
use super::reading::Reading;
use crate::audience::RowRuns;
use crate::job::{Job, MetricMissing, OnBadRow};
use crate::source::{Chunk, RejectSample, Rejects, Table};

/// Why a row is left out. The text counts it in `quality.json`.
pub const METRIC_MISSING: &str = "metric missing";
pub const METRIC_NOT_A_NUMBER: &str = "metric not a finite number";
pub const ID_MISSING: &str = "customer id missing";
pub const ID_NOT_WHOLE: &str = "customer id not a whole number";
pub const FEATURE_NOT_A_NUMBER: &str = "feature not a number";
pub const FEATURE_NOT_A_DATE: &str = "feature not a date";
pub const FEATURE_OUT_OF_RANGE: &str = "feature out of range";

/// A value that makes its row unusable.
#[derive(Clone, Debug)]
pub struct Problem {
    pub reason: &'static str,
    pub column: String,
    pub value: String,
    pub remedy: String,
    /// Left out by the job's own wish, so never an error.
    pub dropped: bool,
}

/// How a column tells which of a batch's rows cannot be used.
pub type Report<'a> = &'a mut dyn FnMut(usize, &dyn Fn() -> Problem);

/// The first unusable row, where the job tolerates none; exit code 4.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path:?} row {}: {reason}: column {column:?} is {value}; {remedy}, or input.on_bad_row = \"quarantine\" leaves such rows out and counts them",
    .row + 1
)]
pub struct BadRow {
    pub path: PathBuf,
    /// Within the file, from 0, a header line not counted; told from 1, as people count.
    pub row: u64,
    pub reason: &'static str,
    pub column: String,
    pub value: String,
    pub remedy: String,
}

/// What becomes of rows that cannot be used: left out and counted, or the end.
#[derive(Debug)]
pub(super) struct Sieve {
    on_bad_row: OnBadRow,
    files: Vec<PathBuf>,
}

impl Sieve {
    pub fn new(job: &Job, table: &Table) -> Sieve {
        Sieve { on_bad_row: job.input.on_bad_row, files: table.files().iter().map(|f| f.path.clone()).collect() }
    }

    /// The rows of a chunk without those that have a problem, and which these are, if any are left out; or the first problem
    /// where the job tolerates none.
    pub fn usable(
        &self,
        chunk: &Chunk,
        problems: &BTreeMap<usize, Problem>,
        rejects: &mut Rejects,
    ) -> Result<(Option<Vec<bool>>, RecordBatch), BadRow> {
        if problems.is_empty() {
            return Ok((None, chunk.rows.clone()));
        }
        for (&i, problem) in problems {
            let row = chunk.row_number(i);
            let path = &self.files[chunk.file];
            if self.on_bad_row == OnBadRow::Fail && !problem.dropped {
                return Err(BadRow {
                    path: path.clone(),
                    row,
                    reason: problem.reason,
                    column: problem.column.clone(),
                    value: problem.value.clone(),
                    remedy: problem.remedy.clone(),
                });
            }
            rejects.add(problem.reason, || RejectSample {
                file: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
                row,
                line: None,
                column: Some(problem.column.clone()),
                reason: problem.reason.to_owned(),
                value: problem.value.clone(),
            });
        }
        let mut kept = vec![true; chunk.rows.num_rows()];
        problems.keys().for_each(|&row| kept[row] = false);
        let batch = filter_record_batch(&chunk.rows, &BooleanArray::from(kept.clone())).expect("one flag a row");
        Ok((Some(kept), batch))
    }
}

/// One worker's rows, before they are coded.
#[derive(Debug)]
pub struct Intake {
    sieve: Sieve,
    pub ids: LocalIds,
    pub latest: Option<LocalFeature>,
    pub metrics: Vec<LocalMetric>,
    /// Where the job compares two periods.
    pub periods: Option<LocalPeriods>,
    pub features: Vec<LocalFeature>,
    /// Which file and row each kept row was, to name it.
    origins: Origins,
    pub rejects: Rejects,
}

impl Intake {
    pub fn new(job: &Job, reading: &Reading, table: &Table) -> Intake {
        let kinds: Vec<_> = reading.columns.iter().map(|&c| table.columns()[c].kind.clone()).collect();
        let features = reading.features.iter().map(|f| LocalFeature::new(f, &kinds[f.column], job.screen.max_distinct));
        Intake {
            sieve: Sieve::new(job, table),
            ids: LocalIds::new(reading.id.map(|id| &kinds[id])),
            latest: reading.latest_by.map(|by| LocalFeature::ordered(&kinds[by])),
            metrics: reading.metrics.iter().map(|m| LocalMetric::new(m, &job.input.csv)).collect(),
            periods: reading.period.as_ref().map(|_| LocalPeriods::default()),
            features: features.collect(),
            origins: Origins::default(),
            rejects: Rejects::default(),
        }
    }

    /// Kept rows.
    pub fn rows(&self) -> usize {
        self.origins.rows()
    }

    /// Takes in the usable rows of a chunk.
    pub fn push(&mut self, reading: &Reading, chunk: &Chunk) -> Result<(), BadRow> {
        let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
        let mut of_periods = None;
        if let (Some(periods), Some(input)) = (&mut self.periods, &reading.period) {
            let (left, both) = periods.select(input, chunk);
            problems.extend(both);
            of_periods = left;
        }
        if let Some(left) = &of_periods {
            self.rejects.count(ANOTHER_PERIOD, (chunk.rows.num_rows() - left.rows.num_rows()) as u64);
        }
        let chunk = of_periods.as_ref().unwrap_or(chunk);
        let batch = &chunk.rows;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut report = |row: usize, problem: &dyn Fn() -> Problem| {
            problems.entry(row).or_insert_with(problem);
        };
        if let Some(id) = reading.id {
            self.ids.check(&chunk.values(id, batch.column(id)), batch.schema_ref().field(id).name(), &mut report);
        }
        for (metric, input) in self.metrics.iter_mut().zip(&reading.metrics) {
            metric.check(input, chunk, &mut report);
        }
        for (feature, input) in self.features.iter_mut().zip(&reading.features) {
            feature.check(input, chunk, &mut report);
        }
        let (kept, batch) = self.sieve.usable(chunk, &problems, &mut self.rejects)?;
        let kept = kept.as_deref();

        self.origins.append(chunk, kept);
        if let Some(id) = reading.id {
            self.ids.push(&chunk.values(id, batch.column(id)));
        }
        if let (Some(latest), Some(by)) = (&mut self.latest, reading.latest_by) {
            latest.push_order(&chunk.values(by, batch.column(by)));
        }
        self.periods.iter_mut().for_each(|periods| periods.push(kept));
        self.metrics.iter_mut().for_each(|metric| metric.push(kept));
        for (feature, input) in self.features.iter_mut().zip(&reading.features) {
            feature.push_of(input, chunk, batch.column(input.column));
        }
        Ok(())
    }

    /// Rows left out because the job says so, whatever their share.
    pub fn dropped(&self, reading: &Reading) -> u64 {
        let of = |reason: &str| self.rejects.by_reason.get(reason).copied().unwrap_or(0);
        let missing = if reading.metrics[0].missing == MetricMissing::Drop { of(METRIC_MISSING) } else { 0 };
        of(ANOTHER_PERIOD) + missing
    }

    /// Where a kept row was read: file and row within it.
    pub fn origin(&self, row: usize) -> (usize, u64) {
        self.origins.at(row)
    }

    pub fn file(&self, file: usize) -> &PathBuf {
        &self.sieve.files[file]
    }

    /// Everything the job reads of a row but its id, as text that is equal for equal values.
    pub fn content(&self, row: usize) -> String {
        let metrics: Vec<String> = self.metrics.iter().map(|m| m.text(row)).collect();
        let features: Vec<_> = self.features.iter().map(|f| f.at(row)).collect();
        format!("{metrics:?} {features:?}")
    }

    /// Row numbers over all files in order, given how many rows each file has.
    pub fn global_rows(&self, file_rows: &[u64]) -> RowRuns {
        self.origins.global(file_rows)
    }

    /// Removes rows, given by increasing position.
    pub fn remove(&mut self, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let mut keep = vec![true; self.rows()];
        rows.iter().for_each(|&row| keep[row] = false);
        self.ids.retain(&keep);
        self.metrics.iter_mut().for_each(|m| m.retain(&keep));
        self.periods.iter_mut().for_each(|p| p.retain(&keep));
        self.features.iter_mut().chain(&mut self.latest).for_each(|f| f.retain(&keep));
        self.origins.retain(&keep);
    }
}

/// Keeps the values whose flag is set.
pub fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    values.retain(|_| *flags.next().expect("one flag a value"));
}
