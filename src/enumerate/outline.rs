//! What an enumeration could cost, before anything is counted: the same plan, made as if all were frequent that can be.

use std::collections::BTreeSet;

use super::{GRID_CELLS, Limits, Load, Round, Shape, cost, cover, tags};
use crate::segment::{FeatureId, FeatureSet};

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    pub processes: u64,
    /// Of each process.
    pub threads: u64,
}

/// Upper bounds of one level, as if every combination of items were frequent that can be.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LevelOutline {
    pub level: usize,
    /// All sets of so many features, set-valued ones several times.
    pub feature_sets: u64,
    /// Of a feature set, no more than `customers / min_uv` cells can be frequent, of tags no more than their combinations over
    /// `min_uv`.
    pub candidates_at_most: u64,
    /// A part.
    pub cells_at_most: u64,
    /// Passes over the rows if every feature set is wanted; 0 where the level is summed out of a deeper one's blocks; none where
    /// there are too many feature sets to plan ahead.
    pub covering_blocks: Option<u64>,
    /// Bytes that a process holds for the blocks, its own and those it adds up.
    pub block_bytes_at_most: u64,
    /// Parts that the blocks are counted in, one after the other, as not all fit the memory.
    pub memory_passes: u64,
    /// Seconds of counting, with all workers of a process at work; none where the passes are not known.
    pub seconds: Option<f64>,
    /// Bytes of blocks that each process sends to the others.
    pub bytes_sent_at_most: u64,
    /// Cells that each worker adds up and keeps.
    pub cells_owned_at_most: u64,
}

/// More feature sets than this are counted, not planned.
const MOST_PLANNED: u64 = 60_000;

/// How many segments can be frequent at the most, over all levels: whatever the table turns out to be.
pub fn most_frequent(shape: &Shape, load: &Load, limits: &Limits) -> u64 {
    (1..=limits.max_level).map(|level| most_frequent_at(level, shape, load, limits)).fold(0, u64::saturating_add)
}

fn most_frequent_at(level: usize, shape: &Shape, load: &Load, limits: &Limits) -> u64 {
    if sets(shape, level as u64) > MOST_WALKED {
        return most_together(level, shape, load, limits);
    }
    let frequent = most_in_a_set(limits);
    let mut most = 0u64;
    each_set(shape, level, FeatureSet::EMPTY, 0, &mut |set| {
        let of_set = if shape.has_tags(set) {
            listed(set, shape, load, limits).1
        } else {
            let items = set.features().fold(1u64, |n, f| n.saturating_mul(shape.items[usize::from(f)] as u64));
            items.min(frequent)
        };
        most = most.saturating_add(of_set);
    });
    most
}

/// A bound that looks at no feature set by itself: all segments of so many items that there are, and no more than customers
/// have of them over `min_uv`.
fn most_together(level: usize, shape: &Shape, load: &Load, limits: &Limits) -> u64 {
    // Products of polynomials, of which the place is the number of items.
    let times = |a: Vec<u64>, b: &dyn Fn(u64) -> u64| -> Vec<u64> {
        let term = |k: usize| (0..=k).map(|j| a[k - j].saturating_mul(b(j as u64))).fold(0, u64::saturating_add);
        (0..=level).map(term).collect()
    };
    let mut all = vec![0; level + 1];
    all[0] = 1;
    let (mut ordinary, mut largest, mut of_tags) = (0u64, 0u64, Vec::new());
    for (feature, &tags) in shape.tags.iter().enumerate() {
        let items = shape.items[feature] as u64;
        if tags {
            all = times(all, &|j| choose(items, j));
            let load = load.tags.get(feature).filter(|load| !load.sets.is_empty());
            largest = largest.saturating_add(load.map_or(items, |load| load.largest));
            of_tags.push(load);
        } else {
            all = times(all, &|j| [1, items].get(j as usize).copied().unwrap_or(0));
            ordinary += 1;
        }
    }
    // Sets of tags that customers have, over all of them.
    let tags = |j: u64| match of_tags[..] {
        _ if j == 0 => limits.customers,
        [Some(load)] => load.sets.get(j as usize).copied().unwrap_or(u64::MAX),
        _ => limits.customers.saturating_mul(choose(largest, j)),
    };
    let had = (0..=level as u64).map(|j| tags(j).saturating_mul(choose(ordinary, level as u64 - j)));
    all[level].min(had.fold(0, u64::saturating_add) / limits.min_uv.max(1))
}

/// Cells of a feature set without tags that can be frequent: they share no customer.
fn most_in_a_set(limits: &Limits) -> u64 {
    (limits.customers / limits.min_uv.max(1)).max(1)
}

/// The cells of a feature set with tags, and those of them that can be frequent.
fn listed(set: FeatureSet, shape: &Shape, load: &Load, limits: &Limits) -> (u64, u64) {
    let cells = cost::times(set).into_iter().fold(1u64, |cells, (feature, times)| {
        cells.saturating_mul(choose(shape.items[usize::from(feature)] as u64, times as u64))
    });
    let meetings = load.meetings(set).unwrap_or(limits.customers);
    (cells, cells.min((meetings / limits.min_uv.max(1)).max(1)))
}

/// More feature sets than this are bounded together.
const MOST_WALKED: u64 = 1 << 20;

/// The levels of an enumeration in turn.
pub fn outline(shape: &Shape, load: &Load, limits: &Limits, workers: Workers) -> Vec<LevelOutline> {
    let frequent = most_in_a_set(limits);
    let first = Round::first(shape, load, limits);
    let together = *first.levels.end();
    (1..=limits.max_level)
        .map(|level| {
            let sets = sets(shape, level as u64);
            let candidates = most_frequent_at(level, shape, load, limits);
            let mut cells = 0u64;
            // Cells of tags that no customer can be in, and that are not held therefore.
            let mut empty = 0u64;
            let mut grid = BTreeSet::new();
            let mut ranked_ns = 0.0;
            let mut ranked = 0;
            let mut prefixes = BTreeSet::new();
            if sets <= MOST_PLANNED {
                each_set(shape, level, FeatureSet::EMPTY, 0, &mut |set| {
                    if shape.has_tags(set) {
                        let (all, _) = listed(set, shape, load, limits);
                        let (_, before) = listed(set.without(level - 1), shape, load, limits);
                        let last = shape.items[usize::from(set.feature(level - 1))] as u64;
                        let bound = all.min(before.saturating_mul(last));
                        cells = cells.saturating_add(bound);
                        // A prefix is passed over once for all that it is the prefix of.
                        ranked += u64::from(prefixes.insert(set.without(level - 1)));
                        let held = tags::held(bound, set, load);
                        empty = empty.saturating_add(bound - held);
                        ranked_ns += tags::CELLS_A_ROW * load.ranked_ns(usize::try_from(held).unwrap_or(usize::MAX));
                        return;
                    }
                    let all = shape.cells(set) as u64;
                    if all <= GRID_CELLS as u64 {
                        grid.insert(set);
                        cells = cells.saturating_add(all);
                    } else {
                        let bound = all.min(frequent.saturating_mul(shape.card(set.feature(level - 1)) as u64));
                        cells = cells.saturating_add(bound);
                        ranked += 1;
                        ranked_ns += load.ranked_ns(usize::try_from(bound).unwrap_or(usize::MAX));
                    }
                });
            } else {
                cells = sets.saturating_mul(frequent.saturating_mul(2).max(GRID_CELLS as u64));
            }
            let known = sets <= MOST_PLANNED;
            let (passes, ns) = if level < together {
                (0, 0.0)
            } else if level == together && known {
                let ns = (0..first.units.len()).map(|unit| first.unit_ns(unit, shape, load)).sum();
                (first.units.len() as u64, ns)
            } else {
                let blocks = cover(&grid, |f| shape.card(f), GRID_CELLS, |cells| load.block_ns(cells));
                let cells = |features: &[FeatureId]| features.iter().map(|&f| shape.card(f)).product();
                let ns: f64 = blocks.iter().map(|block| load.block_ns(cells(&block.features))).sum();
                (blocks.len() as u64 + ranked, ns + ranked_ns)
            };
            let held_cells = cells.saturating_sub(empty);
            let bytes = held_cells.saturating_mul(load.figures.cell_bytes());
            let held = held_bytes(bytes, workers.processes);
            LevelOutline {
                level,
                feature_sets: sets,
                candidates_at_most: candidates,
                cells_at_most: cells,
                covering_blocks: known.then_some(passes),
                block_bytes_at_most: held.min(limits.block_bytes),
                memory_passes: held.div_ceil(limits.block_bytes.max(1)).max(1),
                seconds: known.then_some(ns / 1e9 / workers.threads as f64),
                bytes_sent_at_most: bytes - bytes / workers.processes,
                cells_owned_at_most: held_cells.div_ceil(workers.processes * workers.threads),
            }
        })
        .collect()
}

/// What a process holds for blocks of so many bytes: those it counted, and its share of all, added up; once more as much while
/// they are added.
pub fn held_bytes(block_bytes: u64, processes: u64) -> u64 {
    block_bytes.saturating_add(block_bytes.saturating_mul(2) / processes.max(1))
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

/// Sets of `level` features, of which those with tags may stand in a set several times.
fn sets(shape: &Shape, level: u64) -> u64 {
    let several = shape.tags.iter().filter(|&&tags| tags).count() as u64;
    let ordinary = shape.features() as u64 - several;
    let repeated = |k: u64| if k == 0 { 1 } else { choose((several + k).saturating_sub(1), k) };
    let with = |k: u64| repeated(k).saturating_mul(choose(ordinary, level - k));
    (0..=level).map(with).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::TagLoad;
    use crate::stats::{MetricKind, Moments};

    #[test]
    fn bounds_of_three_small_features() {
        // 2, 3 and 4 items without rest: pairs have 6 + 8 + 12 cells; at most 100 / 20 = 5 of each can be frequent.
        let shape =
            Shape { cardinality: vec![2, 3, 4], items: vec![2, 3, 4], common: vec![60, 50, 40], tags: vec![false; 3] };
        let load = Load::new(Moments::of(&[MetricKind::Rate]), vec![1], 100, 0, 1);
        let limits = |block_bytes| Limits { customers: 100, min_uv: 20, max_level: 3, block_bytes };
        let outline = |bytes| super::outline(&shape, &load, &limits(bytes), Workers { processes: 2, threads: 1 });
        let levels = outline(1 << 20);
        let figures: Vec<_> = levels.iter().map(|l| (l.feature_sets, l.candidates_at_most, l.cells_at_most)).collect();
        assert_eq!(figures, [(3, 9, 9), (3, 15, 26), (1, 5, 24)]);
        // 24 cells of two uv and two sums of 4 bytes: counted here, half of them sent; half of all added up, twice over.
        assert_eq!((levels[2].block_bytes_at_most, levels[2].bytes_sent_at_most), (768, 192));
        assert_eq!((levels[2].memory_passes, levels[2].cells_owned_at_most), (1, 12));
        assert_eq!(outline(100)[2].memory_passes, 8);
        // The most frequent items of any two are likely to be frequent together, those of all three are not: singles come from
        // the blocks of pairs.
        assert_eq!(levels.iter().map(|l| l.covering_blocks).collect::<Vec<_>>(), [Some(0), Some(1), Some(1)]);
    }

    proptest! {
        /// Against whatever a table of one tag feature and some others, or two, has at the most: every combination of a customer's
        /// items, `min_uv` customers each.
        #[test]
        fn what_is_bounded_together_is_bounded_from_above(
            features in proptest::collection::vec((1usize..5, any::<bool>()), 1..5),
            rows in proptest::collection::vec(proptest::collection::vec(0u32..16, 4), 1..40),
            level in 1usize..4,
            min_uv in 1u64..4,
        ) {
            // A row's item of a feature, or its set of them, from some bits.
            let codes = |row: &Vec<u32>, f: usize| -> Vec<usize> {
                let (items, tags) = features[f];
                if tags { (0..items).filter(|i| row[f] >> i & 1 == 1).collect() } else { vec![row[f] as usize % items] }
            };
            let mut counts = std::collections::BTreeMap::new();
            let mut tags = vec![TagLoad::default(); features.len()];
            for (f, _) in features.iter().enumerate().filter(|(_, (_, tags))| *tags) {
                for row in &rows {
                    let n = codes(row, f).len() as u64;
                    let own = TagLoad { sets: (0..=4).map(|k| choose(n, k)).collect(), largest: n };
                    if tags[f].sets.is_empty() { tags[f] = own } else { tags[f].add(&own) }
                }
            }
            for row in &rows {
                let items: Vec<(usize, usize)> =
                    (0..features.len()).flat_map(|f| codes(row, f).into_iter().map(move |code| (f, code))).collect();
                for mask in (0u32..1 << items.len()).filter(|mask| mask.count_ones() as usize == level) {
                    let chosen: Vec<_> = (0..items.len()).filter(|i| mask >> i & 1 == 1).map(|i| items[i]).collect();
                    *counts.entry(chosen).or_insert(0u64) += 1;
                }
            }
            let frequent = counts.values().filter(|count| **count >= min_uv).count() as u64;
            let shape = Shape {
                cardinality: features.iter().map(|f| f.0).collect(),
                items: features.iter().map(|f| f.0).collect(),
                common: vec![1; features.len()],
                tags: features.iter().map(|f| f.1).collect(),
            };
            let customers = rows.len() as u64;
            let load = Load { tags, ..Load::new(Moments::of(&[MetricKind::Rate]), vec![1], customers, 0, 1) };
            let limits = Limits { customers, min_uv, max_level: level, block_bytes: 1 << 20 };
            let together = most_together(level, &shape, &load, &limits);
            prop_assert!(together >= frequent, "{together} of {frequent} together");
            let walked = most_frequent_at(level, &shape, &load, &limits);
            prop_assert!(walked >= frequent, "{walked} of {frequent} by feature set");
        }
    }

    #[test]
    fn bounds_of_tags_follow_from_the_combinations_that_customers_have() {
        // 100 customers, 2 codes of one feature; 30 tags, of which customers have 300 in all and 400 pairs, 9 at the most.
        let shape =
            Shape { cardinality: vec![2, 30], items: vec![2, 30], common: vec![60, 20], tags: vec![false, true] };
        let tags = vec![TagLoad::default(), TagLoad { sets: vec![100, 300, 400], largest: 9 }];
        let load = Load { tags, ..Load::new(Moments::of(&[MetricKind::Rate]), vec![1], 100, 0, 1) };
        let limits = Limits { customers: 100, min_uv: 20, max_level: 2, block_bytes: 1 << 20 };
        let outline = outline(&shape, &load, &limits, Workers { processes: 1, threads: 1 });
        // Level 1: 2 codes and 300 / 20 of 30 tags. Level 2: codes with tags, 300 / 20 of 60; pairs, 400 / 20 of 435. Of cells, 30
        // are listed for each of 2 codes; for pairs, 30 for each of 15 tags, but no more than the 435 that there are.
        let figures: Vec<_> = outline.iter().map(|l| (l.feature_sets, l.candidates_at_most, l.cells_at_most)).collect();
        assert_eq!(figures, [(2, 17, 32), (2, 35, 60 + 435)]);
    }
}
