//! Rows that are dealt to numbered parts: counted by item, moved, and summed up.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::tree::Split;
use crate::audience::{TILE, list};
use crate::encode::{Codes, MetricColumn, Run, Shard};
use crate::profile::{CodeBits, Profile};
use crate::segment::Item;
use crate::simd;
use crate::stats::{DISCOVERY, MetricKind, PARTS, Parts, Stats};

/// Customers of the discovery part and their sums of the primary metric, in all and by feature and code. Of each metric what its
/// mean needs: squares are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub total: Stats,
    pub codes: Vec<Vec<Stats>>,
}

impl Counts {
    pub fn none(cardinality: &[usize]) -> Counts {
        let codes = cardinality.iter().map(|&codes| vec![Stats::default(); codes]);
        Counts { total: Stats::default(), codes: codes.collect() }
    }

    /// Adds those of others.
    pub fn add(&mut self, more: &Counts) {
        self.total = self.total + more.total;
        let both = self.codes.iter_mut().flatten().zip(more.codes.iter().flatten());
        both.for_each(|(own, more)| *own = *own + *more);
    }

    /// What is left without some of them.
    pub fn without(&self, some: &Counts) -> Counts {
        let less = |(own, less): (&Vec<Stats>, &Vec<Stats>)| own.iter().zip(less).map(|(&a, &b)| a - b).collect();
        Counts { total: self.total - some.total, codes: self.codes.iter().zip(&some.codes).map(less).collect() }
    }
}

/// Rows of a tile of which fewer than one in so many are of the part are counted row by row: the bitmaps of all items would take longer.
const ROWS_A_BITMAP: usize = 24;

/// What all customers of a run have in common, if the primary metric is the same for all.
fn alike(shard: &Shard, run: &Run) -> Option<Stats> {
    let metric = &shard.metrics[0];
    // Runs tell the first rates apart, and the primary metric is the first of all.
    let same = run.zero || metric.kind() == MetricKind::Rate;
    same.then(|| mean_of(metric.stats_of(run.rows.clone().take(1))))
}

/// Without squares.
fn mean_of(stats: Stats) -> Stats {
    Stats { sq: 0, den_sq: 0, cross: 0, ..stats }
}

fn tiles(run: &Run) -> impl Iterator<Item = Range<usize>> {
    let rows = run.rows.clone();
    rows.clone().step_by(TILE).map(move |start| start..rows.end.min(start + TILE))
}

/// Counts the rows of the discovery part that have a label.
pub fn count(shard: &Shard, cardinality: &[usize], labels: &[u8], label: u8) -> Counts {
    let mut counts = Counts::none(cardinality);
    let mut rows = Vec::new();
    for run in shard.runs().iter().filter(|run| run.part == DISCOVERY) {
        let mut customers = Profile::empty(cardinality);
        let mut uv = 0;
        let one = alike(shard, run);
        for tile in tiles(run) {
            let bits = simd::equal_bits(&labels[tile.clone()], label);
            list(bits.iter().copied(), &mut rows);
            if rows.is_empty() {
                continue;
            }
            uv += rows.len() as i64;
            let codes = match rows.len() * ROWS_A_BITMAP < tile.len() {
                true => CodeBits::none(cardinality.len(), tile.start),
                false => CodeBits::of(shard, cardinality, tile.start, tile.len()),
            };
            customers.add_rows(shard, &codes, &rows, &bits);
            if one.is_none() {
                add_values(shard, &rows, tile.start, &mut counts);
            }
        }
        let each = one.unwrap_or(Stats { uv: 1, ..Stats::default() });
        let of_items = counts.codes.iter_mut().flatten().zip(customers.counts.into_iter().flatten());
        of_items.filter(|(_, uv)| *uv > 0).for_each(|(stats, uv)| *stats = *stats + each.times(uv));
        counts.total = counts.total + each.times(uv);
    }
    counts
}

/// Adds the values of some rows, given as places from `start`, but not their number.
fn add_values(shard: &Shard, rows: &[u32], start: usize, counts: &mut Counts) {
    let metric = &shard.metrics[0];
    let value = |row: usize| match metric {
        MetricColumn::Rate(yes) => [i128::from(yes[row]), 0],
        MetricColumn::Amount(values) => [i128::from(values[row]), 0],
        MetricColumn::Ratio { num, den } => [i128::from(num[row]), i128::from(den[row])],
    };
    let values: Vec<[i128; 2]> = rows.iter().map(|&row| value(start + row as usize)).collect();
    let add = |stats: &mut Stats, [sum, den]: [i128; 2]| (stats.sum, stats.den) = (stats.sum + sum, stats.den + den);
    values.iter().for_each(|&value| add(&mut counts.total, value));
    for (stats, column) in counts.codes.iter_mut().zip(&shard.features) {
        let each = rows.iter().zip(&values).map(|(&row, &value)| (start + row as usize, value));
        match column {
            Codes::U8(codes) => each.for_each(|(row, value)| add(&mut stats[usize::from(codes[row])], value)),
            Codes::U16(codes) => each.for_each(|(row, value)| add(&mut stats[usize::from(codes[row])], value)),
            Codes::Tags(tags) => {
                each.for_each(|(row, value)| {
                    tags.row(row).iter().for_each(|&tag| add(&mut stats[usize::from(tag)], value));
                });
            }
        }
    }
}

/// Gives the rows that a split moves their new label, of both parts.
pub fn move_rows(shard: &Shard, split: &Split, labels: &mut [u8]) {
    // Written whether or not it changes: a branch could not be predicted.
    fn moved<T: Copy + Into<u16>>(codes: &[T], rows: &[u32], label_of: &[u8], labels: &mut [u8]) {
        let label = |row: usize| label_of[usize::from(codes[row].into())];
        rows.iter().for_each(|&row| labels[row as usize] = label(row as usize));
    }
    let label_of: Vec<u8> = split.moves.iter().map(|&moves| if moves { split.new } else { split.part }).collect();
    let column = &shard.features[usize::from(split.feature)];
    let mut rows = Vec::new();
    for tile in shard.runs().iter().flat_map(tiles) {
        let labels = &mut labels[tile.clone()];
        let mut bits = simd::equal_bits(labels, split.part);
        if let Codes::Tags(_) = column {
            let tags = (0..).zip(&split.moves).filter(|(_, moves)| **moves);
            let items: Vec<Item> = tags.map(|(code, _)| Item { feature: split.feature, code }).collect();
            let any = shard.bitmaps(&items, tile.start, tile.len());
            for (place, bits) in bits.iter_mut().enumerate() {
                *bits &= any.iter().fold(0, |all, tag| all | tag[place]);
            }
        }
        list(bits.iter().copied(), &mut rows);
        match column {
            Codes::U8(codes) => moved(&codes[tile], &rows, &label_of, labels),
            Codes::U16(codes) => moved(&codes[tile], &rows, &label_of, labels),
            Codes::Tags(_) => rows.iter().for_each(|&row| labels[row as usize] = split.new),
        }
    }
}

/// The sums of the primary metric over the rows of each label below `parts`, with squares and all, by part of the hold-out.
pub fn sums(shard: &Shard, labels: &[u8], parts: usize) -> Vec<Parts<Stats>> {
    let mut sums = vec![[Stats::default(); PARTS]; parts];
    let metric = &shard.metrics[0];
    for run in shard.runs() {
        if alike(shard, run).is_some() {
            let one = metric.stats_of(run.rows.clone().take(1));
            // Four counters of each label in turn: adding to one again has to wait for the sum before.
            let mut customers = [[0u32; 4]; 1 << 8];
            let (fours, rest) = labels[run.rows.clone()].as_chunks::<4>();
            fours.iter().for_each(|four| (0..4).for_each(|i| customers[usize::from(four[i])][i] += 1));
            rest.iter().for_each(|&label| customers[usize::from(label)][0] += 1);
            let both = sums.iter_mut().zip(customers.iter().map(|four| four.iter().map(|&uv| i64::from(uv)).sum()));
            both.for_each(|(sums, uv): (_, i64)| sums[run.part] = sums[run.part] + one.times(uv));
        } else {
            for row in run.rows.clone() {
                let sum = &mut sums[usize::from(labels[row])][run.part];
                *sum = *sum + metric.stats_of(std::iter::once(row));
            }
        }
    }
    sums
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::TagCodes;
    use proptest::prelude::*;

    /// Customers with two features of 3 and 300 codes, tags of 4 kinds, and the values of a metric.
    #[derive(Clone, Debug)]
    pub struct Customer {
        pub codes: [u16; 2],
        pub tags: Vec<u16>,
        pub part: u8,
        pub value: i64,
        pub den: i64,
    }

    pub const CARDINALITY: [usize; 3] = [3, 300, 4];

    impl Customer {
        pub fn has(&self, feature: usize, code: u16) -> bool {
            if feature < 2 { self.codes[feature] == code } else { self.tags.contains(&code) }
        }

        pub fn stats(&self, kind: MetricKind) -> Stats {
            let (v, d) = (i128::from(self.value), i128::from(self.den));
            match kind {
                MetricKind::Rate => Stats { uv: 1, sum: v & 1, sq: v & 1, ..Stats::default() },
                MetricKind::Amount => Stats { uv: 1, sum: v, sq: v * v, ..Stats::default() },
                MetricKind::Ratio => Stats { uv: 1, sum: v, sq: v * v, den: d, den_sq: d * d, cross: v * d },
            }
        }
    }

    pub fn customers(most: usize) -> impl Strategy<Value = Vec<Customer>> {
        let code = prop_oneof![0u16..8, 290u16..300];
        let tags = prop::collection::btree_set(0u16..4, 0..4);
        let value = prop_oneof![Just(0i64), -50i64..50];
        let one = ((0u16..3, code), tags, 0u8..2, value, 1i64..9);
        let customer = one.prop_map(|((a, b), tags, part, value, den)| Customer {
            codes: [a, b],
            tags: tags.into_iter().collect(),
            part,
            value,
            den,
        });
        prop::collection::vec(customer, 1..most)
    }

    pub fn kind() -> impl Strategy<Value = MetricKind> {
        prop_oneof![Just(MetricKind::Rate), Just(MetricKind::Amount), Just(MetricKind::Ratio)]
    }

    /// The shard of some customers, and for each of its rows the customer.
    pub fn shard(customers: &[Customer], kind: MetricKind) -> (Shard, Vec<usize>) {
        let column = |feature: usize| {
            let mut codes = Codes::with_capacity(CARDINALITY[feature], customers.len());
            customers.iter().for_each(|customer| codes.push(customer.codes[feature]));
            codes
        };
        let mut tags = TagCodes::with_capacity(customers.len());
        customers.iter().for_each(|customer| tags.push(&customer.tags));
        let values: Vec<i64> = customers.iter().map(|customer| customer.value).collect();
        let metric = match kind {
            MetricKind::Rate => MetricColumn::Rate(values.iter().map(|v| (v & 1) as u8).collect()),
            MetricKind::Amount => MetricColumn::Amount(values),
            MetricKind::Ratio => MetricColumn::Ratio { num: values, den: customers.iter().map(|c| c.den).collect() },
        };
        let part = customers.iter().map(|customer| customer.part).collect();
        let ids = CustomerIds::Row((0..customers.len() as u64).collect());
        let shard = Shard::new(vec![column(0), column(1), Codes::Tags(tags)], part, vec![metric], ids);
        let order = shard.order().iter().map(|&row| row as usize).collect();
        (shard, order)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn counts_and_sums_are_those_of_the_rows_one_by_one(customers in customers(400), kind in kind(), step in 1usize..40) {
            let (shard, order) = shard(&customers, kind);
            let label = |row: usize| (order[row] % step == 0) as u8;
            let labels: Vec<u8> = (0..order.len()).map(label).collect();
            for wanted in [0, 1] {
                let rows = || (0..order.len()).filter(|&row| labels[row] == wanted).map(|row| &customers[order[row]]);
                let found = count(&shard, &CARDINALITY, &labels, wanted);
                let own = || rows().filter(|customer| customer.part == 0);
                prop_assert_eq!(found.total, own().map(|c| mean_of(c.stats(kind))).sum());
                for (feature, codes) in found.codes.iter().enumerate() {
                    for (code, stats) in (0u16..).zip(codes) {
                        let expected = own().filter(|c| c.has(feature, code)).map(|c| mean_of(c.stats(kind))).sum();
                        prop_assert_eq!(*stats, expected, "feature {} code {}", feature, code);
                    }
                }
                for part in [0u8, 1] {
                    let expected = rows().filter(|c| c.part == part).map(|c| c.stats(kind)).sum();
                    prop_assert_eq!(sums(&shard, &labels, 2)[usize::from(wanted)][usize::from(part)], expected);
                }
            }
        }

        #[test]
        fn rows_move_by_their_items(customers in customers(300), feature in 0usize..3, step in 1usize..4) {
            let (shard, order) = shard(&customers, MetricKind::Rate);
            let mut labels: Vec<u8> = order.iter().map(|customer| (customer % 2) as u8).collect();
            let before = labels.clone();
            // Of tags one at a time.
            let moves: Vec<bool> = match feature {
                2 => (0..4).map(|code| code == step).collect(),
                _ => (0..CARDINALITY[feature]).map(|code| code % 4 < step).collect(),
            };
            let split = Split { part: 1, new: 5, feature: feature as u16, moves: moves.clone(), counted: 5 };
            move_rows(&shard, &split, &mut labels);
            for (row, &customer) in order.iter().enumerate() {
                let has = (0u16..).zip(&moves).any(|(code, &moves)| moves && customers[customer].has(feature, code));
                prop_assert_eq!(labels[row], if before[row] == 1 && has { 5 } else { before[row] });
            }
        }
    }
}
