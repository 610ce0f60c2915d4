//! `Stats` to measures, tests and intervals. A measure is computed here or not at all.

use serde::{Deserialize, Serialize};

use crate::segment::Segment;

/// What a set of customers does to a metric, against the base. Floats formed once, from exact sums.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Distinct customers.
    pub uv: i64,
    /// `uv / N`.
    pub uv_share: f64,
    /// In the metric's unit; of a ratio, the numerator's sum.
    pub metric_sum: f64,
    /// Of a ratio, `sum / den`.
    pub metric_mean: f64,
    /// `mean / base mean`; none when the base mean is 0, or not positive for an amount.
    pub lift: Option<f64>,
    /// `mean - base mean`.
    pub effect: f64,
    /// `uv * effect`; of a ratio, `den * effect`.
    pub impact: f64,
    /// `sum / base sum`; none where lift is none.
    pub metric_share: Option<f64>,
}

/// A segment tested against the rest of its part of the base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Natural logarithm of the two-sided p-value.
    pub log_p: f64,
    /// 95 % interval of the effect, in the metric's unit.
    pub effect_low: f64,
    pub effect_high: f64,
    /// 95 % interval of the lift, where there is a lift.
    pub lift_low: Option<f64>,
    pub lift_high: Option<f64>,
}

/// A frequent segment with everything that is said of it: one row of `segments.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub segment: Segment,
    /// On the whole base.
    pub measures: Measures,
    /// On the discovery part; none where it cannot be tested.
    pub test: Option<Test>,
    pub q: Option<f64>,
    pub highlight: bool,
}
