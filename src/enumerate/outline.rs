//! What an enumeration could cost at the most, before anything is counted.

use std::collections::BTreeSet;

use super::{GRID_CELLS, Load, Shape, cover};
use crate::encode::TagLoad;
use crate::segment::{FeatureId, FeatureSet};

/// Upper bounds of one level, as if every combination of items were frequent that can be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LevelOutline {
    pub level: usize,
    /// All sets of so many features, set-valued ones several times.
    pub feature_sets: u64,
    /// Of a feature set, no more than `customers / min_uv` cells can be frequent, of tags no more than their combinations over
    /// `min_uv`.
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

/// The levels of an enumeration in turn. `tags` are the combinations of tags that customers have, a feature each.
pub fn outline(
    shape: &Shape,
    tags: &[TagLoad],
    max_level: usize,
    customers: u64,
    min_uv: u64,
    load: &Load,
) -> Vec<LevelOutline> {
    let most = (customers / min_uv.max(1)).max(1);
    // The cells of a feature set, and those of them that can be frequent.
    let bounds = |set: FeatureSet| {
        let (mut cells, mut meetings) = (1u64, customers);
        let mut tagged = false;
        for (feature, k) in counted(set) {
            let feature = usize::from(feature);
            cells = cells.saturating_mul(choose(shape.items[feature] as u64, k));
            if shape.tags[feature] {
                // Over all customers those of the first such feature; times, at the most, those of a customer of each further one.
                let tags = &tags[feature];
                meetings =
                    if tagged { meetings.saturating_mul(choose(tags.largest, k)) } else { tags.sets[k as usize] };
                tagged = true;
            }
        }
        (cells, cells.min((meetings / min_uv.max(1)).max(1)))
    };
    (1..=max_level)
        .map(|level| {
            // By how many features are chosen so far: the number of choices, and the sums over them of the bounded products.
            let several = shape.tags.iter().filter(|&&tags| tags).count() as u64;
            let ordinary = shape.features() as u64 - several;
            let repeated = |k: u64| if k == 0 { 1 } else { choose((several + k).saturating_sub(1), k) };
            let sets = (0..=level as u64)
                .map(|k| repeated(k).saturating_mul(choose(ordinary, level as u64 - k)))
                .fold(0u64, u64::saturating_add);
            let mut candidates = 0u64;
            let mut cells = 0u64;
            let mut grid = BTreeSet::new();
            let mut passes = BTreeSet::new();
            if sets <= MOST_PLANNED {
                each_set(shape, level, FeatureSet::EMPTY, 0, &mut |set| {
                    let (listed, frequent) = bounds(set);
                    candidates = candidates.saturating_add(frequent);
                    if shape.has_tags(set) {
                        let last = shape.items[usize::from(set.feature(level - 1))] as u64;
                        let (_, prefixes) = bounds(set.without(level - 1));
                        cells = cells.saturating_add(listed.min(prefixes.saturating_mul(last)));
                        passes.insert(set.without(level - 1));
                        return;
                    }
                    let all = shape.cells(set) as u64;
                    let ranked = most.saturating_mul(shape.card(set.feature(level - 1)) as u64);
                    let grid_fits = all <= GRID_CELLS as u64;
                    cells = cells.saturating_add(if grid_fits || level == 1 { all } else { all.min(ranked) });
                    if grid_fits {
                        grid.insert(set);
                    }
                });
            } else {
                candidates = sets.saturating_mul(most);
                cells = sets.saturating_mul(most.saturating_mul(2).max(GRID_CELLS as u64));
            }
            let blocks = (sets <= MOST_PLANNED)
                .then(|| cover(&grid, |f| shape.card(f), GRID_CELLS, |cells| load.block_ns(cells)).len() as u64)
                .map(|blocks| blocks + passes.len() as u64);
            LevelOutline {
                level,
                feature_sets: sets,
                candidates_at_most: candidates,
                cells_at_most: cells,
                covering_blocks: blocks,
                bytes_at_most: cells.saturating_mul(load.figures.cell_bytes()),
            }
        })
        .collect()
}

/// Choices of `k` of `n`, saturating.
pub fn choose(n: u64, k: u64) -> u64 {
    (0..k).fold(1u64, |c, i| c.saturating_mul(n.saturating_sub(i)) / (i + 1))
}

fn each_set(shape: &Shape, level: usize, set: FeatureSet, from: FeatureId, each: &mut impl FnMut(FeatureSet)) {
    if set.level() == level {
        return each(set);
    }
    for feature in from..shape.features() as FeatureId {
        let next = if shape.tags[usize::from(feature)] { feature } else { feature + 1 };
        each_set(shape, level, set.with(feature), next, each);
    }
}

/// The features of a set, each with how many times it stands there.
fn counted(set: FeatureSet) -> Vec<(FeatureId, u64)> {
    let mut counted: Vec<(FeatureId, u64)> = Vec::new();
    for feature in set.features() {
        match counted.last_mut() {
            Some((last, times)) if *last == feature => *times += 1,
            _ => counted.push((feature, 1)),
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Figures;
    use crate::stats::{MetricKind, Moments};

    #[test]
    fn bounds_of_three_small_features() {
        // 2, 3 and 4 items without rest: pairs have 6 + 8 + 12 cells; at most 100 / 20 = 5 of each can be frequent.
        let shape =
            Shape { cardinality: vec![2, 3, 4], items: vec![2, 3, 4], common: vec![60, 50, 40], tags: vec![false; 3] };
        let figures = Figures::new(Moments::of(&[MetricKind::Rate]), &[1], 100);
        let outline =
            outline(&shape, &vec![TagLoad::default(); 3], 3, 100, 20, &Load { rows: 100, summed: 0.0, figures });
        let figures: Vec<_> = outline.iter().map(|l| (l.feature_sets, l.candidates_at_most, l.cells_at_most)).collect();
        assert_eq!(figures, [(3, 9, 9), (3, 15, 26), (1, 5, 24)]);
        assert_eq!(outline[2].bytes_at_most, 24 * 16);
    }

    #[test]
    fn bounds_of_tags_follow_from_the_combinations_that_customers_have() {
        // 100 customers, 2 codes of one feature; 30 tags, of which customers have 300 in all and 400 pairs, 9 at the most.
        let shape =
            Shape { cardinality: vec![2, 30], items: vec![2, 30], common: vec![60, 20], tags: vec![false, true] };
        let tags = [TagLoad::default(), TagLoad { sets: vec![100, 300, 400], largest: 9 }];
        let figures = Figures::new(Moments::of(&[MetricKind::Rate]), &[1], 100);
        let outline = outline(&shape, &tags, 2, 100, 20, &Load { rows: 100, summed: 0.0, figures });
        // Level 1: 2 codes and 300 / 20 of 30 tags. Level 2: codes with tags, 300 / 20 of 60; pairs, 400 / 20 of 435. Of cells, 30
        // are listed for each of 2 codes; for pairs, 30 for each of 15 tags, but no more than the 435 that there are.
        let figures: Vec<_> = outline.iter().map(|l| (l.feature_sets, l.candidates_at_most, l.cells_at_most)).collect();
        assert_eq!(figures, [(2, 17, 32), (2, 35, 60 + 435)]);
    }
}
