//! Counting rows into feature sets with many cells, by the ranks of what is frequent of their first features.

use super::ranks::{NONE, Ranks};
use super::tally::{Addends, CHUNK, Rows, Tally};
use super::{DENSE_CELLS, Layout, Load, Map, RankedGroup};
use crate::block::{Block, Figures};
use crate::encode::{Codes, Shard};
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
    let mut sets = sets.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut group = RankedGroup { ranks: ranks.clone(), sets: vec![sets.next()?] };
        let bytes = |set: &FeatureSet| layouts[set].cells().min(DENSE_CELLS) as u64 * load.figures.cell_bytes();
        let mut held = bytes(&group.sets[0]);
        while let Some(set) = sets.next_if(|set| held + bytes(set) <= PASS_BYTES) {
            held += bytes(&set);
            group.sets.push(set);
        }
        Some(group)
    })
}

/// Counts the rows of some shards into the blocks of a group's feature sets.
pub fn count_ranked(
    shards: &[&Shard],
    group: &RankedGroup,
    layouts: &BTreeMap<FeatureSet, Layout>,
    figures: &Figures,
) -> Vec<(FeatureSet, Block)> {
    let mut counters: Vec<Slots> =
        group.sets.iter().map(|&set| Slots::new(set, group, &layouts[&set], figures)).collect();
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
                for slots in &mut counters {
                    keys.clear();
                    slots.keys(shard, start, &rows, ranks, &mut keys);
                    slots.tally.add(&addends, run, Rows::These(&rows), &keys);
                }
            }
        }
    }
    counters.into_iter().map(|slots| (slots.set, slots.finish())).collect()
}

/// Counters of one feature set: of its cells, or of those that occur.
struct Slots {
    set: FeatureSet,
    cardinality: usize,
    index: Option<Map<u64, u32>>,
    tally: Tally,
}

impl Slots {
    fn new(set: FeatureSet, group: &RankedGroup, layout: &Layout, figures: &Figures) -> Slots {
        let Layout::Ranked { cardinality, sparse, .. } = *layout else {
            unreachable!("a set that fits the grid is counted in a covering block")
        };
        let mut tally = Tally::new(figures);
        tally.reset(if sparse { 0 } else { group.ranks.cells() * cardinality });
        Slots { set, cardinality, index: sparse.then(Map::default), tally }
    }

    /// Where each of these rows is counted; `ranks` are those of the rows from `start` on.
    fn keys(&mut self, shard: &Shard, start: usize, rows: &[u32], ranks: &[u32], keys: &mut Vec<u32>) {
        let cardinality = self.cardinality;
        let last = &shard.features[usize::from(self.set.feature(self.set.level() - 1))];
        let cell = |row: u32, code: usize| ranks[row as usize - start] as usize * cardinality + code;
        match &mut self.index {
            None => match last {
                Codes::U8(codes) => {
                    keys.extend(rows.iter().map(|&row| cell(row, usize::from(codes[row as usize])) as u32));
                }
                Codes::U16(codes) => {
                    keys.extend(rows.iter().map(|&row| cell(row, usize::from(codes[row as usize])) as u32));
                }
            },
            Some(index) => {
                for &row in rows {
                    let next = index.len() as u32;
                    keys.push(*index.entry(cell(row, usize::from(last.at(row as usize))) as u64).or_insert(next));
                }
                self.tally.grow(index.len());
            }
        }
    }

    fn finish(self) -> Block {
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
