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

/// The sums of all cells of one feature set, for both parts: the difference of the counting dataflow.
///
/// Cell `c` of part `p` is entry `p * cells + c` of `uv`, and its `width` sums start at `width` times that. A block
/// without cells is zero; one that grew keeps the old cells' meaning only within a part, so blocks of one feature set
/// always have the same number of cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    pub uv: Vec<i64>,
    pub sums: Vec<i128>,
}

impl Block {
    /// A block of `cells` cells a part, nothing counted.
    pub fn empty(cells: usize, width: usize) -> Self {
        Block { uv: vec![0; PARTS * cells], sums: vec![0; PARTS * cells * width] }
    }

    /// Cells a part.
    pub fn cells(&self) -> usize {
        self.uv.len() / PARTS
    }

    /// Sums a cell.
    pub fn width(&self) -> usize {
        if self.uv.is_empty() { 0 } else { self.sums.len() / self.uv.len() }
    }

    /// Distinct customers of a cell in both parts.
    pub fn cell_uv(&self, cell: usize) -> i64 {
        (0..PARTS).map(|p| self.uv[p * self.cells() + cell]).sum()
    }

    pub fn is_zero(&self) -> bool {
        self.uv.iter().all(|&v| v == 0) && self.sums.iter().all(|&v| v == 0)
    }

    /// Adds cell by cell.
    pub fn add(&mut self, other: &Block) {
        if other.uv.is_empty() {
            return;
        }
        if self.uv.is_empty() {
            self.clone_from(other);
            return;
        }
        assert_eq!((self.uv.len(), self.sums.len()), (other.uv.len(), other.sums.len()), "blocks of one feature set");
        self.uv.iter_mut().zip(&other.uv).for_each(|(a, b)| *a += b);
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
    }

    pub fn negate(&mut self) {
        self.uv.iter_mut().for_each(|v| *v = -*v);
        self.sums.iter_mut().for_each(|v| *v = -*v);
    }
}

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

    proptest! {
        #[test]
        fn adding_what_was_subtracted_leaves_nothing(
            a in proptest::collection::vec(-1_000_000i64..1_000_000, 6),
            b in proptest::collection::vec(-1_000_000i64..1_000_000, 6),
        ) {
            let block = |v: &[i64]| Block { uv: v[..2].to_vec(), sums: v[2..].iter().map(|&x| i128::from(x) << 64).collect() };
            let (a, b) = (block(&a), block(&b));
            let mut sum = Block::default();
            for part in [&a, &b] { sum.add(part); }
            for part in [&b, &a] {
                let mut minus = part.clone();
                minus.negate();
                sum.add(&minus);
            }
            prop_assert!(sum.is_zero());
        }
    }
}
