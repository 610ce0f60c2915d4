//! Features, items and segments by number: what the engine counts, without names.
//!
//! Names and labels live in the codebook (`encode::Codebook`); everything between encode and sink works on these
//! packed keys, which are `Copy`, ordered, and cheap to hash and to send.

use serde::{Deserialize, Serialize};

/// The most items a segment can have: eight 16-bit fields fill the 128-bit keys below.
pub const MAX_LEVEL: usize = 8;

/// Position of a feature in the codebook, in table order.
pub type FeatureId = u16;

/// Position of an item within its feature: dense from 0, append-only.
pub type ItemCode = u16;

/// One feature taking one bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    pub feature: FeatureId,
    pub code: ItemCode,
}

/// A sorted list of up to [`MAX_LEVEL`] features: a segment without its items, the key of a block. A feature whose customers
/// have several items each may stand in it several times; any other stands in it once.
///
/// Each feature takes 16 bits, stored as `feature + 1`, first feature in the most significant place; so the integer
/// order is the lexicographic order, a prefix sorts before its extensions, and zero is the empty set (the base).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FeatureSet(u128);

impl FeatureSet {
    /// The set without features: its one cell is the base.
    pub const EMPTY: FeatureSet = FeatureSet(0);

    /// The set of these features.
    ///
    /// Panics unless they never decrease, are at most [`MAX_LEVEL`], and below `u16::MAX`.
    pub fn new(features: &[FeatureId]) -> Self {
        features.iter().fold(Self::EMPTY, |set, &f| set.with(f))
    }

    /// This set extended by a feature that comes before none of its own.
    pub fn with(self, feature: FeatureId) -> Self {
        let level = self.level();
        assert!(level < MAX_LEVEL, "a segment has at most {MAX_LEVEL} items");
        assert!(feature < u16::MAX, "feature ids stay below {}", u16::MAX);
        assert!(self.last().is_none_or(|last| last <= feature), "features of a set never decrease");
        FeatureSet(self.0 | u128::from(feature + 1) << (112 - 16 * level))
    }

    /// This set without the feature at `position`.
    pub fn without(self, position: usize) -> Self {
        FeatureSet(remove_field(self.0, position, self.level()))
    }

    /// How many features.
    pub fn level(self) -> usize {
        if self.0 == 0 { 0 } else { MAX_LEVEL - self.0.trailing_zeros() as usize / 16 }
    }

    /// The feature at `position`, counted from 0.
    pub fn feature(self, position: usize) -> FeatureId {
        assert!(position < self.level(), "position {position} of a set of {}", self.level());
        field(self.0, position) - 1
    }

    /// The features in order.
    pub fn features(self) -> impl ExactSizeIterator<Item = FeatureId> + Clone {
        (0..self.level()).map(move |i| field(self.0, i) - 1)
    }

    fn last(self) -> Option<FeatureId> {
        self.level().checked_sub(1).map(|i| self.feature(i))
    }
}

impl std::fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.features()).finish()
    }
}

/// A conjunction of distinct items in their order: by feature, and of one feature by code.
///
/// Ordered by feature set, then by codes: the order of every listing that no measure decides.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    features: FeatureSet,
    codes: u128,
}

impl Segment {
    /// The segment without conditions: the base.
    pub const BASE: Segment = Segment { features: FeatureSet::EMPTY, codes: 0 };

    /// The cell of `features` with these codes, one a feature; those of a feature that stands there again increase.
    pub fn new(features: FeatureSet, codes: &[ItemCode]) -> Self {
        assert_eq!(features.level(), codes.len(), "one code a feature");
        let rises = |i: usize| features.feature(i - 1) < features.feature(i) || codes[i - 1] < codes[i];
        assert!((1..codes.len()).all(rises), "items of one feature are distinct and in order");
        let packed = codes.iter().enumerate().fold(0, |acc, (i, &c)| acc | u128::from(c) << (112 - 16 * i));
        Segment { features, codes: packed }
    }

    /// A segment of sorted items.
    pub fn of_items(items: &[Item]) -> Self {
        let features: Vec<FeatureId> = items.iter().map(|i| i.feature).collect();
        let codes: Vec<ItemCode> = items.iter().map(|i| i.code).collect();
        Segment::new(FeatureSet::new(&features), &codes)
    }

    pub fn features(self) -> FeatureSet {
        self.features
    }

    pub fn level(self) -> usize {
        self.features.level()
    }

    /// The code at `position`, counted from 0.
    pub fn code(self, position: usize) -> ItemCode {
        assert!(position < self.level(), "position {position} of a segment of {}", self.level());
        field(self.codes, position)
    }

    /// The items in order.
    pub fn items(self) -> impl ExactSizeIterator<Item = Item> + Clone {
        (0..self.level()).map(move |i| Item { feature: field(self.features.0, i) - 1, code: field(self.codes, i) })
    }

    /// This segment and one more item, which comes after all of its own.
    pub fn with(self, item: Item) -> Segment {
        debug_assert!(self.items().last().is_none_or(|last| last < item), "items are distinct and in order");
        let codes = self.codes | u128::from(item.code) << (112 - 16 * self.level());
        Segment { features: self.features.with(item.feature), codes }
    }

    /// This segment without its item at `position`: one of the segments that say less.
    pub fn without(self, position: usize) -> Segment {
        Segment { features: self.features.without(position), codes: remove_field(self.codes, position, self.level()) }
    }

    /// The segments got by dropping one item; the base is not one of them.
    pub fn parents(self) -> impl Iterator<Item = Segment> {
        let level = if self.level() > 1 { self.level() } else { 0 };
        (0..level).map(move |i| self.without(i))
    }

    /// Whether every item of `other` is one of this segment's.
    pub fn contains(self, other: Segment) -> bool {
        other.items().all(|item| self.items().any(|own| own == item))
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.items().map(|i| (i.feature, i.code))).finish()
    }
}

fn field(packed: u128, position: usize) -> u16 {
    (packed >> (112 - 16 * position)) as u16
}

fn remove_field(packed: u128, position: usize, level: usize) -> u128 {
    assert!(position < level, "position {position} of {level}");
    let above = if position == 0 { 0 } else { packed >> (128 - 16 * position) << (128 - 16 * position) };
    let below = if position + 1 == MAX_LEVEL { 0 } else { packed << (16 * (position + 1)) >> (16 * position) };
    above | below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_sort_like_lists_and_prefixes_come_first() {
        let mut sets = [
            FeatureSet::new(&[1]),
            FeatureSet::new(&[0, 2]),
            FeatureSet::EMPTY,
            FeatureSet::new(&[0]),
            FeatureSet::new(&[0, 1, 2]),
        ];
        sets.sort();
        let lists: Vec<Vec<u16>> = sets.iter().map(|s| s.features().collect()).collect();
        assert_eq!(lists, vec![vec![], vec![0], vec![0, 1, 2], vec![0, 2], vec![1]]);
    }

    #[test]
    fn dropping_any_item_of_the_longest_segment_leaves_the_others() {
        let items: Vec<Item> = (0..8u16).map(|i| Item { feature: i * 7, code: 60_000 + i }).collect();
        let segment = Segment::of_items(&items);
        assert_eq!(segment.level(), MAX_LEVEL);
        assert_eq!(segment.items().collect::<Vec<_>>(), items);
        for (position, parent) in segment.parents().enumerate() {
            let mut rest = items.clone();
            rest.remove(position);
            assert_eq!(parent, Segment::of_items(&rest), "without {position}");
            assert!(segment.contains(parent) && !parent.contains(segment));
        }
    }

    #[test]
    fn several_items_of_one_feature_are_a_segment_if_they_are_distinct_and_in_order() {
        let tag = |code| Item { feature: 2, code };
        let segment = Segment::of_items(&[Item { feature: 0, code: 9 }, tag(3), tag(5)]);
        assert_eq!(segment.features(), FeatureSet::new(&[0, 2, 2]));
        assert_eq!(segment.without(1), Segment::of_items(&[Item { feature: 0, code: 9 }, tag(5)]));
        assert_eq!(segment.without(0).with(tag(6)), Segment::of_items(&[tag(3), tag(5), tag(6)]));
        for wrong in [[tag(5), tag(3)], [tag(3), tag(3)]] {
            assert!(std::panic::catch_unwind(|| Segment::of_items(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn code_zero_of_the_last_feature_keeps_the_level() {
        let segment = Segment::of_items(&[Item { feature: 0, code: 0 }, Item { feature: 3, code: 0 }]);
        assert_eq!(segment.level(), 2);
        assert_eq!(segment.without(0), Segment::of_items(&[Item { feature: 3, code: 0 }]));
        assert_eq!(Segment::of_items(&[Item { feature: 3, code: 0 }]).parents().count(), 0);
    }
}
