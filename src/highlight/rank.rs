//! The figure by which highlights are ranked.

use super::{Frequent, Measures};
use crate::job::{HighlightSpec, RankBy};
use crate::score::{Shrinkage, measures, strength};
use crate::stats::{MetricKind, Scale, Stats};

/// Ranks segments by what they show on the discovery part, so that the ranking does not look at the validation part.
pub struct Ranking<'a> {
    spec: &'a HighlightSpec,
    kind: MetricKind,
    scale: Scale,
    base: Stats,
    /// Fitted to the discovery part, where the figure is of shrunken effects.
    shrinkage: Option<Shrinkage>,
}

impl<'a> Ranking<'a> {
    /// Among the segments of a base.
    pub fn new(spec: &'a HighlightSpec, frequent: &Frequent, kind: MetricKind, scale: Scale) -> Self {
        let shrinkage = match spec.rank_by {
            RankBy::Impact | RankBy::ImpactPerCustomer => None,
            RankBy::Lift | RankBy::Profit => Some(frequent.discovery_shrinkage(kind, scale)),
        };
        Ranking { spec, kind, scale, base: frequent.base_discovery, shrinkage }
    }

    /// The figure of a segment with these sums over the discovery part: the larger, the better. In the unit of what it ranks by;
    /// a profit may be negative.
    pub fn figure(&self, discovery: &Stats) -> f64 {
        match self.spec.rank_by {
            RankBy::Impact => self.measures(discovery).impact.abs(),
            RankBy::ImpactPerCustomer => self.measures(discovery).impact.abs() / discovery.uv.max(1) as f64,
            RankBy::Lift => {
                let shrinkage = self.shrunken();
                strength(shrinkage.shrunken_lift(discovery), shrinkage.shrunken_effect(discovery))
            }
            RankBy::Profit => {
                let value = self.spec.value_per_unit.expect("checked when the job was read");
                self.shrunken().expected_profit(discovery, value, self.spec.cost_per_customer)
            }
        }
    }

    /// What is left of a figure when of the segment, with these sums, only `left` is new.
    ///
    /// The share of its impact that is left, between 0 and 1, times the figure; a loss stays as it is.
    pub fn discounted(&self, figure: f64, own: &Stats, left: &Stats) -> f64 {
        let (all, left) = (self.measures(own).impact, self.measures(left).impact);
        let share = if all == 0.0 { 0.0 } else { (left / all).clamp(0.0, 1.0) };
        if figure > 0.0 { figure * share } else { figure }
    }

    fn shrunken(&self) -> &Shrinkage {
        self.shrinkage.as_ref().expect("fitted for the figures that need it")
    }

    fn measures(&self, stats: &Stats) -> Measures {
        measures(self.kind, self.scale, stats, &self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Item, Segment};

    const PLAIN: Scale = Scale { decimals: 0, den_decimals: 0 };

    /// Segments that nobody of was held out.
    fn of_discovery<'a>(segments: &'a [Segment], sums: &'a [Stats], base: Stats) -> Frequent<'a> {
        let (base_whole, base_discovery) = (base, base);
        Frequent { segments, whole: sums, discovery: sums, base_whole, base_discovery, unlisted: None }
    }

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    #[test]
    fn each_figure_prefers_another_segment() {
        // Base 10 %. Large: 1,000 with 200, lift 2; sure: 400 with 160, lift 4; few: 20 with 12, lift 6 and little certainty.
        let base = rate(100_000, 10_000);
        let segments = [rate(1000, 200), rate(400, 160), rate(20, 12)];
        let names: Vec<Segment> = (0..3).map(|code| Segment::of_items(&[Item { feature: 0, code }])).collect();
        let frequent = of_discovery(&names, &segments, base);
        let figures = |rank_by, cost_per_customer| {
            let spec =
                HighlightSpec { rank_by, cost_per_customer, value_per_unit: Some(100.0), ..HighlightSpec::default() };
            let ranking = Ranking::new(&spec, &frequent, MetricKind::Rate, PLAIN);
            segments.map(|s| ranking.figure(&s))
        };
        assert_eq!(figures(RankBy::Impact, 0.0).map(f64::round), [100.0, 120.0, 10.0]);
        assert_eq!(figures(RankBy::ImpactPerCustomer, 0.0).map(|f| (f * 1e9).round() / 1e9), [0.1, 0.3, 0.5]);
        let lift = figures(RankBy::Lift, 0.0);
        assert!(lift[1] > lift[0] && lift[2] < 6f64.ln(), "{lift:?}");
        // 100 a unit and 15 a customer: 1,000 customers cost 15,000 and bring less than 10,000.
        let profit = figures(RankBy::Profit, 15.0);
        assert!(profit[0] < -5_000.0 && profit[1] > 0.0 && profit[1] < 12_000.0 - 6_000.0, "{profit:?}");
    }

    #[test]
    fn what_is_covered_is_discounted_by_its_share_of_the_impact() {
        let base = rate(1000, 100);
        let spec = HighlightSpec::default();
        let ranking = Ranking::new(&spec, &of_discovery(&[], &[], base), MetricKind::Rate, PLAIN);
        // Impact 40 - 10 = 30; of 50 customers with 14 it is 14 - 5 = 9.
        let own = rate(100, 40);
        assert!((ranking.discounted(30.0, &own, &rate(50, 14)) - 9.0).abs() < 1e-12);
        assert_eq!(ranking.discounted(30.0, &own, &rate(50, 2)), 0.0, "what is left is on the other side");
        assert_eq!(ranking.discounted(30.0, &own, &rate(60, 40)), 30.0, "what is left does better than all");
        assert_eq!(ranking.discounted(-3.0, &own, &rate(50, 2)), -3.0);
    }
}
