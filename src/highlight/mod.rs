//! Segments with a small share of the customers and a large, certain influence that no simpler segment explains.

//!
//! The customers are split into a discovery and a validation part. Whatever selects or ranks by the metric looks at the
//! discovery part alone, so that what the validation part shows is not flattered by the selection.

mod fold;
mod pairs;
mod rule;

use serde::{Deserialize, Serialize};

use crate::score::{Measures, Test};
use crate::segment::Segment;

pub use fold::{Folded, explained, fold, jaccard, pool};
pub use pairs::{Bounds, pairs};
pub use rule::{Frequent, Unlisted, mark, rule, score, validate};

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
    /// On the validation part; none when nothing was held out or none of its customers are there.
    pub validation: Option<Measures>,
    /// Natural logarithm of the p-value on the validation part, two-sided.
    pub validation_log_p: Option<f64>,
    /// Whether the validation part shows the same direction with a Holm-adjusted p at most alpha; none when nothing was held out.
    pub validated: Option<bool>,
    /// Segments folded under this one: nearly the same customers, or these customers are what they stand out by.
    pub folds: Vec<Segment>,
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
    /// Among the `top` by absolute impact on the discovery part once near-duplicates are folded.
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

impl Funnel {
    /// Counts `segments` more as rejected by `condition`.
    fn reject(&mut self, condition: Condition, segments: u64) {
        let (_, count) =
            self.rejected.iter_mut().find(|(c, _)| *c == condition).expect("every condition is listed from the start");
        *count += segments;
    }

    /// Enters what folding left of the candidates.
    pub fn folded(&mut self, folded: &Folded) {
        self.reject(Condition::Top, folded.beyond_top);
        self.folded = folded.folded;
        self.highlights = folded.highlights.len() as u64;
    }
}
