//! From the frequent segments of one level to what is counted for the next: a pure plan, equal on all workers.

mod cover;
mod kernel;
mod outline;
mod ranks;
mod tags;

pub use cover::{CoverBlock, cover};
pub use kernel::{count_block, count_ranked};
pub use outline::{LevelOutline, outline};
pub use ranks::Ranks;
pub use tags::{Extensions, TagGroup, count_tagged};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;

use crate::encode::Codebook;
use crate::segment::{FeatureId, FeatureSet, Item, ItemCode, Segment};

/// What the plan knows of the features: codes in use, codes that are items, and whether a customer has a set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub cardinality: Vec<usize>,
    pub items: Vec<usize>,
    pub tags: Vec<bool>,
}

impl Shape {
    pub fn of(codebook: &Codebook) -> Self {
        Shape {
            cardinality: codebook.features.iter().map(|f| f.cardinality()).collect(),
            items: codebook.features.iter().map(|f| f.items.len()).collect(),
            tags: codebook.features.iter().map(|f| f.tags.is_some()).collect(),
        }
    }

    pub fn features(&self) -> usize {
        self.cardinality.len()
    }

    fn has_tags(&self, set: FeatureSet) -> bool {
        set.features().any(|f| self.tags[usize::from(f)])
    }

    fn card(&self, feature: FeatureId) -> usize {
        self.cardinality[usize::from(feature)]
    }

    /// Cells of all code combinations, saturating.
    fn cells(&self, set: FeatureSet) -> usize {
        set.features().fold(1usize, |cells, f| cells.saturating_mul(self.card(f)))
    }
}

/// The frequent segments of one level, by feature set, each list sorted.
pub type Survivors = BTreeMap<FeatureSet, Vec<Segment>>;

/// A feature set with more cells than this is not counted on the grid of all its codes: 2 parts of 32,768 cells make 65,536,
/// so a row's cell fits 16 bits and the counters (8 bytes a cell) take half a MiB, a second-level cache of today.
pub const GRID_CELLS: usize = 1 << 15;

/// Beyond this many cells, only those that occur are held.
const DENSE_CELLS: usize = 1 << 21;

/// What the cells of a feature set's block stand for.
#[derive(Clone, Debug)]
pub enum Layout {
    /// All combinations of codes, the last feature fastest.
    Grid { cardinality: Vec<usize> },
    /// `rank * cardinality + code`: the rank of a frequent cell of all features but the last, and the last one's code.
    Ranked { prefixes: Arc<Vec<Segment>>, cardinality: usize, sparse: bool },
    /// Candidates in order: the frequent cells of all features but the last, each with the codes that may follow it.
    Listed { prefixes: Arc<Vec<Segment>>, list: Arc<Extensions>, sparse: bool },
}

impl Layout {
    pub fn cells(&self) -> usize {
        match self {
            Layout::Grid { cardinality } => cardinality.iter().product(),
            Layout::Ranked { prefixes, cardinality, .. } => prefixes.len() * cardinality,
            Layout::Listed { list, .. } => list.cells() as usize,
        }
    }

    /// The segment of a cell of `set`; none where a code is `rest`.
    pub fn segment(&self, set: FeatureSet, cell: u64, shape: &Shape) -> Option<Segment> {
        let mut codes: Vec<ItemCode> = Vec::with_capacity(set.level());
        match self {
            Layout::Grid { cardinality } => {
                let mut rest = cell as usize;
                for card in cardinality.iter().rev() {
                    codes.push((rest % card) as ItemCode);
                    rest /= card;
                }
                codes.reverse();
            }
            Layout::Ranked { prefixes, cardinality, .. } => {
                let prefix = prefixes[cell as usize / cardinality];
                codes.extend(prefix.items().map(|item| item.code));
                codes.push((cell as usize % cardinality) as ItemCode);
            }
            Layout::Listed { prefixes, list, .. } => {
                let (prefix, code) = list.of(cell);
                codes.extend(prefixes[prefix].items().map(|item| item.code));
                codes.push(code);
            }
        }
        let named = set.features().zip(&codes).all(|(f, &code)| usize::from(code) < shape.items[usize::from(f)]);
        named.then(|| Segment::new(set, &codes))
    }
}

/// Feature sets that share their first features and are counted by the ranks of those.
#[derive(Clone, Debug)]
pub struct RankedGroup {
    pub ranks: Ranks,
    pub sets: Vec<FeatureSet>,
}

/// What is counted at one level.
#[derive(Clone, Debug, Default)]
pub struct LevelPlan {
    pub level: usize,
    pub layouts: BTreeMap<FeatureSet, Layout>,
    pub blocks: Vec<CoverBlock>,
    pub ranked: Vec<RankedGroup>,
    pub tagged: Vec<TagGroup>,
    /// Segments that may be frequent: all that are one item shorter are.
    pub candidates: u64,
    /// Cells counted a part, candidates or not, of the wanted feature sets.
    pub cells: u64,
}

impl LevelPlan {
    /// The plan of `level`, given the frequent segments of the level below (none for level 1).
    ///
    /// `rows` is about how many rows a worker has: a block whose cells outnumber them costs more to sum out than it saves.
    pub fn new(level: usize, shape: &Shape, below: &Survivors, rows: usize) -> LevelPlan {
        let mut plan = LevelPlan { level, ..LevelPlan::default() };
        let mut grid = BTreeSet::new();
        let mut by_prefix: BTreeMap<FeatureSet, Vec<FeatureSet>> = BTreeMap::new();
        for (set, candidates) in wanted(level, shape, below) {
            plan.candidates += candidates;
            let layout = if level < 2 || shape.cells(set) <= GRID_CELLS {
                grid.insert(set);
                Layout::Grid { cardinality: set.features().map(|f| shape.card(f)).collect() }
            } else {
                let prefix = set.without(level - 1);
                by_prefix.entry(prefix).or_default().push(set);
                let prefixes = Arc::new(below[&prefix].clone());
                let cardinality = shape.card(set.feature(level - 1));
                let sparse = prefixes.len() * cardinality > DENSE_CELLS;
                Layout::Ranked { prefixes, cardinality, sparse }
            };
            plan.cells += layout.cells() as u64;
            plan.layouts.insert(set, layout);
        }
        let max_cells = rows.clamp(1 << 9, GRID_CELLS);
        let (narrow, wide): (BTreeSet<_>, BTreeSet<_>) =
            grid.into_iter().partition(|&set| shape.cells(set) <= GRID_CELLS);
        plan.blocks = cover(&narrow, |f| shape.card(f), max_cells);
        // A single feature with more codes than the grid takes: ranked by nothing, all codes of it.
        plan.ranked = wide.into_iter().map(|set| RankedGroup { ranks: Ranks::none(), sets: vec![set] }).collect();
        plan.ranked.extend(
            by_prefix
                .into_iter()
                .map(|(prefix, sets)| RankedGroup { ranks: Ranks::new(prefix, &below[&prefix], shape), sets }),
        );
        tags::plan_tagged(&mut plan, shape, below);
        plan
    }

    /// Passes over the rows.
    pub fn units(&self) -> usize {
        self.blocks.len() + self.ranked.len() + self.tagged.len()
    }
}

/// The feature sets of `level` that hold a candidate, with the number of their candidates; at level 1 the base too. Those with
/// set-valued features are planned apart.
fn wanted(level: usize, shape: &Shape, below: &Survivors) -> Vec<(FeatureSet, u64)> {
    if level == 1 {
        let features = (0..shape.features()).filter(|&f| !shape.tags[f]);
        let features = features.map(|f| (FeatureSet::new(&[f as FeatureId]), shape.items[f] as u64));
        return std::iter::once((FeatureSet::EMPTY, 0)).chain(features).collect();
    }
    let ordinary = || below.iter().filter(|&(&set, _)| !shape.has_tags(set));
    let members: BTreeMap<FeatureSet, Members> =
        ordinary().map(|(&set, segments)| (set, Members::new(set, segments, shape))).collect();
    let mut found = Vec::new();
    for (&prefix, segments) in ordinary() {
        for feature in prefix.feature(level - 2) + 1..shape.features() as FeatureId {
            let set = prefix.with(feature);
            if shape.tags[usize::from(feature)] {
                continue;
            }
            let others: Option<Vec<&Members>> = (0..level - 1).map(|i| members.get(&set.without(i))).collect();
            let Some(others) = others else { continue };
            let items = shape.items[usize::from(feature)] as ItemCode;
            let mut candidates = 0;
            let mut bases: Vec<Base> = Vec::with_capacity(level - 1);
            for &segment in segments {
                bases.clear();
                bases.extend(others.iter().enumerate().map(|(i, members)| members.base(segment.without(i))));
                candidates += (0..items)
                    .filter(|&code| {
                        let item = Item { feature, code };
                        others.iter().zip(&bases).all(|(members, base)| members.has(*base, item))
                    })
                    .count() as u64;
            }
            if candidates > 0 {
                found.push((set, candidates));
            }
        }
    }
    found.sort_unstable();
    found
}

/// Which cells of a feature set are frequent: a bitmap over its grid where that is small.
enum Members {
    Bits { cardinality: Vec<usize>, bits: Vec<u64> },
    Hashed(HashSet<Segment, foldhash::fast::FixedState>),
}

/// Where the cells that continue a segment by one more item start.
#[derive(Clone, Copy)]
enum Base {
    Cell(usize),
    Segment(Segment),
}

impl Members {
    /// The most cells of a bitmap: half a MiB.
    const MOST_BITS: usize = 1 << 22;

    fn new(set: FeatureSet, segments: &[Segment], shape: &Shape) -> Members {
        if shape.cells(set) > Self::MOST_BITS {
            return Members::Hashed(segments.iter().copied().collect());
        }
        let cardinality: Vec<usize> = set.features().map(|f| shape.card(f)).collect();
        let mut bits = vec![0u64; cardinality.iter().product::<usize>().div_ceil(64)];
        for segment in segments {
            let cell = cell_of(&cardinality, *segment);
            bits[cell / 64] |= 1 << (cell % 64);
        }
        Members::Bits { cardinality, bits }
    }

    fn base(&self, shorter: Segment) -> Base {
        match self {
            Members::Bits { cardinality, .. } => {
                let last = cardinality[cardinality.len() - 1];
                Base::Cell(cell_of(&cardinality[..cardinality.len() - 1], shorter) * last)
            }
            Members::Hashed(_) => Base::Segment(shorter),
        }
    }

    fn has(&self, base: Base, item: Item) -> bool {
        match (self, base) {
            (Members::Bits { bits, .. }, Base::Cell(start)) => {
                let cell = start + usize::from(item.code);
                bits[cell / 64] >> (cell % 64) & 1 == 1
            }
            (Members::Hashed(segments), Base::Segment(shorter)) => segments.contains(&shorter.with(item)),
            (Members::Bits { .. }, Base::Segment(_)) | (Members::Hashed(_), Base::Cell(_)) => {
                unreachable!("a base is used with the members that gave it")
            }
        }
    }
}

fn cell_of(cardinality: &[usize], segment: Segment) -> usize {
    cardinality.iter().zip(segment.items()).fold(0, |cell, (card, item)| cell * card + usize::from(item.code))
}
