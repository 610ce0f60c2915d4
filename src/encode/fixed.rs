//! The rows of any table to codes by the codebook of a run, chunk by chunk; what the run did not know is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::codebook::Feature;
use super::coder::Coder;
use super::features::LocalFeature;
use super::ids::{LocalIds, written};
use super::intake::{BadRow, Problem, Sieve};
use super::reading::{FeatureInput, Reading};
use super::shard::Codes;
use super::strangers::Strangers;
use crate::job::Job;
use crate::source::{Chunk, ColumnKind, Rejects, Table};

/// Bytes of a column's distinct texts after which they are forgotten: of a column with ever new ones memory does not grow.
const MOST_TEXT: usize = 4 << 20;

/// One thread's way from chunks to codes.
#[derive(Debug)]
pub struct Coding<'a> {
    reading: &'a Reading,
    sieve: Sieve,
    ids: LocalIds,
    features: Vec<Fixed>,
    pub rejects: Rejects,
}

/// One feature, with what is known of its column's values.
#[derive(Debug)]
struct Fixed {
    kind: ColumnKind,
    coder: Coder,
    local: LocalFeature,
    /// Whether every value that the run saw is an item, so that others are told.
    named: bool,
    strangers: Strangers,
}

/// Some usable rows of the table, in its order.
#[derive(Debug)]
pub struct Coded {
    pub rows: usize,
    /// As they are written: whole numbers of 64 bits, or text; row numbers over all files where the job has no id.
    pub ids: ArrayRef,
    /// By feature.
    pub codes: Vec<Codes>,
}

impl<'a> Coding<'a> {
    /// `features` are those of a codebook that `reading` is for, in the same order.
    pub fn new(job: &Job, table: &Table, reading: &'a Reading, features: &[Feature]) -> Coding<'a> {
        let kind = |place: usize| table.columns()[reading.columns[place]].kind.clone();
        let fixed = features.iter().zip(&reading.features).map(|(feature, input)| {
            let kind = kind(input.column);
            // The code of rest stands for whatever is no item.
            let coder = Coder::of(&Feature { rest: true, ..feature.clone() });
            let named = !feature.rest && feature.tags.is_none();
            Fixed { local: local(input, &kind), kind, coder, named, strangers: Strangers::default() }
        });
        Coding {
            sieve: Sieve::new(job, table),
            ids: LocalIds::new(reading.id.map(kind).as_ref()),
            features: fixed.collect(),
            rejects: Rejects::default(),
            reading,
        }
    }

    /// Codes the usable rows of a chunk. `before` is how many rows the files before this one have.
    pub fn code(&mut self, chunk: &Chunk, before: u64) -> Result<Coded, BadRow> {
        let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
        let mut report = |row: usize, problem: &dyn Fn() -> Problem| {
            problems.entry(row).or_insert_with(problem);
        };
        let columns = &chunk.rows;
        if let Some(id) = self.reading.id {
            let name = columns.schema_ref().field(id).name();
            self.ids.check(&chunk.values(id, columns.column(id)), name, &mut report);
        }
        for (feature, input) in self.features.iter_mut().zip(&self.reading.features) {
            feature.local.check(input, chunk, &mut report);
        }
        let (kept, batch) = self.sieve.usable(chunk, &problems, &mut self.rejects)?;
        let ids = match self.reading.id {
            Some(id) => written(&chunk.values(id, batch.column(id))),
            None => {
                let kept = (0..columns.num_rows()).filter(|&i| kept.as_ref().is_none_or(|kept| kept[i]));
                Arc::new(Int64Array::from_iter_values(kept.map(|i| (before + chunk.row_number(i)) as i64)))
            }
        };
        let codes = self.features.iter_mut().zip(&self.reading.features).map(|(feature, input)| {
            feature.local.push_of(input, chunk, batch.column(input.column));
            let codes = feature.coder.take_counted(&mut feature.local, feature.named, &mut feature.strangers);
            if feature.local.text() > MOST_TEXT {
                feature.local = local(input, &feature.kind);
                feature.coder.forget();
            }
            codes
        });
        Ok(Coded { rows: batch.num_rows(), ids, codes: codes.collect() })
    }

    /// By feature, what was no item.
    pub fn strangers(self) -> Vec<Strangers> {
        self.features.into_iter().map(|feature| feature.strangers).collect()
    }
}

/// A column without rows; it gives up on no number of values.
fn local(input: &FeatureInput, kind: &ColumnKind) -> LocalFeature {
    LocalFeature::new(input, kind, usize::MAX)
}
