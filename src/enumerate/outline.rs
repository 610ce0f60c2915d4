//! What an enumeration could cost at the most, before anything is counted.

use std::collections::BTreeSet;

use super::{GRID_CELLS, Shape, cover};
use crate::segment::{FeatureId, FeatureSet};
use crate::stats::PARTS;

/// Upper bounds of one level, as if every combination of items were frequent that can be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LevelOutline {
    pub level: usize,
    /// All sets of so many features.
    pub feature_sets: u64,
    /// Of a feature set, no more than `customers / min_uv` cells can be frequent.
    pub candidates_at_most: u64,
    /// A part, wanted feature sets only.
    pub cells_at_most: u64,
    /// Passes over the rows if every feature set is wanted; none where there are too many to plan ahead.
    pub covering_blocks: Option<u64>,
    /// The cells' sums at the workers that own them.
    pub bytes_at_most: u64,
}

/// More feature sets than this are counted, not planned.
const MOST_PLANNED: u64 = 60_000;

/// The levels of an enumeration in turn. `width` is the number of sums a cell, `rows` those of one worker.
pub fn outline(
    shape: &Shape,
    max_level: usize,
    customers: u64,
    min_uv: u64,
    width: usize,
    rows: usize,
) -> Vec<LevelOutline> {
    let frequent = (customers / min_uv.max(1)).max(1);
    (1..=max_level)
        .map(|level| {
            // By how many features are chosen so far: the number of choices, and the sums over them of the bounded products.
            let sets = choose(shape.features() as u64, level as u64);
            let mut candidates = 0u64;
            let mut cells = 0u64;
            let mut grid = BTreeSet::new();
            if sets <= MOST_PLANNED {
                each_set(shape.features() as FeatureId, level, FeatureSet::EMPTY, 0, &mut |set| {
                    let items = set.features().fold(1u64, |n, f| n.saturating_mul(shape.items[usize::from(f)] as u64));
                    candidates = candidates.saturating_add(items.min(frequent));
                    let all = shape.cells(set) as u64;
                    let ranked = frequent.saturating_mul(shape.card(set.feature(level - 1)) as u64);
                    let grid_fits = all <= GRID_CELLS as u64;
                    cells = cells.saturating_add(if grid_fits || level == 1 { all } else { all.min(ranked) });
                    if grid_fits {
                        grid.insert(set);
                    }
                });
            } else {
                candidates = sets.saturating_mul(frequent);
                cells = sets.saturating_mul(frequent.saturating_mul(2).max(GRID_CELLS as u64));
            }
            let blocks = (sets <= MOST_PLANNED)
                .then(|| cover(&grid, |f| shape.card(f), rows.clamp(1 << 9, GRID_CELLS)).len() as u64);
            LevelOutline {
                level,
                feature_sets: sets,
                candidates_at_most: candidates,
                cells_at_most: cells,
                covering_blocks: blocks,
                bytes_at_most: cells.saturating_mul(PARTS as u64 * (8 + 16 * width as u64)),
            }
        })
        .collect()
}

fn choose(n: u64, k: u64) -> u64 {
    (0..k).fold(1u64, |c, i| c.saturating_mul(n.saturating_sub(i)) / (i + 1))
}

fn each_set(features: FeatureId, level: usize, set: FeatureSet, from: FeatureId, each: &mut impl FnMut(FeatureSet)) {
    if set.level() == level {
        return each(set);
    }
    for feature in from..features {
        each_set(features, level, set.with(feature), feature + 1, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_three_small_features() {
        // 2, 3 and 4 items without rest: pairs have 6 + 8 + 12 cells; at most 100 / 20 = 5 of each can be frequent.
        let shape = Shape { cardinality: vec![2, 3, 4], items: vec![2, 3, 4], tags: vec![false; 3] };
        let outline = outline(&shape, 3, 100, 20, 1, 100);
        let figures: Vec<_> = outline.iter().map(|l| (l.feature_sets, l.candidates_at_most, l.cells_at_most)).collect();
        assert_eq!(figures, [(3, 9, 9), (3, 15, 26), (1, 5, 24)]);
        assert_eq!(outline[2].bytes_at_most, 24 * 2 * 24);
    }
}
