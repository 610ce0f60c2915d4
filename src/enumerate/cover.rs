//! Covering blocks: few sets of more features than a level needs, so that each wanted feature set lies inside one.
//!
//! Counting rows into a block of five features and summing dimensions out gives all ten triples inside it for one pass over
//! the rows instead of ten. A covering design in the sense of Gordon, Kuperberg and Patashnik (1995), built greedily, each
//! block by what it costs.

use std::collections::BTreeSet;

use super::Map;
use crate::segment::{FeatureId, FeatureSet};

/// Features counted together, and the wanted sets that are summed out of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverBlock {
    /// Increasing.
    pub features: Vec<FeatureId>,
    pub sets: Vec<FeatureSet>,
}

/// The most features of a block: beyond, the sets inside it grow faster than what one pass saves.
const MOST_FEATURES: usize = 16;

/// Covers `sets`, all of one level, with blocks of at most `max_cells` cells where more than one set is in a block.
///
/// `cardinality` is codes in use a feature, `cost` what counting a block of so many cells takes. Deterministic; every set is
/// in exactly one block. Greedy: the first set that is not covered yet grows by the feature that brings most uncovered sets
/// in, ties to the fewest codes, then the first feature; and is then cut back to where a set cost least.
pub fn cover(
    sets: &BTreeSet<FeatureSet>,
    cardinality: impl Fn(FeatureId) -> usize,
    max_cells: usize,
    cost: impl Fn(usize) -> f64,
) -> Vec<CoverBlock> {
    let mut uncovered = Uncovered::new(sets);
    let mut blocks = Vec::new();
    for &first in sets {
        if !uncovered.contains(first) {
            continue;
        }
        let mut features: Vec<FeatureId> = first.features().collect();
        let mut cells: usize = features.iter().map(|&f| cardinality(f)).product();
        let mut covered = vec![first];
        let level = features.len();
        // How many uncovered sets each further feature would bring in.
        let mut gains = vec![0u32; uncovered.features];
        let shorter: Vec<FeatureSet> = (0..level).map(|i| first.without(i)).collect();
        shorter.iter().for_each(|&set| uncovered.add_to(set, &mut gains));
        // Sets covered and features at the block that costs least a set.
        let mut best = (1.0 / cost(cells), 1, features.clone());
        while level > 0 && features.len() < MOST_FEATURES {
            let room = |f: &FeatureId| !features.contains(f) && cells * cardinality(*f) <= max_cells;
            let candidates = (0..uncovered.features as FeatureId).filter(|&f| gains[usize::from(f)] > 0).filter(room);
            let Some(added) =
                candidates.max_by_key(|&f| (gains[usize::from(f)], std::cmp::Reverse((cardinality(f), f))))
            else {
                break;
            };
            combinations(&features, level - 1, &mut Vec::with_capacity(level), &mut |chosen| {
                let set = with(chosen, added);
                if uncovered.contains(set) {
                    covered.push(set);
                }
            });
            if level >= 2 {
                combinations(&features, level - 2, &mut Vec::with_capacity(level), &mut |chosen| {
                    uncovered.add_to(with(chosen, added), &mut gains);
                });
            }
            cells *= cardinality(added);
            features.push(added);
            features.sort_unstable();
            let ratio = covered.len() as f64 / cost(cells);
            if ratio > best.0 {
                best = (ratio, covered.len(), features.clone());
            }
        }
        let (_, count, features) = best;
        covered.truncate(count);
        covered.iter().for_each(|&set| uncovered.remove(set));
        blocks.push(CoverBlock { features, sets: covered });
    }
    blocks
}

/// The uncovered sets, by what is left of each without one of its features: bit f is set where feature f completes it.
struct Uncovered {
    by_shorter: Map<FeatureSet, Vec<u64>>,
    /// One more than the largest feature.
    features: usize,
}

impl Uncovered {
    fn new(sets: &BTreeSet<FeatureSet>) -> Uncovered {
        let features = sets.iter().flat_map(|set| set.features()).max().map_or(0, |f| usize::from(f) + 1);
        let mut by_shorter: Map<FeatureSet, Vec<u64>> = Map::default();
        for set in sets {
            for (i, f) in set.features().enumerate() {
                let words = by_shorter.entry(set.without(i)).or_insert_with(|| vec![0; features.div_ceil(64)]);
                words[usize::from(f) / 64] |= 1 << (f % 64);
            }
        }
        if sets.contains(&FeatureSet::EMPTY) {
            // The base has nothing to leave out; it stands for itself.
            by_shorter.entry(FeatureSet::EMPTY).or_insert_with(|| vec![0; features.div_ceil(64)]);
        }
        Uncovered { by_shorter, features }
    }

    fn contains(&self, set: FeatureSet) -> bool {
        if set == FeatureSet::EMPTY {
            return self.by_shorter.contains_key(&set);
        }
        let f = set.feature(0);
        self.by_shorter.get(&set.without(0)).is_some_and(|words| words[usize::from(f) / 64] >> (f % 64) & 1 == 1)
    }

    fn remove(&mut self, set: FeatureSet) {
        for (i, f) in set.features().enumerate() {
            if let Some(words) = self.by_shorter.get_mut(&set.without(i)) {
                words[usize::from(f) / 64] &= !(1 << (f % 64));
            }
        }
    }

    /// Adds 1 to each feature that completes `shorter` to an uncovered set.
    fn add_to(&self, shorter: FeatureSet, gains: &mut [u32]) {
        let Some(words) = self.by_shorter.get(&shorter) else { return };
        for (w, &word) in words.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                gains[64 * w + word.trailing_zeros() as usize] += 1;
                word &= word - 1;
            }
        }
    }
}

/// The set of these increasing features and one more.
fn with(chosen: &[FeatureId], added: FeatureId) -> FeatureSet {
    let before = chosen.iter().filter(|&&f| f < added).count();
    let set = chosen[..before].iter().fold(FeatureSet::EMPTY, |set, &f| set.with(f)).with(added);
    chosen[before..].iter().fold(set, |set, &f| set.with(f))
}

/// Calls `each` with every choice of `k` of `from`, in lexicographic order.
pub fn combinations(from: &[FeatureId], k: usize, chosen: &mut Vec<FeatureId>, each: &mut impl FnMut(&[FeatureId])) {
    if k == 0 {
        return each(chosen);
    }
    for (i, &feature) in from.iter().enumerate() {
        if from.len() - i < k {
            break;
        }
        chosen.push(feature);
        combinations(&from[i + 1..], k - 1, chosen, each);
        chosen.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all_sets(features: u16, level: usize) -> BTreeSet<FeatureSet> {
        let mut sets = BTreeSet::new();
        combinations(&(0..features).collect::<Vec<_>>(), level, &mut Vec::new(), &mut |c| {
            sets.insert(FeatureSet::new(c));
        });
        sets
    }

    #[test]
    fn twenty_features_of_eight_items_need_far_fewer_passes_than_triples() {
        // 8^5 = 32,768 cells fit; the greedy design of blocks of five for 1,140 triples.
        let blocks = cover(&all_sets(20, 3), |_| 8, 32_768, |_| 1.0);
        assert!(blocks.len() < 200, "{} blocks", blocks.len());
    }

    #[test]
    fn a_block_does_not_grow_to_where_a_set_costs_more() {
        // Every cell costs as much as a row: of 100 rows, pairs of 10 x 10 cells are cheaper apart than the triples they fit in.
        let blocks = cover(&all_sets(3, 2), |_| 10, 32_768, |cells| 100.0 + cells as f64);
        assert!(blocks.iter().all(|block| block.features.len() == 2), "{blocks:?}");
        let blocks = cover(&all_sets(3, 2), |_| 10, 32_768, |cells| 10_000.0 + cells as f64);
        assert_eq!(blocks.len(), 1, "{blocks:?}");
    }

    proptest! {
        #[test]
        fn every_set_is_summed_out_of_exactly_one_block_that_holds_it_and_fits(
            cards in proptest::collection::vec(2usize..12, 3..9),
            level in 0usize..5,
            max_cells in 1usize..2000,
            cell_cost in 0.0..2.0,
            drop in proptest::collection::vec(any::<bool>(), 84),
        ) {
            let mut sets = all_sets(cards.len() as u16, level);
            let mut i = 0;
            sets.retain(|_| { i += 1; drop[i % drop.len()] });
            let blocks = cover(&sets, |f| cards[usize::from(f)], max_cells, |cells| 100.0 + cell_cost * cells as f64);
            let mut seen = BTreeSet::new();
            for block in &blocks {
                prop_assert!(block.features.windows(2).all(|w| w[0] < w[1]));
                let cells: usize = block.features.iter().map(|&f| cards[usize::from(f)]).product();
                prop_assert!(block.sets.len() == 1 || cells <= max_cells);
                for set in &block.sets {
                    prop_assert!(set.features().all(|f| block.features.contains(&f)));
                    prop_assert!(seen.insert(*set), "{set:?} twice");
                }
            }
            prop_assert_eq!(seen, sets);
        }
    }
}
