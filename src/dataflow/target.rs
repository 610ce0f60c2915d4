//! What needs the rows once the segments are known: overlaps, profiles, and who goes to which group.
//!
//! What crosses between workers, to worker 0, is one count a pair of segments, one count a segment and code, the sums of each
//! group, and the ids of the customers that are put into a group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::audience::{Assigned, BitSums, Tile};
use crate::encode::Shard;
use crate::profile::Profile;
use crate::segment::Segment;
use crate::stats::{DISCOVERY, Parts, Stats, VALIDATION};

/// What pairs of segments share; of the pairs that were not asked for, nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlaps {
    /// Customers, and the primary metric over those of the discovery part, by the larger position and the smaller.
    shared: BTreeMap<[u32; 2], (i64, Stats)>,
}

impl Overlaps {
    fn get(&self, i: usize, j: usize) -> (i64, Stats) {
        self.shared.get(&[i.max(j) as u32, i.min(j) as u32]).copied().unwrap_or_default()
    }

    /// Customers that segments `i` and `j` share.
    pub fn uv(&self, i: usize, j: usize) -> i64 {
        self.get(i, j).0
    }

    /// The primary metric over the customers of the discovery part that they share.
    pub fn discovery(&self, i: usize, j: usize) -> Stats {
        self.get(i, j).1
    }
}

/// Segments, and pairs of them by position, the larger first.
pub type Asked = (Vec<Segment>, Vec<[u32; 2]>);

/// What pairs of worker 0's segments share. Elsewhere: nothing.
pub fn overlaps(worker: &mut Worker, shard: &Shard, asked: Option<Asked>) -> Overlaps {
    let (segments, pairs) = broadcast(worker, asked);
    // Only segments that are in a pair need their rows.
    let mut used: Vec<u32> = pairs.iter().flatten().copied().collect();
    used.sort_unstable();
    used.dedup();
    let of_used: Vec<Segment> = used.iter().map(|&i| segments[i as usize]).collect();
    let place = |i: u32| used.binary_search(&i).expect("it is in a pair");
    let places: Vec<[usize; 2]> = pairs.iter().map(|pair| pair.map(place)).collect();
    let mut sums = vec![BitSums::none(shard, 1); pairs.len()];
    for tile in Tile::all(shard, &of_used) {
        for (&[i, j], sums) in places.iter().zip(&mut sums) {
            tile.add_common(shard, tile.bits(i), tile.bits(j), sums);
        }
    }
    let total = gathered(worker, shard, sums).into_iter();
    let of = |sums: MetricSums| (sums[0].iter().map(|stats| stats.uv).sum(), sums[0][DISCOVERY]);
    Overlaps { shared: pairs.into_iter().zip(total.map(of)).collect() }
}

/// By metric, then part.
pub type MetricSums = Vec<Parts<Stats>>;

fn add_sums(total: &mut [MetricSums], more: &[MetricSums]) {
    let both = total.iter_mut().flatten().flatten().zip(more.iter().flatten().flatten());
    both.for_each(|(a, b)| *a = *a + *b);
}

/// The workers' sums added up, at worker 0.
fn gathered(worker: &mut Worker, shard: &Shard, sums: Vec<BitSums>) -> Vec<MetricSums> {
    let mut parts = gather(worker, sums.into_iter().map(|s| s.finish(shard)).collect::<Vec<_>>()).into_iter();
    let mut total = parts.next().unwrap_or_default();
    parts.for_each(|part| add_sums(&mut total, &part));
    total
}

/// What each of worker 0's segments has of the customers that it and none before it covers. Elsewhere: nothing.
pub fn taken(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> Vec<MetricSums> {
    let segments = broadcast(worker, segments);
    let mut sums = vec![BitSums::none(shard, shard.metrics.len()); segments.len()];
    for tile in Tile::all(shard, &segments) {
        tile.first_come(|i, bits| tile.add_common(shard, bits, bits, &mut sums[i]));
    }
    gathered(worker, shard, sums)
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
            add_sums(std::slice::from_mut(&mut total.stats), std::slice::from_ref(&more.stats));
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
            spread.add_rows(shard, &tile.rows_of(tile.bits(i)).collect::<Vec<_>>());
        }
        tile.first_come(|i, bits| {
            let rows: Vec<usize> = tile.rows_of(bits).collect();
            taken[i].add_rows(shard, &rows);
            places.extend_from_slice(&rows);
            own.group.extend(std::iter::repeat_n(i as u32, rows.len()));
            own.highlight.extend(std::iter::repeat_n(i as u32, rows.len()));
            own.holdout.extend(rows.iter().map(|&row| shard.part(row) == VALIDATION));
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
