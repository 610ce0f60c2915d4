//! What counting costs: the model by which covering blocks are chosen and a run is estimated.
//!
//! Calibrated on one core of a 2-core AMD EPYC (32 KiB and 1 MiB caches a core) by counting whole tables, a rate over 1 million
//! customers and 20 features first of all; the figures are in ARCHITECTURE.md. Only the proportions between rows and cells decide
//! the plan, and those hold well enough elsewhere.

use serde::{Deserialize, Serialize};

use super::GRID_CELLS;
use super::outline::choose;
use crate::block::{Figures, Width};
use crate::encode::TagLoad;
use crate::segment::{FeatureId, FeatureSet};
use crate::stats::Moments;

/// What the plan knows of the rows, equal on all workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Rows that one process counts.
    pub rows: u64,
    /// Of these, the share in which anything but a rate is not zero.
    pub summed: f64,
    /// What no sum of a moment over rows of all processes can exceed in magnitude.
    pub bounds: Vec<u128>,
    pub figures: Figures,
    /// Combinations of tags that customers have, a feature each, empty where it has no tags; none at all where no feature has.
    pub tags: Vec<TagLoad>,
}

/// Nanoseconds to add a row to its cell, by the bytes of the counters: within the first-level cache, the second, beyond.
const ROW_NS: [f64; 3] = [0.70, 0.85, 2.2];

/// The same for one further sum of a row.
const SUM_NS: [f64; 3] = [0.6, 1.2, 2.5];

/// Nanoseconds to set a byte of a cell to zero, sum it out of some arrays and into others.
const CELL_BYTE_NS: f64 = 0.35;

impl Load {
    /// Of `rows` rows in all, spread over so many processes.
    pub fn new(moments: Moments, bounds: Vec<u128>, rows: u64, summed_rows: u64, processes: u64) -> Load {
        Load {
            rows: rows.div_ceil(processes),
            summed: summed_rows as f64 / rows.max(1) as f64,
            figures: Figures::new(moments, &bounds, rows),
            bounds,
            tags: Vec::new(),
        }
    }

    /// The same for a table of `rows` rows instead of `now`, of the same values.
    pub fn scaled(&self, now: u64, rows: u64, processes: u64) -> Load {
        let times = u128::from(rows.div_ceil(now.max(1)));
        let bounds = self.bounds.iter().map(|bound| bound.saturating_mul(times)).collect();
        let summed = (self.summed * rows as f64) as u64;
        let mut tags = self.tags.clone();
        let scale = |sets: &mut u64| *sets = (*sets as f64 * (rows as f64 / now.max(1) as f64)) as u64;
        tags.iter_mut().flat_map(|load| &mut load.sets).for_each(scale);
        Load { tags, ..Load::new(self.figures.moments.clone(), bounds, rows, summed, processes) }
    }

    /// In how many cells of a feature set all customers are, at the most; none where each is in one.
    pub fn meetings(&self, set: FeatureSet) -> Option<u64> {
        let mut meetings: Option<u64> = None;
        for (feature, times) in times(set) {
            let Some(load) = self.tags.get(usize::from(feature)).filter(|load| !load.sets.is_empty()) else { continue };
            // Over all customers those of the first such feature; times, at the most, those of a customer of each further one.
            meetings = Some(match meetings {
                None => load.sets.get(times).copied().unwrap_or(u64::MAX),
                Some(meetings) => meetings.saturating_mul(choose(load.largest, times as u64)),
            });
        }
        meetings
    }

    /// Nanoseconds of one thread to count all rows into a block of so many cells and sum its feature sets out.
    pub fn block_ns(&self, cells: usize) -> f64 {
        let level = |bytes: u64| match bytes {
            0..=0x8000 => 0,
            0x8001..=0x8_0000 => 1,
            _ => 2,
        };
        let summed: u64 = self.figures.sums.iter().filter(|w| **w != Width::U32).map(|w| w.bytes()).sum();
        let sums = self.figures.sums.iter().filter(|w| **w != Width::U32).count();
        let row = ROW_NS[level(4 * cells as u64)] + self.summed * sums as f64 * SUM_NS[level(summed * cells as u64)];
        self.rows as f64 * row + cells as f64 * self.figures.cell_bytes() as f64 * CELL_BYTE_NS
    }

    /// The same into the cells of a set by the ranks of its prefix.
    pub fn ranked_ns(&self, cells: usize) -> f64 {
        let row = 2.0 + if cells > GRID_CELLS { 2.0 } else { 0.5 } + self.summed * 2.0 * self.figures.sums.len() as f64;
        self.rows as f64 * row + cells as f64 * self.figures.cell_bytes() as f64 * CELL_BYTE_NS
    }
}

/// The features of a set, each with how many times it stands there.
pub fn times(set: FeatureSet) -> Vec<(FeatureId, usize)> {
    let mut found: Vec<(FeatureId, usize)> = Vec::new();
    for feature in set.features() {
        match found.last_mut() {
            Some((last, times)) if *last == feature => *times += 1,
            _ => found.push((feature, 1)),
        }
    }
    found
}
