//! What sets a group apart: how its customers spread over the items, against the base.

use serde::{Deserialize, Serialize};

use crate::encode::{Codebook, Codes, Shard};
use crate::score::{benjamini_hochberg, proportions_log_p, proportions_z};
use crate::segment::{FeatureId, Item, ItemCode};
use crate::simd;

/// How a set of customers spreads over the items of every feature: additive, like the sums of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Customers by feature and code, in the order of the codebook, the `rest` code of a feature last. Those of tags overlap.
    pub counts: Vec<Vec<i64>>,
}

impl Profile {
    /// Nobody, over features of these many codes ([`Feature::cardinality`](crate::encode::Feature::cardinality)).
    pub fn empty(cardinalities: &[usize]) -> Self {
        Profile { counts: cardinalities.iter().map(|&codes| vec![0; codes]).collect() }
    }

    /// Adds customers of the rows that the bits of codes are of, given as places from the first of these and as bits.
    pub fn add_rows(&mut self, shard: &Shard, codes: &CodeBits, rows: &[u32], bits: &[u64]) {
        fn count<T: Copy + Into<u16>>(counts: &mut [i64], codes: &[T], rows: &[u32]) {
            rows.iter().for_each(|&row| counts[usize::from(codes[row as usize].into())] += 1);
        }
        assert_eq!(self.counts.len(), shard.features.len(), "a profile over the features of the shard");
        let start = codes.start;
        for ((counts, column), bitmaps) in self.counts.iter_mut().zip(&shard.features).zip(&codes.of_feature) {
            if bitmaps.len() < WORDS_A_ROW * rows.len() && !bitmaps.is_empty() {
                simd::add_common(bits, bitmaps, counts);
                continue;
            }
            match column {
                Codes::U8(codes) => count(counts, &codes[start..], rows),
                Codes::U16(codes) => count(counts, &codes[start..], rows),
                Codes::Tags(tags) => {
                    let all = rows.iter().flat_map(|&row| tags.row(start + row as usize));
                    all.for_each(|&tag| counts[usize::from(tag)] += 1);
                }
            }
        }
    }

    /// Adds code by code.
    pub fn add(&mut self, other: &Profile) {
        assert_eq!(self.counts.len(), other.counts.len(), "profiles over the same features");
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            assert_eq!(own.len(), more.len(), "profiles over the same items");
            own.iter_mut().zip(more).for_each(|(a, b)| *a += b);
        }
    }
}

/// Which of some rows of a shard have each code of a feature, as bits, where there are few codes.
pub struct CodeBits {
    start: usize,
    /// The bitmaps of a feature's codes, one after the other; of a feature with many codes, none.
    of_feature: Vec<Vec<u64>>,
}

/// More codes than this are counted row by row.
const FEW_CODES: usize = 64;

/// Words of bitmaps that are counted as fast as one row is: measured 0.13 ns a word and 1.4 ns a row and feature.
const WORDS_A_ROW: usize = 10;

impl CodeBits {
    /// Of `len` rows from `start`, over features of these many codes.
    pub fn of(shard: &Shard, cardinalities: &[usize], start: usize, len: usize) -> CodeBits {
        let of_feature = |(feature, &codes): (usize, &usize)| {
            if codes > FEW_CODES || matches!(shard.features[feature], Codes::Tags(_)) {
                return Vec::new();
            }
            let item = |code| Item { feature: feature as FeatureId, code: code as ItemCode };
            shard.bitmaps(&(0..codes).map(item).collect::<Vec<_>>(), start, len).concat()
        };
        CodeBits { start, of_feature: cardinalities.iter().enumerate().map(of_feature).collect() }
    }

    /// Nothing of rows from `start`, where so few of them are counted that they are counted row by row.
    pub fn none(features: usize, start: usize) -> CodeBits {
        CodeBits { start, of_feature: vec![Vec::new(); features] }
    }
}

/// One item's place in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileItem {
    pub item: Item,
    /// Customers of the group with this item.
    pub uv: i64,
    /// Their share of the group.
    pub share: f64,
    /// The item's share of the base.
    pub base_share: f64,
    /// `share / base_share * 100` (target group index, TGI); 100 is the base. 0 for an item that nobody has.
    pub index: f64,
    /// Standard score of the difference between group and rest of the base (two proportions, pooled); 0 where they
    /// cannot differ.
    pub z: f64,
    /// False discovery rate at which the difference counts as found, over all items of the group (Benjamini and Hochberg); the p are those
    /// of a rate: exact for small counts.
    pub q: f64,
}

impl ProfileItem {
    /// Whether it is told as more or less frequent than in the base.
    pub fn is_sure(&self) -> bool {
        self.q <= SURE
    }
}

/// An item is told as more or less frequent than in the base when chance is ruled out at this false discovery rate.
const SURE: f64 = 0.05;

/// Every item of every feature as it stands in a group, the strongest over-representation first, then by item.
///
/// The `rest` codes are not listed: nothing can be said of them. Counts may be below the privacy floor; whoever writes
/// them must see to that.
pub fn profile(codebook: &Codebook, group: &Profile, group_uv: i64, base: &Profile, base_uv: i64) -> Vec<ProfileItem> {
    assert_eq!(group.counts.len(), codebook.features.len(), "one spread a feature");
    assert_eq!(base.counts.len(), codebook.features.len(), "one spread a feature");
    let share = |uv: i64, of: i64| if of == 0 { 0.0 } else { uv as f64 / of as f64 };
    let (mut items, mut log_p) = (Vec::new(), Vec::new());
    for (number, feature) in codebook.features.iter().enumerate() {
        for code in 0..feature.items.len() {
            let (uv, base_item_uv) = (group.counts[number][code], base.counts[number][code]);
            let (own, all) = (share(uv, group_uv), share(base_item_uv, base_uv));
            log_p.push(proportions_log_p(uv, group_uv, base_item_uv, base_uv));
            items.push(ProfileItem {
                item: Item { feature: number as FeatureId, code: code as ItemCode },
                uv,
                share: own,
                base_share: all,
                index: if all == 0.0 { 0.0 } else { own / all * 100.0 },
                z: proportions_z(uv, group_uv, base_item_uv, base_uv),
                q: 1.0,
            });
        }
    }
    let q = benjamini_hochberg(&log_p, 0);
    items.iter_mut().zip(q).for_each(|(item, q)| item.q = q);
    items.sort_by(|a, b| b.z.total_cmp(&a.z).then(a.item.cmp(&b.item)));
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Feature, ItemValue};

    fn codebook(items: &[(usize, bool)]) -> Codebook {
        let feature = |number: usize, &(items, rest): &(usize, bool)| Feature {
            name: format!("f{number}"),
            column: format!("f{number}"),
            items: (0..items as i64).map(ItemValue::Int).collect(),
            uv: vec![0; items + usize::from(rest)],
            rest,
            ..Feature::default()
        };
        Codebook { features: items.iter().enumerate().map(|(i, f)| feature(i, f)).collect() }
    }

    #[test]
    fn items_stand_by_how_much_the_group_has_more_of_them() {
        // 20 of 100 customers. f0: 15 of the base's 30 (index 75 % / 30 % = 250), 5 of 70 (25 / 70).
        // f1 has a rest of 10, of whom 8 are in the group; its items 6 of 60, 6 of 30, and one that nobody has.
        let book = codebook(&[(2, false), (3, true)]);
        let group = Profile { counts: vec![vec![15, 5], vec![6, 6, 0, 8]] };
        let base = Profile { counts: vec![vec![30, 70], vec![60, 30, 0, 10]] };
        let found = profile(&book, &group, 20, &base, 100);
        let order: Vec<(u16, u16)> = found.iter().map(|i| (i.item.feature, i.item.code)).collect();
        assert_eq!(order, [(0, 0), (1, 1), (1, 2), (1, 0), (0, 1)]);
        assert_eq!((found[0].uv, found[0].share, found[0].base_share, found[0].index), (15, 0.75, 0.3, 250.0));
        // (15/20 - 15/80) / sqrt(0.3 * 0.7 * (1/20 + 1/80)) = 0.5625 / 0.114564 = 4.9099.
        assert!((found[0].z - 0.5625 / (0.21f64 * 0.0625).sqrt()).abs() < 1e-12);
        // scipy.stats: fisher_exact([[15, 5], [15, 65]]) is 3.764e-6, [[6, 14], [54, 26]] 0.004147, the others 1; false_discovery_control of the five.
        let q = [9.410251047e-6, 1.0, 1.0, 0.006912281276, 9.410251047e-6];
        assert!(found.iter().zip(q).all(|(item, q)| (item.q / q - 1.0).abs() < 1e-9), "{found:?}");
        assert!(found[3].is_sure() && !found[1].is_sure());
        assert_eq!((found[1].index, found[1].z), (100.0, 0.0));
        assert_eq!((found[2].index, found[2].z, found[2].base_share), (0.0, 0.0, 0.0));
        assert!((found[4].z + found[0].z).abs() < 1e-12, "of two items, one has more where the other has less");
    }

    #[test]
    fn a_group_that_is_the_base_or_nobody_has_no_profile() {
        let book = codebook(&[(2, false)]);
        let base = Profile { counts: vec![vec![30, 70]] };
        for item in profile(&book, &base, 100, &base, 100) {
            assert_eq!((item.index, item.z), (100.0, 0.0));
        }
        for item in profile(&book, &Profile::empty(&[2]), 0, &base, 100) {
            assert_eq!((item.uv, item.share, item.index, item.z), (0, 0.0, 0.0, 0.0));
        }
    }

    #[test]
    fn customers_are_counted_alike_as_rows_and_as_bits() {
        // 150 rows from row 30: a feature of 3 codes, one of 100, one of 300.
        let code = |row: usize, codes: usize| (row * row + row / 7) % codes;
        let column = |codes: usize| {
            let mut column = Codes::with_capacity(codes, 200);
            (0..200).for_each(|row| column.push(code(row, codes) as u16));
            column
        };
        let cards = [3, 100, 300];
        let ids = crate::audience::CustomerIds::Row((0..200).collect());
        let shard = Shard::new(cards.map(column).to_vec(), vec![0; 200], Vec::new(), ids);
        let codes = CodeBits::of(&shard, &cards, 30, 150);
        // Of all rows bits are less work for the first feature, of five they are not.
        for step in [1, 30] {
            let rows: Vec<u32> = (0..150).step_by(step).collect();
            let mut bits = vec![0u64; 3];
            rows.iter().for_each(|row| bits[*row as usize / 64] |= 1 << (row % 64));
            let mut found = Profile::empty(&cards);
            found.add_rows(&shard, &codes, &rows, &bits);
            for (counts, codes) in found.counts.iter().zip(cards) {
                for (own, &count) in counts.iter().enumerate() {
                    let expected = rows.iter().filter(|&&row| code(30 + row as usize, codes) == own).count();
                    assert_eq!(count as usize, expected, "code {own} of {codes}");
                }
            }
        }
    }

    #[test]
    fn profiles_add_code_by_code() {
        let mut sum = Profile::empty(&[2, 1]);
        sum.add(&Profile { counts: vec![vec![1, 2], vec![3]] });
        sum.add(&Profile { counts: vec![vec![10, 0], vec![-1]] });
        assert_eq!(sum.counts, [vec![11, 2], vec![2]]);
    }
}
