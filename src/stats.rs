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

impl Stats {
    /// So many times the same.
    pub fn times(self, n: i64) -> Stats {
        let wide = i128::from(n);
        Stats {
            uv: self.uv * n,
            sum: self.sum * wide,
            sq: self.sq * wide,
            den: self.den * wide,
            den_sq: self.den_sq * wide,
            cross: self.cross * wide,
        }
    }
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

/// Index of the earlier of two periods, where the parts of a shard are periods.
pub const BEFORE: usize = 0;
/// Index of the later one.
pub const AFTER: usize = 1;

/// One figure a part.
pub type Parts<T> = [T; PARTS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_several_metrics_lie_one_after_another() {
        let moments = Moments::of(&[MetricKind::Rate, MetricKind::Ratio, MetricKind::Amount]);
        assert_eq!(moments.width(), 8);
        let sums: Vec<i128> = (10..18).collect();
        assert_eq!(moments.stats(0, 3, &sums).sum, 10);
        assert_eq!(moments.stats(1, 3, &sums), Stats { uv: 3, sum: 11, sq: 12, den: 13, den_sq: 14, cross: 15 });
        assert_eq!(moments.stats(2, 3, &sums), Stats { uv: 3, sum: 16, sq: 17, ..Stats::default() });
    }
}
