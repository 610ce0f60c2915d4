//! `Stats` to measures, tests and intervals. A measure is computed here or not at all.

mod change;
mod exact;
mod many;
mod same_odds;
mod shrink;
mod tail;
mod versus;

use serde::{Deserialize, Serialize};

use crate::stats::{MetricKind, Scale, Stats};

pub use change::{Change, change, change_reference, change_weights};
pub use many::{benjamini_hochberg, benjamini_yekutieli, holm};
pub use shrink::{Component, Shrinkage, Spread, strength};
pub use versus::{Test, effect_variance, proportions_log_p, proportions_z, standard_deviation, test};

use exact::product_difference;

/// What a set of customers does to a metric, against the base. Floats formed once, from exact sums.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Distinct customers.
    pub uv: i64,
    /// `uv / N`.
    pub uv_share: f64,
    /// In the metric's unit; of a ratio, the numerator's sum.
    pub metric_sum: f64,
    /// Of a ratio, `sum / den`. 0 where there is nothing to divide by.
    pub metric_mean: f64,
    /// `mean / base mean`; none unless the base mean is positive, and without customers (or denominator).
    pub lift: Option<f64>,
    /// `mean - base mean`; 0 without customers (or denominator).
    pub effect: f64,
    /// `uv * effect`; of a ratio, `den * effect`.
    pub impact: f64,
    /// `sum / base sum`; none where lift is none.
    pub metric_share: Option<f64>,
}

/// What the sum is divided by to get the mean: customers, or a ratio's denominator in scaled units.
fn divisor(kind: MetricKind, stats: &Stats) -> i128 {
    match kind {
        MetricKind::Rate | MetricKind::Amount => i128::from(stats.uv),
        MetricKind::Ratio => stats.den,
    }
}

/// Scaled units of the sum in one unit of the metric (of a ratio, of its numerator).
fn sum_unit(kind: MetricKind, scale: Scale) -> f64 {
    match kind {
        MetricKind::Rate => 1.0,
        MetricKind::Amount | MetricKind::Ratio => scale.unit(),
    }
}

/// Scaled units of the mean, `sum / divisor`, in one unit of the metric.
fn mean_unit(kind: MetricKind, scale: Scale) -> f64 {
    match kind {
        MetricKind::Rate => 1.0,
        MetricKind::Amount => scale.unit(),
        MetricKind::Ratio => scale.unit() / scale.den_unit(),
    }
}

/// The mean of the metric, in its unit: per customer, or of a ratio per unit of the denominator. 0 where there is
/// nothing to divide by.
pub fn mean(kind: MetricKind, scale: Scale, stats: &Stats) -> f64 {
    match divisor(kind, stats) {
        0 => 0.0,
        divisor => stats.sum as f64 / divisor as f64 / mean_unit(kind, scale),
    }
}

/// A segment's measures against the base that contains it.
///
/// - `effect = mean(s) - mean(base)`, in the metric's unit.
/// - `impact = uv * effect` (of a ratio `den * effect`), in the unit of the metric's sum: what the segment adds over an
///   average audience of its size. Impact as in impact rules (Webb, 2001). For a base of N customers it is N times the
///   weighted relative accuracy (Lavrač, Flach and Zupan, 1999), in a unit a reader can check. The impacts of a
///   partition sum to zero.
/// - `lift = mean(s) / mean(base)`, equally share of the metric over share of the customers, so
///   `impact / sum(base) = metric share - uv share = uv share * (lift - 1)` (for a ratio with the share of the denominator).
///
/// The differences are formed in integers: `impact = (sum * N - sum(base) * uv) / N`.
pub fn measures(kind: MetricKind, scale: Scale, segment: &Stats, base: &Stats) -> Measures {
    let (own, all) = (divisor(kind, segment), divisor(kind, base));
    let excess = product_difference(segment.sum, all, base.sum, own);
    let defined = own != 0 && all != 0;
    let lift = (defined && positive_mean(kind, base))
        .then(|| (segment.sum as f64 / base.sum as f64) * (all as f64 / own as f64));
    Measures {
        uv: segment.uv,
        uv_share: if base.uv == 0 { 0.0 } else { segment.uv as f64 / base.uv as f64 },
        metric_sum: segment.sum as f64 / sum_unit(kind, scale),
        metric_mean: mean(kind, scale, segment),
        lift,
        effect: if defined { excess / own as f64 / all as f64 / mean_unit(kind, scale) } else { 0.0 },
        impact: if defined { excess / all as f64 / sum_unit(kind, scale) } else { 0.0 },
        metric_share: lift.map(|_| segment.sum as f64 / base.sum as f64),
    }
}

/// Whether lift has a meaning against this base.
fn positive_mean(kind: MetricKind, base: &Stats) -> bool {
    let divisor = divisor(kind, base);
    divisor != 0 && base.sum != 0 && (base.sum > 0) == (divisor > 0)
}

/// What `min_impact_share` is a share of, in the unit of impact: the base's sum for a rate or a ratio; for an amount,
/// whose sum may be near zero, the customers times the base's standard deviation.
pub fn impact_reference(kind: MetricKind, scale: Scale, base: &Stats) -> f64 {
    match kind {
        MetricKind::Rate | MetricKind::Ratio => (base.sum as f64 / sum_unit(kind, scale)).abs(),
        MetricKind::Amount => base.uv as f64 * standard_deviation(kind, scale, base),
    }
}

/// How far a set of customers is above as many average ones, in scaled units of the sum: its impact, before it is put into a unit.
pub fn excess(kind: MetricKind, set: &Stats, base: &Stats) -> f64 {
    match divisor(kind, base) {
        0 => 0.0,
        all => product_difference(set.sum, all, base.sum, divisor(kind, set)) / all as f64,
    }
}

/// What a set of customers adds to the squares between sets, `excess² / uv`, in scaled units squared. 0 for nobody.
pub fn squares_between(kind: MetricKind, set: &Stats, base: &Stats) -> f64 {
    let excess = excess(kind, set, base);
    if set.uv == 0 { 0.0 } else { excess * excess / set.uv as f64 }
}

/// The share of the variance over all customers that lies between these disjoint sets, which are all customers together (eta squared;
/// of a ratio, of what is left of the numerator when `mean * denominator` is taken off). None where nothing varies.
pub fn between_share(kind: MetricKind, sets: &[Stats], base: &Stats) -> Option<f64> {
    let all = divisor(kind, base);
    if all == 0 {
        return None;
    }
    let mean = base.sum as f64 / all as f64;
    let (cross, square) = match kind {
        MetricKind::Ratio => (base.cross as f64, base.den_sq as f64),
        MetricKind::Rate | MetricKind::Amount => (base.sum as f64, base.uv as f64),
    };
    let whole = base.sq as f64 - 2.0 * mean * cross + mean * mean * square;
    (whole > 0.0).then(|| sets.iter().map(|set| squares_between(kind, set, base)).sum::<f64>() / whole)
}

/// What no `uv` or fewer of these customers can exceed in absolute impact: for a rate, as if they were all of its yes or all of
/// its no; otherwise by the inequality of Cauchy and Schwarz over their distances from the base's mean.
pub fn impact_at_most(kind: MetricKind, scale: Scale, stats: &Stats, base: &Stats, uv: i64) -> f64 {
    let all = divisor(kind, base);
    if all == 0 {
        return 0.0;
    }
    let mean = base.sum as f64 / all as f64;
    let uv = uv.min(stats.uv).max(0) as f64;
    let most = match kind {
        MetricKind::Rate => {
            let (yes, no) = (stats.sum as f64, (i128::from(stats.uv) - stats.sum) as f64);
            (yes.min(uv) * (1.0 - mean)).max(no.min(uv) * mean)
        }
        MetricKind::Amount | MetricKind::Ratio => {
            let (cross, square) = match kind {
                MetricKind::Ratio => (stats.cross as f64, stats.den_sq as f64),
                _ => (stats.sum as f64, stats.uv as f64),
            };
            // What cancels leaves an error in proportion to what was subtracted from.
            let terms = [stats.sq as f64, -2.0 * mean * cross, mean * mean * square];
            let slack = 1e-12 * terms.iter().map(|term| term.abs()).sum::<f64>();
            (uv * (terms.iter().sum::<f64>() + slack).max(0.0)).sqrt() / sum_unit(kind, scale)
        }
    };
    most * (1.0 + 1e-9)
}

/// A lift further from 1 than this, or its inverse, is no further away for [`position`]: a segment without a single
/// order would otherwise be infinitely far from all others.
const FARTHEST_LIFT: f64 = 64.0;

/// Where a set of customers stands on the metric's axis, 0 being the base itself.
///
/// Without unit: the logarithm of the lift to base 4 (1 is four times the base's mean, -1 a quarter of it), at most 3
/// away from the base; where lift has no meaning, the effect in standard deviations of the base. Either is as if so many average
/// customers were `added`.
pub fn position(kind: MetricKind, scale: Scale, stats: &Stats, base: &Stats, added: f64) -> f64 {
    let measures = measures(kind, scale, stats, base);
    let own = if added > 0.0 { stats.uv as f64 / (stats.uv as f64 + added) } else { 1.0 };
    if let Some(lift) = measures.lift {
        return (1.0 + own * (lift - 1.0)).clamp(FARTHEST_LIFT.recip(), FARTHEST_LIFT).ln() / 4f64.ln();
    }
    let deviation = standard_deviation(kind, scale, base);
    if deviation == 0.0 { 0.0 } else { own * measures.effect / deviation }
}

/// How many average customers have to be added to each of some disjoint sets, so that its mean is best guessed: the variance of the
/// metric over that of the sets' true means, by the method of moments (empirical Bayes; Efron and Morris, 1975).
///
/// Between sets whose means differ by no more than their customers' do, nothing tells them apart: then as many as the base has.
pub fn average_customers(kind: MetricKind, scale: Scale, sets: &[Stats], base: &Stats) -> f64 {
    let variance = standard_deviation(kind, scale, base).powi(2);
    let (mut sets_there, mut customers, mut squares, mut spread) = (0.0, 0.0, 0.0, 0.0);
    for set in sets.iter().filter(|set| set.uv > 0) {
        let uv = set.uv as f64;
        sets_there += 1.0;
        customers += uv;
        squares += uv * uv;
        spread += uv * measures(kind, scale, set, base).effect.powi(2);
    }
    let between = (spread - (sets_there - 1.0) * variance) / (customers - squares / customers);
    if between > 0.0 && between.is_finite() { (variance / between).min(base.uv as f64) } else { base.uv as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    #[test]
    fn measures_of_a_rate_follow_their_definitions() {
        // 40 of 1000 customers say yes, 10 of the segment's 50: 20 % against 4 %.
        let m = measures(MetricKind::Rate, Scale::default(), &rate(50, 10), &rate(1000, 40));
        assert_eq!((m.uv, m.uv_share, m.metric_sum, m.metric_mean), (50, 0.05, 10.0, 0.2));
        assert_eq!((m.lift, m.effect, m.impact, m.metric_share), (Some(5.0), 0.16, 8.0, Some(0.25)));
    }

    #[test]
    fn amounts_come_back_from_cents_and_lose_their_lift_when_the_base_loses() {
        let scale = Scale { decimals: 2, den_decimals: 0 };
        let amount = |uv, sum| Stats { uv, sum, ..Stats::default() };
        // 4 customers with 10.00 of the base's 20 with 25.00: mean 2.50 against 1.25.
        let m = measures(MetricKind::Amount, scale, &amount(4, 1000), &amount(20, 2500));
        assert_eq!((m.metric_sum, m.metric_mean, m.effect, m.impact), (10.0, 2.5, 1.25, 5.0));
        assert_eq!((m.lift, m.metric_share), (Some(2.0), Some(0.4)));
        for sum in [0, -2500] {
            let m = measures(MetricKind::Amount, scale, &amount(4, 1000), &amount(20, sum));
            assert_eq!((m.lift, m.metric_share), (None, None), "base sum {sum}");
        }
    }

    #[test]
    fn ratios_weigh_by_their_denominator_and_each_side_has_its_own_scale() {
        // 3.0 orders in 6 visits of the base's 10.0 in 80: 0.5 against 0.125. Impact 6 * 0.375 orders.
        let scale = Scale { decimals: 1, den_decimals: 2 };
        let ratio = |uv, sum, den| Stats { uv, sum, den, ..Stats::default() };
        let m = measures(MetricKind::Ratio, scale, &ratio(2, 30, 600), &ratio(10, 100, 8000));
        assert_eq!((m.metric_mean, m.lift), (0.5, Some(4.0)));
        // One rounding for each power of ten.
        assert!((m.effect - 0.375).abs() < 1e-15 && (m.impact - 2.25).abs() < 1e-15);
        assert_eq!((m.metric_sum, m.uv_share, m.metric_share), (3.0, 0.2, Some(0.3)));
    }

    #[test]
    fn nothing_divided_by_nothing_is_zero_and_never_infinite() {
        for kind in [MetricKind::Rate, MetricKind::Amount, MetricKind::Ratio] {
            let base = Stats { uv: 5, sum: 3, sq: 3, den: 10, den_sq: 30, cross: 9 };
            for (segment, base) in [(Stats::default(), base), (Stats::default(), Stats::default())] {
                let m = measures(kind, Scale::default(), &segment, &base);
                assert_eq!((m.uv_share, m.metric_mean, m.effect, m.impact), (0.0, 0.0, 0.0, 0.0), "{kind:?}");
                assert_eq!((m.lift, m.metric_share), (None, None), "{kind:?}");
                for added in [0.0, 0.5, 1e9] {
                    assert!(position(kind, Scale::default(), &segment, &base, added).is_finite());
                }
            }
        }
    }

    #[test]
    fn sets_that_differ_need_few_average_customers_and_those_that_do_not_as_many_as_there_are() {
        let of = |sets: &[Stats], base| average_customers(MetricKind::Rate, Scale::default(), sets, &base);
        // Rates of 0.1 and 0.3 about 0.2, whose variance is 0.161: (2 - 0.161) / (200 - 100) lies between the true means.
        let variance = 0.16 * 200.0 / 199.0;
        let apart = of(&[rate(100, 10), rate(0, 0), rate(100, 30)], rate(200, 40));
        assert!((apart - variance / ((2.0 - variance) / 100.0)).abs() < 1e-9, "{apart}");
        assert_eq!(of(&[rate(100, 19), rate(100, 21)], rate(200, 40)), 200.0);
        assert_eq!((of(&[], rate(200, 40)), of(&[rate(200, 40)], rate(200, 40))), (200.0, 200.0));
        // With as many average customers as it has, a set of twice the base's mean stands at 1.5 times that.
        let at = |added| position(MetricKind::Rate, Scale::default(), &rate(50, 10), &rate(1000, 100), added);
        assert!((at(0.0) - 0.5).abs() < 1e-12 && (at(50.0) - 1.5f64.ln() / 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn positions_are_logarithms_of_lift_or_deviations_of_the_base() {
        let at = |uv, yes| position(MetricKind::Rate, Scale::default(), &rate(uv, yes), &rate(1000, 100), 0.0);
        assert!((at(50, 20) - 1.0).abs() < 1e-15 && (at(80, 2) + 1.0).abs() < 1e-15, "lift 4 and 1/4");
        assert_eq!(at(50, 0), -3.0);
        // -3, -1, 1, 3: mean 0, variance 20/3; the segment of 1 and 3 is 2 above.
        let base = Stats { uv: 4, sum: 0, sq: 20, ..Stats::default() };
        let upper = Stats { uv: 2, sum: 4, sq: 10, ..Stats::default() };
        let found = position(MetricKind::Amount, Scale::default(), &upper, &base, 0.0);
        assert!((found - 2.0 / (20.0f64 / 3.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn impact_is_measured_against_the_sum_or_for_amounts_the_spread() {
        assert_eq!(impact_reference(MetricKind::Rate, Scale::default(), &rate(1000, 100)), 100.0);
        let scale = Scale { decimals: 1, den_decimals: 0 };
        let base = Stats { uv: 4, sum: 0, sq: 2000, ..Stats::default() };
        // 4 customers, standard deviation sqrt(20/3).
        let found = impact_reference(MetricKind::Amount, scale, &base);
        assert!((found - 4.0 * (20.0f64 / 3.0).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn impacts_cancel_in_sums_that_floats_cannot_hold() {
        // Both sums agree in 30 digits; the excess of one unit over 10^30 is the half of 10^30 + 2 - 10^30.
        let half = |sum| Stats { uv: 1, sum, ..Stats::default() };
        let (a, b) = (half(10i128.pow(30) + 2), half(10i128.pow(30)));
        let impact = |s| measures(MetricKind::Amount, Scale::default(), &s, &(a + b)).impact;
        assert_eq!((impact(a), impact(b)), (1.0, -1.0));
    }

    proptest! {
        #[test]
        fn no_part_of_some_customers_has_more_impact_than_the_bound(
            customers in prop::collection::vec((-1000i128..1000, 1i128..50, any::<bool>()), 1..30),
            others in prop::collection::vec((-1000i128..1000, 1i128..50), 1..5),
        ) {
            let of = |kind: MetricKind, value: i128, den: i128| match kind {
                MetricKind::Rate => Stats { uv: 1, sum: value & 1, sq: value & 1, ..Stats::default() },
                MetricKind::Amount => Stats { uv: 1, sum: value, sq: value * value, ..Stats::default() },
                MetricKind::Ratio => {
                    Stats { uv: 1, sum: value, sq: value * value, den, den_sq: den * den, cross: value * den }
                }
            };
            let scale = Scale { decimals: 2, den_decimals: 1 };
            for kind in [MetricKind::Rate, MetricKind::Amount, MetricKind::Ratio] {
                let all: Stats = customers.iter().map(|&(value, den, _)| of(kind, value, den)).sum();
                let some = customers.iter().filter(|(_, _, chosen)| *chosen);
                let part: Stats = some.map(|&(value, den, _)| of(kind, value, den)).sum();
                let base = all + others.iter().map(|&(value, den)| of(kind, value, den)).sum::<Stats>();
                let scale = if kind == MetricKind::Rate { Scale::default() } else { scale };
                let impact = measures(kind, scale, &part, &base).impact.abs();
                for uv in [part.uv, all.uv] {
                    let bound = impact_at_most(kind, scale, &all, &base, uv);
                    prop_assert!(impact <= bound, "{kind:?}: {impact} of at most {bound}");
                }
            }
        }

        #[test]
        fn impacts_of_a_partition_sum_to_zero(
            cells in prop::collection::vec((0i64..50, -1_000_000i128..1_000_000, 1i128..100), 1..20),
        ) {
            let cells: Vec<Stats> = cells
                .into_iter()
                .map(|(uv, sum, den)| if uv == 0 { Stats::default() } else { Stats { uv, sum, den, ..Stats::default() } })
                .collect();
            let base: Stats = cells.iter().copied().sum();
            for kind in [MetricKind::Amount, MetricKind::Ratio] {
                let impacts = cells.iter().map(|c| measures(kind, Scale::default(), c, &base).impact);
                let largest = impacts.clone().map(f64::abs).fold(1.0, f64::max);
                prop_assert!(impacts.sum::<f64>().abs() < 1e-13 * largest);
            }
        }

        #[test]
        fn impact_over_the_sum_is_uv_share_times_lift_less_one(uv in 1i64..100, yes in 0i128..100, more in 1i64..1000) {
            let yes = yes.min(i128::from(uv));
            let base = rate(uv + more, yes + i128::from(more + 1) / 2);
            let m = measures(MetricKind::Rate, Scale::default(), &rate(uv, yes), &base);
            let lift = m.lift.expect("the base has a yes");
            let total = base.sum as f64;
            prop_assert!((m.impact / total - m.uv_share * (lift - 1.0)).abs() < 1e-12);
            prop_assert!((m.impact / total - (m.metric_share.expect("as lift") - m.uv_share)).abs() < 1e-12);
            prop_assert!((m.impact - uv as f64 * m.effect).abs() < 1e-9);
        }
    }
}
