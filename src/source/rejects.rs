//! Rows that were left out: counted by reason, with a few samples.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::InputSpec;

/// Bad rows tolerated under `on_bad_row = "quarantine"` when the job sets no limit.
const DEFAULT_MAX_BAD_SHARE: f64 = 0.01;

/// Samples kept, over all reasons and workers.
pub const MAX_SAMPLES: usize = 20;

/// Characters of a value that a sample shows; the rest may be megabytes.
const MAX_SAMPLE_CHARS: usize = 200;

/// Rows left out. Every stage that leaves rows out has one, and they merge to the same value however the rows were
/// divided: counts add, and of the samples those first by file and row remain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rejects {
    pub by_reason: BTreeMap<String, u64>,
    pub samples: Vec<RejectSample>,
}

/// One row that was left out. The order of the fields is the order of the samples.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RejectSample {
    pub file: String,
    /// Within the file, from 0, the header line not counted.
    pub row: u64,
    /// Of a text file, from 1; where the row begins.
    pub line: Option<u64>,
    pub column: Option<String>,
    pub reason: String,
    /// What was there, or what was wrong with it.
    pub value: String,
}

impl Rejects {
    pub fn add(&mut self, reason: &str, sample: impl FnOnce() -> RejectSample) {
        match self.by_reason.get_mut(reason) {
            Some(rows) => *rows += 1,
            None => {
                self.by_reason.insert(reason.to_owned(), 1);
            }
        }
        self.keep(sample());
    }

    /// Counts rows of which no sample is kept.
    pub fn count(&mut self, reason: &str, rows: u64) {
        if rows > 0 {
            *self.by_reason.entry(reason.to_owned()).or_default() += rows;
        }
    }

    pub fn merge(&mut self, other: Rejects) {
        for (reason, rows) in other.by_reason {
            *self.by_reason.entry(reason).or_default() += rows;
        }
        other.samples.into_iter().for_each(|sample| self.keep(sample));
    }

    /// Rows left out, for whatever reason.
    pub fn total(&self) -> u64 {
        self.by_reason.values().sum()
    }

    /// Whether `bad` rows of those read are more than the job tolerates, and if so a sentence that says it.
    pub fn beyond(&self, input: &InputSpec, bad: u64, read: u64) -> Option<String> {
        let share = bad as f64 / read.max(1) as f64;
        if let Some(max) = input.max_bad_rows
            && bad > max
        {
            let why = self.told();
            return Some(format!("{bad} bad rows are more than input.max_bad_rows = {max} ({why})"));
        }
        let max_share = input.max_bad_share.or((input.max_bad_rows.is_none()).then_some(DEFAULT_MAX_BAD_SHARE));
        let max = max_share.filter(|max| share > *max)?;
        let why = self.told();
        Some(format!(
            "{bad} of {read} rows are bad, a share of {share:.4}, more than input.max_bad_share = {max} ({why})"
        ))
    }

    /// Reasons and rows, for a sentence.
    pub fn told(&self) -> String {
        let counted: Vec<String> = self.by_reason.iter().map(|(reason, rows)| format!("{reason}: {rows}")).collect();
        counted.join(", ")
    }

    fn keep(&mut self, mut sample: RejectSample) {
        if let Some((end, _)) = sample.value.char_indices().nth(MAX_SAMPLE_CHARS) {
            sample.value.truncate(end);
            sample.value.push('…');
        }
        let at = self.samples.partition_point(|kept| *kept <= sample);
        if at < MAX_SAMPLES {
            self.samples.insert(at, sample);
            self.samples.truncate(MAX_SAMPLES);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(row: u64) -> RejectSample {
        RejectSample {
            file: "a.csv".into(),
            row,
            line: Some(row + 2),
            column: None,
            reason: "ragged line".into(),
            value: "x".into(),
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let mut rejects = Rejects::default();
        rejects.add("r", || RejectSample { value: "退".repeat(300), ..sample(0) });
        assert_eq!(rejects.samples[0].value, format!("{}…", "退".repeat(200)));
    }

    proptest! {
        #[test]
        fn rejects_do_not_depend_on_how_the_rows_were_divided(
            rows in proptest::collection::btree_set(0u64..500, 0..80), workers in 1usize..6,
        ) {
            let mut parts = vec![Rejects::default(); workers];
            let mut whole = Rejects::default();
            for &row in &rows {
                let reason = if row % 3 == 0 { "a" } else { "b" };
                whole.add(reason, || sample(row));
                parts[(row as usize * 7) % workers].add(reason, || sample(row));
            }
            let mut merged = Rejects::default();
            parts.into_iter().rev().for_each(|part| merged.merge(part));
            prop_assert_eq!(merged.total(), rows.len() as u64);
            let first: Vec<u64> = rows.iter().copied().take(MAX_SAMPLES).collect();
            prop_assert_eq!(merged.samples.iter().map(|s| s.row).collect::<Vec<_>>(), first);
            prop_assert_eq!(merged, whole);
        }
    }
}
