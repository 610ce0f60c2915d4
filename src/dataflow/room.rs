//! The memory that counting may take, and what is refused for want of it.

use timely::worker::Worker;

use super::agree::{Failure, FailureKind};
use super::collective::{broadcast, gather};
use super::shared::Shared;
use crate::enumerate::Round;
use crate::memory::Size;

/// What the memory leaves beside the rows, the same for all workers: that of the process which has least.
pub struct Room {
    /// For blocks.
    pub blocks: u64,
    /// For the frequent segments, at worker 0.
    segments: u64,
    /// What was asked for and what the rows take, where least is left.
    memory: Size,
    rows: Size,
}

/// What a frequent segment takes at the most until the run is published: its sums, measures, tests and a line of the output.
const SEGMENT_BYTES: u64 = 640;

/// The share of what is left that blocks may take; the rest is for segments.
const BLOCK_SHARE: u64 = 60;

impl Room {
    /// Agrees on what is left where least is, when this worker's rows take so many bytes.
    pub fn agree(worker: &mut Worker, shared: &Shared, rows: u64) -> Result<Room, Failure> {
        let all = gather(worker, (rows, shared.memory().0));
        // Workers are numbered process by process.
        let of_process = |workers: &[(u64, u64)]| {
            let (rows, memory) = (workers.iter().map(|(bytes, _)| bytes).sum::<u64>(), workers[0].1);
            (memory.saturating_sub(rows), memory, rows)
        };
        let (_, memory, rows) = broadcast(worker, all.chunks(shared.threads()).map(of_process).min());
        Room::beside(Size(memory), Size(rows))
    }

    /// What a process of so much memory has beside its rows.
    pub fn beside(memory: Size, rows: Size) -> Result<Room, Failure> {
        let left = memory.0.saturating_sub(rows.0);
        let blocks = (u128::from(left) * u128::from(BLOCK_SHARE) / 100) as u64;
        let room = Room { blocks, segments: left - blocks, memory, rows };
        if left > 0 { Ok(room) } else { Err(room.refused("nothing is left to count in".into())) }
    }

    /// Whether the blocks of the largest unit can be held.
    pub fn fits(&self, largest: u64, round: &Round) -> Result<(), Failure> {
        if largest <= self.blocks {
            return Ok(());
        }
        let (level, need) = (round.levels.end(), Size(largest));
        Err(self.refused(format!(
            "a single pass at level {level} needs {need} for its blocks, of {} for them",
            Size(self.blocks)
        )))
    }

    /// Whether so many frequent segments can be held by worker 0.
    pub fn holds(&self, segments: u64) -> Result<(), Failure> {
        let need = segments.saturating_mul(SEGMENT_BYTES);
        if need <= self.segments {
            return Ok(());
        }
        let (need, left) = (Size(need), Size(self.segments));
        Err(self.refused(format!("{segments} frequent segments so far need {need}, of {left} for them")))
    }

    fn refused(&self, what: String) -> Failure {
        let (memory, rows) = (self.memory, self.rows);
        let text = format!(
            "not enough memory: of {memory} for a process (--memory) {rows} hold its rows, and {what}. Give more with --memory or on more machines (--hostfile), or count less: a larger enumerate.min_uv or enumerate.min_share, a smaller enumerate.max_level or screen.max_features, features.exclude"
        );
        Failure { kind: FailureKind::Resources, place: (usize::MAX, u64::MAX), text }
    }
}
