//! What needs the rows once the segments are known: overlaps, profiles, and who goes to which group.
//!
//! What crosses between workers, to worker 0, is one count a pair of segments, one count a segment and code, the sums of each
//! group, and the ids of the customers that are put into a group.

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::audience::{Assigned, Tile};
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

/// What each two of worker 0's segments share. Elsewhere: nothing.
pub fn overlaps(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> Overlaps {
    let segments = broadcast(worker, segments);
    let kind = shard.metrics[0].kind();
    let mut common = Overlaps::new(segments.len(), kind);
    let width = kind.moments();
    let mut values = Vec::with_capacity(width);
    for tile in Tile::all(shard, &segments) {
        tile.shared(|row, own| {
            let discovery = usize::from(shard.part[row]) == DISCOVERY;
            values.clear();
            shard.metrics[0].moments_at(row, |v| values.push(v));
            for (k, &i) in own.iter().enumerate() {
                for &j in &own[..k] {
                    let pair = Overlaps::pair(i as usize, j as usize);
                    common.uv[pair][0] += 1;
                    if discovery {
                        common.uv[pair][1] += 1;
                        let sums = &mut common.sums[pair * width..][..width];
                        sums.iter_mut().zip(&values).for_each(|(sum, v)| *sum += v);
                    }
                }
            }
        });
    }
    // Most pairs share nobody; only the others are sent.
    let shared = |&(_, uv): &(usize, [i64; 2])| uv[0] > 0;
    let sparse: Vec<(usize, [i64; 2], Vec<i128>)> = (common.uv.iter().copied().enumerate())
        .filter(shared)
        .map(|(pair, uv)| (pair, uv, common.sums[pair * width..][..width].to_vec()))
        .collect();
    let parts = gather(worker, sparse);
    if worker.index() > 0 {
        return Overlaps::default();
    }
    let mut total = Overlaps::new(segments.len(), kind);
    for (pair, uv, sums) in parts.into_iter().flatten() {
        total.uv[pair].iter_mut().zip(uv).for_each(|(a, b)| *a += b);
        total.sums[pair * width..][..width].iter_mut().zip(sums).for_each(|(a, b)| *a += b);
    }
    total
}

/// How the customers of each of worker 0's segments spread over all items. Empty elsewhere.
pub fn profiles(
    worker: &mut Worker,
    shard: &Shard,
    cardinality: &[usize],
    segments: Option<Vec<Segment>>,
) -> Vec<Profile> {
    let segments = broadcast(worker, segments);
    let mut profiles = vec![Profile::empty(cardinality); segments.len()];
    for tile in Tile::all(shard, &segments) {
        for (i, profile) in profiles.iter_mut().enumerate() {
            for (counts, codes) in profile.counts.iter_mut().zip(&shard.features) {
                tile.rows(i).for_each(|row| codes.count(row, counts));
            }
        }
    }
    let mut parts = gather(worker, profiles).into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        total.iter_mut().zip(&part).for_each(|(a, b)| a.add(b));
    }
    total
}

/// What is known of a segment over the customers that it and no stronger segment takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakenSums {
    /// By metric, then part.
    pub stats: Vec<Parts<Stats>>,
    pub profile: Profile,
}

impl TakenSums {
    fn empty(metrics: usize, cardinality: &[usize]) -> TakenSums {
        TakenSums { stats: vec![[Stats::default(); PARTS]; metrics], profile: Profile::empty(cardinality) }
    }

    /// The sums of disjoint sets of customers together; none of none.
    pub fn total<'a>(mut all: impl Iterator<Item = &'a TakenSums>) -> Option<TakenSums> {
        let mut total = all.next()?.clone();
        all.for_each(|more| total.add(more));
        Some(total)
    }

    fn add(&mut self, more: &TakenSums) {
        for (stats, more) in self.stats.iter_mut().zip(&more.stats) {
            stats.iter_mut().zip(more).for_each(|(a, b)| *a = *a + *b);
        }
        self.profile.add(&more.profile);
    }
}

/// Gives every customer to the first of worker 0's segments that covers it. At worker 0: each segment's sums, and the customers
/// with the position of their segment as `group` and `highlight`. Elsewhere: nothing.
pub fn assign(
    worker: &mut Worker,
    shard: &Shard,
    cardinality: &[usize],
    segments: Option<Vec<Segment>>,
) -> Option<(Vec<TakenSums>, Assigned)> {
    let segments = broadcast(worker, segments);
    let moments = shard.moments();
    let mut sums = vec![TakenSums::empty(moments.kinds().len(), cardinality); segments.len()];
    let mut places = Vec::new();
    let mut own = Assigned { ids: shard.ids(&[]), group: Vec::new(), highlight: Vec::new(), holdout: Vec::new() };
    let mut values = Vec::with_capacity(moments.width());
    for tile in Tile::all(shard, &segments) {
        tile.first_come(|i, row| {
            let part = usize::from(shard.part[row]);
            let sum = &mut sums[i];
            values.clear();
            shard.metrics.iter().for_each(|metric| metric.moments_at(row, |v| values.push(v)));
            for (metric, stats) in sum.stats.iter_mut().enumerate() {
                stats[part] = stats[part] + moments.stats(metric, 1, &values);
            }
            for (counts, codes) in sum.profile.counts.iter_mut().zip(&shard.features) {
                codes.count(row, counts);
            }
            places.push(row);
            own.group.push(i as u32);
            own.highlight.push(i as u32);
            own.holdout.push(part == VALIDATION);
        });
    }
    own.ids = shard.ids(&places);
    let mut parts = gather(worker, (sums, own)).into_iter();
    let (mut sums, mut assigned) = parts.next()?;
    for (more, customers) in parts {
        sums.iter_mut().zip(&more).for_each(|(sum, more)| sum.add(more));
        assigned.ids.append(customers.ids);
        assigned.group.extend(customers.group);
        assigned.highlight.extend(customers.highlight);
        assigned.holdout.extend(customers.holdout);
    }
    Some((sums, assigned))
}
