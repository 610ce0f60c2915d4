//! Segments with a small share of the customers and a large, certain influence that no simpler segment explains.
//!
//! The customers are split into a discovery and a validation part. Whatever selects or ranks by the metric looks at the
//! discovery part alone, so that what the validation part shows is not flattered by the selection.

mod conditions;
mod diversify;
mod fold;
mod pairs;
mod rank;
mod rule;
mod stands;
mod validate;

use serde::{Deserialize, Serialize};

use crate::score::{Measures, Test};
use crate::segment::Segment;

pub use conditions::{Case, Reading, Rule};
pub use diversify::Diversity;
pub use fold::{explained, fold, jaccard, pool};
pub use pairs::{Bounds, pairs};
pub use rank::Ranking;
pub use rule::{Frequent, Unlisted, mark, q_values, rule, score};
pub use stands::stands;
pub use validate::validate;

/// A frequent segment with everything that is said of it: one row of `segments.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub segment: Segment,
    /// On the whole base.
    pub measures: Measures,
    /// On the discovery part; none where it cannot be tested.
    pub test: Option<Test>,
    pub q: Option<f64>,
    /// The same over the cautious p-values (see [`Test::cautious_log_p`]).
    pub cautious_q: Option<f64>,
    pub status: Status,
}

/// What the rule made of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Highlight,
    /// Under a highlight, which lists it.
    Folded,
    /// By the first condition that it fails.
    Rejected(Condition),
}

impl Status {
    /// As the tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Highlight => "highlight",
            Status::Folded => "folded",
            Status::Rejected(condition) => condition.name(),
        }
    }
}

/// Which side of the base a segment is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Over,
    Under,
}

/// A segment that meets every condition of the rule, with what the validation part says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Highlight {
    pub segment: Segment,
    pub direction: Direction,
    /// On the whole base.
    pub measures: Measures,
    /// On the discovery part: what it was found by.
    pub discovery: Measures,
    pub test: Test,
    /// Adjusted over all tested segments of the discovery part.
    pub q: f64,
    /// Empirical-Bayes estimate of the lift on the whole base, none where there is no lift.
    pub shrunken_lift: Option<f64>,
    /// Empirical-Bayes estimate of the effect on the whole base, in the metric's unit.
    pub shrunken_effect: f64,
    /// Of a programme for the segment, in money; none without a value per unit (see [`crate::score::Shrinkage::expected_profit`]).
    pub expected_profit: Option<f64>,
    /// Over the customers that no better-ranked highlight of its direction covers, on the whole base.
    pub added: Measures,
    /// One per secondary metric, in the job's order.
    pub secondary: Vec<Secondary>,
    /// On the validation part; none when nothing was held out or none of its customers are there.
    pub validation: Option<Measures>,
    /// Natural logarithm of the p-value on the validation part, two-sided.
    pub validation_log_p: Option<f64>,
    /// Whether the validation part shows the same direction with a Holm-adjusted p at most alpha; none when nothing was held out.
    pub validated: Option<bool>,
    /// Segments folded under this one: nearly the same customers, or these customers are what they stand out by.
    pub folds: Vec<Segment>,
}

/// What a segment does to a secondary metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secondary {
    /// On the whole base.
    pub measures: Measures,
    /// 95 % interval of the effect, on the whole base; none where it cannot be tested.
    pub effect: Option<[f64; 2]>,
    /// Whether the metric is guarded and the whole interval lies on its bad side.
    pub harmed: bool,
}

/// Conditions of the rule in the order in which they are asked; a rejected segment counts under the first it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Covers at most `max_uv_share` of the discovery part.
    UvShare,
    /// Absolute impact on the discovery part at least `min_impact_share`.
    Impact,
    /// Could be tested at all (customers and variance on both sides in the discovery part).
    Testable,
    /// q at most `fdr`, also when it is taken over the cautious p-values (see [`Test::cautious_log_p`]).
    Fdr,
    /// The bound of lift (or effect) nearest to no influence is on the right side of `min_lift`.
    Bound,
    /// Is not exactly the customers of a simpler segment, on the whole base.
    NewCustomers,
    /// Effect on the discovery part at least `min_gain` times that of every segment got by dropping an item, or in the
    /// other direction.
    Gain,
    /// Among the first candidates in rank, and among the `top` by what they add once near-duplicates are folded.
    Top,
}

/// How many segments each condition rejected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Funnel {
    /// Frequent segments, all of them hypotheses where they could be tested.
    pub segments: u64,
    /// Hypotheses the false discovery rate is taken over: the segments that could be tested, or as many as there could be where
    /// only those that may be highlights were kept.
    pub tested: u64,
    /// In the order of [`Condition`], zeros included.
    pub rejected: Vec<(Condition, u64)>,
    /// Folded under a stronger segment: nearly the same customers, or those customers are what it stands out by.
    pub folded: u64,
    pub highlights: u64,
    /// None when nothing was held out.
    pub validated: Option<u64>,
}

impl Condition {
    /// In the order in which they are asked.
    pub const ALL: [Condition; 8] = [
        Condition::UvShare,
        Condition::Impact,
        Condition::Testable,
        Condition::Fdr,
        Condition::Bound,
        Condition::NewCustomers,
        Condition::Gain,
        Condition::Top,
    ];
}

impl Condition {
    /// As the tables and the manifest have it.
    pub fn name(self) -> &'static str {
        match self {
            Condition::UvShare => "uv_share",
            Condition::Impact => "impact",
            Condition::Testable => "testable",
            Condition::Fdr => "fdr",
            Condition::Bound => "bound",
            Condition::NewCustomers => "new_customers",
            Condition::Gain => "gain",
            Condition::Top => "top",
        }
    }
}

impl Funnel {
    /// Counts `segments` more as rejected by `condition`.
    fn reject(&mut self, condition: Condition, segments: u64) {
        let (_, count) =
            self.rejected.iter_mut().find(|(c, _)| *c == condition).expect("every condition is listed from the start");
        *count += segments;
    }

    /// Enters what became of so many candidates: highlights, with what is folded under them, and the rest.
    pub fn chosen(&mut self, candidates: u64, highlights: &[Highlight]) {
        self.highlights = highlights.len() as u64;
        self.folded = highlights.iter().map(|h| h.folds.len() as u64).sum();
        self.reject(Condition::Top, candidates - self.highlights - self.folded);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::segment::FeatureSet;

    /// A candidate of 10 customers with impact 2.5, known by a number.
    pub fn candidate(number: u16, direction: Direction) -> Highlight {
        let measures = Measures {
            uv: 10,
            uv_share: 0.01,
            metric_sum: 5.0,
            metric_mean: 0.5,
            lift: Some(2.0),
            effect: 0.25,
            impact: 2.5,
            metric_share: Some(0.02),
        };
        let test = Test {
            log_p: -9.0,
            cautious_log_p: -9.0,
            effect_low: 0.1,
            effect_high: 0.4,
            lift_low: Some(1.4),
            lift_high: Some(2.6),
        };
        Highlight {
            segment: Segment::new(FeatureSet::new(&[0]), &[number]),
            direction,
            measures,
            discovery: measures,
            test,
            q: 0.001,
            shrunken_lift: Some(1.9),
            shrunken_effect: 0.2,
            expected_profit: None,
            added: measures,
            secondary: Vec::new(),
            validation: None,
            validation_log_p: None,
            validated: None,
            folds: Vec::new(),
        }
    }

    #[test]
    fn conditions_are_called_what_the_manifest_calls_them() {
        for condition in Condition::ALL {
            assert_eq!(serde_json::to_value(condition).expect("text"), condition.name());
        }
    }
}
