//! Additive, exact sums over customers: `Stats` of one metric, and the blocks that hold them for many segments.
//!
//! Everything is an integer, so sums depend neither on the order nor on the division of the work, and adding what
//! was subtracted leaves exactly nothing. Floats begin in `score`.

use serde::{Deserialize, Serialize};

/// The sums of one metric over a set of customers.
///
/// For a rate `sum` counts the customers whose metric is yes, and `sq` equals it. For an amount `sum` and `sq` are in
/// scaled units (see [`Scale`]) and scaled units squared. For a ratio `sum` is over the numerator and `den` over the
/// denominator, with their squares and cross product for the delta method; elsewhere `den`, `den_sq` and `cross` are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Distinct customers.
    pub uv: i64,
    pub sum: i128,
    pub sq: i128,
    pub den: i128,
    pub den_sq: i128,
    pub cross: i128,
}

impl std::ops::Add for Stats {
    type Output = Stats;
    fn add(self, other: Stats) -> Stats {
        Stats {
            uv: self.uv + other.uv,
            sum: self.sum + other.sum,
            sq: self.sq + other.sq,
            den: self.den + other.den,
            den_sq: self.den_sq + other.den_sq,
            cross: self.cross + other.cross,
        }
    }
}

impl std::ops::Sub for Stats {
    type Output = Stats;
    fn sub(self, other: Stats) -> Stats {
        Stats {
            uv: self.uv - other.uv,
            sum: self.sum - other.sum,
            sq: self.sq - other.sq,
            den: self.den - other.den,
            den_sq: self.den_sq - other.den_sq,
            cross: self.cross - other.cross,
        }
    }
}

impl std::iter::Sum for Stats {
    fn sum<I: Iterator<Item = Stats>>(stats: I) -> Stats {
        stats.fold(Stats::default(), |a, b| a + b)
    }
}

/// What a metric counts, as far as its sums are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Yes or no per customer; the mean is a share.
    Rate,
    /// A number per customer, negative too; the mean is per customer.
    Amount,
    /// Two numbers per customer; the mean is sum of the one over sum of the other.
    Ratio,
}

impl MetricKind {
    /// How many sums a cell needs for this metric beside its uv.
    pub fn moments(self) -> usize {
        match self {
            MetricKind::Rate => 1,
            MetricKind::Amount => 2,
            MetricKind::Ratio => 5,
        }
    }
}

/// How many decimal places a metric's integers stand for: a value of `v` is stored as `v * 10^decimals`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scale {
    /// Of the metric, or of a ratio's numerator.
    pub decimals: u8,
    /// Of a ratio's denominator.
    pub den_decimals: u8,
}

impl Scale {
    /// Scaled units in one unit of the metric.
    pub fn unit(self) -> f64 {
        10f64.powi(i32::from(self.decimals))
    }

    pub fn den_unit(self) -> f64 {
        10f64.powi(i32::from(self.den_decimals))
    }
}

/// Which sums a cell holds, for the primary metric and then the secondary ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    kinds: Vec<MetricKind>,
    offsets: Vec<usize>,
    width: usize,
}

impl Moments {
    pub fn of(kinds: &[MetricKind]) -> Self {
        let mut offsets = Vec::new();
        let mut width = 0;
        for kind in kinds {
            offsets.push(width);
            width += kind.moments();
        }
        Moments { kinds: kinds.to_vec(), offsets, width }
    }

    /// Sums a cell, over all metrics.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Metrics, the primary one first.
    pub fn kinds(&self) -> &[MetricKind] {
        &self.kinds
    }

    /// The sums of metric `metric` (0 = the primary one) out of a cell's.
    pub fn stats(&self, metric: usize, uv: i64, sums: &[i128]) -> Stats {
        let m = &sums[self.offsets[metric]..][..self.kinds[metric].moments()];
        match self.kinds[metric] {
            MetricKind::Rate => Stats { uv, sum: m[0], sq: m[0], ..Stats::default() },
            MetricKind::Amount => Stats { uv, sum: m[0], sq: m[1], ..Stats::default() },
            MetricKind::Ratio => Stats { uv, sum: m[0], sq: m[1], den: m[2], den_sq: m[3], cross: m[4] },
        }
    }
}

/// The parts that the customers are split into: segments are found on the first and checked on the second.
pub const PARTS: usize = 2;
/// Index of the discovery part.
pub const DISCOVERY: usize = 0;
/// Index of the validation part.
pub const VALIDATION: usize = 1;

/// The sums of the cells of one feature set, for both parts: the difference of the counting dataflow.
///
/// Blocks of one feature set and epoch have one form, agreed by the counting plan, so only like forms are added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Block {
    /// Every cell: cell `c` of part `p` is entry `p * cells + c` of `uv`, and its sums start at `width` times that.
    Dense { uv: Vec<i64>, sums: Vec<i128> },
    /// Some cells, increasing: of cell `cells[i]`, part `p` is entry `PARTS * i + p`.
    Sparse { cells: Vec<u64>, uv: Vec<i64>, sums: Vec<i128> },
}

impl Default for Block {
    /// The block that adds nothing, to a block of either form.
    fn default() -> Self {
        Block::Sparse { cells: Vec::new(), uv: Vec::new(), sums: Vec::new() }
    }
}

impl Block {
    pub fn is_zero(&self) -> bool {
        match self {
            Block::Dense { uv, sums } | Block::Sparse { uv, sums, .. } => {
                uv.iter().all(|&v| v == 0) && sums.iter().all(|&v| v == 0)
            }
        }
    }

    /// Adds cell by cell.
    pub fn add(&mut self, other: &Block) {
        if matches!(other, Block::Sparse { cells, .. } if cells.is_empty()) {
            return;
        }
        if matches!(self, Block::Sparse { cells, .. } if cells.is_empty()) {
            self.clone_from(other);
            return;
        }
        match (self, other) {
            (Block::Dense { uv, sums }, Block::Dense { uv: other_uv, sums: other_sums }) => {
                assert_eq!((uv.len(), sums.len()), (other_uv.len(), other_sums.len()), "blocks of one feature set");
                uv.iter_mut().zip(other_uv).for_each(|(a, b)| *a += b);
                sums.iter_mut().zip(other_sums).for_each(|(a, b)| *a += b);
            }
            (this @ Block::Sparse { .. }, Block::Sparse { .. }) => *this = this.merged(other),
            (Block::Dense { .. }, Block::Sparse { .. }) | (Block::Sparse { .. }, Block::Dense { .. }) => {
                unreachable!("the plan gives all blocks of a feature set one form")
            }
        }
    }

    /// The sum of two sparse blocks, cells that became zero left out.
    fn merged(&self, other: &Block) -> Block {
        let (mut cells, mut uv, mut sums): (Vec<u64>, Vec<i64>, Vec<i128>) = Default::default();
        let (left, right) = (self.cells(), other.cells());
        let (mut i, mut j) = (0, 0);
        while i < left.len() || j < right.len() {
            let cell = left.get(i).copied().unwrap_or(u64::MAX).min(right.get(j).copied().unwrap_or(u64::MAX));
            let (uv_start, sums_start) = (uv.len(), sums.len());
            for (block, at) in [(self, &mut i), (other, &mut j)] {
                if block.cells().get(*at) != Some(&cell) {
                    continue;
                }
                let (entry_uv, entry_sums) = block.entry(*at);
                if uv.len() == uv_start {
                    uv.extend_from_slice(entry_uv);
                    sums.extend_from_slice(entry_sums);
                } else {
                    uv[uv_start..].iter_mut().zip(entry_uv).for_each(|(a, b)| *a += b);
                    sums[sums_start..].iter_mut().zip(entry_sums).for_each(|(a, b)| *a += b);
                }
                *at += 1;
            }
            if uv[uv_start..].iter().all(|&v| v == 0) && sums[sums_start..].iter().all(|&v| v == 0) {
                uv.truncate(uv_start);
                sums.truncate(sums_start);
            } else {
                cells.push(cell);
            }
        }
        Block::Sparse { cells, uv, sums }
    }

    pub fn negate(&mut self) {
        match self {
            Block::Dense { uv, sums } | Block::Sparse { uv, sums, .. } => {
                uv.iter_mut().for_each(|v| *v = -*v);
                sums.iter_mut().for_each(|v| *v = -*v);
            }
        }
    }

    /// The cells with at least `min_uv` customers in both parts together, as a sparse block.
    pub fn at_least(&self, min_uv: i64) -> Block {
        let (mut kept, mut kept_uv, mut kept_sums) = (Vec::new(), Vec::new(), Vec::new());
        match self {
            Block::Dense { uv, sums } => {
                let cells = uv.len() / PARTS;
                let width = if uv.is_empty() { 0 } else { sums.len() / uv.len() };
                let (discovery, validation) = uv.split_at(cells);
                for (cell, (&d, &v)) in discovery.iter().zip(validation).enumerate() {
                    if d + v >= min_uv {
                        kept.push(cell as u64);
                        kept_uv.extend([d, v]);
                        for part in [DISCOVERY, VALIDATION] {
                            kept_sums.extend_from_slice(&sums[(part * cells + cell) * width..][..width]);
                        }
                    }
                }
            }
            Block::Sparse { cells, .. } => {
                for (i, &cell) in cells.iter().enumerate() {
                    let (uv, sums) = self.entry(i);
                    if uv.iter().sum::<i64>() >= min_uv {
                        kept.push(cell);
                        kept_uv.extend_from_slice(uv);
                        kept_sums.extend_from_slice(sums);
                    }
                }
            }
        }
        Block::Sparse { cells: kept, uv: kept_uv, sums: kept_sums }
    }

    /// The numbers of the cells that a sparse block holds, in order; of a dense one, none.
    pub fn cells(&self) -> &[u64] {
        match self {
            Block::Sparse { cells, .. } => cells,
            Block::Dense { .. } => &[],
        }
    }

    /// The figures of the `i`-th cell that a sparse block holds: uv a part, then all sums part by part.
    pub fn entry(&self, i: usize) -> (&[i64], &[i128]) {
        match self {
            Block::Sparse { cells, uv, sums } => {
                let per = sums.len() / cells.len();
                (&uv[PARTS * i..PARTS * (i + 1)], &sums[per * i..per * (i + 1)])
            }
            Block::Dense { .. } => unreachable!("a dense block holds all cells and lists none"),
        }
    }

    /// Bytes it takes on the wire, in fixed-width integers.
    pub fn wire_bytes(&self) -> u64 {
        let (cells, uv, sums) = match self {
            Block::Dense { uv, sums } => (0, uv.len(), sums.len()),
            Block::Sparse { cells, uv, sums } => (cells.len(), uv.len(), sums.len()),
        };
        4 + 8 * (2 + cells + uv + 2 * sums) as u64
    }
}

/// One figure a part.
pub type Parts<T> = [T; PARTS];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_of_several_metrics_lie_one_after_another() {
        let moments = Moments::of(&[MetricKind::Rate, MetricKind::Ratio, MetricKind::Amount]);
        assert_eq!(moments.width(), 8);
        let sums: Vec<i128> = (10..18).collect();
        assert_eq!(moments.stats(0, 3, &sums).sum, 10);
        assert_eq!(moments.stats(1, 3, &sums), Stats { uv: 3, sum: 11, sq: 12, den: 13, den_sq: 14, cross: 15 });
        assert_eq!(moments.stats(2, 3, &sums), Stats { uv: 3, sum: 16, sq: 17, ..Stats::default() });
    }

    #[test]
    fn frequent_cells_of_a_dense_block_carry_both_parts() {
        // Two cells, one sum each: cell 0 has 3 + 1 customers, cell 1 has 2 + 1.
        let block = Block::Dense { uv: vec![3, 2, 1, 1], sums: vec![30, 20, 10, 11] };
        let frequent = block.at_least(4);
        assert_eq!(frequent, Block::Sparse { cells: vec![0], uv: vec![3, 1], sums: vec![30, 10] });
        assert_eq!(block.at_least(3).at_least(4), frequent);
    }

    fn sparse() -> impl Strategy<Value = Block> {
        proptest::collection::btree_map(0u64..8, (-9i64..9, -9i64..9, any::<i64>(), any::<i64>()), 0..6).prop_map(
            |map| {
                let (mut uv, mut sums) = (Vec::new(), Vec::new());
                for &(a, b, c, d) in map.values() {
                    uv.extend([a, b]);
                    sums.extend([i128::from(c) << 40, i128::from(d)]);
                }
                Block::Sparse { cells: map.into_keys().collect(), uv, sums }
            },
        )
    }

    fn dense() -> impl Strategy<Value = Block> {
        (proptest::collection::vec(-9i64..9, 4), proptest::collection::vec(any::<i64>(), 8))
            .prop_map(|(uv, sums)| Block::Dense { uv, sums: sums.into_iter().map(i128::from).collect() })
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
            let empty = added(&[a, b, c]);
            prop_assert_eq!(added(&[c, a, b]).at_least(i64::MIN), empty.at_least(i64::MIN));
            let mut minus = added(&[a, b]);
            minus.negate();
            prop_assert!(added(&[a, b, &minus]).is_zero());
        }
    }
}
