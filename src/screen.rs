//! Which features are worth combining, and why others are not.

use serde::{Deserialize, Serialize};

/// What screening says of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub feature: String,
    pub column: String,
    /// Distinct values seen, missing not counted; a lower bound when there were too many to hold.
    pub distinct: u64,
    /// Items it has, `rest` not counted.
    pub items: u64,
    /// Share of customers without a value.
    pub null_share: f64,
    /// Share of customers whose value was too rare to be an item.
    pub rest_share: f64,
    /// Shannon entropy of the items, bits.
    pub entropy: f64,
    /// Entropy over the logarithm of the number of items: 1 when all are equally frequent.
    pub evenness: f64,
    /// What it says about the metric: information value for a rate (nats), share of variance between the items
    /// (correlation ratio, eta squared) for an amount or a ratio.
    pub influence: f64,
    pub kept: bool,
    /// One clause for people: why it was kept or not.
    pub reason: String,
}
