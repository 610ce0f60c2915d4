//! From the frequent segments of one level to what is counted for the next: a pure plan, equal on all workers.

mod answer;
mod cost;
mod cover;
mod grid;
mod keys;
mod outline;
mod ranked;
mod ranks;
mod tags;
mod tally;
mod wanted;

pub use answer::{Answer, closed};
pub use cost::Load;
pub use cover::{CoverBlock, cover};
pub use grid::count_block;
pub use outline::{LevelOutline, Workers, held_bytes, most_frequent, outline};
pub use ranked::count_ranked;
pub use ranks::Ranks;
pub use tags::{Extensions, TagGroup, count_tagged};
pub use tally::{Tally, bounds};
pub use wanted::candidates;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::encode::Codebook;
use crate::segment::{FeatureId, FeatureSet, ItemCode, Segment};

/// A hash map with a fixed seed: nothing is listed in its order.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// What the plan knows of the features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Codes in use, a feature.
    pub cardinality: Vec<usize>,
    /// Codes that are items, a feature.
    pub items: Vec<usize>,
    /// Customers of the most frequent item, a feature.
    pub common: Vec<u64>,
    /// Whether a customer has a set of items, a feature.
    pub tags: Vec<bool>,
}

impl Shape {
    pub fn of(codebook: &Codebook) -> Self {
        let common = |uv: &[u64], items: usize| uv[..items].iter().copied().max().unwrap_or(0);
        Shape {
            cardinality: codebook.features.iter().map(|f| f.cardinality()).collect(),
            items: codebook.features.iter().map(|f| f.items.len()).collect(),
            common: codebook.features.iter().map(|f| common(&f.uv, f.items.len())).collect(),
            tags: codebook.features.iter().map(|f| f.tags.is_some()).collect(),
        }
    }

    pub fn features(&self) -> usize {
        self.cardinality.len()
    }

    /// Whether a row may be in several cells of a set.
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

    /// Whether a cell of this set may be frequent, as far as single items tell: as if features had nothing to do with each other.
    fn likely(&self, features: &[FeatureId], customers: u64, min_uv: u64) -> bool {
        let share = |f: FeatureId| self.common[usize::from(f)] as f64 / customers.max(1) as f64;
        features.iter().map(|&f| share(f)).product::<f64>() * customers as f64 >= min_uv as f64
    }
}

/// The frequent segments of one level, by feature set, each list sorted.
pub type Survivors = BTreeMap<FeatureSet, Vec<Segment>>;

/// A feature set with more cells than this is not counted on the grid of all its codes: a row's cell fits 16 bits, and the
/// counters of a run (4 bytes a cell) take a quarter of a MiB, within a second-level cache of today.
pub const GRID_CELLS: usize = tally::KEYS;

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
    /// `held` are those that are held: of few all, else at the most those that customers can be in.
    Listed { prefixes: Arc<Vec<Segment>>, list: Arc<Extensions>, sparse: bool, held: u64 },
}

impl Layout {
    pub fn cells(&self) -> usize {
        match self {
            Layout::Grid { cardinality } => cardinality.iter().product(),
            Layout::Ranked { prefixes, cardinality, .. } => prefixes.len() * cardinality,
            Layout::Listed { list, .. } => list.cells() as usize,
        }
    }

    /// Cells that a block holds at the most.
    fn held(&self) -> u64 {
        match self {
            Layout::Listed { held, .. } => *held,
            Layout::Grid { .. } | Layout::Ranked { .. } => self.cells() as u64,
        }
    }

    /// The segment of a cell of `set`; none where a code is `rest`.
    pub fn segment(&self, set: FeatureSet, cell: u64, shape: &Shape) -> Option<Segment> {
        let named = |f: FeatureId, code: usize| code < shape.items[usize::from(f)];
        match self {
            Layout::Grid { cardinality } => {
                let mut codes = [0 as ItemCode; crate::segment::MAX_LEVEL];
                let mut rest = cell as u32;
                for (i, &card) in cardinality.iter().enumerate().rev() {
                    let code = rest % card as u32;
                    rest /= card as u32;
                    if !named(set.feature(i), code as usize) {
                        return None;
                    }
                    codes[i] = code as ItemCode;
                }
                Some(Segment::new(set, &codes[..cardinality.len()]))
            }
            Layout::Ranked { prefixes, cardinality, .. } => {
                let (feature, code) = (set.feature(set.level() - 1), cell as usize % cardinality);
                // A prefix is a frequent segment, which names no `rest`.
                let prefix = prefixes[cell as usize / cardinality];
                named(feature, code).then(|| prefix.with(crate::segment::Item { feature, code: code as ItemCode }))
            }
            Layout::Listed { prefixes, list, .. } => {
                let (prefix, code) = list.of(cell);
                Some(prefixes[prefix].with(crate::segment::Item { feature: set.feature(set.level() - 1), code }))
            }
        }
    }
}

/// Feature sets that share their first features and are counted by the ranks of those.
#[derive(Clone, Debug)]
pub struct RankedGroup {
    pub ranks: Ranks,
    pub sets: Vec<FeatureSet>,
}

/// One pass over the rows.
#[derive(Clone, Debug)]
pub enum Unit {
    Cover(CoverBlock),
    Ranked(RankedGroup),
    Tagged(TagGroup),
}

impl Unit {
    pub fn sets(&self) -> &[FeatureSet] {
        match self {
            Unit::Cover(block) => &block.sets,
            Unit::Ranked(group) => &group.sets,
            Unit::Tagged(group) => &group.sets,
        }
    }
}

/// What is counted at once: one level, or several from the first on.
#[derive(Clone, Debug)]
pub struct Round {
    pub levels: RangeInclusive<usize>,
    pub layouts: BTreeMap<FeatureSet, Layout>,
    pub units: Vec<Unit>,
    /// Segments of the deepest level that may be frequent, as all that are one item shorter are; not known for the levels that
    /// are counted together with those below.
    pub candidates: Option<u64>,
}

/// Bounds of what a round may plan.
#[derive(Clone, Debug)]
pub struct Limits {
    pub customers: u64,
    pub min_uv: u64,
    pub max_level: usize,
    /// Bytes that a process holds at the most for blocks at a time, unless one unit alone needs more; see [`held_bytes`].
    pub block_bytes: u64,
}

/// A round of several levels has no more feature sets than this.
const MOST_AT_ONCE: u64 = 1 << 18;

/// The share of a level's feature sets that must be likely to be wanted for it to be counted before that is known.
const LIKELY_SHARE: f64 = 0.9;

impl Round {
    /// The first round: the base and level 1, and as many levels more as nearly all feature sets will be wanted of.
    ///
    /// A block of three-feature sets holds their pairs and singles, so counting the third level counts the first two for
    /// nothing; what is risked is to count sets that the pairs would have shown to have no frequent cell.
    pub fn first(shape: &Shape, load: &Load, limits: &Limits) -> Round {
        let features: Vec<FeatureId> =
            (0..shape.features() as FeatureId).filter(|&f| !shape.tags[usize::from(f)]).collect();
        // What is wanted of tags follows from the level below alone.
        let most = if features.len() < shape.features() { 1 } else { limits.max_level };
        let deepest = (2..=most).rev().find(|&level| at_once(shape, limits, &features, level)).unwrap_or(1);
        let mut wanted = BTreeSet::from([FeatureSet::EMPTY]);
        for level in 1..=deepest.min(features.len()) {
            cover::combinations(&features, level, &mut Vec::with_capacity(level), &mut |chosen| {
                wanted.insert(FeatureSet::new(chosen));
            });
        }
        let listed = tags::listed(1, shape, &Survivors::new());
        Round::of(1..=deepest, wanted, listed, None, shape, &Survivors::new(), load)
    }

    /// The round of `level`, given the frequent segments of the level below.
    pub fn next(level: usize, shape: &Shape, below: &Survivors, load: &Load) -> Round {
        let wanted = wanted::wanted(level, shape, below);
        let listed = tags::listed(level, shape, below);
        let candidates = wanted.iter().map(|(_, candidates)| *candidates).chain(listed.iter().map(|(_, l)| l.cells()));
        let candidates = Some(candidates.sum());
        let sets = wanted.into_iter().map(|(set, _)| set).collect();
        Round::of(level..=level, sets, listed, candidates, shape, below, load)
    }

    /// Every one of these sets of one level on its own account, where none needs ranks or has tags but a single feature.
    pub fn of_sets(mut wanted: BTreeSet<FeatureSet>, shape: &Shape, load: &Load) -> Round {
        let level = wanted.iter().map(|set| set.level()).max().unwrap_or(0);
        let mut listed = tags::listed(1, shape, &Survivors::new());
        listed.retain(|(set, _)| wanted.remove(set));
        Round::of(level..=level, wanted, listed, None, shape, &Survivors::new(), load)
    }

    fn of(
        levels: RangeInclusive<usize>,
        wanted: BTreeSet<FeatureSet>,
        listed: Vec<(FeatureSet, Extensions)>,
        candidates: Option<u64>,
        shape: &Shape,
        below: &Survivors,
        load: &Load,
    ) -> Round {
        let mut round = Round { levels, layouts: BTreeMap::new(), units: Vec::new(), candidates };
        let mut grids: BTreeMap<usize, BTreeSet<FeatureSet>> = BTreeMap::new();
        let mut by_prefix: BTreeMap<FeatureSet, Vec<FeatureSet>> = BTreeMap::new();
        for set in wanted {
            let level = set.level();
            let layout = if shape.cells(set) <= GRID_CELLS {
                grids.entry(level).or_default().insert(set);
                Layout::Grid { cardinality: set.features().map(|f| shape.card(f)).collect() }
            } else {
                let prefix = set.without(level - 1);
                by_prefix.entry(prefix).or_default().push(set);
                // A single feature with more codes than the grid takes has the base as its one prefix.
                let prefixes = if level == 1 { vec![Segment::BASE] } else { below[&prefix].clone() };
                let cardinality = shape.card(set.feature(level - 1));
                let sparse = prefixes.len() * cardinality > DENSE_CELLS;
                Layout::Ranked { prefixes: Arc::new(prefixes), cardinality, sparse }
            };
            round.layouts.insert(set, layout);
        }
        let mut blocks: Vec<CoverBlock> = Vec::new();
        for sets in grids.into_values().rev() {
            // What lies inside a block of the levels above needs no pass of its own.
            let inside = |set: &FeatureSet, block: &CoverBlock| set.features().all(|f| block.features.contains(&f));
            let mut left = BTreeSet::new();
            for set in sets {
                match blocks.iter_mut().find(|block| inside(&set, block)) {
                    Some(block) => block.sets.push(set),
                    None => {
                        left.insert(set);
                    }
                }
            }
            blocks.extend(cover(&left, |f| shape.card(f), GRID_CELLS, |cells| load.block_ns(cells)));
        }
        round.units = blocks.into_iter().map(Unit::Cover).collect();
        for (prefix, sets) in by_prefix {
            let ranks =
                if prefix == FeatureSet::EMPTY { Ranks::none() } else { Ranks::new(prefix, &below[&prefix], shape) };
            round.units.extend(ranked::groups(ranks, sets, &round.layouts, load).map(Unit::Ranked));
        }
        tags::plan(&mut round, listed, below, load);
        round
    }

    /// Cells of the feature sets of a level, in one part.
    pub fn cells(&self, level: usize) -> u64 {
        self.layouts.iter().filter(|(set, _)| set.level() == level).map(|(_, layout)| layout.cells() as u64).sum()
    }

    /// Cells that the blocks of a unit hold in one part.
    pub fn unit_cells(&self, unit: usize) -> u64 {
        self.units[unit].sets().iter().map(|set| self.layouts[set].held()).sum()
    }

    /// Nanoseconds that a unit is estimated to take one thread.
    pub fn unit_ns(&self, unit: usize, shape: &Shape, load: &Load) -> f64 {
        match &self.units[unit] {
            Unit::Cover(block) => load.block_ns(block.features.iter().map(|&f| shape.card(f)).product()),
            Unit::Ranked(group) => group.sets.iter().map(|set| load.ranked_ns(self.layouts[set].cells())).sum(),
            Unit::Tagged(group) => {
                tags::CELLS_A_ROW
                    * group.sets.iter().map(|set| load.ranked_ns(self.layouts[set].held() as usize)).sum::<f64>()
            }
        }
    }

    /// Feature sets of a level.
    pub fn feature_sets(&self, level: usize) -> u64 {
        self.layouts.keys().filter(|set| set.level() == level).count() as u64
    }
}

/// Whether all feature sets of a level can be counted before it is known which are wanted, at next to no loss.
fn at_once(shape: &Shape, limits: &Limits, features: &[FeatureId], level: usize) -> bool {
    let sets = outline::choose(features.len() as u64, level as u64);
    if sets == 0 || sets > MOST_AT_ONCE {
        return false;
    }
    let (mut likely, mut fit) = (0u64, true);
    cover::combinations(features, level, &mut Vec::with_capacity(level), &mut |chosen| {
        fit = fit && chosen.iter().fold(1usize, |cells, &f| cells.saturating_mul(shape.card(f))) <= GRID_CELLS;
        likely += u64::from(shape.likely(chosen, limits.customers, limits.min_uv));
    });
    fit && likely as f64 >= LIKELY_SHARE * sets as f64
}
