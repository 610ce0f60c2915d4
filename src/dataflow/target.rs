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
use crate::stats::{PARTS, Parts, Stats};

/// Customers that each two of worker 0's segments share: entry `i * n + j`, `j < i`; the others are 0. Empty elsewhere.
pub fn overlaps(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> Vec<i64> {
    let segments = broadcast(worker, segments);
    let n = segments.len();
    let mut common = vec![0i64; n * n];
    for tile in Tile::all(shard, &segments) {
        for i in 0..n {
            for j in 0..i {
                common[i * n + j] += tile.common(i, j);
            }
        }
    }
    let mut total = vec![0i64; if worker.index() == 0 { n * n } else { 0 }];
    for part in gather(worker, common) {
        total.iter_mut().zip(part).for_each(|(a, b)| *a += b);
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
                tile.rows(i).for_each(|row| counts[usize::from(codes.at(row))] += 1);
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

/// Where the customers of each segment go: worker 0 has it, all workers carry it out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Routing {
    /// In the order in which a customer is asked for them.
    pub segments: Vec<Segment>,
    /// For each, its position in the list of highlights and its group, from 0.
    pub targets: Vec<(u32, u32)>,
    pub groups: usize,
}

/// What is known of a group over the customers assigned to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSums {
    /// By metric, then part.
    pub stats: Vec<Parts<Stats>>,
    pub profile: Profile,
}

/// Puts every customer into at most one group. At worker 0: each group's sums, and the customers with their group's number in
/// the routing. Elsewhere: nothing.
pub fn assign(
    worker: &mut Worker,
    shard: &Shard,
    cardinality: &[usize],
    routing: Option<Routing>,
) -> Option<(Vec<GroupSums>, Assigned)> {
    let routing = broadcast(worker, routing);
    let moments = shard.moments();
    let metrics = moments.kinds().len();
    let empty = GroupSums { stats: vec![[Stats::default(); PARTS]; metrics], profile: Profile::empty(cardinality) };
    let mut sums = vec![empty; routing.groups];
    let mut places = Vec::new();
    let mut own = Assigned { ids: shard.ids.at(&[]), group: Vec::new(), highlight: Vec::new(), holdout: Vec::new() };
    let mut values = Vec::with_capacity(moments.width());
    for tile in Tile::all(shard, &routing.segments) {
        tile.first_come(|i, row| {
            let (highlight, group) = routing.targets[i];
            let part = usize::from(shard.part[row]);
            let sum = &mut sums[group as usize];
            values.clear();
            shard.metrics.iter().for_each(|metric| metric.moments_at(row, |v| values.push(v)));
            for (metric, stats) in sum.stats.iter_mut().enumerate() {
                stats[part] = stats[part] + moments.stats(metric, 1, &values);
            }
            for (counts, codes) in sum.profile.counts.iter_mut().zip(&shard.features) {
                counts[usize::from(codes.at(row))] += 1;
            }
            places.push(row);
            own.group.push(group);
            own.highlight.push(highlight);
            own.holdout.push(part == 1);
        });
    }
    own.ids = shard.ids.at(&places);
    let mut parts = gather(worker, (sums, own)).into_iter();
    let (mut sums, mut assigned) = parts.next()?;
    for (more, customers) in parts {
        for (sum, more) in sums.iter_mut().zip(more) {
            for (stats, more) in sum.stats.iter_mut().zip(more.stats) {
                stats.iter_mut().zip(more).for_each(|(a, b)| *a = *a + b);
            }
            sum.profile.add(&more.profile);
        }
        assigned.ids.append(customers.ids);
        assigned.group.extend(customers.group);
        assigned.highlight.extend(customers.highlight);
        assigned.holdout.extend(customers.holdout);
    }
    Some((sums, assigned))
}
