//! One run from table to result, as every worker goes through it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use timely::worker::Worker;

use super::agree::{Failure, decide};
use super::collective::{broadcast, gather};
use super::enumerate::{Counted, Enumeration, enumerate};
use super::found::Found;
use super::load::{Loaded, load};
use super::screen::screened;
use super::target::{assign, overlaps, profiles};
use crate::audience::Assigned;
use crate::encode::{Codebook, Reading};
use crate::enumerate::Shape;
use crate::highlight::{Funnel, Highlight};
use crate::job::Job;
use crate::merge::Grouping;
use crate::score::{Measures, Scored};
use crate::screen::Verdict;
use crate::segment::Segment;
use crate::sink::Quality;
use crate::source::Table;
use crate::stats::{MetricKind, Scale};
use crate::telemetry::{LevelRecord, Progress, STAGES, StageRecord};

/// Everything a run found.
pub struct Outcome {
    pub codebook: Codebook,
    pub verdicts: Vec<Verdict>,
    pub kind: MetricKind,
    pub scale: Scale,
    /// The base against itself: whole, discovery, validation.
    pub bases: [Measures; 3],
    pub secondary: Vec<(String, Measures)>,
    pub segments: Vec<Scored>,
    pub highlights: Vec<Highlight>,
    pub funnel: Funnel,
    pub grouping: Grouping,
    pub assigned: Assigned,
    pub quality: Quality,
    pub file_rows: Vec<u64>,
    pub stages: Vec<StageRecord>,
    pub levels: Vec<LevelRecord>,
    pub notes: Vec<String>,
}

/// Times the stages of a worker, and tells the display which one is on.
struct Stages<'a> {
    progress: &'a Progress,
    started: Instant,
    done: Vec<StageRecord>,
}

impl Stages<'_> {
    fn end(&mut self, out: usize) {
        let name = STAGES[self.done.len()].to_owned();
        self.done.push(StageRecord { name, seconds: self.started.elapsed().as_secs_f64(), out: out as u64 });
        self.started = Instant::now();
        self.progress.stage.store(self.done.len(), Ordering::Relaxed);
    }
}

/// Runs the job on this worker. Worker 0 hands the outcome to `publish`; all workers return the same failure, or none does.
pub fn run(
    worker: &mut Worker,
    job: &Job,
    table: &Table,
    reading: &Reading,
    progress: &Arc<Progress>,
    publish: impl FnOnce(Outcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stages = Stages { progress, started: Instant::now(), done: Vec::new() };
    let mut loaded = load(worker, job, table, reading, progress, |rows| stages.end(rows))?;
    stages.end(loaded.codebook.features.len());
    let verdicts = screened(worker, job, &mut loaded);
    stages.end(loaded.codebook.features.len());

    let Loaded { shard, codebook, scales, customers, min_uv, quality, file_rows, .. } = loaded;
    let shape = Shape::of(&codebook);
    let rows = (customers as usize).div_ceil(worker.peers());
    let max_level = job.enumerate.max_level;
    let counting = Arc::clone(progress);
    let (shard, counted) = enumerate(worker, shard, shape.clone(), max_level, min_uv, rows, counting);
    let Enumeration { answer, counted } = counted;
    let levels = level_records(gather(worker, counted), &answer.segments);
    stages.end(answer.segments.len().saturating_sub(1));

    let first = worker.index() == 0;
    let mut found = first.then(|| Found::score(&answer, &shard.moments(), scales[0]));
    drop(answer);
    stages.end(found.as_ref().map_or(0, |found| found.scored.len()));
    let candidates = found.as_mut().map(|found| found.candidates(job));
    let common = overlaps(worker, &shard, candidates);
    if let Some(found) = &mut found {
        found.fold(job, &common);
    }
    stages.end(found.as_ref().map_or(0, |found| found.highlights.len()));

    // Customers are assigned first: what each highlight is left with decides which of them are merged.
    let assigned = loop {
        let assigned = assign(worker, &shard, &shape.cardinality, found.as_ref().map(Found::asked));
        let explained =
            found.as_mut().zip(assigned.as_ref()).map(|(found, (taken, _))| found.drop_explained(job, taken));
        if !broadcast(worker, explained) {
            break assigned;
        }
    };
    let spreads = profiles(worker, &shard, &shape.cardinality, found.as_ref().map(Found::asked));
    drop(shard);
    let influences: Vec<f64> = verdicts.iter().filter(|v| v.kept).map(|v| v.influence).collect();
    let clusters = found.as_ref().map(|found| found.clusters(job, spreads, &influences));
    stages.end(clusters.as_ref().map_or(0, |clusters| clusters.members.len()));
    let published = found.zip(clusters).zip(assigned).map(|((found, clusters), (taken, mut assigned))| {
        let grouping = found.grouping(&codebook, &scales, clusters, &taken, &mut assigned);
        stages.end(assigned.group.len());
        let mut notes = found.notes(job, customers, min_uv, codebook.features.len());
        if quality.rounded_values > 0 {
            notes.push(format!(
                "{} metric values have more than {} decimals and were rounded (metric.decimals).",
                quality.rounded_values, found.scale.decimals
            ));
        }
        publish(Outcome {
            bases: found.base_measures(),
            secondary: job.secondary.iter().map(|s| s.name.clone()).zip(found.secondary_bases(&scales)).collect(),
            kind: found.kind,
            scale: found.scale,
            codebook,
            verdicts,
            segments: found.scored,
            highlights: found.highlights,
            funnel: found.funnel,
            grouping,
            assigned,
            quality,
            file_rows,
            stages: stages.done,
            levels,
            notes,
        })
    });
    decide(worker, published)
}

/// One record a level, over all workers; seconds are those of the slowest.
fn level_records(workers: Vec<Vec<Counted>>, segments: &[Segment]) -> Vec<LevelRecord> {
    let Some(levels) = workers.first().map(Vec::len) else { return Vec::new() };
    (0..levels)
        .map(|i| {
            let all = || workers.iter().map(|levels| &levels[i]);
            let plan = &workers[0][i];
            let mut block_us = plan.block_us();
            all().skip(1).for_each(|other| block_us.add(other.block_us()).expect("histograms of one precision"));
            let at = |quantile| block_us.value_at_quantile(quantile);
            LevelRecord {
                level: plan.level as u64,
                feature_sets: plan.feature_sets,
                candidates: plan.candidates,
                cells: plan.cells,
                kept: segments.iter().filter(|s| s.level() == plan.level).count() as u64,
                covering_blocks: plan.covering_blocks,
                seconds: all().map(|c| c.seconds).fold(0.0, f64::max),
                bytes_exchanged: all().map(|c| c.bytes_exchanged).sum(),
                block_us: [at(0.5), at(0.99), block_us.max()],
            }
        })
        .collect()
}
