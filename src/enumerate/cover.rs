//! Covering blocks: few sets of more features than a level needs, so that each wanted feature set lies inside one.
//!
//! Counting rows into a block of five features and summing dimensions out gives all ten triples inside it for one pass over
//! the rows instead of ten. A covering design in the sense of Gordon, Kuperberg and Patashnik (1995), built greedily, with
//! the size of a block bounded by the cells that fit the cache.

use std::collections::BTreeSet;

use crate::segment::{FeatureId, FeatureSet};

/// Features counted together, and the wanted sets that are summed out of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverBlock {
    /// Increasing.
    pub features: Vec<FeatureId>,
    pub sets: Vec<FeatureSet>,
}

/// The most features of a block: beyond, the sets inside it grow faster than what one pass saves.
const MOST_FEATURES: usize = 10;

/// Covers `sets`, all of one level, with blocks of at most `max_cells` cells where more than one set is in a block.
///
/// `cardinality` is codes in use a feature. Deterministic; every set is in exactly one block. Greedy: the first set that is
/// not covered yet grows by the feature that brings most uncovered sets in, ties to the fewest cells, then the first feature.
pub fn cover(
    sets: &BTreeSet<FeatureSet>,
    cardinality: impl Fn(FeatureId) -> usize,
    max_cells: usize,
) -> Vec<CoverBlock> {
    // Asked for membership only, so its order does not matter.
    let mut uncovered: Uncovered = sets.iter().copied().collect();
    let neighbours: BTreeSet<FeatureId> = sets.iter().flat_map(|set| set.features()).collect();
    let mut blocks = Vec::new();
    for &first in sets {
        if !uncovered.remove(&first) {
            continue;
        }
        let mut features: Vec<FeatureId> = first.features().collect();
        let mut cells: usize = features.iter().map(|&f| cardinality(f)).product();
        let mut covered = vec![first];
        let level = features.len();
        while level > 0 && features.len() < MOST_FEATURES {
            let gain = |feature: FeatureId| {
                let mut gain = 0usize;
                gained(&features, feature, level, &uncovered, |_| gain += 1);
                gain
            };
            let best = neighbours
                .iter()
                .filter(|&&f| !features.contains(&f) && cells * cardinality(f) <= max_cells)
                .map(|&f| (gain(f), f))
                .max_by_key(|&(gain, f)| (gain, std::cmp::Reverse((cardinality(f), f))));
            let Some((1.., feature)) = best else { break };
            let before = covered.len();
            gained(&features, feature, level, &uncovered, |set| covered.push(set));
            covered[before..].iter().for_each(|set| {
                uncovered.remove(set);
            });
            cells *= cardinality(feature);
            features.push(feature);
            features.sort_unstable();
        }
        blocks.push(CoverBlock { features, sets: covered });
    }
    blocks
}

type Uncovered = hashbrown::HashSet<FeatureSet, foldhash::fast::FixedState>;

/// The uncovered sets of `level` features, all among `features` and `added`, that need `added`.
fn gained(
    features: &[FeatureId],
    added: FeatureId,
    level: usize,
    uncovered: &Uncovered,
    mut each: impl FnMut(FeatureSet),
) {
    combinations(features, level - 1, &mut Vec::with_capacity(level), &mut |chosen| {
        let before = chosen.iter().filter(|&&f| f < added).count();
        let set = chosen[..before].iter().fold(FeatureSet::EMPTY, |set, &f| set.with(f)).with(added);
        let set = chosen[before..].iter().fold(set, |set, &f| set.with(f));
        if uncovered.contains(&set) {
            each(set);
        }
    });
}

/// Calls `each` with every choice of `k` of `from`, in lexicographic order.
fn combinations(from: &[FeatureId], k: usize, chosen: &mut Vec<FeatureId>, each: &mut impl FnMut(&[FeatureId])) {
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
        let blocks = cover(&all_sets(20, 3), |_| 8, 32_768);
        assert!(blocks.len() < 200, "{} blocks", blocks.len());
    }

    proptest! {
        #[test]
        fn every_set_is_summed_out_of_exactly_one_block_that_holds_it_and_fits(
            cards in proptest::collection::vec(2usize..12, 3..9),
            level in 1usize..4,
            max_cells in 1usize..2000,
            drop in proptest::collection::vec(any::<bool>(), 84),
        ) {
            let mut sets = all_sets(cards.len() as u16, level);
            let mut i = 0;
            sets.retain(|_| { i += 1; drop[i % drop.len()] });
            let blocks = cover(&sets, |f| cards[usize::from(f)], max_cells);
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
