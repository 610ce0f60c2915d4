//! `[highlight]`: what makes a segment a highlight, and in which order highlights are listed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobError;

/// What makes a segment a highlight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HighlightSpec {
    /// A highlight covers at most this share of the base.
    pub max_uv_share: f64,
    /// And its impact is at least this share of the base's metric (for an amount: of the customers times the base's standard deviation).
    pub min_impact_share: f64,
    /// The bound of the lift nearest to 1 is at least this for an over-performer, at most its inverse for an under-performer.
    /// Where lift has no meaning, only the side of the effect's bound counts.
    pub min_lift: f64,
    /// False discovery rate over all segments tested.
    pub fdr: f64,
    /// How p-values are adjusted for the number of segments tested.
    pub adjust: Adjust,
    /// The effect must be at least this many times that of every segment got by dropping an item, and surely (95 %) larger.
    pub min_gain: f64,
    /// Share of the customers kept aside to check the highlights on, 0 to 0.9; 0 checks nothing.
    pub holdout: f64,
    /// The family-wise error rate of the check (Holm).
    pub alpha: f64,
    /// Seed of the split.
    pub seed: u64,
    /// By which figure highlights are ranked, discounted by what better ones of their direction already cover.
    pub rank_by: RankBy,
    /// So many of the first highlights are picked one after the other, each the best of what those before it leave; all others
    /// follow by what these leave of them. Each costs a pass over its customers.
    pub diverse: usize,
    /// What one unit of the metric is worth, in money: an order, a unit of the amount. Needed to rank by profit; with it the tables
    /// tell the expected profit of a programme for each highlight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_per_unit: Option<f64>,
    /// What a programme costs for each customer that it addresses, in money.
    pub cost_per_customer: f64,
    /// Highlights kept at the most, in the order of `rank_by`.
    pub top: usize,
    /// A segment that shares at least this much of its customers (Jaccard) with a stronger one is folded under it.
    pub max_overlap: f64,
}

impl Default for HighlightSpec {
    fn default() -> Self {
        HighlightSpec {
            max_uv_share: 0.05,
            min_impact_share: 0.0005,
            min_lift: 1.2,
            fdr: 0.05,
            adjust: Adjust::BenjaminiHochberg,
            min_gain: 1.1,
            holdout: 0.3,
            alpha: 0.05,
            seed: 0,
            rank_by: RankBy::Impact,
            diverse: 20,
            value_per_unit: None,
            cost_per_customer: 0.0,
            top: 100,
            max_overlap: 0.8,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adjust {
    /// Holds the false discovery rate where segments are independent or vary together, as nested ones do.
    BenjaminiHochberg,
    /// Holds it however segments depend on each other, at the price of a factor of about ln(segments) + 0.58.
    BenjaminiYekutieli,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// Absolute impact: the most of the metric.
    Impact,
    /// The shrunken lift furthest from 1, a third as far as three times; where lift has no meaning, the absolute shrunken effect.
    Lift,
    /// Absolute impact over customers: the most for each customer addressed.
    ImpactPerCustomer,
    /// Expected profit of a programme, from `value_per_unit` and `cost_per_customer`.
    Profit,
}

impl HighlightSpec {
    /// Checks what types cannot say; `range` is given the setting, its value, whether it is allowed, and what is.
    pub(super) fn check(
        &self,
        range: impl Fn(&str, String, bool, &str) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        macro_rules! within {
            ($value:ident, $ok:expr, $allowed:expr) => {
                range(concat!("highlight.", stringify!($value)), format!("{:?}", self.$value), $ok, $allowed)?
            };
        }
        within!(max_uv_share, self.max_uv_share > 0.0 && share(self.max_uv_share), "expected a share above 0");
        within!(min_impact_share, share(self.min_impact_share), "expected a share from 0 to 1");
        within!(min_lift, self.min_lift >= 1.0 && self.min_lift.is_finite(), "expected 1 or more");
        within!(fdr, self.fdr > 0.0 && self.fdr < 1.0, "expected a rate between 0 and 1");
        within!(alpha, self.alpha > 0.0 && self.alpha < 1.0, "expected a rate between 0 and 1");
        within!(min_gain, self.min_gain >= 0.0 && self.min_gain.is_finite(), "expected 0 or more");
        within!(holdout, (0.0..=0.9).contains(&self.holdout), "expected a share from 0 to 0.9");
        within!(top, (1..=5000).contains(&self.top), "expected 1 to 5000");
        within!(diverse, self.diverse <= 5000, "expected 0 to 5000");
        within!(max_overlap, self.max_overlap > 0.0 && share(self.max_overlap), "expected a share above 0");
        let cost = self.cost_per_customer;
        within!(cost_per_customer, (0.0..=1e12).contains(&cost), "expected 0 to 1e12");
        let shown = self.value_per_unit.map_or("(absent)".to_owned(), |value| format!("{value:?}"));
        let (value, setting) = (self.value_per_unit, "highlight.value_per_unit");
        range(
            setting,
            shown.clone(),
            value.is_none_or(|v| v > 0.0 && v <= 1e12),
            "expected more than 0, at most 1e12",
        )?;
        let needed = self.rank_by == RankBy::Profit || cost > 0.0;
        range(setting, shown, value.is_some() || !needed, "rank_by = \"profit\" and cost_per_customer need it")
    }
}
