//! One run from table to result, as every worker goes through it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hdrhistogram::Histogram;
use timely::worker::Worker;

use super::agree::{Failure, decide};
use super::alternatives::{Given, alternatives};
use super::cells::{Cells, grid};
use super::change::compared;
use super::collective::{broadcast, gather};
use super::enumerate::{Enumeration, Sought, enumerate};
use super::found::{Found, floor};
use super::groups::{Merged, rounds};
use super::load::Loaded;
use super::mix::{crossed, crossed_cells};
use super::promise::Promise;
use super::rounds::grow;
use super::screen::screened;
use super::shared::Shared;
use super::target::{Overlaps, Picks, Taken, added, assign, described, overlaps, taken};
use super::winsorise::{Caps, cut_notes};
use crate::alternatives::Division;
use crate::audience::Assigned;
use crate::change::Changes;
use crate::encode::{Codebook, MetricInput, Reading};
use crate::enumerate::{Answer, Limits, Shape, most_frequent};
use crate::highlight::{Funnel, Highlight, Scored, Unlisted};
use crate::job::{Job, MergeOf};
use crate::merge::{Before, Grouping};
use crate::mix::{Dimension, Mix};
use crate::score::{Component, Measures};
use crate::screen::Verdict;
use crate::sink::{Previous, Quality};
use crate::source::Table;
use crate::stats::{MetricKind, Moments, Scale};
use crate::telemetry::{LevelRecord, Progress, STAGES, StageRecord};

/// Everything a run found.
pub struct Outcome {
    pub codebook: Codebook,
    pub verdicts: Vec<Verdict>,
    pub kind: MetricKind,
    /// The base against itself: whole, discovery, validation.
    pub bases: [Measures; 3],
    pub secondary: Vec<(String, Measures)>,
    pub segments: Vec<Scored>,
    /// The exact sums behind the segments, after the base's, of all metrics.
    pub answer: Answer,
    pub moments: Moments,
    pub scales: Vec<Scale>,
    /// Of each metric, where it was cut.
    pub caps: Vec<Option<Caps>>,
    /// How true effects are spread: what shrunken figures rest on.
    pub prior: Vec<Component>,
    pub highlights: Vec<Highlight>,
    pub funnel: Funnel,
    pub grouping: Grouping,
    /// The groups beside other methods, where the job asks for that.
    pub alternatives: Vec<Division>,
    pub assigned: Assigned,
    /// How the groups divide by the columns that the job names.
    pub mix: Mix,
    pub quality: Quality,
    pub file_rows: Vec<u64>,
    pub stages: Vec<StageRecord>,
    pub levels: Vec<LevelRecord>,
    /// Where the job compares two periods.
    pub changes: Option<Changes>,
    /// The run whose groups these may be.
    pub previous: Previous,
    pub notes: Vec<String>,
}

/// Times the stages of a worker, and tells the display which one is on.
struct Stages<'a> {
    progress: &'a Progress,
    /// Whether this worker is the one that says so in the log.
    logs: bool,
    started: Instant,
    done: Vec<StageRecord>,
}

impl Stages<'_> {
    /// Logs a step within the stage, with the seconds since the stage began.
    fn step(&self, what: &str) {
        if self.logs {
            tracing::debug!(seconds = self.started.elapsed().as_secs_f64(), "{what}");
        }
    }

    fn end(&mut self, out: usize) {
        let name = STAGES[self.done.len()].to_owned();
        let seconds = self.started.elapsed().as_secs_f64();
        if self.logs {
            tracing::info!(stage = name, out, seconds, "stage done");
        }
        self.done.push(StageRecord { name, seconds, out: out as u64 });
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
    shared: &Arc<Shared>,
    progress: &Arc<Progress>,
    publish: impl FnOnce(Outcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let logs = worker.index() == 0;
    let mut stages = Stages { progress, logs, started: Instant::now(), done: Vec::new() };
    let mut loaded = super::load::load(worker, job, table, reading, shared, progress, |rows| stages.end(rows))?;
    stages.end(loaded.codebook.features.len());
    let (verdicts, load) = screened(worker, shared, job, &mut loaded);
    stages.end(loaded.codebook.features.len());

    let changes = compared(worker, shared, job, &mut loaded)?;
    stages.step("periods compared");

    let Loaded {
        shard, codebook, by, mut untold, scales, caps, customers, min_uv, quality, rounded, file_rows, ..
    } = loaded;
    let empty = by.iter().filter(|feature| feature.cardinality() == 0);
    untold.extend(empty.map(|feature| (feature.name.clone(), "none of its values has enough customers".into())));
    let dimensions: Vec<Dimension> = by.into_iter().map(Dimension::of).collect();
    let shape = Shape::of(&codebook);
    let limits = Limits { customers, min_uv, max_level: job.enumerate.max_level, block_bytes: u64::MAX };
    let promise = Promise::agree(worker, job, &shard, scales[0]);
    let sought = Sought { shape: &shape, load: &load, limits: &limits, promise: promise.as_ref(), beside: 0 };
    let (shard, enumeration) = enumerate(worker, shared, shard, &sought, progress)?;
    stages.end(enumeration.answer.segments.len().saturating_sub(1));
    let levels = level_records(worker, &enumeration, &shape);
    let Enumeration { answer, spread, .. } = enumeration;

    let first = worker.index() == 0;
    let mut found = first.then(|| {
        let of_all = || Unlisted { hypotheses: most_frequent(&shape, &load, &limits), spread };
        Found::score(answer, shard.moments(), &scales, job, promise.is_some().then(of_all))
    });
    stages.end(found.as_ref().map_or(0, |found| found.scored.len()));
    let exclusive: Vec<bool> = codebook.features.iter().map(|feature| feature.tags.is_none()).collect();
    let candidates = found.as_mut().map(|found| found.candidates(job, min_uv, &exclusive));
    if let Some((segments, pairs)) = &candidates {
        tracing::debug!(segments = segments.len(), pairs = pairs.len(), "pairs that may matter");
    }
    stages.step("candidates chosen");
    let common = overlaps(worker, &shard, candidates);
    stages.step("overlaps counted");
    let left = broadcast(worker, found.as_mut().map(|found| found.fold(job, &common)));
    stages.step("candidates folded");
    let mut picks = Picks::among(&shard, left);
    match &mut found {
        Some(found) => {
            found.choose(job, |pick| picks.fresh(worker, Some(pick)));
            picks.end(worker);
        }
        None => picks.follow(worker),
    }
    stages.step("highlights picked");
    // Process 0 alone sees the outputs.
    let (previous, before) = found
        .as_mut()
        .map(|found| {
            let previous = Previous::find(&job.output.dir, job, table.digest(), &found.answer);
            let before = previous.before(job, &codebook).unwrap_or_default();
            if job.merge.of == MergeOf::Highlights {
                found.carry(job, &before);
            }
            (previous, before)
        })
        .unzip();
    stages.step("previous run read");
    let added = added(worker, &shard, found.as_ref().map(Found::directed));
    if let Some(found) = &mut found {
        found.add(&added);
    }
    stages.end(found.as_ref().map_or(0, |found| found.highlights.len()));

    let influences: Vec<f64> = verdicts.iter().filter(|v| v.kept).map(|v| v.influence).collect();
    let (mut shared_customers, mut of_cell) = (Overlaps::default(), Vec::new());
    let (merged, assigned) = match job.merge.of {
        MergeOf::Highlights => {
            // What each highlight is left with once stronger ones have taken their customers decides which of them are merged.
            let sums = loop {
                let sums = taken(worker, &shard, found.as_ref().map(Found::asked));
                let explained = found.as_mut().map(|found| found.drop_explained(job, &sums));
                stages.step("taken counted");
                if !broadcast(worker, explained) {
                    break sums;
                }
            };
            shared_customers = overlaps(worker, &shard, found.as_ref().map(|found| found.compared(job)));
            let audience = assign(worker, &shard, &shape.cardinality, found.as_ref().map(Found::asked));
            found.as_ref().zip(audience).map(|(found, audience)| {
                let taken = sums.into_iter().zip(audience.taken).map(|(stats, profile)| Taken { stats, profile });
                let merged = Merged::highlights(found, audience.spreads, taken.collect(), &influences);
                (merged, audience.assigned)
            })
        }
        MergeOf::Cells => {
            let earlier = broadcast(worker, before.as_ref().map(Before::features));
            let grid = grid(job, &codebook, &verdicts, customers, &earlier)?;
            let cells = Cells::find(worker, &shard, grid, job.merge.max_cells)?;
            let (taken, assigned) = (cells.sums(worker, &shard, &shape.cardinality), cells.assign(worker, &shard));
            let merged = found.as_ref().zip(before);
            let merged = merged.map(|(found, before)| Merged::cells(found, &cells, taken, &influences, &before));
            let merged = merged.map(|merged| (merged, assigned));
            of_cell = cells.of_rows;
            merged
        }
    }
    .unzip();
    stages.step("customers assigned");
    let in_rounds = broadcast(worker, merged.as_ref().map(|merged| merged.in_rounds(job)));
    let tree = match in_rounds {
        true => grow(worker, shared, merged.as_ref().map(Merged::start), |start| rounds(job, start)),
        false => merged.as_ref().map(|merged| merged.tree(job, &shared_customers)),
    };
    stages.step("merged");
    let merged = merged.zip(found.as_ref()).zip(tree).map(|((merged, found), tree)| {
        let clusters = merged.cut(job, found, &tree, &shared_customers);
        (merged, clusters)
    });
    let given = found.as_ref().zip(merged.as_ref());
    let given =
        given.map(|(found, (merged, clusters))| Given::of(found, job, merged.sums(clusters), merged.items(clusters)));
    let alternatives = match job.merge.compare {
        true => alternatives(worker, &shard, &codebook, &influences, given),
        false => Vec::new(),
    };
    stages.step("other methods compared");
    stages.end(merged.as_ref().map_or(0, |(_, clusters)| clusters.members.len()));
    let mixed;
    let rules = match job.merge.of {
        MergeOf::Highlights => {
            let listed = merged.as_ref().map(|(merged, clusters)| merged.listed(clusters));
            let lists = listed.clone().map_or(Vec::new(), |(_, lists)| lists);
            mixed = crossed(worker, &shard, &dimensions, listed.clone());
            let lists = lists.into_iter().zip(described(worker, &shard, listed)).collect::<Vec<_>>();
            merged.as_ref().map(|(merged, clusters)| merged.short_rules(clusters, &lists))
        }
        MergeOf::Cells => {
            let members = merged.as_ref().map(|(_, clusters)| clusters.members.clone());
            mixed = crossed_cells(worker, &shard, &dimensions, &of_cell, members);
            let least = min_uv.try_into().unwrap_or(i64::MAX);
            merged.as_ref().map(|(merged, clusters)| merged.cell_rules(&codebook, clusters, least))
        }
    };
    drop(shard);
    let published = found.zip(merged).zip(rules.zip(assigned)).zip(previous).map(
        |(((found, (merged, clusters)), (rules, mut assigned)), previous)| {
            let unlimited = merged.beyond_matrix(job);
            let (grouping, ids) =
                merged.grouping(&found, &codebook, job.output.language, clusters, rules, &mut assigned);
            let mix = mixed.map_or_else(Mix::default, |crossed| {
                Mix::of(dimensions, &crossed, &ids, found.kind, found.scale, floor(job))
            });
            stages.end(assigned.group.len());
            let mut notes = found.notes(job, customers, min_uv, codebook.features.len());
            notes.extend(rounded_notes(&rounded, &scales, reading, table));
            notes.extend(unlimited);
            notes.extend(change_notes(job, changes.as_ref(), &codebook));
            notes.extend(cut_notes(&caps, &scales, job));
            let untold =
                untold.iter().map(|(column, why)| format!("Groups are not told by {column:?} (profile.by): {why}."));
            notes.extend(untold);
            publish(Outcome {
                caps,
                bases: found.base_measures(),
                secondary: job.secondary.iter().map(|s| s.name.clone()).zip(found.secondary_bases(&scales)).collect(),
                kind: found.kind,
                codebook,
                verdicts,
                segments: found.scored,
                answer: found.answer,
                moments: found.moments,
                scales,
                prior: found.shrinkage.prior().to_vec(),
                highlights: found.highlights,
                funnel: found.funnel,
                grouping,
                alternatives,
                assigned,
                mix,
                quality,
                file_rows,
                stages: stages.done,
                levels,
                changes,
                previous,
                notes,
            })
        },
    );
    decide(worker, published)
}

/// Of which metrics values were rounded.
fn rounded_notes(rounded: &[u64], scales: &[Scale], reading: &Reading, table: &Table) -> Vec<String> {
    let of = rounded.iter().zip(scales).zip(&reading.metrics).filter(|((rounded, _), _)| **rounded > 0);
    let note = |((rounded, scale), input): ((&u64, &Scale), &MetricInput)| {
        let column = |place: usize| &table.columns()[reading.columns[place]].name;
        let name = match input.denominator {
            Some(denominator) => format!("{:?} and {:?}", column(input.column), column(denominator)),
            None => format!("{:?}", column(input.column)),
        };
        let decimals = scale.decimals.max(scale.den_decimals);
        let setting = &input.setting;
        format!("{rounded} values of {name} have more than {decimals} decimals and were rounded ({setting}.decimals).")
    };
    of.map(note).collect()
}

/// What has to be said of a comparison of two periods.
fn change_notes(job: &Job, changes: Option<&Changes>, codebook: &Codebook) -> Vec<String> {
    match (&job.compare, changes) {
        (None, _) => Vec::new(),
        (Some(_), None) => {
            vec![
                "The periods are not compared: the mean of one of them is not defined, as its denominator is 0.".into(),
            ]
        }
        (Some(compare), Some(changes)) => {
            let note = |feature| {
                let name = &codebook.feature(feature).name;
                format!(
                    "Feature {name:?} follows from the period: most customers of one have values that nobody in the other has. What \
                     it explains of the change may be no more than that time has passed ({:?} is compared); features.exclude \
                     leaves it out.",
                    compare.column
                )
            };
            changes.periodical().map(note).collect()
        }
    }
}

/// One record a level, over all workers, at worker 0; seconds are those of the slowest.
fn level_records(worker: &mut Worker, enumeration: &Enumeration, shape: &Shape) -> Vec<LevelRecord> {
    let workers = gather(worker, enumeration.counted.clone());
    let Some(rounds) = workers.first().map(Vec::len) else { return Vec::new() };
    let mut planned = enumeration.planned(shape).into_iter();
    let mut records = Vec::new();
    for round in 0..rounds {
        let all = || workers.iter().map(|rounds| &rounds[round]);
        let [from, to] = workers[0][round].levels;
        let mut block_us = workers[0][round].block_us();
        all().skip(1).for_each(|other| block_us.add(other.block_us()).expect("histograms of one precision"));
        let at = |quantile| block_us.value_at_quantile(quantile);
        for (level, planned) in (from..=to).zip(&mut planned) {
            let segments = &enumeration.answer.segments;
            let record = LevelRecord {
                level: level as u64,
                feature_sets: planned.feature_sets,
                candidates: planned.candidates.unwrap_or(0),
                cells: planned.cells,
                kept: segments.iter().filter(|s| s.level() == level).count() as u64,
                ..LevelRecord::default()
            };
            records.push(match level == to {
                // What was counted together is told with the deepest level, whose blocks the others were summed out of.
                true => LevelRecord {
                    covering_blocks: workers[0][round].passes,
                    seconds: all().map(|c| c.seconds).fold(0.0, f64::max),
                    bytes_exchanged: all().map(|c| c.bytes_exchanged).sum(),
                    block_us: [at(0.5), at(0.99), block_us.max()],
                    block_us_counts: counts(&block_us),
                    ..record
                },
                false => record,
            });
        }
    }
    records
}

/// The values of a histogram and how often each was recorded, as [`LevelRecord::block_us_counts`] has them.
fn counts(histogram: &Histogram<u64>) -> Vec<[u64; 2]> {
    histogram.iter_recorded().map(|step| [step.value_iterated_to(), step.count_at_value()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_rebuilt_from_their_counts_and_merge() {
        let of = |values: &[u64]| {
            let mut histogram = Histogram::<u64>::new(3).expect("a histogram");
            values.iter().for_each(|&value| histogram.record(value).expect("it resizes"));
            histogram
        };
        // Above 2,047 three significant digits do not tell all neighbours apart: 4,000 and 4,001 are one value.
        let (a, b) = (of(&[7, 7, 950, 4_000, 4_001, 123_456]), of(&[0, 7, 4_001]));
        assert_eq!(counts(&of(&[7, 7, 950])), [[7, 2], [950, 1]]);
        let mut merged = Histogram::<u64>::new(3).expect("a histogram");
        for [us, passes] in [counts(&a), counts(&b)].concat() {
            merged.record_n(us, passes).expect("it resizes");
        }
        assert_eq!(merged, of(&[7, 7, 950, 4_000, 4_001, 123_456, 0, 7, 4_001]));
        assert_eq!(counts(&of(&[])), Vec::<[u64; 2]>::new());
    }
}
