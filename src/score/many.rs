//! Many segments at once: p-values adjusted for their number, and effects shrunk for their noise.

use serde::{Deserialize, Serialize};

use super::versus::effect_variance;
use super::{measures, positive_mean};
use crate::stats::{MetricKind, Scale, Stats};

/// Indices by increasing log p, ties by index. Ties get equal adjusted values whatever their order.
fn ascending(log_p: &[f64]) -> Vec<usize> {
    // Beside each other in memory, as integers of the same order (IEEE 754, total order).
    let key = |p: f64| {
        let bits = p.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    };
    let mut keyed: Vec<(i64, u32)> = log_p.iter().map(|&p| key(p)).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, index)| index as usize).collect()
}

/// q-values: the smallest false discovery rate at which each hypothesis is rejected (Benjamini and Hochberg, 1995),
/// from natural logarithms of p-values.
///
/// `q(i) = min over j >= i of p(j) * m / j`, p sorted ascending, at most 1. Of the `hypotheses`, m, those without a p here count
/// as if their p were 1; there are at least as many as p-values.
pub fn benjamini_hochberg(log_p: &[f64], hypotheses: u64) -> Vec<f64> {
    step_up(log_p, (hypotheses.max(log_p.len() as u64) as f64).ln())
}

/// q-values that hold under any dependence between the hypotheses (Benjamini and Yekutieli, 2001): those of
/// [`benjamini_hochberg`] times `1 + 1/2 + ... + 1/m`.
pub fn benjamini_yekutieli(log_p: &[f64], hypotheses: u64) -> Vec<f64> {
    let m = hypotheses.max(log_p.len() as u64);
    step_up(log_p, (m as f64).ln() + harmonic(m).ln())
}

/// `1 + 1/2 + ... + 1/m`; 0 of none.
fn harmonic(m: u64) -> f64 {
    /// Euler's constant.
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    if m <= 1000 {
        return (1..=m).rev().map(|i| 1.0 / i as f64).sum();
    }
    // What is left out of the series is below 1 / (120 m^4).
    let m = m as f64;
    m.ln() + GAMMA + 0.5 / m - 1.0 / (12.0 * m * m)
}

/// `log_m`: the logarithm of what every p is multiplied by.
fn step_up(log_p: &[f64], log_m: f64) -> Vec<f64> {
    let mut q = vec![1.0; log_p.len()];
    let mut least = 0f64;
    for (rank, index) in ascending(log_p).into_iter().enumerate().rev() {
        least = least.min(log_p[index] + log_m - ((rank + 1) as f64).ln());
        q[index] = least.exp();
    }
    q
}

/// Adjusted p-values that bound the chance of even one false rejection (Holm, 1979), from natural logarithms of
/// p-values.
///
/// `max over j <= i of p(j) * (m + 1 - j)`, p sorted ascending, at most 1.
pub fn holm(log_p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; log_p.len()];
    let mut largest = f64::NEG_INFINITY;
    for (rank, index) in ascending(log_p).into_iter().enumerate() {
        largest = largest.max(log_p[index] + ((log_p.len() - rank) as f64).ln()).min(0.0);
        adjusted[index] = largest.exp();
    }
    adjusted
}

/// What tells how far true effects are spread: sums over segments whose noise is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    segments: f64,
    /// Of `effect² / v`.
    squares: f64,
    /// Of `1 / v`.
    weights: f64,
}

impl Spread {
    /// Adds a segment of a base.
    pub fn add(&mut self, kind: MetricKind, scale: Scale, segment: &Stats, base: &Stats) {
        if let Some(noise) = effect_variance(kind, scale, segment, base) {
            let effect = measures(kind, scale, segment, base).effect;
            self.segments += 1.0;
            self.squares += effect * effect / noise;
            self.weights += 1.0 / noise;
        }
    }

    /// Of both; as floats are, to the bit only in the same order.
    pub fn plus(self, other: Spread) -> Spread {
        Spread {
            segments: self.segments + other.segments,
            squares: self.squares + other.squares,
            weights: self.weights + other.weights,
        }
    }
}

/// Empirical-Bayes shrinkage of effects towards none (Efron and Morris, 1975).
///
/// Each observed effect is taken as a true effect plus noise of known variance v, and the true effects as spread around
/// zero (effects of a partition average to zero) with variance tau². The estimate of a true effect is then
/// `effect * tau² / (tau² + v)`: what 60 customers show is believed less than what 6,000 do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrinkage {
    kind: MetricKind,
    scale: Scale,
    base: Stats,
    /// Variance of true effects, in the metric's unit squared.
    tau_squared: f64,
}

impl Shrinkage {
    /// From all segments of a base, by the method of moments (DerSimonian and Laird, 1986, with the mean known to be 0):
    /// `tau² = (sum(effect² / v) - k) / sum(1 / v)`, at least 0, over the k segments whose noise is known.
    ///
    /// The sums are taken in the order of the segments.
    pub fn fit(kind: MetricKind, scale: Scale, segments: &[Stats], base: &Stats) -> Self {
        let mut spread = Spread::default();
        segments.iter().for_each(|segment| spread.add(kind, scale, segment, base));
        Shrinkage::of(kind, scale, &spread, base)
    }

    /// The same of segments whose sums have been taken.
    pub fn of(kind: MetricKind, scale: Scale, spread: &Spread, base: &Stats) -> Self {
        let excess = (spread.squares - spread.segments) / spread.weights;
        let tau_squared = if spread.weights > 0.0 { excess.max(0.0) } else { 0.0 };
        Shrinkage::new(kind, scale, tau_squared, base)
    }

    /// Of a known variance of true effects.
    pub fn new(kind: MetricKind, scale: Scale, tau_squared: f64, base: &Stats) -> Self {
        Shrinkage { kind, scale, base: *base, tau_squared }
    }

    /// The same spread of true effects, for segments of another base: a part of it.
    pub fn against(&self, base: &Stats) -> Self {
        Shrinkage { base: *base, ..*self }
    }

    /// Variance of true effects, in the metric's unit squared.
    pub fn tau_squared(&self) -> f64 {
        self.tau_squared
    }

    /// The estimate of a segment's true effect, in the metric's unit; 0 where its noise is unknown.
    pub fn shrunken_effect(&self, segment: &Stats) -> f64 {
        let effect = measures(self.kind, self.scale, segment, &self.base).effect;
        match effect_variance(self.kind, self.scale, segment, &self.base) {
            Some(noise) if self.tau_squared > 0.0 => effect * (self.tau_squared / (self.tau_squared + noise)),
            Some(_) | None => 0.0,
        }
    }

    /// `1 + shrunken effect / base mean`; none where the base has no positive mean.
    pub fn shrunken_lift(&self, segment: &Stats) -> Option<f64> {
        positive_mean(self.kind, &self.base)
            .then(|| 1.0 + self.shrunken_effect(segment) / super::mean(self.kind, self.scale, &self.base))
    }

    /// What a programme for a segment may be expected to bring, in money, less what it costs.
    ///
    /// `value_per_unit * uv * |shrunken effect| - cost_per_customer * uv` (of a ratio with the denominator for the first uv): of an
    /// over-performer what the segment brings over an average audience of its size, of an under-performer what bringing it to the
    /// average would.
    pub fn expected_profit(&self, segment: &Stats, value_per_unit: f64, cost_per_customer: f64) -> f64 {
        let units = match self.kind {
            MetricKind::Rate | MetricKind::Amount => segment.uv as f64,
            MetricKind::Ratio => segment.den as f64 / self.scale.den_unit(),
        };
        value_per_unit * units * self.shrunken_effect(segment).abs() - cost_per_customer * segment.uv as f64
    }
}

/// How far a shrunken lift is from none, on a log scale: a third as far as three times. Where there is no lift, how far the shrunken
/// effect is from 0, in the metric's unit.
pub fn strength(shrunken_lift: Option<f64>, shrunken_effect: f64) -> f64 {
    match shrunken_lift {
        Some(lift) if lift > 0.0 => lift.ln().abs(),
        Some(_) => f64::INFINITY,
        None => shrunken_effect.abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P: [f64; 8] = [0.01, 0.04, 0.03, 0.005, 0.2, 0.03, 1.0, 0.9];

    fn assert_all_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-14, "{found:?}, expected {expected:?}");
        }
    }

    fn logs(p: &[f64]) -> Vec<f64> {
        p.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn adjusted_values_are_those_of_statsmodels() {
        // statsmodels 0.15: multipletests(P, method="fdr_bh" | "fdr_by" | "holm")[1].
        let third = 0.26666666666666666;
        assert_all_close(&benjamini_hochberg(&logs(&P), 8), &[0.04, 0.064, 0.06, 0.04, third, 0.06, 1.0, 1.0]);
        // The same with p = 1 twice more.
        let ten = [0.05, 0.08, 0.075, 0.05, 1.0 / 3.0, 0.075, 1.0, 1.0];
        assert_all_close(&benjamini_hochberg(&logs(&P), 10), &ten);
        let (a, b, c) = (0.10871428571428571, 0.16307142857142853, 0.17394285714285715);
        assert_all_close(&benjamini_yekutieli(&logs(&P), 0), &[a, c, b, a, 0.7247619047619048, b, 1.0, 1.0]);
        assert_all_close(&holm(&logs(&P)), &[0.07, 0.18, 0.18, 0.04, 0.6, 0.18, 1.0, 1.0]);
    }

    #[test]
    fn the_harmonic_sum_of_many_is_that_of_all_its_terms() {
        for m in [1000, 1001, 5000, 272_478] {
            let terms: f64 = (1..=m).rev().map(|i| 1.0 / i as f64).sum();
            assert!((harmonic(m) / terms - 1.0).abs() < 1e-14, "{m}");
        }
    }

    #[test]
    fn a_programme_brings_its_units_and_costs_its_customers() {
        let rate = |uv, sum| Stats { uv, sum, sq: sum, ..Stats::default() };
        let base = rate(1000, 500);
        let fit = Shrinkage::fit(MetricKind::Rate, Scale::default(), &[rate(400, 300), rate(600, 200)], &base);
        for segment in [rate(400, 300), rate(600, 200)] {
            let brought = 12.5 * segment.uv as f64 * fit.shrunken_effect(&segment).abs();
            let profit = fit.expected_profit(&segment, 12.5, 0.75);
            assert!((profit - (brought - 0.75 * segment.uv as f64)).abs() < 1e-9 && profit > 0.0, "{profit}");
        }
    }

    #[test]
    fn nothing_tested_needs_no_adjustment_and_tiny_p_stay_in_order() {
        assert!(
            benjamini_hochberg(&[], 3).is_empty() && benjamini_yekutieli(&[], 0).is_empty() && holm(&[]).is_empty()
        );
        // exp(-800) underflows, exp(-800 + ln 2) too: both are 0, the third is its own p.
        assert_eq!(benjamini_hochberg(&[-900.0, 0.5f64.ln(), -800.0], 3), [0.0, 0.5, 0.0]);
    }

    #[test]
    fn shrinkage_is_the_moment_estimate_by_hand() {
        // Base: 1000 customers, 500 yes; halves of 400 + 600. Base variance 0.25 * 1000/999.
        // Segment a, 400 with 300: effect 0.25; b, 600 with 200: effect -1/6.
        let rate = |uv, sum| Stats { uv, sum, sq: sum, ..Stats::default() };
        let (a, b) = (rate(400, 300), rate(600, 200));
        let base = a + b;
        let fit = Shrinkage::fit(MetricKind::Rate, Scale::default(), &[a, b], &base);
        // The base's variance is larger than the two sides' own, so v = 0.25 * 1000/999 * (1/400 + 1/600) * (1 - w)^2
        // with w = 0.4 and 0.6.
        let common = 0.25 * 1000.0 / 999.0 * (1.0 / 400.0 + 1.0 / 600.0);
        let (va, vb) = (common * 0.36, common * 0.16);
        let tau = (0.0625 / va + 1.0 / 36.0 / vb - 2.0) / (1.0 / va + 1.0 / vb);
        assert!((fit.tau_squared() - tau).abs() < 1e-14);
        assert!((fit.shrunken_effect(&a) - 0.25 * tau / (tau + va)).abs() < 1e-14);
        let lift = fit.shrunken_lift(&b).expect("the base has a yes");
        assert!((lift - (1.0 - tau / (tau + vb) / 6.0 / 0.5)).abs() < 1e-14);
    }

    #[test]
    fn sixty_customers_do_not_outrank_six_thousand_by_luck_alone() {
        let rate = |uv, sum| Stats { uv, sum, sq: sum, ..Stats::default() };
        let base = rate(1_000_000, 50_000);
        let (few, many) = (rate(60, 12), rate(6000, 900));
        let fit = Shrinkage::fit(MetricKind::Rate, Scale::default(), &[few, many, rate(20_000, 1200)], &base);
        let (few_lift, many_lift) = (fit.shrunken_lift(&few), fit.shrunken_lift(&many));
        assert!(measures(MetricKind::Rate, Scale::default(), &few, &base).lift > Some(3.9), "the raw lift is larger");
        assert!(few_lift < many_lift, "{few_lift:?} {many_lift:?}");
    }

    #[test]
    fn noise_alone_shrinks_to_nothing() {
        // Every segment exactly at the base's mean: no spread beyond noise.
        let rate = |uv, sum| Stats { uv, sum, sq: sum, ..Stats::default() };
        let fit = Shrinkage::fit(MetricKind::Rate, Scale::default(), &[rate(100, 10), rate(50, 5)], &rate(1000, 100));
        assert_eq!(fit.tau_squared(), 0.0);
        assert_eq!(fit.shrunken_effect(&rate(60, 30)), 0.0);
        assert_eq!(fit.shrunken_lift(&rate(60, 30)), Some(1.0));
    }

    proptest! {
        #[test]
        fn adjusting_keeps_the_order_and_never_helps(log_p in prop::collection::vec(-50.0..0f64, 1..60)) {
            for adjusted in [benjamini_hochberg(&log_p, 0), benjamini_yekutieli(&log_p, 0), holm(&log_p)] {
                for (i, (a, lp)) in adjusted.iter().zip(&log_p).enumerate() {
                    prop_assert!(*a >= lp.exp() * (1.0 - 1e-12) && *a <= 1.0);
                    for (b, other) in adjusted.iter().zip(&log_p).skip(i) {
                        prop_assert!(lp.total_cmp(other).is_eq() && a == b || (lp < other && a <= b) || (lp > other && a >= b));
                    }
                }
            }
        }

        #[test]
        fn adjusted_values_follow_their_p_wherever_it_stands(seed in prop::collection::vec(-3i32..0, 2..30), turn in 0usize..30) {
            // Few distinct values, so most are tied; turning the list must turn the answer.
            let log_p: Vec<f64> = seed.iter().map(|&v| f64::from(v)).collect();
            let turn = turn % log_p.len();
            let mut turned = log_p.clone();
            turned.rotate_left(turn);
            for adjust in [|log_p: &[f64]| benjamini_hochberg(log_p, 0), |log_p: &[f64]| benjamini_yekutieli(log_p, 0), holm] {
                let mut expected = adjust(&log_p);
                expected.rotate_left(turn);
                prop_assert_eq!(adjust(&turned), expected);
            }
        }
    }
}
