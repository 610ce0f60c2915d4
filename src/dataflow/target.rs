//! What needs the rows once the segments are known: overlaps, profiles, and who goes to which group.
//!
//! What crosses between workers, to worker 0, is one count a pair of segments, the sums that segments have of the customers of
//! each that is picked, one count a segment and code, the sums of each group, and the ids of the customers that are put into a group.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::audience::{Assigned, BitSums, Tile, list};
use crate::encode::Shard;
use crate::highlight::Direction;
use crate::profile::{CodeBits, Profile};
use crate::segment::{Item, Segment};
use crate::simd;
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

/// A segment that worker 0 picks among those that all workers know, by position.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pick {
    pub pick: u32,
    /// Picks of one side have their customers in common, those of the other side have not.
    pub side: Direction,
    /// Of whom it is asked what they have of the customers that are new.
    pub others: Vec<u32>,
}

/// Segments picked one by one: who is covered already, side by side.
pub struct Picks<'a> {
    shard: &'a Shard,
    segments: Vec<Segment>,
    /// One bit a row, tile by tile.
    covered: HashMap<Direction, Vec<u64>>,
}

impl<'a> Picks<'a> {
    /// Of segments that all workers know.
    pub fn among(shard: &'a Shard, segments: Vec<Segment>) -> Picks<'a> {
        Picks { shard, segments, covered: HashMap::new() }
    }

    /// What each of the others has of the customers that worker 0's pick newly covers, over the primary metric; then they are covered.
    /// Elsewhere than at worker 0: nothing.
    pub fn fresh(&mut self, worker: &mut Worker, pick: Option<Pick>) -> Vec<Parts<Stats>> {
        self.round(worker, pick.map(Some)).unwrap_or_default()
    }

    /// Tells the other workers that there are no more picks.
    pub fn end(mut self, worker: &mut Worker) {
        self.round(worker, Some(None));
    }

    /// Takes part in worker 0's picks until there are no more.
    pub fn follow(mut self, worker: &mut Worker) {
        while self.round(worker, None).is_some() {}
    }

    fn round(&mut self, worker: &mut Worker, pick: Option<Option<Pick>>) -> Option<Vec<Parts<Stats>>> {
        let Pick { pick, side, others } = broadcast(worker, pick)?;
        // Of few rows, so that the bitmaps of many segments are short.
        let some = self.shard.some(&self.cover(side, self.segments[pick as usize]));
        let others: Vec<Segment> = others.iter().map(|&i| self.segments[i as usize]).collect();
        let mut sums = BitSums::none(&some, others.len(), 1);
        Tile::each(&some, &others, |tile| {
            for i in 0..others.len() {
                match simd::ones(tile.bits(i)) {
                    0 => {}
                    count => tile.add(tile.bits(i), count, i, &mut sums),
                }
            }
        });
        Some(gathered(worker, &some, sums).into_iter().map(|sums| sums[0]).collect())
    }

    /// The rows of a segment that are new, which then are covered.
    fn cover(&mut self, side: Direction, segment: Segment) -> Vec<u32> {
        let all = self.covered.entry(side).or_default();
        let (mut rows, mut places, mut at) = (Vec::new(), Vec::new(), 0);
        Tile::each(self.shard, &[segment], |tile| {
            let bits = tile.bits(0);
            if all.len() < at + bits.len() {
                all.resize(at + bits.len(), 0);
            }
            let fresh = all[at..].iter_mut().zip(bits).map(|(covered, bits)| {
                let fresh = bits & !*covered;
                *covered |= bits;
                fresh
            });
            list(fresh, &mut places);
            rows.extend(places.iter().map(|&place| tile.start as u32 + place));
            at += bits.len();
        });
        rows
    }
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
    Tile::each(shard, &segments, |tile| {
        tile.first_come(0..segments.len(), |i, bits, count| tile.add(bits, count, i, &mut sums))
    });
    gathered(worker, shard, sums)
}

/// What each of worker 0's segments has of the customers that it and none of its side before it covers, over the primary metric.
/// Elsewhere: nothing.
pub fn added(worker: &mut Worker, shard: &Shard, segments: Option<Vec<(Direction, Segment)>>) -> Vec<Stats> {
    let (sides, segments): (Vec<Direction>, Vec<Segment>) = broadcast(worker, segments).into_iter().unzip();
    let mut sums = BitSums::none(shard, segments.len(), 1);
    Tile::each(shard, &segments, |tile| {
        for side in [Direction::Over, Direction::Under] {
            let own = (0..segments.len()).filter(|&i| sides[i] == side);
            tile.first_come(own, |i, bits, count| tile.add(bits, count, i, &mut sums));
        }
    });
    gathered(worker, shard, sums).into_iter().map(|sums| sums[0].into_iter().sum()).collect()
}

/// Segments in the order in which a customer is asked for them, and lists of some of them by position: one a group, whose customers are
/// those that its segments take.
pub type Listed = (Vec<Segment>, Vec<Vec<u32>>);

/// For each segment of each of worker 0's lists: the customers that it and none before it in the list covers, and how many of these are
/// the group's. Elsewhere: nothing.
pub fn described(worker: &mut Worker, shard: &Shard, listed: Option<Listed>) -> Vec<Vec<[i64; 2]>> {
    let (segments, lists) = broadcast(worker, listed);
    let mut group_of = vec![0; segments.len()];
    (0..).zip(&lists).for_each(|(group, list)| list.iter().for_each(|&i| group_of[i as usize] = group));
    let mut counts: Vec<Vec<[i64; 2]>> = lists.iter().map(|list| vec![[0; 2]; list.len()]).collect();
    Tile::each(shard, &segments, |tile| {
        let mut own: Vec<Vec<u64>> = vec![vec![0; tile.len.div_ceil(64)]; lists.len()];
        tile.first_come(0..segments.len(), |i, bits, _| {
            own[group_of[i]].iter_mut().zip(bits).for_each(|(own, bits)| *own |= bits);
        });
        for ((list, own), counts) in lists.iter().zip(&own).zip(&mut counts) {
            let mut counts = counts.iter_mut();
            tile.first_come(list.iter().map(|&i| i as usize), |_, bits, count| {
                let of_group: u32 = bits.iter().zip(own).map(|(bits, own)| (bits & own).count_ones()).sum();
                let [all, of] = counts.next().expect("one count a segment of the list");
                (*all, *of) = (*all + i64::from(count), *of + i64::from(of_group));
            });
        }
    });
    let mut all = gather(worker, counts).into_iter();
    let mut total = all.next().unwrap_or_default();
    for more in all {
        let both = total.iter_mut().flatten().flatten().zip(more.iter().flatten().flatten());
        both.for_each(|(a, b)| *a += b);
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
    /// Every customer taken, with the position of its segment as `leaf`, and no groups yet.
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
            list(tile.bits(i).iter().copied(), &mut rows);
            spread.add_rows(shard, &codes, &rows, tile.bits(i));
        }
        let order = &shard.order()[tile.start..][..tile.len];
        tile.first_come(0..segments.len(), |i, bits, _| {
            list(bits.iter().copied(), &mut rows);
            customers += rows.len();
            taken[i].add_rows(shard, &codes, &rows, bits);
            let own = (i as u32 + 1) << 1 | tile.part() as u32;
            rows.iter().for_each(|&row| owner[order[row as usize] as usize] = own);
        });
    });
    // As the table lists them, so sorted where it is. Every row is written and only those of customers who are taken are kept:
    // no branch, which could not be predicted.
    let (mut places, mut leaf, mut holdout) =
        (vec![0usize; customers + 1], vec![0u32; customers + 1], vec![false; customers + 1]);
    let mut at = 0;
    for (place, owner) in owner.into_iter().enumerate() {
        places[at] = place;
        leaf[at] = (owner >> 1).wrapping_sub(1);
        holdout[at] = (owner & 1) as usize == VALIDATION;
        at += usize::from(owner > 0);
    }
    places.truncate(at);
    leaf.truncate(at);
    holdout.truncate(at);
    let own = Assigned { ids: shard.ids(&places), group: Vec::new(), leaf, holdout };
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
