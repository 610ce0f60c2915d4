//! Counting rows into feature sets with many cells, by the ranks of what is frequent of their first features.

use super::ranks::{NONE, Ranks};
use super::tally::{Addends, CHUNK, Rows, Tally};
use super::{DENSE_CELLS, Layout, Load, Map, RankedGroup};
use crate::block::{Block, Figures};
use crate::encode::{Codes, Run, Shard};
use crate::segment::FeatureSet;
use std::collections::BTreeMap;

/// The counters that a pass holds: beyond, the feature sets of a prefix are counted in several passes.
const PASS_BYTES: u64 = 64 << 20;

/// The feature sets of one prefix, cut where their counters would outgrow a pass.
pub fn groups<'a>(
    ranks: Ranks,
    sets: Vec<FeatureSet>,
    layouts: &'a BTreeMap<FeatureSet, Layout>,
    load: &'a Load,
) -> impl Iterator<Item = RankedGroup> + 'a {
    passes(sets, layouts, load).map(move |sets| RankedGroup { ranks: ranks.clone(), sets })
}

/// The sets, cut where their counters would outgrow a pass.
pub fn passes<'a>(
    sets: Vec<FeatureSet>,
    layouts: &'a BTreeMap<FeatureSet, Layout>,
    load: &'a Load,
) -> impl Iterator<Item = Vec<FeatureSet>> + 'a {
    let mut sets = sets.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut pass = vec![sets.next()?];
        let bytes = |set: &FeatureSet| layouts[set].cells().min(DENSE_CELLS) as u64 * load.figures.cell_bytes();
        let mut held = bytes(&pass[0]);
        while let Some(set) = sets.next_if(|set| held + bytes(set) <= PASS_BYTES) {
            held += bytes(&set);
            pass.push(set);
        }
        Some(pass)
    })
}

/// Counts the rows of some shards into the blocks of a group's feature sets.
pub fn count_ranked(
    shards: &[&Shard],
    group: &RankedGroup,
    layouts: &BTreeMap<FeatureSet, Layout>,
    figures: &Figures,
) -> Vec<(FeatureSet, Block)> {
    let new = |&set: &FeatureSet| {
        let layout = &layouts[&set];
        let Layout::Ranked { cardinality, sparse, .. } = *layout else {
            unreachable!("a set that fits the grid is counted in a covering block")
        };
        (set, cardinality, Slots::new(layout.cells(), sparse, figures))
    };
    let mut counters: Vec<(FeatureSet, usize, Slots)> = group.sets.iter().map(new).collect();
    let mut ranks = vec![0u32; CHUNK];
    let (mut rows, mut keys) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    for shard in shards {
        let addends = Addends::of(shard);
        for run in shard.runs() {
            for start in run.rows.clone().step_by(CHUNK) {
                let ranks = &mut ranks[..CHUNK.min(run.rows.end - start)];
                group.ranks.of_rows(shard, start, ranks);
                // Rows in no frequent cell of the prefix are in no frequent cell of its extensions.
                rows.clear();
                rows.extend((start as u32..).zip(&*ranks).filter(|(_, rank)| **rank != NONE).map(|(row, _)| row));
                for (set, cardinality, slots) in &mut counters {
                    let codes = &shard.features[usize::from(set.feature(set.level() - 1))];
                    let cell =
                        |row: u32, code: u16| ranks[row as usize - start] as usize * *cardinality + usize::from(code);
                    keys.clear();
                    match codes {
                        Codes::U8(codes) => {
                            let cells = rows.iter().map(|&row| cell(row, u16::from(codes[row as usize])));
                            slots.keys(cells, &mut keys);
                        }
                        Codes::U16(codes) => {
                            slots.keys(rows.iter().map(|&row| cell(row, codes[row as usize])), &mut keys)
                        }
                        Codes::Tags(_) => unreachable!("a row with several codes is not ranked"),
                    }
                    slots.add(&addends, run, Rows::These(&rows), &keys);
                }
            }
        }
    }
    counters.into_iter().map(|(set, _, slots)| (set, slots.finish())).collect()
}

/// Counters of one feature set: of its cells, or of those that occur.
pub struct Slots {
    index: Option<Map<u64, u32>>,
    tally: Tally,
}

impl Slots {
    pub fn new(cells: usize, sparse: bool, figures: &Figures) -> Slots {
        let mut tally = Tally::new(figures);
        tally.reset(if sparse { 0 } else { cells });
        Slots { index: sparse.then(Map::default), tally }
    }

    /// Where these cells are counted, after the keys that are there.
    pub fn keys(&mut self, cells: impl Iterator<Item = usize>, keys: &mut Vec<u32>) {
        match &mut self.index {
            None => keys.extend(cells.map(|cell| cell as u32)),
            Some(index) => {
                for cell in cells {
                    let next = index.len() as u32;
                    keys.push(*index.entry(cell as u64).or_insert(next));
                }
                self.tally.grow(index.len());
            }
        }
    }

    /// Adds rows of one run to their cells.
    pub fn add(&mut self, addends: &Addends, run: &Run, rows: Rows, keys: &[u32]) {
        self.tally.add(addends, run, rows, keys);
    }

    pub fn finish(self) -> Block {
        let planes = self.tally.planes();
        match self.index {
            None => Block::dense(planes),
            Some(index) => {
                let mut slots: Vec<(u64, u32)> = index.into_iter().collect();
                slots.sort_unstable();
                let order: Vec<u32> = slots.iter().map(|&(_, slot)| slot).collect();
                let planes = planes.iter().map(|plane| plane.gathered(&order)).collect();
                Block::sparse(slots.into_iter().map(|(cell, _)| cell).collect(), planes)
            }
        }
    }
}
