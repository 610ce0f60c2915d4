//! Rows to the ranks of a feature set's frequent cells, through a trie of codes.
//!
//! At most `1 / min_share` cells of any feature set are frequent, so the ranks stay few however many codes the features have.

use hashbrown::HashMap;

use super::Shape;
use crate::encode::Shard;
use crate::segment::{FeatureId, FeatureSet, Segment};

/// The rank of a row that is in none of the cells.
pub const NONE: u32 = u32::MAX;

/// For each feature of a set in turn: node and code to the next node. The nodes after the last feature are the ranks.
#[derive(Clone, Debug)]
pub struct Ranks {
    steps: Vec<Step>,
    cells: usize,
}

#[derive(Clone, Debug)]
struct Step {
    feature: FeatureId,
    cardinality: usize,
    next: Next,
}

#[derive(Clone, Debug)]
enum Next {
    Table(Vec<u32>),
    Hashed(HashMap<(u32, u16), u32, foldhash::fast::FixedState>),
}

/// A step with more entries than this (16 MiB) is hashed.
const MOST_TABLE: usize = 1 << 22;

impl Ranks {
    /// Every row has rank 0.
    pub fn none() -> Ranks {
        Ranks { steps: Vec::new(), cells: 1 }
    }

    /// Ranks in the order of `cells`, which are sorted segments of `set`.
    pub fn new(set: FeatureSet, cells: &[Segment], shape: &Shape) -> Ranks {
        let mut steps = Vec::with_capacity(set.level());
        // Sorted cells visit the trie in depth-first order, so a prefix is new exactly when it differs from the last one.
        let mut nodes: Vec<u32> = vec![0; cells.len()];
        for (depth, feature) in set.features().enumerate() {
            let cardinality = shape.card(feature);
            let parents = nodes.iter().copied().max().map_or(0, |n| n as usize + 1);
            let mut next = if parents * cardinality <= MOST_TABLE {
                Next::Table(vec![NONE; parents * cardinality])
            } else {
                Next::Hashed(HashMap::default())
            };
            let mut count = 0;
            let mut last = None;
            for (cell, node) in cells.iter().zip(&mut nodes) {
                let step = (*node, cell.code(depth));
                if last != Some(step) {
                    match &mut next {
                        Next::Table(table) => table[step.0 as usize * cardinality + usize::from(step.1)] = count,
                        Next::Hashed(map) => {
                            map.insert(step, count);
                        }
                    }
                    last = Some(step);
                    count += 1;
                }
                *node = count - 1;
            }
            steps.push(Step { feature, cardinality, next });
        }
        Ranks { steps, cells: cells.len() }
    }

    /// How many ranks there are.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The ranks of rows `start..start + ranks.len()`.
    pub fn of_rows(&self, shard: &Shard, start: usize, ranks: &mut [u32]) {
        ranks.fill(0);
        for step in &self.steps {
            let codes = &shard.features[usize::from(step.feature)];
            for (i, rank) in ranks.iter_mut().enumerate() {
                if *rank == NONE {
                    continue;
                }
                let code = codes.at(start + i);
                *rank = match &step.next {
                    Next::Table(table) => table[*rank as usize * step.cardinality + usize::from(code)],
                    Next::Hashed(map) => map.get(&(*rank, code)).copied().unwrap_or(NONE),
                };
            }
        }
    }
}
