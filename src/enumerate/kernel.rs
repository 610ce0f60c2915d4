//! Counting rows into blocks: keys built column by column, narrow counters, dimensions summed out.

use hashbrown::HashMap;

use super::ranks::NONE;
use super::{CoverBlock, Layout, LevelPlan, RankedGroup, Shape};
use crate::encode::{Codes, MetricColumn, Shard};
use crate::segment::FeatureSet;
use crate::stats::{Block, PARTS};

/// Rows whose keys are built at once: they stay in the first-level cache.
const CHUNK: usize = 4096;

/// Rows after which narrow counters are spilled, so that the packed 32-bit counts cannot overflow.
const PACKED_ROWS: usize = 1 << 31;

/// One moment of the metrics, as a column of numbers to add.
#[derive(Clone, Copy)]
enum Addend<'a> {
    Bits(&'a [u8]),
    Values(&'a [i64]),
    Product(&'a [i64], &'a [i64]),
}

impl Addend<'_> {
    fn at(self, row: usize) -> i128 {
        match self {
            Addend::Bits(yes) => i128::from(yes[row]),
            Addend::Values(values) => i128::from(values[row]),
            Addend::Product(a, b) => i128::from(a[row]) * i128::from(b[row]),
        }
    }

    /// The largest magnitude in the column.
    fn bound(self) -> u128 {
        let largest = |values: &[i64]| values.iter().map(|v| v.unsigned_abs()).max().map_or(0, u128::from);
        match self {
            Addend::Bits(_) => 1,
            Addend::Values(values) => largest(values),
            Addend::Product(a, b) => largest(a) * largest(b),
        }
    }
}

fn addends(shard: &Shard) -> Vec<Addend<'_>> {
    let mut addends = Vec::new();
    for metric in &shard.metrics {
        match metric {
            MetricColumn::Rate(yes) => addends.push(Addend::Bits(yes)),
            MetricColumn::Amount(values) => addends.extend([Addend::Values(values), Addend::Product(values, values)]),
            MetricColumn::Ratio { num, den } => addends.extend([
                Addend::Values(num),
                Addend::Product(num, num),
                Addend::Values(den),
                Addend::Product(den, den),
                Addend::Product(num, den),
            ]),
        }
    }
    addends
}

/// Counters of one block, one array a figure. The first is the uv, packed with the first moment where that is a bit.
enum Counters {
    /// Customers in the low half, their sum of a bit in the high half.
    Packed(Vec<u64>),
    Narrow(Vec<i64>),
    Wide(Vec<i128>),
}

impl Counters {
    /// Sums out a dimension of `cardinality` values that has `inner` cells below each.
    fn sum_out(&self, cardinality: usize, inner: usize) -> Counters {
        fn summed<T: Copy + Default + std::ops::AddAssign>(cells: &[T], cardinality: usize, inner: usize) -> Vec<T> {
            let mut out = vec![T::default(); cells.len() / cardinality];
            for (out, cells) in out.chunks_exact_mut(inner).zip(cells.chunks_exact(inner * cardinality)) {
                for slice in cells.chunks_exact(inner) {
                    out.iter_mut().zip(slice).for_each(|(a, b)| *a += *b);
                }
            }
            out
        }
        match self {
            Counters::Packed(cells) => Counters::Packed(summed(cells, cardinality, inner)),
            Counters::Narrow(cells) => Counters::Narrow(summed(cells, cardinality, inner)),
            Counters::Wide(cells) => Counters::Wide(summed(cells, cardinality, inner)),
        }
    }
}

/// Counts the rows into a covering block and sums the wanted feature sets out of it.
pub fn count_block(shard: &Shard, block: &CoverBlock, shape: &Shape) -> Vec<(FeatureSet, Block)> {
    let cards: Vec<usize> = block.features.iter().map(|&f| shape.card(f)).collect();
    let cells: usize = cards.iter().product();
    let mut strides = vec![1usize; cards.len()];
    for i in (1..cards.len()).rev() {
        strides[i - 1] = strides[i] * cards[i];
    }
    let keys = |start: usize, keys: &mut [u16]| {
        let part = &shard.part[start..start + keys.len()];
        // Two parts of at most 2^15 cells: every key fits 16 bits, and none of the products below wraps.
        let cells = cells as u16;
        keys.iter_mut().zip(part).for_each(|(key, &part)| *key = u16::from(part) * cells);
        for (&feature, &stride) in block.features.iter().zip(&strides) {
            let stride = stride as u16;
            match &shard.features[usize::from(feature)] {
                Codes::U8(codes) => {
                    let codes = &codes[start..start + keys.len()];
                    keys.iter_mut()
                        .zip(codes)
                        .for_each(|(key, &code)| *key = key.wrapping_add(u16::from(code).wrapping_mul(stride)));
                }
                Codes::U16(codes) => {
                    let codes = &codes[start..start + keys.len()];
                    keys.iter_mut()
                        .zip(codes)
                        .for_each(|(key, &code)| *key = key.wrapping_add(code.wrapping_mul(stride)));
                }
                Codes::Tags(_) => unreachable!("a row with several codes is not on a grid"),
            }
        }
    };
    let counters = tally(shard, PARTS * cells, keys);
    let mut lattice = Lattice { cards, known: vec![((1 << block.features.len()) - 1, counters)] };
    let position = |f| block.features.iter().position(|&own| own == f).expect("a set lies inside its block");
    block
        .sets
        .iter()
        .map(|&set| {
            let mask = set.features().fold(0u32, |mask, f| mask | 1 << position(f));
            (set, dense(lattice.at(mask)))
        })
        .collect()
}

/// Adds every row to its cell, for every moment.
fn tally(shard: &Shard, cells: usize, mut keys: impl FnMut(usize, &mut [u16])) -> Vec<Counters> {
    let addends = addends(shard);
    let (packed, plain) = match addends.split_first() {
        Some((&Addend::Bits(yes), rest)) => (Some(yes), rest),
        _ => (None, &addends[..]),
    };
    let mut counts = vec![0u64; cells];
    // A column whose largest magnitude times its rows fits 63 bits needs no wide sums anywhere below.
    let fits = |addend: &Addend| addend.bound().checked_mul(shard.rows().max(1) as u128).is_some_and(|b| b < 1 << 63);
    let mut sums: Vec<Counters> = plain
        .iter()
        .map(|a| if fits(a) { Counters::Narrow(vec![0; cells]) } else { Counters::Wide(vec![0; cells]) })
        .collect();
    assert!(shard.rows() < PACKED_ROWS, "a worker holds fewer than 2^31 rows");
    let mut buffer = [0u16; CHUNK];
    for start in (0..shard.rows()).step_by(CHUNK) {
        let len = CHUNK.min(shard.rows() - start);
        let chunk = &mut buffer[..len];
        keys(start, chunk);
        match packed {
            Some(yes) => {
                for (&key, &yes) in chunk.iter().zip(&yes[start..start + len]) {
                    counts[usize::from(key)] += 1 | u64::from(yes) << 32;
                }
            }
            None => chunk.iter().for_each(|&key| counts[usize::from(key)] += 1),
        }
        for (addend, sums) in plain.iter().zip(&mut sums) {
            match (sums, addend) {
                (Counters::Narrow(sums), Addend::Bits(yes)) => {
                    chunk
                        .iter()
                        .zip(&yes[start..start + len])
                        .for_each(|(&key, &v)| sums[usize::from(key)] += i64::from(v));
                }
                (Counters::Narrow(sums), Addend::Values(values)) => {
                    chunk.iter().zip(&values[start..start + len]).for_each(|(&key, &v)| sums[usize::from(key)] += v);
                }
                (Counters::Narrow(sums), Addend::Product(a, b)) => {
                    let factors = a[start..start + len].iter().zip(&b[start..start + len]);
                    chunk.iter().zip(factors).for_each(|(&key, (&a, &b))| sums[usize::from(key)] += a * b);
                }
                (Counters::Wide(sums), addend) => {
                    chunk.iter().enumerate().for_each(|(i, &key)| sums[usize::from(key)] += addend.at(start + i));
                }
                (Counters::Packed(_), _) => unreachable!("sums are never packed"),
            }
        }
    }
    let first = match packed {
        Some(_) => Counters::Packed(counts),
        None => Counters::Narrow(counts.into_iter().map(|c| c as i64).collect()),
    };
    std::iter::once(first).chain(sums).collect()
}

/// The counters of a block with some of its dimensions summed out, each computed once.
struct Lattice {
    cards: Vec<usize>,
    /// By the mask of the dimensions that are left, bit i for the block's feature i.
    known: Vec<(u32, Vec<Counters>)>,
}

impl Lattice {
    fn at(&mut self, mask: u32) -> &[Counters] {
        let index = self.index(mask);
        &self.known[index].1
    }

    fn index(&mut self, mask: u32) -> usize {
        if let Some(index) = self.known.iter().position(|(known, _)| *known == mask) {
            return index;
        }
        // From the smallest array one dimension larger; ties to the first feature.
        let added = (0..self.cards.len())
            .filter(|i| mask >> i & 1 == 0)
            .min_by_key(|&i| (self.cards[i], i))
            .expect("the full mask is known from the start");
        let from = self.index(mask | 1 << added);
        let inner = (added + 1..self.cards.len()).filter(|i| mask >> i & 1 == 1).map(|i| self.cards[i]).product();
        let summed = self.known[from].1.iter().map(|counters| counters.sum_out(self.cards[added], inner)).collect();
        self.known.push((mask, summed));
        self.known.len() - 1
    }
}

fn dense(counters: &[Counters]) -> Block {
    let (first, rest) = counters.split_first().expect("the uv is always counted");
    let (uv, bits): (Vec<i64>, Option<Vec<i128>>) = match first {
        Counters::Packed(cells) => (
            cells.iter().map(|&c| i64::from(c as u32)).collect(),
            Some(cells.iter().map(|&c| i128::from(c >> 32)).collect()),
        ),
        Counters::Narrow(cells) => (cells.clone(), None),
        Counters::Wide(_) => unreachable!("the uv is narrow"),
    };
    if let (Some(bits), true) = (&bits, rest.is_empty()) {
        return Block::Dense { uv, sums: bits.clone() };
    }
    let width = rest.len() + usize::from(bits.is_some());
    let mut sums = vec![0i128; uv.len() * width];
    let mut column = 0;
    let mut fill = |values: &mut dyn Iterator<Item = i128>| {
        values.enumerate().for_each(|(cell, v)| sums[cell * width + column] = v);
        column += 1;
    };
    if let Some(bits) = bits {
        fill(&mut bits.into_iter());
    }
    for counters in rest {
        match counters {
            Counters::Narrow(cells) => fill(&mut cells.iter().map(|&c| i128::from(c))),
            Counters::Wide(cells) => fill(&mut cells.iter().copied()),
            Counters::Packed(_) => unreachable!("only the first counters are packed"),
        }
    }
    Block::Dense { uv, sums }
}

/// Counts the rows into the blocks of feature sets with many items, by the ranks of their common prefix.
pub fn count_ranked(shard: &Shard, group: &RankedGroup, plan: &LevelPlan) -> Vec<(FeatureSet, Block)> {
    let addends = addends(shard);
    let mut blocks: Vec<(FeatureSet, Wide)> = group
        .sets
        .iter()
        .map(|&set| {
            let (cardinality, sparse) = match &plan.layouts[&set] {
                Layout::Ranked { cardinality, sparse, .. } => (*cardinality, *sparse),
                Layout::Grid { cardinality } => (cardinality.iter().product(), false),
                Layout::Listed { .. } => unreachable!("listed candidates are not ranked"),
            };
            let cells = group.ranks.cells() * cardinality;
            let slots = if sparse { 0 } else { cells };
            let wide = Wide {
                cardinality,
                index: sparse.then(HashMap::default),
                uv: vec![0; PARTS * slots],
                sums: vec![0; PARTS * slots * addends.len()],
            };
            (set, wide)
        })
        .collect();
    let mut ranks = vec![0u32; CHUNK];
    for start in (0..shard.rows()).step_by(CHUNK) {
        let len = CHUNK.min(shard.rows() - start);
        group.ranks.of_rows(shard, start, &mut ranks[..len]);
        for (set, wide) in &mut blocks {
            let codes = &shard.features[usize::from(set.feature(set.level() - 1))];
            for (row, &rank) in (start..start + len).zip(&ranks[..len]) {
                if rank != NONE {
                    let cell = rank as usize * wide.cardinality + usize::from(codes.at(row));
                    wide.add(cell, usize::from(shard.part[row]), row, &addends);
                }
            }
        }
    }
    blocks.into_iter().map(|(set, wide)| (set, wide.finish(addends.len()))).collect()
}

/// Counters of a feature set with many cells, in slots: the cells themselves, or those that occurred.
struct Wide {
    cardinality: usize,
    index: Option<HashMap<u64, u32, foldhash::fast::FixedState>>,
    /// Entry `PARTS * slot + part`.
    uv: Vec<i64>,
    sums: Vec<i128>,
}

impl Wide {
    fn add(&mut self, cell: usize, part: usize, row: usize, addends: &[Addend]) {
        let slot = match &mut self.index {
            None => cell,
            Some(index) => {
                let next = (self.uv.len() / PARTS) as u32;
                let slot = *index.entry(cell as u64).or_insert(next);
                if slot == next {
                    self.uv.extend([0; PARTS]);
                    self.sums.extend(std::iter::repeat_n(0, PARTS * addends.len()));
                }
                slot as usize
            }
        };
        let at = PARTS * slot + part;
        self.uv[at] += 1;
        for (sum, addend) in self.sums[at * addends.len()..].iter_mut().zip(addends) {
            *sum += addend.at(row);
        }
    }

    fn finish(self, width: usize) -> Block {
        match self.index {
            Some(index) => {
                let mut slots: Vec<(u64, u32)> = index.into_iter().collect();
                slots.sort_unstable();
                let of = |slot: u32, per: usize| PARTS * slot as usize * per..PARTS * (slot as usize + 1) * per;
                Block::Sparse {
                    cells: slots.iter().map(|&(cell, _)| cell).collect(),
                    uv: slots.iter().flat_map(|&(_, slot)| &self.uv[of(slot, 1)]).copied().collect(),
                    sums: slots.iter().flat_map(|&(_, slot)| &self.sums[of(slot, width)]).copied().collect(),
                }
            }
            None => {
                let by_part = |part: usize| (part..self.uv.len()).step_by(PARTS);
                let order = (0..PARTS).flat_map(by_part);
                Block::Dense {
                    uv: order.clone().map(|at| self.uv[at]).collect(),
                    sums: order.flat_map(|at| &self.sums[at * width..(at + 1) * width]).copied().collect(),
                }
            }
        }
    }
}
