//! What needs the rows once the segments are known: overlaps, profiles, and who goes to which group.
//!
//! What crosses between workers, to worker 0, is one count a pair of segments, the sums of each set of segments that customers have
//! in common, one count a segment and code, the sums of each group, and the ids of the customers that are put into a group.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::audience::{Assigned, BitSums, Multiples, Tile, list};
use crate::encode::Shard;
use crate::highlight::Multiple;
use crate::profile::{CodeBits, Profile};
use crate::segment::{Item, Segment};
use crate::stats::{DISCOVERY, Parts, Stats, VALIDATION};

/// What pairs of segments share; of the pairs that were not asked for, nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlaps {
    /// Larger position and smaller, sorted, with the place of what they share.
    pairs: Vec<([u32; 2], u32)>,
    /// Customers, and the primary metric over those of the discovery part.
    shared: Vec<(i64, Stats)>,
}

impl Overlaps {
    fn get(&self, i: usize, j: usize) -> (i64, Stats) {
        let pair = [i.max(j) as u32, i.min(j) as u32];
        let found = self.pairs.binary_search_by_key(&pair, |&(pair, _)| pair);
        found.map_or_else(|_| Default::default(), |at| self.shared[self.pairs[at].1 as usize])
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

/// Segments, and pairs of them by position, sorted, the larger first.
pub type Asked = (Vec<Segment>, Vec<[u32; 2]>);

/// What pairs of worker 0's segments share. Elsewhere: nothing.
pub fn overlaps(worker: &mut Worker, shard: &Shard, asked: Option<Asked>) -> Overlaps {
    let asked = asked.map(|(segments, pairs)| {
        // What two share is who has the items of both, and many pairs have the same items between them.
        let items = |&[i, j]: &[u32; 2]| {
            let mut items: Vec<Item> = [i, j].iter().flat_map(|&i| segments[i as usize].items()).collect();
            items.sort_unstable();
            items.dedup();
            items
        };
        let (mut places, mut distinct, mut of_pair) = (HashMap::new(), Vec::new(), Vec::new());
        for pair in pairs {
            let place = *places.entry(items(&pair)).or_insert_with(|| {
                distinct.push(pair);
                distinct.len() as u32 - 1
            });
            of_pair.push((pair, place));
        }
        (segments, distinct, of_pair)
    });
    let (asked, of_pair) = asked.map(|(segments, distinct, of_pair)| ((segments, distinct), of_pair)).unzip();
    let (segments, pairs) = broadcast(worker, asked);
    // Only segments that are in a pair need their rows.
    let mut used: Vec<u32> = pairs.iter().flatten().copied().collect();
    used.sort_unstable();
    used.dedup();
    let of_used: Vec<Segment> = used.iter().map(|&i| segments[i as usize]).collect();
    let place = |i: u32| used.binary_search(&i).expect("it is in a pair") as u32;
    let places: Vec<[u32; 2]> = pairs.iter().map(|pair| pair.map(place)).collect();
    let mut sums = BitSums::none(shard, pairs.len(), 1);
    Tile::each(shard, &of_used, |tile| tile.add_pairs(&places, &mut sums));
    let total = gathered(worker, shard, sums).into_iter();
    let of = |sums: MetricSums| (sums[0].iter().map(|stats| stats.uv).sum(), sums[0][DISCOVERY]);
    Overlaps { pairs: of_pair.unwrap_or_default(), shared: total.map(of).collect() }
}

/// The customers whom several of worker 0's segments cover, by which of them do, with the primary metric; sorted. Elsewhere: nothing.
pub fn multiples(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> Vec<Multiple> {
    let segments = broadcast(worker, segments);
    let mut own = Multiples::none(segments.len());
    Tile::each(shard, &segments, |tile| tile.add_multiples(&mut own));
    let own: Vec<Multiple> =
        own.finish(shard).into_iter().map(|(candidates, sums)| Multiple { candidates, sums }).collect();
    let mut total: BTreeMap<Vec<u16>, Parts<Stats>> = BTreeMap::new();
    for Multiple { candidates, sums } in gather(worker, own).into_iter().flatten() {
        let both = total.entry(candidates).or_default();
        both.iter_mut().zip(sums).for_each(|(total, more)| *total = *total + more);
    }
    total.into_iter().map(|(candidates, sums)| Multiple { candidates, sums }).collect()
}

/// By metric, then part.
pub type MetricSums = Vec<Parts<Stats>>;

fn add_sums(total: &mut [MetricSums], more: &[MetricSums]) {
    let both = total.iter_mut().flatten().flatten().zip(more.iter().flatten().flatten());
    both.for_each(|(a, b)| *a = *a + *b);
}

/// The workers' sums added up, at worker 0.
fn gathered(worker: &mut Worker, shard: &Shard, sums: BitSums) -> Vec<MetricSums> {
    let mut parts = gather(worker, sums.finish(shard)).into_iter();
    let mut total = parts.next().unwrap_or_default();
    parts.for_each(|part| add_sums(&mut total, &part));
    total
}

/// What each of worker 0's segments has of the customers that it and none before it covers. Elsewhere: nothing.
pub fn taken(worker: &mut Worker, shard: &Shard, segments: Option<Vec<Segment>>) -> Vec<MetricSums> {
    let segments = broadcast(worker, segments);
    let mut sums = BitSums::none(shard, segments.len(), shard.metrics.len());
    Tile::each(shard, &segments, |tile| tile.first_come(|i, bits, count| tile.add(bits, count, i, &mut sums)));
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
    /// Every customer taken, with the position of its segment as `highlight`, and no groups yet.
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
    // Of each row as it was read: the segment, counted from 1, with the part as the lowest bit; 0 of a row that is not taken.
    let mut owner = vec![0u32; shard.rows()];
    let (mut rows, mut customers) = (Vec::new(), 0);
    Tile::each(shard, &segments, |tile| {
        let codes = CodeBits::of(shard, cardinality, tile.start, tile.len);
        for (i, spread) in spreads.iter_mut().enumerate() {
            list(tile.bits(i), &mut rows);
            spread.add_rows(shard, &codes, &rows, tile.bits(i));
        }
        let order = &shard.order()[tile.start..][..tile.len];
        tile.first_come(|i, bits, _| {
            list(bits, &mut rows);
            customers += rows.len();
            taken[i].add_rows(shard, &codes, &rows, bits);
            let own = (i as u32 + 1) << 1 | tile.part() as u32;
            rows.iter().for_each(|&row| owner[order[row as usize] as usize] = own);
        });
    });
    // As the table lists them, so sorted where it is. Every row is written and only those of customers who are taken are kept:
    // no branch, which could not be predicted.
    let (mut places, mut highlight, mut holdout) =
        (vec![0usize; customers + 1], vec![0u32; customers + 1], vec![false; customers + 1]);
    let mut at = 0;
    for (place, owner) in owner.into_iter().enumerate() {
        places[at] = place;
        highlight[at] = (owner >> 1).wrapping_sub(1);
        holdout[at] = (owner & 1) as usize == VALIDATION;
        at += usize::from(owner > 0);
    }
    places.truncate(at);
    highlight.truncate(at);
    holdout.truncate(at);
    let own = Assigned { ids: shard.ids(&places), group: Vec::new(), highlight, holdout };
    drop(places);
    let mut parts = gather(worker, Audience { spreads, taken, assigned: own });
    let assigned = parts.iter_mut().map(|part| std::mem::take(&mut part.assigned)).collect();
    let mut parts = parts.into_iter();
    let mut total = parts.next()?;
    for part in parts {
        total.spreads.iter_mut().zip(&part.spreads).for_each(|(a, b)| a.add(b));
        total.taken.iter_mut().zip(&part.taken).for_each(|(a, b)| a.add(b));
    }
    total.assigned = Assigned::together(assigned);
    Some(total)
}
