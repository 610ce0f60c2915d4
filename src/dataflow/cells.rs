//! The whole base as cells: which there are, what each sums up to, and who is in which.

use timely::worker::Worker;

use super::agree::{Failure, FailureKind, decide};
use super::collective::gather;
use super::target::{MetricSums, Taken};
use crate::audience::Assigned;
use crate::encode::{Codebook, Codes, Shard};
use crate::job::Job;
use crate::merge::Grid;
use crate::profile::Profile;
use crate::screen::Verdict;
use crate::segment::{FeatureId, Segment};
use crate::stats::{PARTS, Stats, VALIDATION};

/// The cells that have customers.
pub struct Cells {
    /// By number in the grid.
    pub segments: Vec<Segment>,
    /// Of each row of this worker, the position of its cell.
    pub of_rows: Vec<u32>,
}

/// Grids of no more combinations than this have a table of all; larger ones are searched.
const TABLED: u64 = 1 << 24;

/// The grid that the job asks for, or that of the run before, whose cells were of the features `earlier`, or the best one; all workers
/// choose alike.
pub fn grid(
    job: &Job,
    codebook: &Codebook,
    verdicts: &[Verdict],
    customers: u64,
    earlier: &[FeatureId],
) -> Result<Grid, Failure> {
    let spec = &job.merge;
    let kept: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.kept).collect();
    if spec.by.is_empty() {
        // Influences change a little from day to day, and other features would make other groups.
        let as_before = Grid::of(codebook, earlier).filter(|_| !earlier.is_empty());
        if let Some(grid) = as_before.filter(|grid| grid.combinations() <= spec.max_cells as u64) {
            return Ok(grid);
        }
        let influences: Vec<f64> = kept.iter().map(|verdict| verdict.influence).collect();
        return Ok(Grid::best(codebook, &influences, customers, spec.max_cells));
    }
    let usage = |text: String| Failure { kind: FailureKind::Usage, place: (usize::MAX, u64::MAX), text };
    let mut features = Vec::with_capacity(spec.by.len());
    for name in &spec.by {
        let place = codebook.features.iter().position(|feature| feature.name == *name);
        // Before the run it was a feature of one value a customer (`Job::check_by`), so the values have decided.
        let Some(place) = place else {
            let verdict = verdicts.iter().find(|verdict| verdict.feature == *name);
            let reason = verdict.map_or("it is no feature", |verdict| verdict.reason.as_str());
            let left: Vec<String> = kept.iter().map(|verdict| format!("{:?}", verdict.feature)).collect();
            return Err(usage(format!(
                "merge.by = {name:?}: this feature was left out by screening: {reason}; leave it out of merge.by, or change [screen]; \
                 features that are left: {}",
                left.join(", ")
            )));
        };
        features.push(place as FeatureId);
    }
    Grid::of(codebook, &features)
        .ok_or_else(|| usage("merge.by: the features have more than 2^62 combinations of items; name fewer".into()))
}

impl Cells {
    /// The cells of a grid. More than `most` of them are a failure.
    ///
    /// Without a feature that divides anybody there are none.
    pub fn find(worker: &mut Worker, shard: &Shard, grid: Grid, most: usize) -> Result<Cells, Failure> {
        if grid.features.is_empty() {
            return Ok(Cells { segments: Vec::new(), of_rows: vec![0; shard.rows()] });
        }
        let numbers = numbers(shard, &grid);
        let mut own = if grid.combinations() <= TABLED {
            let mut there = vec![false; grid.combinations() as usize];
            numbers.iter().for_each(|&number| there[number as usize] = true);
            (0..).zip(there).filter(|(_, there)| *there).map(|(number, _)| number).collect()
        } else {
            numbers.clone()
        };
        own.sort_unstable();
        own.dedup();
        let all = gather(worker, own);
        let found = (worker.index() == 0).then(|| {
            let mut all = all.concat();
            all.sort_unstable();
            all.dedup();
            match all.len() {
                cells if cells <= most => Ok(all),
                cells => Err(Failure {
                    kind: FailureKind::Usage,
                    place: (usize::MAX, u64::MAX),
                    text: format!(
                        "the features of merge.by have {cells} combinations that customers have, and merge.max_cells allows {most}; \
                         name fewer features, give them coarser bins, or raise merge.max_cells"
                    ),
                }),
            }
        });
        let all: Vec<u64> = decide(worker, found)?;
        let of_rows = if grid.combinations() <= TABLED {
            let mut table = vec![0u32; grid.combinations() as usize];
            (0..).zip(&all).for_each(|(cell, &number)| table[number as usize] = cell);
            numbers.iter().map(|&number| table[number as usize]).collect()
        } else {
            let cell = |number: &u64| all.binary_search(number).expect("all workers' cells are there") as u32;
            numbers.iter().map(cell).collect()
        };
        let segments = all.iter().map(|&number| grid.segment(number)).collect();
        Ok(Cells { segments, of_rows })
    }

    /// What the customers of each cell sum up to, and how they spread over all items, at worker 0. Elsewhere: nothing.
    pub fn sums(&self, worker: &mut Worker, shard: &Shard, cardinality: &[usize]) -> Vec<Taken> {
        let (cells, metrics, width) = (self.segments.len(), shard.metrics.len(), cardinality.iter().sum::<usize>());
        if cells == 0 {
            return Vec::new();
        }
        let mut stats = vec![[Stats::default(); PARTS]; cells * metrics];
        for run in shard.runs() {
            for row in run.rows.clone() {
                let own = &mut stats[self.of_rows[row] as usize * metrics..][..metrics];
                for (stats, metric) in own.iter_mut().zip(&shard.metrics) {
                    stats[run.part] = stats[run.part] + metric.stats_of(std::iter::once(row));
                }
            }
        }
        // A worker has fewer than 2^32 customers.
        let mut counts = vec![0u32; cells * width];
        let mut first = 0;
        for (column, codes) in shard.features.iter().zip(cardinality) {
            let mut count =
                |row: usize, code: u16| counts[self.of_rows[row] as usize * width + first + usize::from(code)] += 1;
            match column {
                Codes::Tags(tags) => {
                    (0..shard.rows()).for_each(|row| tags.row(row).iter().for_each(|&tag| count(row, tag)))
                }
                column => (0..shard.rows()).for_each(|row| count(row, column.at(row))),
            }
            first += codes;
        }
        let mut parts = gather(worker, (stats, counts)).into_iter();
        let Some((mut stats, counts)) = parts.next() else { return Vec::new() };
        let mut counts: Vec<i64> = counts.into_iter().map(i64::from).collect();
        for (more_stats, more_counts) in parts {
            stats.iter_mut().flatten().zip(more_stats.into_iter().flatten()).for_each(|(a, b)| *a = *a + b);
            counts.iter_mut().zip(more_counts).for_each(|(a, b)| *a += i64::from(b));
        }
        let taken = |cell: usize| {
            let sums: MetricSums = stats[cell * metrics..][..metrics].to_vec();
            let mut counts = &counts[cell * width..][..width];
            let of_feature = |&codes: &usize| {
                let (own, rest) = counts.split_at(codes);
                counts = rest;
                own.to_vec()
            };
            Taken { stats: sums, profile: Profile { counts: cardinality.iter().map(of_feature).collect() } }
        };
        (0..cells).map(taken).collect()
    }

    /// Everybody, with the position of their cell and no groups yet, at worker 0. Elsewhere: nobody.
    pub fn assign(&self, worker: &mut Worker, shard: &Shard) -> Assigned {
        if self.segments.is_empty() {
            return Assigned::default();
        }
        let rows = shard.rows();
        let (mut leaf, mut holdout) = (vec![0u32; rows], vec![false; rows]);
        for run in shard.runs() {
            for row in run.rows.clone() {
                let place = shard.order()[row] as usize;
                (leaf[place], holdout[place]) = (self.of_rows[row], run.part == VALIDATION);
            }
        }
        let ids = shard.ids(&(0..rows).collect::<Vec<_>>());
        Assigned::together(gather(worker, Assigned { ids, group: Vec::new(), leaf, holdout }))
    }
}

/// The number of each row's cell.
fn numbers(shard: &Shard, grid: &Grid) -> Vec<u64> {
    let mut numbers = vec![0u64; shard.rows()];
    for (place, &(feature, _)) in grid.features.iter().enumerate() {
        let stride = grid.stride(place);
        let column = &shard.features[usize::from(feature)];
        numbers.iter_mut().enumerate().for_each(|(row, number)| *number += stride * u64::from(column.at(row)));
    }
    numbers
}
