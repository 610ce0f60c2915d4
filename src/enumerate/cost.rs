//! What counting costs: the model by which covering blocks are chosen and a run is estimated.
//!
//! Calibrated on one core of a 2-core AMD EPYC (32 KiB and 1 MiB caches a core) with `cargo bench --bench stages`; only the
//! proportions between rows and cells decide the plan, and those hold well enough elsewhere.

use serde::{Deserialize, Serialize};

use super::GRID_CELLS;
use crate::block::{Figures, Width};

/// What the plan knows of the rows, equal on all workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Rows that one process counts.
    pub rows: u64,
    /// Of these, the share in which anything but a rate is not zero.
    pub summed: f64,
    pub figures: Figures,
}

/// Nanoseconds to add a row to its cell, by the bytes of the counters: within the first-level cache, the second, beyond.
const ROW_NS: [f64; 3] = [0.70, 0.85, 2.2];

/// The same for one further sum of a row.
const SUM_NS: [f64; 3] = [0.6, 1.2, 2.5];

/// Nanoseconds to set a byte of a cell to zero, sum it out of some arrays and into others.
const CELL_BYTE_NS: f64 = 0.35;

impl Load {
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
