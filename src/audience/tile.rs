//! Customers as bitmaps over rows, for what is computed.

use std::collections::BTreeSet;

use crate::encode::Shard;
use crate::segment::{Item, Segment};
use crate::simd;
use crate::stats::{PARTS, Parts, Stats};

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

/// Segments as the items that they have in common: what their bitmaps are made of.
#[derive(Debug)]
pub struct Covers {
    /// Sorted.
    items: Vec<Item>,
    /// By segment, the places of its items.
    items_of: Vec<Vec<usize>>,
}

impl Covers {
    pub fn of(segments: &[Segment]) -> Covers {
        let items: Vec<Item> = {
            let all: BTreeSet<Item> = segments.iter().flat_map(|s| s.items()).collect();
            all.into_iter().collect()
        };
        let at = |item| items.binary_search(&item).expect("every item has a bitmap");
        let items_of = segments.iter().map(|s| s.items().map(at).collect()).collect();
        Covers { items, items_of }
    }

    /// Calls `each` with the tiles of a shard, in order, with the bitmaps of the segments.
    pub fn each<'a>(&self, shard: &'a Shard, mut each: impl FnMut(&Tile<'a>)) {
        let mut tile = Tile { shard, run: 0, start: 0, len: 0, words: 0, bits: Vec::new() };
        for (run, of_run) in shard.runs().iter().enumerate() {
            for start in of_run.rows.clone().step_by(TILE) {
                let len = TILE.min(of_run.rows.end - start);
                (tile.run, tile.start, tile.len, tile.words) = (run, start, len, len.div_ceil(64));
                let of_item: Vec<Vec<u64>> = shard.bitmaps(&self.items, start, len);
                let all = full(len);
                tile.bits.clear();
                for items in &self.items_of {
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
}

impl<'a> Tile<'a> {
    /// Calls `each` with the tiles of a shard, in order, with the bitmaps of `segments`.
    pub fn each(shard: &'a Shard, segments: &[Segment], each: impl FnMut(&Tile<'a>)) {
        Covers::of(segments).each(shard, each);
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
        list(bits.iter().copied(), &mut sums.rows);
        for (stats, metric) in sums.stats[set].iter_mut().zip(&self.shard.metrics) {
            let own = &mut stats[self.part()];
            *own = *own + metric.stats_of(sums.rows.iter().map(|&row| self.start + row as usize));
        }
    }

    /// For each of these segments in turn, the rows that it covers and none before it does, as bits, and how many they are.
    pub fn first_come(&self, segments: impl Iterator<Item = usize>, mut each: impl FnMut(usize, &[u64], u32)) {
        let mut free = full(self.len);
        let mut taken = vec![0; free.len()];
        for i in segments {
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
pub fn list(bits: impl Iterator<Item = u64>, places: &mut Vec<u32>) {
    places.clear();
    for (word, bits) in bits.enumerate() {
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
    use crate::audience::CustomerIds;
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
        list(bits.iter().copied(), &mut places);
        places.into_iter().map(|place| tile.start + place as usize).collect()
    }

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
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
            tile.first_come(0..2, |i, bits, count| {
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
        Tile::each(&shard, &segments, |tile| tile.first_come(0..3, |i, bits, _| taken[i].extend(rows_of(tile, bits))));
        let rows = |keep: fn(usize) -> bool| (0..150).filter(|&r| keep(r)).collect::<Vec<_>>();
        assert_eq!(taken[0], rows(|r| r % 3 == 1 && r % 5 == 2));
        assert_eq!(taken[1], rows(|r| r % 3 == 1 && r % 5 != 2));
        assert_eq!(taken[2], rows(|r| r % 3 != 1 && r % 5 == 2));
    }
}
