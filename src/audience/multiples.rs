//! Customers whom several segments cover, by which of them do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::tile::{TILE, Tile, list};
use crate::encode::Shard;
use crate::stats::{Parts, Stats};

/// The customers whom at least two of a list of segments cover, for each set of segments that do.
///
/// Of a row that several cover, the set is known by the exclusive or of their marks (Zobrist, 1970), 128 bits each: of a million
/// sets two are taken for one with a chance of 10⁻²⁷.
#[derive(Clone, Debug, Default)]
pub struct Multiples {
    marks: Vec<u128>,
    place_of: HashMap<u128, usize>,
    sets: Vec<(Vec<u16>, Parts<Stats>)>,
    /// By run of the shard: customers that need not be looked at one by one, with the place of their set.
    by_run: Vec<(usize, HashMap<usize, i64>)>,
    /// Of the tile at hand: the mark of each row, the rows that are covered twice.
    of_row: Vec<u128>,
    rows: Vec<u32>,
}

impl Multiples {
    /// Of so many segments, at most 65,536.
    pub fn none(segments: usize) -> Multiples {
        assert!(segments <= 1 << 16, "segments are numbered with 16 bits");
        let marks = (0..segments as u64).map(|i| u128::from(mixed(2 * i)) << 64 | u128::from(mixed(2 * i + 1)));
        Multiples { marks: marks.collect(), of_row: vec![0; TILE], ..Multiples::default() }
    }

    /// The sets of positions, ascending, with the sums of the primary metric over the customers of each.
    pub fn finish(mut self, shard: &Shard) -> Vec<(Vec<u16>, Parts<Stats>)> {
        for (run, sets) in self.by_run {
            // Alike for all customers of the run.
            let run = &shard.runs()[run];
            let one = shard.metrics[0].stats_of(run.rows.clone().take(1));
            for (place, customers) in sets {
                let sums = &mut self.sets[place].1[run.part];
                *sums = *sums + one.times(customers);
            }
        }
        self.sets
    }
}

/// A fixed number for a number, all bits of it spread (SplitMix64; Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Tile<'_> {
    /// Adds the rows that at least two of the segments cover.
    pub fn add_multiples(&self, sums: &mut Multiples) {
        let segments = sums.marks.len();
        let (mut once, mut twice) = (vec![0u64; self.words], vec![0u64; self.words]);
        for i in 0..segments {
            for ((once, twice), &bits) in once.iter_mut().zip(&mut twice).zip(self.bits(i)) {
                *twice |= *once & bits;
                *once |= bits;
            }
        }
        if twice.iter().all(|&word| word == 0) {
            return;
        }
        for i in 0..segments {
            let mark = sums.marks[i];
            for (word, (&bits, &twice)) in self.bits(i).iter().zip(&twice).enumerate() {
                let mut rest = bits & twice;
                while rest != 0 {
                    sums.of_row[64 * word + rest.trailing_zeros() as usize] ^= mark;
                    rest &= rest - 1;
                }
            }
        }
        let run = &self.shard.runs()[self.run];
        if run.zero && sums.by_run.last().is_none_or(|(last, _)| *last != self.run) {
            sums.by_run.push((self.run, HashMap::new()));
        }
        let mut rows = std::mem::take(&mut sums.rows);
        list(&twice, &mut rows);
        for &row in &rows {
            let mark = std::mem::take(&mut sums.of_row[row as usize]);
            let place = match sums.place_of.entry(mark) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    let covers = |i: &usize| self.bits(*i)[row as usize / 64] >> (row % 64) & 1 == 1;
                    sums.sets.push(((0..segments).filter(covers).map(|i| i as u16).collect(), Parts::default()));
                    *place.insert(sums.sets.len() - 1)
                }
            };
            if let (true, Some((_, customers))) = (run.zero, sums.by_run.last_mut()) {
                *customers.entry(place).or_default() += 1;
            } else {
                let own = &mut sums.sets[place].1[run.part];
                *own = *own + self.shard.metrics[0].stats_of([self.start + row as usize].into_iter());
            }
        }
        sums.rows = rows;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::{Codes, MetricColumn};
    use crate::segment::{Item, Segment};
    use crate::stats::PARTS;

    #[test]
    fn customers_of_several_segments_are_summed_by_which_cover_them() {
        // Of many tiles and runs: a feature of the row modulo 3, 4 and 5 each.
        let rows = 40_000usize;
        let column = |n: usize| Codes::U8((0..rows).map(|row| (row % n) as u8).collect());
        let value = |row: usize| if row.is_multiple_of(7) { row as i64 - 9000 } else { 0 };
        let metrics = vec![MetricColumn::Amount((0..rows).map(value).collect())];
        let part = |row: usize| usize::from(row.is_multiple_of(10));
        let parts = (0..rows).map(|row| part(row) as u8).collect();
        let ids = CustomerIds::Row((0..rows as u64).collect());
        let shard = Shard::new(vec![column(3), column(4), column(5)], parts, metrics, ids);
        let item = |feature, code| Segment::of_items(&[Item { feature, code }]);
        let segments = [item(0, 1), item(1, 2), item(2, 0), item(2, 4)];
        let mut expected: BTreeMap<Vec<u16>, [Stats; PARTS]> = BTreeMap::new();
        for row in 0..rows {
            let covers = [row % 3 == 1, row % 4 == 2, row % 5 == 0, row % 5 == 4];
            let all: Vec<u16> = (0..4).filter(|&i| covers[usize::from(i)]).collect();
            if all.len() > 1 {
                let y = i128::from(value(row));
                let own = &mut expected.entry(all).or_default()[part(row)];
                *own = *own + Stats { uv: 1, sum: y, sq: y * y, ..Stats::default() };
            }
        }
        let mut found = Multiples::none(segments.len());
        Tile::each(&shard, &segments, |tile| tile.add_multiples(&mut found));
        let mut found = found.finish(&shard);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_covered_twice_by_one_segment() {
        let ids = CustomerIds::Row((0..9).collect());
        let shard = Shard::new(vec![Codes::U8(vec![0; 9])], vec![0; 9], vec![MetricColumn::Rate(vec![1; 9])], ids);
        let mut found = Multiples::none(1);
        Tile::each(&shard, &[Segment::BASE], |tile| tile.add_multiples(&mut found));
        assert!(found.finish(&shard).is_empty());
    }
}
