//! Customers by which of some segments cover them: what several passes over the rows would otherwise ask again and again.
//!
//! Customers who are covered by the same segments are one entry, so that what is worked out of pairs of segments, or of the
//! first of them in some order, is worked out once an entry: a few thousand entries stand for millions of customers.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::audience::Tile;
use crate::encode::Shard;
use crate::segment::Segment;
use crate::stats::{PARTS, Parts};

/// The customers of a shard that at least one of some segments covers.
pub struct Coverage {
    segments: Vec<Segment>,
    /// None where there are too many entries to keep; then the rows are gone through each time.
    kept: Option<Table>,
}

/// Customers covered by the same segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Covered<'a> {
    /// Positions of the segments, increasing; never none.
    pub by: &'a [u32],
    pub uv: Parts<i64>,
    /// The moments of all metrics over the discovery part, then over the validation part.
    pub sums: &'a [i128],
}

/// Entries that are held at a time.
const MOST_ENTRIES: usize = 1 << 19;

impl Coverage {
    /// Goes through the rows of a shard, calling `each` with every entry, perhaps in several pieces.
    pub fn of(shard: &Shard, segments: Vec<Segment>, each: impl FnMut(Covered)) -> Coverage {
        let kept = scan(shard, &segments, MOST_ENTRIES, each);
        Coverage { segments, kept }
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Calls `each` with every entry again.
    pub fn each(&self, shard: &Shard, mut each: impl FnMut(Covered)) {
        match &self.kept {
            Some(table) => table.each(&mut each),
            None => {
                scan(shard, &self.segments, MOST_ENTRIES, each);
            }
        }
    }
}

/// Gives the table of all entries unless there are more than `most`; then what is full is handed on and forgotten.
fn scan(shard: &Shard, segments: &[Segment], most: usize, mut each: impl FnMut(Covered)) -> Option<Table> {
    let width = shard.moments().width();
    let marks: Vec<u128> = (0..segments.len() as u64).map(mark).collect();
    let mut table = Table::new(width);
    let mut complete = true;
    let mut rows = Vec::new();
    let mut moments = Vec::with_capacity(width);
    for tile in Tile::all(shard, segments) {
        rows.clear();
        rows.resize(tile.len, 0u128);
        for (i, &mark) in marks.iter().enumerate() {
            tile.rows(i).for_each(|row| rows[row - tile.start] ^= mark);
        }
        for (row, &marks) in (tile.start..).zip(&rows).filter(|(_, marks)| **marks != 0) {
            moments.clear();
            shard.metrics.iter().for_each(|metric| metric.moments_at(row, |v| moments.push(v)));
            table.add(marks, || tile.covering(row), usize::from(shard.part[row]), &moments);
        }
        if table.uv.len() >= most {
            table.each(&mut each);
            table = Table::new(width);
            complete = false;
        }
    }
    table.each(&mut each);
    complete.then_some(table)
}

/// A number of its own for each segment: those of a set of segments, combined by exclusive or, tell the set. Of 128 bits without
/// a pattern, so that among a million sets two would be mistaken for each other once in 10^26 runs.
fn mark(segment: u64) -> u128 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let scrambled = |number: u64| {
        let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    u128::from(scrambled(2 * segment + 1)) << 64 | u128::from(scrambled(2 * segment + 2))
}

/// Entries by their marks.
struct Table {
    width: usize,
    index: HashTable<u32>,
    marks: Vec<u128>,
    /// The segments of entry `i` are those at `ends[i - 1]..ends[i]`.
    by: Vec<u32>,
    ends: Vec<usize>,
    uv: Vec<Parts<i64>>,
    /// By entry, then part.
    sums: Vec<i128>,
}

impl Table {
    fn new(width: usize) -> Table {
        Table {
            width,
            index: HashTable::new(),
            marks: Vec::new(),
            by: Vec::new(),
            ends: Vec::new(),
            uv: Vec::new(),
            sums: Vec::new(),
        }
    }

    fn add(&mut self, marks: u128, by: impl FnOnce() -> Vec<u32>, part: usize, moments: &[i128]) {
        let known = &self.marks;
        let place = |&at: &u32| known[at as usize] as u64;
        let at = match self.index.entry(marks as u64, |&at| known[at as usize] == marks, place) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                let at = self.uv.len();
                entry.insert(at as u32);
                self.marks.push(marks);
                self.by.extend(by());
                self.ends.push(self.by.len());
                self.uv.push([0; PARTS]);
                self.sums.extend(std::iter::repeat_n(0, PARTS * self.width));
                at
            }
        };
        self.uv[at][part] += 1;
        let sums = &mut self.sums[(PARTS * at + part) * self.width..][..self.width];
        sums.iter_mut().zip(moments).for_each(|(sum, v)| *sum += v);
    }

    fn each(&self, each: &mut impl FnMut(Covered)) {
        let mut start = 0;
        for (i, (&end, &uv)) in self.ends.iter().zip(&self.uv).enumerate() {
            let per = PARTS * self.width;
            each(Covered { by: &self.by[start..end], uv, sums: &self.sums[i * per..(i + 1) * per] });
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::{Codes, MetricColumn};
    use crate::segment::Item;

    /// 1,000 rows: feature 0 is the row modulo 3, feature 1 the row modulo 5; every tenth row is held out, every seventh says yes.
    fn shard() -> Shard {
        let column = |modulus: u16| Codes::U8((0..1000).map(|row| (row % modulus) as u8).collect());
        let rate = (0..1000).map(|row| u8::from(row % 7 == 0)).collect();
        let part = (0..1000).map(|row| u8::from(row % 10 == 0)).collect();
        Shard::new(
            vec![column(3), column(5)],
            part,
            vec![MetricColumn::Rate(rate)],
            CustomerIds::Row((0..1000).collect()),
        )
    }

    type Entries = BTreeMap<Vec<u32>, (Parts<i64>, Vec<i128>)>;

    fn add(entries: &mut Entries, covered: Covered) {
        let entry = entries.entry(covered.by.to_vec()).or_insert(([0; PARTS], vec![0; covered.sums.len()]));
        entry.0.iter_mut().zip(covered.uv).for_each(|(a, b)| *a += b);
        entry.1.iter_mut().zip(covered.sums).for_each(|(a, b)| *a += b);
    }

    #[test]
    fn every_covered_customer_is_in_the_entry_of_its_segments_once() {
        let segment = |items: &[(u16, u16)]| {
            Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
        };
        let segments = vec![segment(&[(0, 1)]), segment(&[(1, 2)]), segment(&[(0, 1), (1, 2)]), segment(&[(0, 2)])];
        let mut expected = Entries::new();
        for row in 0..1000u32 {
            let covers = [row % 3 == 1, row % 5 == 2, row % 3 == 1 && row % 5 == 2, row % 3 == 2];
            let by: Vec<u32> = (0..4).filter(|&i| covers[i as usize]).collect();
            if !by.is_empty() {
                let part = usize::from(row % 10 == 0);
                let (mut uv, mut sums) = ([0; PARTS], vec![0; PARTS]);
                (uv[part], sums[part]) = (1, i128::from(row % 7 == 0));
                add(&mut expected, Covered { by: &by, uv, sums: &sums });
            }
        }
        let shard = shard();
        let mut found = Entries::new();
        let coverage = Coverage::of(&shard, segments.clone(), |covered| add(&mut found, covered));
        assert_eq!(found, expected);
        let mut again = Entries::new();
        coverage.each(&shard, |covered| add(&mut again, covered));
        assert_eq!(again, expected);
        // With room for no entry at all they come in pieces, and add up to the same.
        let mut pieces = Entries::new();
        assert!(scan(&shard, &segments, 0, |covered| add(&mut pieces, covered)).is_none());
        assert_eq!(pieces, expected);
    }
}
