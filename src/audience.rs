//! Which customers: by their own ids, for what is written, and as bitmaps over rows, for what is computed.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::encode::Shard;
use crate::segment::{Item, Segment};
use crate::simd;
use crate::stats::{Moments, PARTS, Parts, Stats};

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
            CustomerIds::Runs(runs) => CustomerIds::Row(places.iter().map(|&i| runs.at(i)).collect()),
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

    /// Adds ids of the same kind.
    pub fn append(&mut self, other: CustomerIds) {
        match (self, other) {
            (CustomerIds::Row(ids), CustomerIds::Row(more)) => ids.extend(more),
            (CustomerIds::Int(ids), CustomerIds::Int(more)) => ids.extend(more),
            (CustomerIds::Text(ids), CustomerIds::Text(more)) => ids.extend(more),
            (_, _) => unreachable!("all workers read the same column"),
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

    /// The runs in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.0).chain([self.len]);
        self.runs.iter().zip(ends).map(|(&(first, number), end)| number..number + (end - first) as u64)
    }
}

/// The customers that were put into a group: four columns of one length, in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    pub ids: CustomerIds,
    /// `Group::id`.
    pub group: Vec<u32>,
    /// Which of the group's segments put the customer there: position in the list of highlights.
    pub highlight: Vec<u32>,
    /// Whether the customer is in the validation part.
    pub holdout: Vec<bool>,
}

/// Rows of a tile that a set of segments covers: the customers of a segment as a bitmap, one bit a row.
///
/// Tiles are small, so that the bitmaps of hundreds of segments stay in the cache whatever the number of rows.
pub struct Tile {
    pub start: usize,
    pub len: usize,
    segments: Vec<Vec<u64>>,
}

/// The sums of the metrics over customers that were given as bits.
#[derive(Clone, Debug)]
pub struct BitSums {
    moments: Moments,
    /// Customers of each run of the shard that need not be looked at one by one.
    by_run: Vec<i64>,
    /// By metric, from the primary one on, then part: those of the others.
    stats: Vec<Parts<Stats>>,
}

impl BitSums {
    /// Of nobody, and of the first `metrics` metrics of a shard.
    pub fn none(shard: &Shard, metrics: usize) -> BitSums {
        BitSums {
            moments: shard.moments(),
            by_run: vec![0; shard.runs().len()],
            stats: vec![[Stats::default(); PARTS]; metrics],
        }
    }

    /// The sums by metric and part.
    pub fn finish(mut self, shard: &Shard) -> Vec<Parts<Stats>> {
        for (run, customers) in shard.runs().iter().zip(std::mem::take(&mut self.by_run)) {
            if customers > 0 {
                self.add(shard, run.rows.start, customers, run.part);
            }
        }
        self.stats
    }

    /// Adds so many customers with the metrics of one row.
    fn add(&mut self, shard: &Shard, row: usize, times: i64, part: usize) {
        let mut values = Vec::with_capacity(self.moments.width());
        shard.metrics.iter().for_each(|metric| metric.moments_at(row, |v| values.push(v * i128::from(times))));
        for (metric, stats) in self.stats.iter_mut().enumerate() {
            stats[part] = stats[part] + self.moments.stats(metric, times, &values);
        }
    }
}

/// Rows of a tile: 1 KiB a bitmap, so that those of 400 candidates stay within a second-level cache.
pub const TILE: usize = 1 << 13;

impl Tile {
    /// The tiles of a shard, in order, with the bitmaps of `segments`.
    pub fn all<'a>(shard: &'a Shard, segments: &'a [Segment]) -> impl Iterator<Item = Tile> + 'a {
        let items: Vec<Item> = {
            let all: BTreeSet<Item> = segments.iter().flat_map(|s| s.items()).collect();
            all.into_iter().collect()
        };
        (0..shard.rows()).step_by(TILE).map(move |start| {
            let len = TILE.min(shard.rows() - start);
            let of_item: Vec<Vec<u64>> = shard.bitmaps(&items, start, len);
            let of_segment = |segment: &Segment| {
                let mut bits = full(len);
                for item in segment.items() {
                    let at = items.binary_search(&item).expect("every item has a bitmap");
                    bits.iter_mut().zip(&of_item[at]).for_each(|(a, b)| *a &= b);
                }
                bits
            };
            Tile { start, len, segments: segments.iter().map(of_segment).collect() }
        })
    }

    /// The rows of the tile that segment `i` covers.
    pub fn bits(&self, i: usize) -> &[u64] {
        &self.segments[i]
    }

    /// The rows of the shard that some bits of this tile stand for, in order.
    pub fn rows_of<'a>(&self, bits: &'a [u64]) -> impl Iterator<Item = usize> + use<'a> {
        let start = self.start;
        ones(bits).map(move |row| start + row)
    }

    /// Adds the customers that two sets of bits of this tile share.
    ///
    /// Within a run all rates are the same, and what else is zero need not be looked at: there the bits are only counted.
    pub fn add_common(&self, shard: &Shard, a: &[u64], b: &[u64], sums: &mut BitSums) {
        for (place, run) in shard.runs().iter().enumerate() {
            let (first, end) = (run.rows.start.max(self.start), run.rows.end.min(self.start + self.len));
            if first >= end {
                continue;
            }
            let range = first - self.start..end - self.start;
            if run.zero {
                sums.by_run[place] += common(a, b, range);
            } else {
                let words = range.start / 64..range.end.div_ceil(64);
                let both: Vec<u64> = a[words.clone()].iter().zip(&b[words.clone()]).map(|(a, b)| a & b).collect();
                let offset = self.start + words.start * 64;
                let rows = ones(&both).map(|row| offset + row).filter(|row| (first..end).contains(row));
                rows.for_each(|row| sums.add(shard, row, 1, run.part));
            }
        }
    }

    /// For each segment in turn, the rows that it covers and none before it does, as bits.
    pub fn first_come(&self, mut each: impl FnMut(usize, &[u64])) {
        let mut free = full(self.len);
        let mut taken = vec![0; free.len()];
        for (i, bits) in self.segments.iter().enumerate() {
            taken.iter_mut().zip(bits.iter().zip(&free)).for_each(|(taken, (a, b))| *taken = a & b);
            each(i, &taken);
            free.iter_mut().zip(&taken).for_each(|(a, b)| *a &= !b);
        }
    }
}

/// How many bits of a range, which is not empty, are set in both.
fn common(a: &[u64], b: &[u64], range: Range<usize>) -> i64 {
    let (first, last) = (range.start / 64, (range.end - 1) / 64);
    let low = u64::MAX << (range.start % 64);
    let high = u64::MAX >> (63 - (range.end - 1) % 64);
    let at = |word: usize, mask: u64| (a[word] & b[word] & mask).count_ones() as i64;
    if first == last {
        return at(first, low & high);
    }
    at(first, low) + simd::count_common(&a[first + 1..last], &b[first + 1..last]) as i64 + at(last, high)
}

fn full(len: usize) -> Vec<u64> {
    let mut bits = vec![u64::MAX; len.div_ceil(64)];
    if let (Some(last), rest @ 1..) = (bits.last_mut(), len % 64) {
        *last = (1 << rest) - 1;
    }
    bits
}

fn ones(bits: &[u64]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().flat_map(|(word, &bits)| {
        std::iter::successors((bits != 0).then_some(bits), |bits| Some(bits & (bits - 1)).filter(|&rest| rest != 0))
            .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
    })
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

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
    }

    #[test]
    fn tiles_know_the_rows_of_segments() {
        let shard = shard();
        let segments = [segment(&[(0, 1)]), segment(&[(1, 2)]), segment(&[(0, 1), (1, 2)]), segment(&[(0, 2)])];
        let tiles: Vec<Tile> = Tile::all(&shard, &segments).collect();
        assert_eq!(tiles.len(), 1);
        assert_eq!(
            tiles[0].rows_of(tiles[0].bits(2)).collect::<Vec<_>>(),
            (0..150).filter(|r| r % 3 == 1 && r % 5 == 2).collect::<Vec<_>>()
        );
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
        let mut sums = BitSums::none(&shard, 2);
        let segments = [segment(&[(0, 1)]), Segment::BASE];
        Tile::all(&shard, &segments).for_each(|tile| tile.add_common(&shard, tile.bits(0), tile.bits(1), &mut sums));
        let sums = sums.finish(&shard);
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
        Tile::all(&shard, &segments).for_each(|tile| tile.first_come(|i, bits| taken[i].extend(tile.rows_of(bits))));
        let rows = |keep: fn(usize) -> bool| (0..150).filter(|&r| keep(r)).collect::<Vec<_>>();
        assert_eq!(taken[0], rows(|r| r % 3 == 1 && r % 5 == 2));
        assert_eq!(taken[1], rows(|r| r % 3 == 1 && r % 5 != 2));
        assert_eq!(taken[2], rows(|r| r % 3 != 1 && r % 5 == 2));
    }
}
