//! Feature sets that hold a set-valued feature: their candidates listed, and rows counted into those.
//!
//! A row is in as many cells of such a feature set as it has combinations of tags, so there is no grid of codes with one cell
//! a row. What bounds the work is the candidates: the segments all of whose parents are frequent. They are joined from the
//! frequent segments that differ in their last item (Agrawal and Srikant, 1994), and a cell is a candidate's place in their list.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{DENSE_CELLS, Layout, LevelPlan, Shape, Survivors};
use crate::encode::{Codes, Shard};
use crate::segment::{FeatureId, FeatureSet, Item, ItemCode, Segment};
use crate::stats::{Block, MetricKind, PARTS};

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
    sets: Vec<FeatureSet>,
}

/// Adds the feature sets with set-valued features to the plan of a level.
pub fn plan_tagged(plan: &mut LevelPlan, shape: &Shape, below: &Survivors) {
    let base = vec![Segment::BASE];
    let mut members = BTreeMap::new();
    let empty = [(FeatureSet::EMPTY, base)];
    let prefixes: Vec<(FeatureSet, &Vec<Segment>)> = match plan.level {
        1 => empty.iter().map(|(set, segments)| (*set, segments)).collect(),
        _ => below.iter().map(|(set, segments)| (*set, segments)).collect(),
    };
    for (prefix, segments) in prefixes {
        let last = prefix.features().last();
        let first = last.map_or(0, |last| if shape.tags[usize::from(last)] { last } else { last + 1 });
        let mut group = TagGroup { prefix, steps: Arc::default(), sets: Vec::new() };
        let own = Arc::new(segments.clone());
        for feature in first..shape.features() as FeatureId {
            let set = prefix.with(feature);
            if !shape.has_tags(set) {
                continue;
            }
            let Some(list) = candidates(set, segments, shape, below, &mut members) else { continue };
            let cells = list.cells();
            if cells == 0 && plan.level > 1 {
                continue;
            }
            plan.candidates += cells;
            plan.cells += cells;
            let layout =
                Layout::Listed { prefixes: Arc::clone(&own), list: Arc::new(list), sparse: cells > DENSE_CELLS as u64 };
            plan.layouts.insert(set, layout);
            group.sets.push(set);
        }
        if !group.sets.is_empty() {
            group.steps = Arc::new((0..prefix.level()).map(|depth| Extensions::at(segments, depth)).collect());
            plan.tagged.push(group);
        }
    }
}

type Members = BTreeMap<FeatureSet, HashSet<Segment, foldhash::fast::FixedState>>;

/// The candidates of a feature set, given the frequent segments of all its features but the last; none where a parent has none.
fn candidates(
    set: FeatureSet,
    prefixes: &[Segment],
    shape: &Shape,
    below: &Survivors,
    members: &mut Members,
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
    for i in 0..before {
        let parent = set.without(i);
        let segments = below.get(&parent)?;
        members.entry(parent).or_insert_with(|| segments.iter().copied().collect());
    }
    let others: Vec<_> = (0..before).map(|i| &members[&set.without(i)]).collect();
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

/// Rows whose cells are walked at once: what they need then stays in the first-level cache.
const CHUNK: usize = 1024;

/// Counts the rows into the candidates of a group's feature sets.
pub fn count_tagged(shard: &Shard, group: &TagGroup, plan: &LevelPlan) -> Vec<(FeatureSet, Block)> {
    let column = |feature: FeatureId| &shard.features[usize::from(feature)];
    let mut last = None;
    let mut step =
        |feature: FeatureId, to| Step { codes: column(feature), again: last.replace(feature) == Some(feature), to };
    let steps: Vec<Step> = group.prefix.features().zip(group.steps.iter()).map(|(f, to)| step(f, to)).collect();
    let width = shard.moments().width();
    let packed = shard.moments().kinds().first() == Some(&MetricKind::Rate);
    let mut counted: Vec<(FeatureSet, Step, Counters)> = (group.sets.iter())
        .map(|&set| {
            let Layout::Listed { list, sparse, .. } = &plan.layouts[&set] else {
                unreachable!("feature sets with tags are listed")
            };
            let feature = set.feature(set.level() - 1);
            let again = group.prefix.features().last() == Some(feature);
            let counters = Counters::new(list.cells(), *sparse, packed, width);
            (set, Step { codes: column(feature), again, to: list }, counters)
        })
        .collect();
    let (mut places, mut next): (Vec<Place>, Vec<Place>) = Default::default();
    let mut weights: Vec<u64> = Vec::with_capacity(CHUNK);
    let mut values: Vec<i128> = Vec::with_capacity(CHUNK * width);
    for start in (0..shard.rows()).step_by(CHUNK) {
        let rows = CHUNK.min(shard.rows() - start);
        (weights.clear(), values.clear());
        for row in start..start + rows {
            let (mut weight, mut moment) = (1, 0);
            shard.metrics.iter().for_each(|metric| {
                metric.moments_at(row, |v| {
                    match packed && moment == 0 {
                        true => weight |= (v as u64) << 32,
                        false => values.push(v),
                    }
                    moment += 1;
                })
            });
            weights.push(weight);
        }
        places.clear();
        places.extend((0..rows as u32).map(|row| Place { row, from: 0, cell: 0 }));
        for step in &steps {
            next.clear();
            step.each(start, &places, |place| next.push(place));
            std::mem::swap(&mut places, &mut next);
        }
        let part = &shard.part[start..start + rows];
        for (_, step, counters) in &mut counted {
            step.each(start, &places, |Place { row, cell, .. }| {
                let row = row as usize;
                counters.add(cell, usize::from(part[row]), weights[row], row, &values);
            });
        }
    }
    counted.into_iter().map(|(set, _, counters)| (set, counters.finish())).collect()
}

/// A row in a cell.
#[derive(Clone, Copy)]
struct Place {
    /// Counted from the first of the chunk.
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
    to: &'a Extensions,
}

impl Step<'_> {
    /// The places that the rows' codes extend these to.
    fn each(&self, start: usize, places: &[Place], mut each: impl FnMut(Place)) {
        match self.codes {
            Codes::Tags(tags) => {
                for &Place { row, from, cell } in places {
                    let tags = tags.row(start + row as usize);
                    let from = if self.again { from } else { 0 };
                    for (&tag, next) in tags[from as usize..].iter().zip(from + 1..) {
                        if let Some(cell) = self.to.cell(cell, tag) {
                            each(Place { row, from: next, cell });
                        }
                    }
                }
            }
            Codes::U8(codes) => places.iter().for_each(|&Place { row, cell, .. }| {
                if let Some(cell) = self.to.cell(cell, u16::from(codes[start + row as usize])) {
                    each(Place { row, from: 0, cell });
                }
            }),
            Codes::U16(codes) => places.iter().for_each(|&Place { row, cell, .. }| {
                if let Some(cell) = self.to.cell(cell, codes[start + row as usize]) {
                    each(Place { row, from: 0, cell });
                }
            }),
        }
    }
}

/// Counters of the cells of one feature set: of all, or of those that occurred.
struct Counters {
    cells: u64,
    index: Option<HashMap<u64, u32, foldhash::fast::FixedState>>,
    /// Whether the high half of a count is the first sum: that of a bit.
    packed: bool,
    width: usize,
    /// Entry `PARTS * slot + part`.
    counts: Vec<u64>,
    /// All sums, or all but the first.
    sums: Vec<i128>,
}

impl Counters {
    fn new(cells: u64, sparse: bool, packed: bool, width: usize) -> Counters {
        let slots = if sparse { 0 } else { cells as usize };
        let index = sparse.then(HashMap::default);
        let sums = vec![0; PARTS * slots * (width - usize::from(packed))];
        Counters { cells, index, packed, width, counts: vec![0; PARTS * slots], sums }
    }

    /// Adds a row, whose count is `weight`, with the first sum if that is packed, and whose other sums are among `values`.
    fn add(&mut self, cell: u64, part: usize, weight: u64, row: usize, values: &[i128]) {
        let plain = self.width - usize::from(self.packed);
        let slot = match &mut self.index {
            None => cell as usize,
            Some(index) => {
                let next = (self.counts.len() / PARTS) as u32;
                let slot = *index.entry(cell).or_insert(next);
                if slot == next {
                    self.counts.extend([0; PARTS]);
                    self.sums.extend(std::iter::repeat_n(0, PARTS * plain));
                }
                slot as usize
            }
        };
        let at = PARTS * slot + part;
        // A worker holds fewer than 2^31 rows, so neither half overflows.
        self.counts[at] += weight;
        if plain > 0 {
            let values = &values[row * plain..(row + 1) * plain];
            self.sums[at * plain..].iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
        }
    }

    fn finish(self) -> Block {
        let (width, plain) = (self.width, self.width - usize::from(self.packed));
        let uv = |at: usize| if self.packed { i64::from(self.counts[at] as u32) } else { self.counts[at] as i64 };
        let sums = |at: usize| {
            let first = self.packed.then(|| i128::from(self.counts[at] >> 32));
            first.into_iter().chain(self.sums[at * plain..(at + 1) * plain].iter().copied())
        };
        match &self.index {
            None => {
                let cells = self.cells as usize;
                let order = (0..PARTS).flat_map(|part| (0..cells).map(move |cell| PARTS * cell + part));
                Block::Dense { uv: order.clone().map(uv).collect(), sums: order.flat_map(sums).collect() }
            }
            Some(index) => {
                let mut slots: Vec<(u64, u32)> = index.iter().map(|(&cell, &slot)| (cell, slot)).collect();
                slots.sort_unstable();
                let order =
                    slots.iter().flat_map(|&(_, slot)| (0..PARTS).map(move |part| PARTS * slot as usize + part));
                let mut all = Vec::with_capacity(PARTS * slots.len() * width);
                all.extend(order.clone().flat_map(sums));
                Block::Sparse {
                    cells: slots.iter().map(|&(cell, _)| cell).collect(),
                    uv: order.map(uv).collect(),
                    sums: all,
                }
            }
        }
    }
}
