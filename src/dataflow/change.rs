//! Two periods compared: the rows of both counted once more, with the period in place of the part.

use std::sync::Arc;

use timely::worker::Worker;

use super::agree::{Failure, agree};
use super::collective::broadcast;
use super::enumerate::{Sought, agree_load, enumerate};
use super::found::floor;
use super::load::Loaded;
use super::shared::Shared;
use super::target::{Pick, Picks};
use crate::change::Changes;
use crate::enumerate::{Limits, Shape};
use crate::highlight::Direction;
use crate::job::Job;
use crate::segment::Segment;
use crate::telemetry::Progress;

/// What the rows of two periods say of the change, at worker 0; none where the job compares none, or where a mean is not
/// defined. All workers return the same failure, or none does. The rows of the earlier period are dropped.
///
/// What crosses between workers is what crosses when one period is counted, and the sums that candidates have of the customers of
/// each segment that is told.
pub fn compared(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    job: &Job,
    loaded: &mut Loaded,
) -> Result<Option<Changes>, Failure> {
    let (Some(spec), Some(shard)) = (&job.compare, loaded.periods.take()) else { return Ok(None) };
    let (codebook, scale) = (&loaded.codebook, loaded.scales[0]);
    let shape = Shape::of(codebook);
    let load = agree_load(worker, shared, &shard);
    let limits = Limits {
        // Shares of items are of the later period, as the codebook has them.
        customers: loaded.customers,
        min_uv: loaded.min_uv,
        max_level: job.enumerate.max_level,
        block_bytes: u64::MAX,
    };
    let sought = Sought { shape: &shape, load: &load, limits: &limits, promise: None, beside: loaded.shard.bytes() };
    let (shard, enumeration) = enumerate(worker, shared, shard, &sought, &Progress::new(limits.max_level))?;
    // Whoever goes on lends other rows to the process, when all have given these back.
    agree(worker, None)?;
    let moments = shard.moments();
    let changes = (worker.index() == 0).then(|| {
        let mut changes = Changes::of(&enumeration.answer, &moments, scale, &job.highlight, floor(job));
        changes.divide(codebook);
        let least = changes.least(&job.highlight);
        let candidates = if changes.whole.is_defined() { changes.candidates(least) } else { Vec::new() };
        (changes, candidates, least)
    });
    drop(enumeration);
    let segments: Option<Vec<Segment>> = changes
        .as_ref()
        .map(|(changes, candidates, _)| candidates.iter().map(|&place| changes.segments[place]).collect());
    let mut picks = Picks::among(&shard, broadcast(worker, segments));
    let changes = match changes {
        None => {
            picks.follow(worker);
            None
        }
        Some((mut changes, candidates, least)) => {
            changes.choose(&candidates, spec.top, least, |pick, others| {
                let others = others.iter().map(|&other| other as u32).collect();
                picks.fresh(worker, Some(Pick { pick: pick as u32, side: Direction::Over, others }))
            });
            picks.end(worker);
            changes.whole.is_defined().then_some(changes)
        }
    };
    Ok(changes)
}
