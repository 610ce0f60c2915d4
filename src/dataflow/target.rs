//! What needs the rows once the segments are known: overlaps, profiles, and who goes to which group.
//!
//! What crosses between workers, to worker 0, is one count a pair of segments, one count a segment and code, the sums of each
//! group, and the ids of the customers that are put into a group.

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::audience::{Assigned, Tile};
use crate::coverage::Coverage;
use crate::encode::Shard;
use crate::profile::Profile;
use crate::segment::Segment;
use crate::stats::{DISCOVERY, MetricKind, Moments, PARTS, Parts, Stats, VALIDATION};

/// What each two of `n` segments share. A pair takes as few bytes as its metric needs, so that the pairs of hundreds of segments
/// stay in the cache while rows are added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlaps {
    moments: Option<Moments>,
    /// By pair: customers, and those of the discovery part.
    uv: Vec<[i64; 2]>,
    /// By pair: the sums of the primary metric over those of the discovery part.
    sums: Vec<i128>,
}

impl Overlaps {
    fn new(segments: usize, kind: MetricKind) -> Overlaps {
        let (moments, pairs) = (Moments::of(&[kind]), segments * segments.saturating_sub(1) / 2);
        Overlaps { uv: vec![[0; 2]; pairs], sums: vec![0; pairs * moments.width()], moments: Some(moments) }
    }

    /// Where the pair of two different segments stands.
    fn pair(i: usize, j: usize) -> usize {
        let (low, high) = (i.min(j), i.max(j));
        high * (high - 1) / 2 + low
    }

    /// Customers that segments `i` and `j` share.
    pub fn uv(&self, i: usize, j: usize) -> i64 {
        self.uv[Self::pair(i, j)][0]
    }

    /// The primary metric over the customers of the discovery part that they share.
    pub fn discovery(&self, i: usize, j: usize) -> Stats {
        let moments = self.moments.as_ref().expect("made with a metric");
        let pair = Self::pair(i, j);
        moments.stats(0, self.uv[pair][1], &self.sums[pair * moments.width()..])
    }
}

/// Which of worker 0's segments cover the customers of this worker, and what each two of them share. The overlaps are at worker 0,
/// elsewhere there are none.
pub fn overlaps(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> (Coverage, Overlaps) {
    let segments = broadcast(worker, segments);
    let kind = shard.metrics[0].kind();
    let n = segments.len();
    let mut common = Overlaps::new(n, kind);
    let width = kind.moments();
    let coverage = Coverage::of(shard, segments, |covered| {
        for (k, &i) in covered.by.iter().enumerate() {
            for &j in &covered.by[..k] {
                let pair = Overlaps::pair(i as usize, j as usize);
                common.uv[pair][0] += covered.uv.iter().sum::<i64>();
                common.uv[pair][1] += covered.uv[DISCOVERY];
                // The primary metric comes first, and the discovery part before the other.
                let sums = &mut common.sums[pair * width..][..width];
                sums.iter_mut().zip(covered.sums).for_each(|(sum, v)| *sum += v);
            }
        }
    });
    // Most pairs share nobody; only the others are sent.
    let shared = |&(_, uv): &(usize, [i64; 2])| uv[0] > 0;
    let sparse: Vec<(usize, [i64; 2], Vec<i128>)> = (common.uv.iter().copied().enumerate())
        .filter(shared)
        .map(|(pair, uv)| (pair, uv, common.sums[pair * width..][..width].to_vec()))
        .collect();
    let parts = gather(worker, sparse);
    if worker.index() > 0 {
        return (coverage, Overlaps::default());
    }
    let mut total = Overlaps::new(n, kind);
    for (pair, uv, sums) in parts.into_iter().flatten() {
        total.uv[pair].iter_mut().zip(uv).for_each(|(a, b)| *a += b);
        total.sums[pair * width..][..width].iter_mut().zip(sums).for_each(|(a, b)| *a += b);
    }
    (coverage, total)
}

/// By metric, then part.
pub type MetricSums = Vec<Parts<Stats>>;

/// What each of worker 0's segments has of the customers that it and none before it covers, all of them among those of
/// `coverage`. Elsewhere: nothing.
pub fn taken(
    worker: &mut Worker,
    shard: &Shard,
    coverage: &Coverage,
    segments: Option<Vec<Segment>>,
) -> Vec<MetricSums> {
    let segments = broadcast(worker, segments);
    let moments = shard.moments();
    let metrics = moments.kinds().len();
    // The order in which the covering segments are asked; those that are not asked come never.
    let asked = |covering: &Segment| segments.iter().position(|segment| segment == covering).unwrap_or(usize::MAX);
    let order: Vec<usize> = coverage.segments().iter().map(asked).collect();
    let mut sums: Vec<MetricSums> = vec![vec![[Stats::default(); PARTS]; metrics]; segments.len()];
    coverage.each(shard, |covered| {
        let first = covered.by.iter().map(|&i| order[i as usize]).min().unwrap_or(usize::MAX);
        let Some(sums) = sums.get_mut(first) else { return };
        for (metric, parts) in sums.iter_mut().enumerate() {
            for (part, stats) in parts.iter_mut().enumerate() {
                let own = &covered.sums[part * moments.width()..][..moments.width()];
                *stats = *stats + moments.stats(metric, covered.uv[part], own);
            }
        }
    });
    let mut parts = gather(worker, sums).into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        let both = total.iter_mut().flatten().flatten().zip(part.iter().flatten().flatten());
        both.for_each(|(a, b)| *a = *a + *b);
    }
    total
}

/// A segment over the customers that it and no stronger segment takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub stats: MetricSums,
    pub profile: Profile,
}

impl Taken {
    /// Disjoint sets of customers together; none of none.
    pub fn total<'a>(mut all: impl Iterator<Item = &'a Taken>) -> Option<Taken> {
        let mut total = all.next()?.clone();
        for more in all {
            let both = total.stats.iter_mut().flatten().zip(more.stats.iter().flatten());
            both.for_each(|(a, b)| *a = *a + *b);
            total.profile.add(&more.profile);
        }
        Some(total)
    }
}

/// What becomes of worker 0's segments, which are asked in turn: each customer goes to the first that covers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audience {
    /// How the customers of each segment spread over all items.
    pub spreads: Vec<Profile>,
    /// The same for the customers that it takes.
    pub taken: Vec<Profile>,
    /// Every customer taken, with the position of its segment as `group` and `highlight`.
    pub assigned: Assigned,
}

/// Gives every customer to the first of worker 0's segments that covers it. Elsewhere than at worker 0: nothing.
pub fn assign(
    worker: &mut Worker,
    shard: &Shard,
    cardinality: &[usize],
    segments: Option<Vec<Segment>>,
) -> Option<Audience> {
    let segments = broadcast(worker, segments);
    let mut spreads = vec![Profile::empty(cardinality); segments.len()];
    let mut taken = spreads.clone();
    let mut places = Vec::new();
    let mut own = Assigned { ids: shard.ids(&[]), group: Vec::new(), highlight: Vec::new(), holdout: Vec::new() };
    for tile in Tile::all(shard, &segments) {
        for (i, spread) in spreads.iter_mut().enumerate() {
            spread.add_rows(shard, &tile.rows(i).collect::<Vec<_>>());
        }
        tile.first_come(|i, rows| {
            taken[i].add_rows(shard, rows);
            places.extend_from_slice(rows);
            own.group.extend(std::iter::repeat_n(i as u32, rows.len()));
            own.highlight.extend(std::iter::repeat_n(i as u32, rows.len()));
            own.holdout.extend(rows.iter().map(|&row| usize::from(shard.part[row]) == VALIDATION));
        });
    }
    own.ids = shard.ids(&places);
    drop(places);
    let mut parts = gather(worker, Audience { spreads, taken, assigned: own }).into_iter();
    let mut total = parts.next()?;
    for part in parts {
        total.spreads.iter_mut().zip(&part.spreads).for_each(|(a, b)| a.add(b));
        total.taken.iter_mut().zip(&part.taken).for_each(|(a, b)| a.add(b));
        let (assigned, more) = (&mut total.assigned, part.assigned);
        assigned.ids.append(more.ids);
        assigned.group.extend(more.group);
        assigned.highlight.extend(more.highlight);
        assigned.holdout.extend(more.holdout);
    }
    Some(total)
}
