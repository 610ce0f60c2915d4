//! Figures about a run: what each stage and level did and took. Clock times go to the manifest and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use serde::{Deserialize, Serialize};

/// How far this process's workers are, for a display; nothing is computed from it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Place of the current stage in [`STAGES`].
    pub stage: AtomicUsize,
    /// Rows read.
    pub rows: AtomicU64,
    /// By level: passes over the rows done and planned.
    pub levels: Vec<[AtomicU64; 2]>,
}

impl Progress {
    pub fn new(levels: usize) -> Arc<Progress> {
        Arc::new(Progress { levels: (0..levels).map(|_| Default::default()).collect(), ..Progress::default() })
    }
}

/// The stages of a run, in order.
pub const STAGES: [&str; 9] =
    ["source", "encode", "screen", "enumerate", "score", "highlight", "merge", "profile", "sink"];

/// One stage of a run, named as in the design: source, encode, screen, enumerate, score, highlight, merge, profile, sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    pub name: String,
    pub seconds: f64,
    /// Rows, features, segments ...: what the stage put out.
    pub out: u64,
}

/// One level of the enumeration, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelRecord {
    pub level: u64,
    pub feature_sets: u64,
    /// Segments that could be frequent, as all that are one item shorter are.
    pub candidates: u64,
    /// Cells counted, candidates or not.
    pub cells: u64,
    /// Frequent segments.
    pub kept: u64,
    /// Passes over the rows; 0 for a level that was counted together with a deeper one, which tells what both took.
    pub covering_blocks: u64,
    pub seconds: f64,
    /// Sent between workers, estimated from the blocks' sizes.
    pub bytes_exchanged: u64,
    /// Microseconds to count one covering block over the rows of one worker, or of several of a process at once: median,
    /// 99th percentile, maximum.
    pub block_us: [u64; 3],
    /// All of these times, from which those of several levels or runs can be merged: microseconds to three significant
    /// digits and how many blocks took them, the shortest first.
    #[serde(default)]
    pub block_us_counts: Vec<[u64; 2]>,
}
