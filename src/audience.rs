//! Which customers: by their own ids, for what is written, and as bitmaps over rows, for what is computed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::encode::Shard;
use crate::segment::{Item, Segment};
use crate::simd;
use crate::stats::{PARTS, Parts, Stats};

/// Customer ids as the input has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CustomerIds {
    /// The job has no id column: row numbers, from 0, over the files in order.
    Row(Vec<u64>),
    /// The same of all rows of a worker.
    Runs(RowRuns),
    Int(Vec<i64>),
    Text(Vec<String>),
}

impl Default for CustomerIds {
    fn default() -> Self {
        CustomerIds::Row(Vec::new())
    }
}

impl CustomerIds {
    pub fn len(&self) -> usize {
        match self {
            CustomerIds::Row(ids) => ids.len(),
            CustomerIds::Runs(runs) => runs.len(),
            CustomerIds::Int(ids) => ids.len(),
            CustomerIds::Text(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids in these places, one by one.
    pub fn at(&self, places: &[usize]) -> CustomerIds {
        match self {
            CustomerIds::Row(ids) => CustomerIds::Row(places.iter().map(|&i| ids[i]).collect()),
            CustomerIds::Runs(runs) => CustomerIds::Row(runs.of(places)),
            CustomerIds::Int(ids) => CustomerIds::Int(places.iter().map(|&i| ids[i]).collect()),
            CustomerIds::Text(ids) => CustomerIds::Text(places.iter().map(|&i| ids[i].clone()).collect()),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        match self {
            CustomerIds::Row(ids) => 8 * ids.len() as u64,
            CustomerIds::Runs(runs) => 16 * runs.runs.len() as u64,
            CustomerIds::Int(ids) => 8 * ids.len() as u64,
            CustomerIds::Text(ids) => ids.iter().map(|id| (size_of::<String>() + id.capacity()) as u64).sum(),
        }
    }
}

/// Row numbers as runs of consecutive ones: at 8 bytes each they would take more than half of what a coded row takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowRuns {
    /// The place of each run's first number, and that number.
    runs: Vec<(usize, u64)>,
    len: usize,
}

impl RowRuns {
    /// Appends consecutive numbers.
    pub fn push(&mut self, first: u64, len: usize) {
        let follows = |&(place, number): &(usize, u64)| number + (self.len - place) as u64 == first;
        if !self.runs.last().is_some_and(follows) {
            self.runs.push((self.len, first));
        }
        self.len += len;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn at(&self, place: usize) -> u64 {
        let (first, number) = self.runs[self.runs.partition_point(|run| run.0 <= place) - 1];
        number + (place - first) as u64
    }

    /// The numbers in these places. Fastest where the places mostly increase.
    fn of(&self, places: &[usize]) -> Vec<u64> {
        let mut run = 0..0;
        let mut first = 0;
        let number = |&place: &usize| {
            if !run.contains(&place) {
                let next = self.runs.partition_point(|run| run.0 <= place);
                let end = self.runs.get(next).map_or(self.len, |run| run.0);
                (run, first) = (self.runs[next - 1].0..end, self.runs[next - 1].1);
            }
            first + (place - run.start) as u64
        };
        places.iter().map(number).collect()
    }

    /// The runs in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.0).chain([self.len]);
        self.runs.iter().zip(ends).map(|(&(first, number), end)| number..number + (end - first) as u64)
    }
}

/// The customers that were put into a group: four columns of one length, in the order of the table as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    pub ids: CustomerIds,
    /// `Group::id`.
    pub group: Vec<u32>,
    /// Which of the group's segments put the customer there: position in the list of highlights.
    pub highlight: Vec<u32>,
    /// Whether the customer is in the validation part.
    pub holdout: Vec<bool>,
}

impl Assigned {
    /// The customers of several workers together: where the ids of each are sorted, those of all are.
    pub fn together(parts: Vec<Assigned>) -> Assigned {
        let mut ids = Vec::with_capacity(parts.len());
        let (mut groups, mut highlights, mut holdouts) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            ids.push(part.ids);
            groups.push(part.group);
            highlights.push(part.highlight);
            holdouts.push(part.holdout);
        }
        let (ids, stretches) = CustomerIds::together(ids);
        Assigned {
            ids,
            group: laid(groups, &stretches),
            highlight: laid(highlights, &stretches),
            holdout: laid(holdouts, &stretches),
        }
    }
}

/// How many elements of which list come next.
type Stretch = (usize, usize);

impl CustomerIds {
    fn together(parts: Vec<CustomerIds>) -> (CustomerIds, Vec<Stretch>) {
        fn all<T: Ord>(parts: Vec<Vec<T>>) -> (Vec<T>, Vec<Stretch>) {
            let stretches = stretches(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            (laid(parts, &stretches), stretches)
        }
        macro_rules! of {
            ($kind:ident) => {{
                let own = |ids| match ids {
                    CustomerIds::$kind(ids) => ids,
                    _ => unreachable!("all workers read the same column"),
                };
                let (ids, stretches) = all(parts.into_iter().map(own).collect());
                (CustomerIds::$kind(ids), stretches)
            }};
        }
        match parts.first() {
            None | Some(CustomerIds::Row(_)) => of!(Row),
            Some(CustomerIds::Int(_)) => of!(Int),
            Some(CustomerIds::Text(_)) => of!(Text),
            Some(CustomerIds::Runs(_)) => unreachable!("the rows of some customers are listed one by one"),
        }
    }
}

/// In which order to lay lists one after the other so that all is sorted, if each of them is; else one whole list after
/// the other.
fn stretches<T: Ord>(lists: &[&[T]]) -> Vec<Stretch> {
    if !lists.iter().all(|list| list.is_sorted()) {
        return lists.iter().map(|list| list.len()).enumerate().collect();
    }
    let head = |list: usize, at: usize| lists[list].get(at).map(|next| Reverse((next, list, at)));
    let mut heads: BinaryHeap<_> = (0..lists.len()).filter_map(|list| head(list, 0)).collect();
    let mut stretches = Vec::new();
    while let Some(Reverse((_, list, from))) = heads.pop() {
        let mut to = from + 1;
        match heads.peek() {
            None => to = lists[list].len(),
            // Of tables that are read in large parts, many come before the next of another list.
            Some(Reverse((other, ..))) => {
                let mut step = 1;
                while lists[list].get(to + step).is_some_and(|next| next <= other) {
                    to += step;
                    step *= 2;
                }
                to += lists[list][to..(to + step).min(lists[list].len())].partition_point(|next| next <= other);
            }
        }
        stretches.push((list, to - from));
        heads.extend(head(list, to));
    }
    stretches
}

/// The elements of some lists, stretch by stretch; of empty lists none.
fn laid<T>(lists: Vec<Vec<T>>, stretches: &[Stretch]) -> Vec<T> {
    let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    let mut lists: Vec<std::vec::IntoIter<T>> = lists.into_iter().map(Vec::into_iter).collect();
    stretches.iter().for_each(|&(list, len)| all.extend(lists[list].by_ref().take(len)));
    all
}

/// Rows of one run of a shard, and which of a set of segments cover them: the customers of a segment as a bitmap, one bit a
/// row.
///
/// Tiles are small, so that the bitmaps of hundreds of segments stay in the cache whatever the number of rows.
pub struct Tile<'a> {
    shard: &'a Shard,
    /// Position of the run.
    run: usize,
    pub start: usize,
    pub len: usize,
    /// Words of a bitmap.
    words: usize,
    /// The bitmaps of the segments, one after the other.
    bits: Vec<u64>,
}

/// The sums of the metrics over several sets of customers that were given as bits.
#[derive(Clone, Debug)]
pub struct BitSums {
    /// By run of the shard, then set: customers that need not be looked at one by one.
    by_run: Vec<Vec<u32>>,
    /// By set, metric, from the primary one on, and part: those of the others.
    stats: Vec<Vec<Parts<Stats>>>,
    /// Places of the rows at hand.
    rows: Vec<u32>,
}

impl BitSums {
    /// Of so many sets of nobody, and of the first `metrics` metrics of a shard.
    pub fn none(shard: &Shard, sets: usize, metrics: usize) -> BitSums {
        BitSums {
            by_run: vec![vec![0; sets]; shard.runs().len()],
            stats: vec![vec![[Stats::default(); PARTS]; metrics]; sets],
            rows: Vec::new(),
        }
    }

    /// The sums by set, metric and part.
    pub fn finish(mut self, shard: &Shard) -> Vec<Vec<Parts<Stats>>> {
        let metrics = self.stats.first().map_or(0, Vec::len);
        for (run, customers) in shard.runs().iter().zip(self.by_run) {
            // Alike for all customers of the run, in whatever is summed here.
            let one: Vec<Stats> =
                shard.metrics[..metrics].iter().map(|metric| metric.stats_of(run.rows.clone().take(1))).collect();
            for (stats, customers) in self.stats.iter_mut().zip(customers).filter(|(_, customers)| *customers > 0) {
                for (stats, one) in stats.iter_mut().zip(&one) {
                    stats[run.part] = stats[run.part] + one.times(i64::from(customers));
                }
            }
        }
        self.stats
    }
}

/// Rows of a tile: 1 KiB a bitmap, so that those of 400 candidates stay within a second-level cache.
pub const TILE: usize = 1 << 13;

impl<'a> Tile<'a> {
    /// Calls `each` with the tiles of a shard, in order, with the bitmaps of `segments`.
    pub fn each(shard: &'a Shard, segments: &[Segment], mut each: impl FnMut(&Tile<'a>)) {
        let items: Vec<Item> = {
            let all: BTreeSet<Item> = segments.iter().flat_map(|s| s.items()).collect();
            all.into_iter().collect()
        };
        let at = |item| items.binary_search(&item).expect("every item has a bitmap");
        let items_of: Vec<Vec<usize>> = segments.iter().map(|s| s.items().map(at).collect()).collect();
        let mut tile = Tile { shard, run: 0, start: 0, len: 0, words: 0, bits: Vec::new() };
        for (run, of_run) in shard.runs().iter().enumerate() {
            for start in of_run.rows.clone().step_by(TILE) {
                let len = TILE.min(of_run.rows.end - start);
                (tile.run, tile.start, tile.len, tile.words) = (run, start, len, len.div_ceil(64));
                let of_item: Vec<Vec<u64>> = shard.bitmaps(&items, start, len);
                let all = full(len);
                tile.bits.clear();
                for items in &items_of {
                    let from = tile.bits.len();
                    tile.bits.extend_from_slice(items.first().map_or(&all, |&item| &of_item[item]));
                    for &item in items.iter().skip(1) {
                        tile.bits[from..].iter_mut().zip(&of_item[item]).for_each(|(a, b)| *a &= b);
                    }
                }
                each(&tile);
            }
        }
    }

    /// The rows of the tile that segment `i` covers.
    pub fn bits(&self, i: usize) -> &[u64] {
        &self.bits[i * self.words..][..self.words]
    }

    /// The part that its rows are in.
    pub fn part(&self) -> usize {
        self.shard.runs()[self.run].part
    }

    /// Adds the customers that each two segments share to the set that has the place of the pair.
    ///
    /// Within a run all rates are the same, and what else is zero need not be looked at: there the bits are only counted.
    pub fn add_pairs(&self, pairs: &[[u32; 2]], sums: &mut BitSums) {
        if self.shard.runs()[self.run].zero {
            simd::count_pairs(&self.bits, self.words, pairs, &mut sums.by_run[self.run]);
        } else {
            let mut both = vec![0; self.words];
            for (set, &[i, j]) in pairs.iter().enumerate() {
                let words = self.bits(i as usize).iter().zip(self.bits(j as usize));
                both.iter_mut().zip(words).for_each(|(both, (a, b))| *both = a & b);
                self.add_one_by_one(&both, set, sums);
            }
        }
    }

    /// Adds customers, so many of them, that some bits of this tile stand for, to a set.
    pub fn add(&self, bits: &[u64], count: u32, set: usize, sums: &mut BitSums) {
        if self.shard.runs()[self.run].zero {
            sums.by_run[self.run][set] += count;
        } else {
            self.add_one_by_one(bits, set, sums);
        }
    }

    fn add_one_by_one(&self, bits: &[u64], set: usize, sums: &mut BitSums) {
        // Listed first: summing is then a plain loop.
        list(bits, &mut sums.rows);
        for (stats, metric) in sums.stats[set].iter_mut().zip(&self.shard.metrics) {
            let own = &mut stats[self.part()];
            *own = *own + metric.stats_of(sums.rows.iter().map(|&row| self.start + row as usize));
        }
    }

    /// For each segment in turn, the rows that it covers and none before it does, as bits, and how many they are.
    pub fn first_come(&self, mut each: impl FnMut(usize, &[u64], u32)) {
        let mut free = full(self.len);
        let mut taken = vec![0; free.len()];
        for i in 0..self.bits.len() / self.words {
            let count = simd::take(self.bits(i), &mut free, &mut taken);
            each(i, &taken, count);
        }
    }
}

fn full(len: usize) -> Vec<u64> {
    let mut bits = vec![u64::MAX; len.div_ceil(64)];
    if let (Some(last), rest @ 1..) = (bits.last_mut(), len % 64) {
        *last = (1 << rest) - 1;
    }
    bits
}

/// Lists the places of the bits that are set, in order.
pub fn list(bits: &[u64], places: &mut Vec<u32>) {
    places.clear();
    for (word, &bits) in bits.iter().enumerate() {
        let mut rest = bits;
        while rest != 0 {
            places.push(64 * word as u32 + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Codes, MetricColumn};

    /// 150 rows: feature 0 is the row modulo 3, feature 1 the row modulo 5.
    fn shard() -> Shard {
        let column = |modulus: u16| {
            let mut codes = Codes::with_capacity(usize::from(modulus), 150);
            (0..150).for_each(|row| codes.push(row % modulus));
            codes
        };
        Shard::new(vec![column(3), column(5)], vec![0; 150], Vec::new(), CustomerIds::Row((0..150).collect()))
    }

    fn rows_of(tile: &Tile, bits: &[u64]) -> Vec<usize> {
        let mut places = Vec::new();
        list(bits, &mut places);
        places.into_iter().map(|place| tile.start + place as usize).collect()
    }

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
    }

    #[test]
    fn customers_of_several_workers_are_sorted_together_if_each_list_is() {
        let part = |ids: &[i64]| Assigned {
            ids: CustomerIds::Int(ids.to_vec()),
            group: Vec::new(),
            highlight: ids.iter().map(|&id| id as u32 * 10).collect(),
            holdout: ids.iter().map(|id| id % 2 == 0).collect(),
        };
        let of = |lists: &[&[i64]]| {
            let all = Assigned::together(lists.iter().map(|ids| part(ids)).collect());
            let CustomerIds::Int(ids) = all.ids else { unreachable!() };
            assert_eq!(all.highlight, ids.iter().map(|&id| id as u32 * 10).collect::<Vec<_>>());
            assert_eq!(all.holdout, ids.iter().map(|id| id % 2 == 0).collect::<Vec<_>>());
            ids
        };
        assert_eq!(of(&[&[1, 2, 3, 7, 8, 20], &[], &[4, 5, 6, 9], &[0, 21]]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21]);
        assert_eq!(of(&[&[3, 1], &[2]]), [3, 1, 2], "not sorted, so they stay as they were");
        let long: Vec<i64> = (0..1000).collect();
        let (even, odd): (Vec<i64>, Vec<i64>) = long.iter().partition(|id| **id % 2 == 0 || (300..600).contains(*id));
        assert_eq!(of(&[&odd, &even]), long);
    }

    #[test]
    fn tiles_know_the_rows_of_segments() {
        let shard = shard();
        let segments = [segment(&[(0, 1)]), segment(&[(1, 2)]), segment(&[(0, 1), (1, 2)]), segment(&[(0, 2)])];
        let mut tiles = 0;
        Tile::each(&shard, &segments, |tile| {
            tiles += 1;
            assert_eq!(rows_of(tile, tile.bits(2)), (0..150).filter(|r| r % 3 == 1 && r % 5 == 2).collect::<Vec<_>>());
        });
        assert_eq!(tiles, 1);
    }

    #[test]
    fn sums_of_bits_are_those_of_their_rows_in_whatever_runs_they_lie() {
        let rows = 1000usize;
        let column = Codes::U8((0..rows).map(|row| (row % 3) as u8).collect());
        let metrics = vec![
            MetricColumn::Rate((0..rows).map(|row| u8::from(row % 7 == 0)).collect()),
            MetricColumn::Amount((0..rows as i64).map(|row| if row % 4 == 0 { row - 300 } else { 0 }).collect()),
        ];
        let part = (0..rows).map(|row| u8::from(row % 10 == 0)).collect();
        let shard = Shard::new(vec![column], part, metrics, CustomerIds::Row((0..rows as u64).collect()));
        let mut sums = BitSums::none(&shard, 2, 2);
        let segments = [segment(&[(0, 1)]), Segment::BASE];
        Tile::each(&shard, &segments, |tile| {
            tile.add_pairs(&[[0, 1]], &mut sums);
            tile.first_come(|i, bits, count| {
                if i == 0 {
                    tile.add(bits, count, 1, &mut sums);
                }
            });
        });
        let sums = sums.finish(&shard);
        assert_eq!(sums[0], sums[1], "one segment is the base");
        let sums = &sums[0];
        for (part, (rates, amounts)) in sums[0].into_iter().zip(sums[1]).enumerate() {
            let own = || (0..rows as i128).filter(|r| r % 3 == 1 && usize::from(r % 10 == 0) == part);
            let (uv, yes) = (own().count() as i64, own().filter(|r| r % 7 == 0).count() as i128);
            let value = |r: i128| if r % 4 == 0 { r - 300 } else { 0 };
            assert_eq!(rates, Stats { uv, sum: yes, sq: yes, ..Stats::default() });
            let (sum, sq) = (own().map(value).sum(), own().map(|r| value(r) * value(r)).sum());
            assert_eq!(amounts, Stats { uv, sum, sq, ..Stats::default() });
        }
    }

    #[test]
    fn each_row_goes_to_the_first_segment_that_covers_it() {
        let shard = shard();
        let segments = [segment(&[(0, 1), (1, 2)]), segment(&[(0, 1)]), segment(&[(1, 2)])];
        let mut taken = vec![Vec::new(); 3];
        Tile::each(&shard, &segments, |tile| tile.first_come(|i, bits, _| taken[i].extend(rows_of(tile, bits))));
        let rows = |keep: fn(usize) -> bool| (0..150).filter(|&r| keep(r)).collect::<Vec<_>>();
        assert_eq!(taken[0], rows(|r| r % 3 == 1 && r % 5 == 2));
        assert_eq!(taken[1], rows(|r| r % 3 == 1 && r % 5 != 2));
        assert_eq!(taken[2], rows(|r| r % 3 != 1 && r % 5 == 2));
    }
}
