//! Blocks: the sums of all cells of one feature set, as columns of integers no wider than they need be.
//!
//! A block is the difference of the counting dataflow. Adding blocks adds cell by cell; subtracting what was added leaves
//! exactly nothing.

use serde::{Deserialize, Serialize};

use crate::stats::{DISCOVERY, MetricKind, Moments, PARTS, VALIDATION};

/// How wide one figure of a cell is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Width {
    /// Counts below 2^32, never negative once all is added.
    U32,
    I64,
    I128,
}

impl Width {
    pub fn bytes(self) -> u64 {
        match self {
            Width::U32 => 4,
            Width::I64 => 8,
            Width::I128 => 16,
        }
    }
}

/// Which figures a cell has in each part, and how wide: the uv, then the moments of all metrics. Equal on all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub moments: Moments,
    pub uv: Width,
    /// One a moment.
    pub sums: Vec<Width>,
    /// Bits that a count of customers needs, where they fit below the first sum of 64 bits and no rate is to be counted apart;
    /// otherwise 0.
    pub packed: u32,
}

impl Figures {
    /// The narrowest widths that no sum can overflow, over `customers` whose moments add up to `bounds` in magnitude.
    pub fn new(moments: Moments, bounds: &[u128], customers: u64) -> Figures {
        assert_eq!(moments.width(), bounds.len(), "one bound a moment");
        let uv = if customers < 1 << 32 { Width::U32 } else { Width::I64 };
        let mut sums = Vec::with_capacity(bounds.len());
        for &kind in moments.kinds() {
            for _ in 0..kind.moments() {
                sums.push(match kind {
                    MetricKind::Rate => uv,
                    MetricKind::Amount | MetricKind::Ratio if bounds[sums.len()] < 1 << 63 => Width::I64,
                    MetricKind::Amount | MetricKind::Ratio => Width::I128,
                });
            }
        }
        let bits = u64::BITS - customers.leading_zeros();
        let fits = |bound: u128| uv == Width::U32 && bound < 1 << (63 - bits);
        let first = sums.iter().zip(bounds).find(|(width, _)| **width == Width::I64);
        let packed = match first {
            Some((_, &bound)) if fits(bound) && !moments.kinds().contains(&MetricKind::Rate) => bits,
            _ => 0,
        };
        Figures { moments, uv, sums, packed }
    }

    /// The widths of a block's planes: by part, the uv and then the moments.
    pub fn planes(&self) -> impl Iterator<Item = Width> + '_ {
        (0..PARTS).flat_map(|_| std::iter::once(self.uv).chain(self.sums.iter().copied()))
    }

    /// Figures of a cell in one part.
    pub fn per_part(&self) -> usize {
        1 + self.sums.len()
    }

    /// Bytes of a cell with all its figures.
    pub fn cell_bytes(&self) -> u64 {
        self.planes().map(Width::bytes).sum()
    }
}

/// One figure of many cells.
///
/// Additions wrap: a plane's width holds every total, and what is held on the way to it is right modulo the width.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plane {
    U32(Vec<u32>),
    I64(Vec<i64>),
    I128(Vec<i128>),
}

/// Does the same to the cells of a plane, whatever their width.
macro_rules! each_width {
    ($plane:expr, $cells:ident => $body:expr) => {
        match $plane {
            Plane::U32($cells) => $body,
            Plane::I64($cells) => $body,
            Plane::I128($cells) => $body,
        }
    };
}

impl Plane {
    pub fn zeros(width: Width, cells: usize) -> Plane {
        match width {
            Width::U32 => Plane::U32(vec![0; cells]),
            Width::I64 => Plane::I64(vec![0; cells]),
            Width::I128 => Plane::I128(vec![0; cells]),
        }
    }

    pub fn len(&self) -> usize {
        each_width!(self, cells => cells.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One cell's figure.
    pub fn at(&self, cell: usize) -> i128 {
        match self {
            Plane::U32(cells) => i128::from(cells[cell]),
            Plane::I64(cells) => i128::from(cells[cell]),
            Plane::I128(cells) => cells[cell],
        }
    }

    /// Reads the figures of these cells, in their order.
    pub fn read<'a>(&self, cells: &[usize], into: impl Iterator<Item = &'a mut i128>) {
        let cells = cells.iter().zip(into);
        match self {
            Plane::U32(from) => cells.for_each(|(&cell, to)| *to = i128::from(from[cell])),
            Plane::I64(from) => cells.for_each(|(&cell, to)| *to = i128::from(from[cell])),
            Plane::I128(from) => cells.for_each(|(&cell, to)| *to = from[cell]),
        }
    }

    fn is_zero(&self) -> bool {
        each_width!(self, cells => cells.iter().all(|&v| v == 0))
    }

    /// Adds cell by cell. Both are of one width and length.
    pub fn add(&mut self, other: &Plane) {
        fn add<T: Copy>(cells: &mut [T], other: &[T], sum: impl Fn(T, T) -> T) {
            assert_eq!(cells.len(), other.len(), "blocks of one feature set have the same cells");
            cells.iter_mut().zip(other).for_each(|(a, b)| *a = sum(*a, *b));
        }
        match (self, other) {
            (Plane::U32(cells), Plane::U32(other)) => add(cells, other, u32::wrapping_add),
            (Plane::I64(cells), Plane::I64(other)) => add(cells, other, i64::wrapping_add),
            (Plane::I128(cells), Plane::I128(other)) => add(cells, other, i128::wrapping_add),
            (_, _) => unreachable!("the widths of a figure are agreed by all workers"),
        }
    }

    fn negate(&mut self) {
        each_width!(self, cells => cells.iter_mut().for_each(|v| *v = v.wrapping_neg()));
    }

    /// The figures of these cells, in their order.
    pub fn gathered(&self, cells: &[u32]) -> Plane {
        fn gathered<T: Copy>(from: &[T], cells: &[u32]) -> Vec<T> {
            cells.iter().map(|&cell| from[cell as usize]).collect()
        }
        match self {
            Plane::U32(from) => Plane::U32(gathered(from, cells)),
            Plane::I64(from) => Plane::I64(gathered(from, cells)),
            Plane::I128(from) => Plane::I128(gathered(from, cells)),
        }
    }

    /// Takes another plane's figure of one cell as a new last cell, or adds it to the last.
    fn take(&mut self, other: &Plane, cell: usize, to_last: bool) {
        macro_rules! take {
            ($cells:expr, $other:expr) => {
                match $cells.last_mut() {
                    Some(last) if to_last => *last = last.wrapping_add($other[cell]),
                    _ => $cells.push($other[cell]),
                }
            };
        }
        match (self, other) {
            (Plane::U32(cells), Plane::U32(other)) => take!(cells, other),
            (Plane::I64(cells), Plane::I64(other)) => take!(cells, other),
            (Plane::I128(cells), Plane::I128(other)) => take!(cells, other),
            (_, _) => unreachable!("the widths of a figure are agreed by all workers"),
        }
    }

    fn drop_last(&mut self) {
        each_width!(self, cells => {
            cells.pop();
        });
    }

    fn bytes(&self) -> u64 {
        match self {
            Plane::U32(cells) => 4 * cells.len() as u64,
            Plane::I64(cells) => 8 * cells.len() as u64,
            Plane::I128(cells) => 16 * cells.len() as u64,
        }
    }
}

/// The sums of the cells of one feature set, for both parts.
///
/// Blocks of one feature set and epoch have one form, agreed by the counting plan, so only like forms are added.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    /// The cells that are held, increasing; none: all, from 0.
    cells: Option<Vec<u64>>,
    /// As [`Figures::planes`] lists them; none at all in the block that adds nothing to any other.
    planes: Vec<Plane>,
}

impl Block {
    /// All cells.
    pub fn dense(planes: Vec<Plane>) -> Block {
        Block { cells: None, planes }
    }

    /// Some cells, increasing.
    pub fn sparse(cells: Vec<u64>, planes: Vec<Plane>) -> Block {
        debug_assert!(cells.is_sorted() && planes.iter().all(|plane| plane.len() == cells.len()));
        Block { cells: Some(cells), planes }
    }

    pub fn is_zero(&self) -> bool {
        self.planes.iter().all(Plane::is_zero)
    }

    /// Adds cell by cell.
    pub fn add(&mut self, other: &Block) {
        if other.planes.is_empty() {
            return;
        }
        if self.planes.is_empty() {
            self.clone_from(other);
            return;
        }
        match (&self.cells, &other.cells) {
            (None, None) => self.planes.iter_mut().zip(&other.planes).for_each(|(a, b)| a.add(b)),
            (Some(left), Some(right)) if left == right => {
                self.planes.iter_mut().zip(&other.planes).for_each(|(a, b)| a.add(b));
            }
            (Some(left), Some(right)) => *self = self.merged(left, other, right),
            (_, _) => unreachable!("the plan gives all blocks of a feature set one form"),
        }
    }

    /// The sum of two blocks of some cells, cells that became zero left out.
    fn merged(&self, left: &[u64], other: &Block, right: &[u64]) -> Block {
        let empty = |plane: &Plane| match plane {
            Plane::U32(_) => Plane::U32(Vec::new()),
            Plane::I64(_) => Plane::I64(Vec::new()),
            Plane::I128(_) => Plane::I128(Vec::new()),
        };
        let mut cells = Vec::with_capacity(left.len().max(right.len()));
        let mut planes: Vec<Plane> = self.planes.iter().map(empty).collect();
        let (mut i, mut j) = (0, 0);
        while i < left.len() || j < right.len() {
            let cell = left.get(i).copied().unwrap_or(u64::MAX).min(right.get(j).copied().unwrap_or(u64::MAX));
            let mut taken = false;
            for (block, at, own) in [(self, &mut i, left), (other, &mut j, right)] {
                if own.get(*at) == Some(&cell) {
                    planes.iter_mut().zip(&block.planes).for_each(|(plane, from)| plane.take(from, *at, taken));
                    taken = true;
                    *at += 1;
                }
            }
            if planes.iter().all(|plane| plane.at(plane.len() - 1) == 0) {
                planes.iter_mut().for_each(Plane::drop_last);
            } else {
                cells.push(cell);
            }
        }
        Block::sparse(cells, planes)
    }

    pub fn negate(&mut self) {
        self.planes.iter_mut().for_each(Plane::negate);
    }

    /// The cells with at least `min_uv` customers in both parts together, as a block of some cells.
    pub fn at_least(&self, min_uv: i64) -> Block {
        let per_part = self.planes.len() / PARTS;
        let kept: Vec<u32> = match (self.planes.get(DISCOVERY * per_part), self.planes.get(VALIDATION * per_part)) {
            (Some(Plane::U32(discovery)), Some(Plane::U32(validation))) => {
                let enough = |(cell, (&d, &v)): (usize, (&u32, &u32))| {
                    (i64::from(d) + i64::from(v) >= min_uv).then_some(cell as u32)
                };
                discovery.iter().zip(validation).enumerate().filter_map(enough).collect()
            }
            (Some(discovery), Some(validation)) => {
                let enough =
                    |&cell: &u32| discovery.at(cell as usize) + validation.at(cell as usize) >= i128::from(min_uv);
                (0..discovery.len() as u32).filter(enough).collect()
            }
            (_, _) => Vec::new(),
        };
        self.some(&kept)
    }

    /// The cells held that `keep` says yes to, given the planes and a place in them, as a block of some cells.
    pub fn filtered(&self, keep: impl Fn(&[Plane], usize) -> bool) -> Block {
        let held = self.planes.first().map_or(0, Plane::len) as u32;
        self.some(&(0..held).filter(|&place| keep(&self.planes, place as usize)).collect::<Vec<u32>>())
    }

    /// The cells in these places.
    fn some(&self, kept: &[u32]) -> Block {
        let cells = match &self.cells {
            None => kept.iter().map(|&cell| u64::from(cell)).collect(),
            Some(cells) => kept.iter().map(|&at| cells[at as usize]).collect(),
        };
        Block::sparse(cells, self.planes.iter().map(|plane| plane.gathered(kept)).collect())
    }

    /// The numbers of the cells of a block that holds some, in order; of one that holds all, none.
    pub fn cells(&self) -> &[u64] {
        self.cells.as_deref().unwrap_or_default()
    }

    /// The figures of the cells held, by part: the uv, then the moments.
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// Bytes it takes on the wire, in fixed-width integers.
    pub fn wire_bytes(&self) -> u64 {
        let planes: u64 = self.planes.iter().map(|plane| 4 + 8 + plane.bytes()).sum();
        1 + 8 + planes + self.cells.as_ref().map_or(0, |cells| 8 + 8 * cells.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A uv and one sum in each part.
    fn block(cells: Option<Vec<u64>>, figures: &[([u32; 2], [i64; 2])]) -> Block {
        let uv = |part: usize| Plane::U32(figures.iter().map(|(uv, _)| uv[part]).collect());
        let sum = |part: usize| Plane::I64(figures.iter().map(|(_, sum)| sum[part]).collect());
        Block { cells, planes: vec![uv(0), sum(0), uv(1), sum(1)] }
    }

    #[test]
    fn frequent_cells_carry_the_figures_of_both_parts() {
        // Two cells, one sum each: cell 0 has 3 + 1 customers, cell 1 has 2 + 1.
        let dense = block(None, &[([3, 1], [30, 10]), ([2, 1], [20, 11])]);
        let frequent = dense.at_least(4);
        assert_eq!(frequent, block(Some(vec![0]), &[([3, 1], [30, 10])]));
        assert_eq!(dense.at_least(3).at_least(4), frequent);
        assert_eq!(frequent.planes()[1].at(0), 30);
    }

    #[test]
    fn sums_are_as_narrow_as_no_overflow_allows() {
        let moments = Moments::of(&[MetricKind::Rate, MetricKind::Amount]);
        let widths = |bounds: &[u128; 3], customers| Figures::new(moments.clone(), bounds, customers).sums;
        assert_eq!(widths(&[1, 1 << 42, (1 << 63) - 1], 1 << 22), [Width::U32, Width::I64, Width::I64]);
        assert_eq!(widths(&[1, 1 << 42, 1 << 63], 1 << 32), [Width::I64, Width::I64, Width::I128]);
        assert_eq!(widths(&[1, u128::MAX, u128::MAX], 2), [Width::U32, Width::I128, Width::I128]);
        let amount = Moments::of(&[MetricKind::Amount]);
        let packed = |bound, customers| Figures::new(amount.clone(), &[bound, 1 << 60], customers).packed;
        assert_eq!((packed((1 << 43) - 1, 1_000_000), packed(1 << 43, 1_000_000), packed(1, 1 << 32)), (20, 0, 0));
    }

    fn figures() -> impl Strategy<Value = ([u32; 2], [i64; 2])> {
        (any::<[u32; 2]>(), any::<[i64; 2]>())
    }

    fn sparse() -> impl Strategy<Value = Block> {
        proptest::collection::btree_map(0u64..8, figures(), 0..6).prop_map(|map| {
            let figures: Vec<_> = map.values().copied().collect();
            block(Some(map.into_keys().collect()), &figures)
        })
    }

    fn dense() -> impl Strategy<Value = Block> {
        proptest::collection::vec(figures(), 2).prop_map(|figures| block(None, &figures))
    }

    fn added(blocks: &[&Block]) -> Block {
        let mut sum = Block::default();
        blocks.iter().for_each(|block| sum.add(block));
        sum
    }

    proptest! {
        #[test]
        fn blocks_add_in_any_order_and_cancel_exactly(
            blocks in prop_oneof![(sparse(), sparse(), sparse()), (dense(), dense(), dense())],
        ) {
            let (a, b, c) = (&blocks.0, &blocks.1, &blocks.2);
            let sum = added(&[a, b, c]);
            prop_assert_eq!(added(&[c, a, b]).at_least(1), sum.at_least(1));
            let mut minus = added(&[a, b]);
            minus.negate();
            prop_assert!(added(&[a, b, &minus]).is_zero());
        }
    }
}
