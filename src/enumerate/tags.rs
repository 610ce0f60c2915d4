//! Feature sets that hold a set-valued feature: their candidates listed, and rows counted into those.
//!
//! A row is in as many cells of such a feature set as it has combinations of tags, so there is no grid of codes with one cell
//! a row. What bounds the work is the candidates: the segments all of whose parents are frequent. They are joined from the
//! frequent segments that differ in their last item (Agrawal and Srikant, 1994), and a cell is a candidate's place in their list.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hashbrown::HashSet;
use rayon::prelude::*;

use super::ranked::{Slots, passes};
use super::tally::{Addends, CHUNK, Rows};
use super::{DENSE_CELLS, Layout, Load, Round, Shape, Survivors, Unit};
use crate::block::{Block, Figures};
use crate::encode::{Codes, Run, Shard};
use crate::segment::{FeatureId, FeatureSet, Item, ItemCode, Segment};

/// Cells of a feature set with tags that a row is taken to be in, where only proportions between passes matter.
pub const CELLS_A_ROW: f64 = 8.0;

/// By which codes of one more feature each of some sorted cells is extended; the extended cells are numbered in order.
#[derive(Clone, Debug)]
pub struct Extensions {
    /// The first extended cell of each cell, and how many there are.
    starts: Vec<u64>,
    codes: Continued,
}

#[derive(Clone, Debug)]
enum Continued {
    /// Some codes of each cell, increasing.
    Some(Vec<ItemCode>),
    /// The same codes of each cell, from a place of its own on.
    All { codes: Vec<ItemCode>, from: Vec<u32> },
}

impl Extensions {
    /// Every cell, extended by those of increasing `codes` that are at least its `least`.
    fn all(codes: Vec<ItemCode>, least: impl Iterator<Item = usize>) -> Extensions {
        let from: Vec<u32> = least.map(|least| codes.partition_point(|&c| usize::from(c) < least) as u32).collect();
        let mut starts = vec![0];
        for &from in &from {
            starts.push(starts[starts.len() - 1] + (codes.len() - from as usize) as u64);
        }
        Extensions { starts, codes: Continued::All { codes, from } }
    }

    /// Of sorted segments of one feature set with more than `depth` features: the codes at `depth`, of each cell before it.
    fn at(segments: &[Segment], depth: usize) -> Extensions {
        let (mut starts, mut codes) = (vec![0], Vec::new());
        let same = |a: &Segment, b: &Segment, items: usize| a.items().take(items).eq(b.items().take(items));
        for (i, segment) in segments.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &segments[i]);
            if before.is_some_and(|before| same(before, segment, depth + 1)) {
                continue;
            }
            if before.is_some_and(|before| !same(before, segment, depth)) {
                starts.push(codes.len() as u64);
            }
            codes.push(segment.code(depth));
        }
        starts.push(codes.len() as u64);
        Extensions { starts, codes: Continued::Some(codes) }
    }

    /// How many extended cells there are.
    pub fn cells(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// The number of a cell extended by a code.
    fn cell(&self, cell: u64, code: ItemCode) -> Option<u64> {
        let cell = cell as usize;
        let start = self.starts[cell];
        match &self.codes {
            Continued::Some(codes) => {
                let own = &codes[start as usize..self.starts[cell + 1] as usize];
                place(own, code).map(|place| start + place as u64)
            }
            Continued::All { codes, from } => {
                place(&codes[from[cell] as usize..], code).map(|place| start + place as u64)
            }
        }
    }

    /// The cell that an extended one continues, and by which code.
    pub fn of(&self, extended: u64) -> (usize, ItemCode) {
        let cell = self.starts.partition_point(|&start| start <= extended) - 1;
        let code = match &self.codes {
            Continued::Some(codes) => codes[extended as usize],
            Continued::All { codes, from } => codes[from[cell] as usize + (extended - self.starts[cell]) as usize],
        };
        (cell, code)
    }
}

/// Extended cells to look up for many rows.
struct Finder<'a> {
    list: &'a Extensions,
    /// Of lists with gaps, where they are few against the rows: which codes each cell is extended by.
    bits: Option<Bits>,
}

/// One bit a cell and code, and how many are set in the words before each.
struct Bits {
    /// Words of a cell.
    width: usize,
    words: Vec<u64>,
    before: Vec<u32>,
}

impl Finder<'_> {
    /// `rows` is how many rows are looked up, which is what making a table must be worth.
    fn new(list: &Extensions, rows: usize) -> Finder<'_> {
        let Continued::Some(codes) = &list.codes else { return Finder { list, bits: None } };
        let width = codes.iter().max().map_or(0, |&code| usize::from(code) / 64 + 1);
        let cells = list.starts.len() - 1;
        if width == 0 || cells.saturating_mul(width) > rows.min(Self::MOST_WORDS) {
            return Finder { list, bits: None };
        }
        let mut words = vec![0u64; cells * width];
        for (cell, ends) in list.starts.windows(2).enumerate() {
            for &code in &codes[ends[0] as usize..ends[1] as usize] {
                words[cell * width + usize::from(code) / 64] |= 1 << (code % 64);
            }
        }
        let mut set = 0u32;
        let before = words.iter().map(|word| (set, set += word.count_ones()).0).collect();
        Finder { list, bits: Some(Bits { width, words, before }) }
    }

    /// 24 MiB.
    const MOST_WORDS: usize = 1 << 21;

    fn cell(&self, cell: u64, code: ItemCode) -> Option<u64> {
        let Some(bits) = &self.bits else { return self.list.cell(cell, code) };
        let (word, bit) = (usize::from(code) / 64, 1u64 << (code % 64));
        if word >= bits.width {
            return None;
        }
        let at = cell as usize * bits.width + word;
        let set = bits.words[at];
        (set & bit != 0).then(|| u64::from(bits.before[at] + (set & (bit - 1)).count_ones()))
    }
}

/// Where a code stands among increasing ones.
fn place(codes: &[ItemCode], code: ItemCode) -> Option<usize> {
    let (&first, &last) = (codes.first()?, codes.last()?);
    if code < first || code > last {
        return None;
    }
    // Mostly none is left out.
    if usize::from(last - first) + 1 == codes.len() {
        return Some(usize::from(code - first));
    }
    codes.binary_search(&code).ok()
}

/// Feature sets that share all features but the last.
#[derive(Clone, Debug)]
pub struct TagGroup {
    prefix: FeatureSet,
    /// From the cells of the first features of the prefix to those of one more, up to its frequent segments.
    steps: Arc<Vec<Extensions>>,
    pub sets: Vec<FeatureSet>,
}

/// The feature sets of `level` with set-valued features that have a candidate, each with its candidates; sorted. At level 1
/// every such feature.
pub fn listed(level: usize, shape: &Shape, below: &Survivors) -> Vec<(FeatureSet, Extensions)> {
    if !shape.tags.contains(&true) {
        return Vec::new();
    }
    let base = (FeatureSet::EMPTY, vec![Segment::BASE]);
    let prefixes: Vec<(FeatureSet, &Vec<Segment>)> = match level {
        1 => vec![(base.0, &base.1)],
        _ => below.iter().map(|(set, segments)| (*set, segments)).collect(),
    };
    let members: Members = below.keys().map(|&set| (set, OnceLock::new())).collect();
    let of_prefix = |(prefix, segments): (FeatureSet, &Vec<Segment>)| {
        let last = prefix.features().last();
        let first = last.map_or(0, |last| if shape.tags[usize::from(last)] { last } else { last + 1 });
        let sets = (first..shape.features() as FeatureId).map(|feature| prefix.with(feature));
        let tagged = sets.filter(|&set| shape.has_tags(set));
        let listed = tagged.filter_map(|set| Some((set, candidates(set, segments, shape, below, &members)?)));
        listed.filter(|(_, list)| level == 1 || list.cells() > 0).collect::<Vec<_>>()
    };
    prefixes.into_par_iter().flat_map_iter(of_prefix).collect()
}

/// Adds listed feature sets to the plan of a round.
pub fn plan(round: &mut Round, listed: Vec<(FeatureSet, Extensions)>, below: &Survivors, load: &Load) {
    let mut by_prefix: BTreeMap<FeatureSet, Vec<(FeatureSet, Extensions)>> = BTreeMap::new();
    for (set, list) in listed {
        by_prefix.entry(set.without(set.level() - 1)).or_default().push((set, list));
    }
    for (prefix, listed) in by_prefix {
        let segments = Arc::new(if prefix == FeatureSet::EMPTY { vec![Segment::BASE] } else { below[&prefix].clone() });
        let sets = listed.iter().map(|(set, _)| *set).collect();
        for (set, list) in listed {
            let sparse = list.cells() > DENSE_CELLS as u64;
            let held = held(list.cells(), set, load);
            let layout = Layout::Listed { prefixes: Arc::clone(&segments), list: Arc::new(list), sparse, held };
            round.layouts.insert(set, layout);
        }
        let steps = Arc::new((0..prefix.level()).map(|depth| Extensions::at(&segments, depth)).collect::<Vec<_>>());
        let group = |sets| Unit::Tagged(TagGroup { prefix, steps: Arc::clone(&steps), sets });
        round.units.extend(passes(sets, &round.layouts, load).map(group));
    }
}

/// How many of its cells the block of a feature set holds at the most.
pub fn held(cells: u64, set: FeatureSet, load: &Load) -> u64 {
    if cells > DENSE_CELLS as u64 { cells.min(load.meetings(set).unwrap_or(u64::MAX)) } else { cells }
}

/// The frequent segments of each feature set, to look them up; made when first asked for.
type Members = BTreeMap<FeatureSet, OnceLock<HashSet<Segment, foldhash::fast::FixedState>>>;

/// The candidates of a feature set, given the frequent segments of all its features but the last; none where a parent has none.
fn candidates(
    set: FeatureSet,
    prefixes: &[Segment],
    shape: &Shape,
    below: &Survivors,
    members: &Members,
) -> Option<Extensions> {
    let level = set.level();
    let feature = set.feature(level - 1);
    let Some(before) = level.checked_sub(2) else {
        return Some(Extensions::all((0..shape.items[usize::from(feature)] as ItemCode).collect(), std::iter::once(0)));
    };
    let again = set.feature(before) == feature;
    let siblings = below.get(&set.without(before))?;
    // The code of the same feature must be larger than the last one.
    let least = |segment: &Segment| if again { usize::from(segment.code(before)) + 1 } else { 0 };
    if before == 0 {
        return Some(Extensions::all(siblings.iter().map(|s| s.code(0)).collect(), prefixes.iter().map(least)));
    }
    let hashed = |set: FeatureSet| Some(members.get(&set)?.get_or_init(|| below[&set].iter().copied().collect()));
    let others: Vec<_> = (0..before).map(|i| hashed(set.without(i))).collect::<Option<_>>()?;
    let (mut starts, mut codes) = (vec![0], Vec::new());
    let mut from = 0;
    let mut shorter: Vec<Segment> = Vec::with_capacity(before);
    for segment in prefixes {
        // Both lists are sorted by what they share, and the siblings that share it with this segment are next to each other.
        let shared = segment.without(before);
        from += siblings[from..].partition_point(|sibling| sibling.without(before) < shared);
        shorter.clear();
        shorter.extend((0..before).map(|i| segment.without(i)));
        let alike = siblings[from..].iter().take_while(|sibling| sibling.without(before) == shared);
        for code in alike.map(|sibling| sibling.code(before)).filter(|&code| usize::from(code) >= least(segment)) {
            let item = Item { feature, code };
            if others.iter().zip(&shorter).all(|(members, shorter)| members.contains(&shorter.with(item))) {
                codes.push(code);
            }
        }
        starts.push(codes.len() as u64);
    }
    Some(Extensions { starts, codes: Continued::Some(codes) })
}

/// Places of rows that are walked together; what they need then stays in a cache.
const MOST_PLACES: usize = 2 * CHUNK;

/// Places after which it is seen whether there are that many: a customer may have thousands of tags.
const FEW_PLACES: usize = 64;

/// Counts the rows of some shards into the candidates of a group's feature sets.
pub fn count_tagged(
    shards: &[&Shard],
    group: &TagGroup,
    layouts: &BTreeMap<FeatureSet, Layout>,
    figures: &Figures,
) -> Vec<(FeatureSet, Block)> {
    let rows = shards.iter().map(|shard| shard.rows()).sum();
    let new = |set: &FeatureSet| match &layouts[set] {
        Layout::Listed { list, sparse, .. } => {
            (Finder::new(list, rows), Slots::new(list.cells() as usize, *sparse, figures))
        }
        Layout::Grid { .. } | Layout::Ranked { .. } => unreachable!("feature sets with tags are listed"),
    };
    let (lists, mut slots): (Vec<Finder>, Vec<Slots>) = group.sets.iter().map(new).unzip();
    let steps: Vec<Finder> = group.steps.iter().map(|list| Finder::new(list, rows)).collect();
    let mut buffers = vec![Vec::new(); group.steps.len() + 1];
    for shard in shards {
        let addends = Addends::of(shard);
        let step = |features: FeatureSet, to| {
            let position = features.level() - 1;
            let feature = features.feature(position);
            let again = position > 0 && features.feature(position - 1) == feature;
            Step { codes: &shard.features[usize::from(feature)], again, to }
        };
        let first = |depth: usize| group.prefix.features().take(depth).fold(FeatureSet::EMPTY, FeatureSet::with);
        let steps: Vec<Step> = (1..).zip(&steps).map(|(depth, to)| step(first(depth), to)).collect();
        let lasts: Vec<Step> = group.sets.iter().zip(&lists).map(|(&set, to)| step(set, to)).collect();
        let mut counter =
            Counter { addends: &addends, slots: &mut slots, rows: Vec::new(), cells: Vec::new(), keys: Vec::new() };
        for run in shard.runs() {
            for start in run.rows.clone().step_by(CHUNK) {
                let rows = start..run.rows.end.min(start + CHUNK);
                let (places, buffers) = buffers.split_first_mut().expect("one more than the steps");
                places.clear();
                places.extend(rows.map(|row| Place { row: row as u32, from: 0, cell: 0 }));
                walk(&steps, places, buffers, &mut |places| counter.count(run, &lasts, places));
            }
        }
    }
    group.sets.iter().copied().zip(slots.into_iter().map(Slots::finish)).collect()
}

/// A row in a cell.
#[derive(Clone, Copy)]
struct Place {
    row: u32,
    /// The place among the row's tags after the last that led here.
    from: u32,
    cell: u64,
}

/// One feature more of a row's cell.
#[derive(Clone, Copy)]
struct Step<'a> {
    codes: &'a Codes,
    /// Whether the feature before is the same, so that only the tags after its tag count.
    again: bool,
    to: &'a Finder<'a>,
}

impl Step<'_> {
    /// The places that the rows' codes extend these to.
    fn each(&self, places: &[Place], mut each: impl FnMut(Place)) {
        match self.codes {
            Codes::Tags(tags) => {
                for &Place { row, from, cell } in places {
                    let tags = tags.row(row as usize);
                    let from = if self.again { from } else { 0 };
                    for (&tag, next) in tags[from as usize..].iter().zip(from + 1..) {
                        if let Some(cell) = self.to.cell(cell, tag) {
                            each(Place { row, from: next, cell });
                        }
                    }
                }
            }
            Codes::U8(codes) => places.iter().for_each(|&Place { row, cell, .. }| {
                if let Some(cell) = self.to.cell(cell, u16::from(codes[row as usize])) {
                    each(Place { row, from: 0, cell });
                }
            }),
            Codes::U16(codes) => places.iter().for_each(|&Place { row, cell, .. }| {
                if let Some(cell) = self.to.cell(cell, codes[row as usize]) {
                    each(Place { row, from: 0, cell });
                }
            }),
        }
    }
}

/// Gives the places after all steps, some at a time.
fn walk(steps: &[Step], places: &[Place], buffers: &mut [Vec<Place>], each: &mut impl FnMut(&[Place])) {
    let (Some((step, steps)), Some((buffer, buffers))) = (steps.split_first(), buffers.split_first_mut()) else {
        return each(places);
    };
    buffer.clear();
    for some in places.chunks(FEW_PLACES) {
        step.each(some, |place| buffer.push(place));
        if buffer.len() >= MOST_PLACES {
            walk(steps, buffer, buffers, &mut *each);
            buffer.clear();
        }
    }
    walk(steps, buffer, buffers, each);
}

/// Where the rows of a shard are counted.
struct Counter<'a> {
    addends: &'a Addends<'a>,
    /// A feature set each.
    slots: &'a mut [Slots],
    rows: Vec<u32>,
    cells: Vec<usize>,
    keys: Vec<u32>,
}

impl Counter<'_> {
    /// Counts rows of one run, at places before the last step of each feature set.
    fn count(&mut self, run: &Run, lasts: &[Step], places: &[Place]) {
        for (set, step) in lasts.iter().enumerate() {
            for some in places.chunks(FEW_PLACES) {
                step.each(some, |Place { row, cell, .. }| {
                    self.rows.push(row);
                    self.cells.push(cell as usize);
                });
                if self.rows.len() >= MOST_PLACES {
                    self.add(run, set);
                }
            }
            self.add(run, set);
        }
    }

    fn add(&mut self, run: &Run, set: usize) {
        let slots = &mut self.slots[set];
        self.keys.clear();
        slots.keys(self.cells.drain(..), &mut self.keys);
        slots.add(self.addends, run, Rows::These(&self.rows), &self.keys);
        self.rows.clear();
    }
}
