//! Effects shrunk for their noise, by how far those of all segments are spread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::versus::effect_variance;
use super::{measures, positive_mean};
use crate::stats::{MetricKind, Scale, Stats};

/// Observed effects of many segments, counted by their noise and their standard score: what tells how far true effects are spread.
///
/// Counts, so that they are the same in whatever order segments are added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// By the bin of the variance, then that of the absolute standard score.
    cells: BTreeMap<i16, Vec<u64>>,
}

/// Bins of a standard score: an eighth each up to 8, then a quarter of an octave.
const SCORES: usize = 128;
const EVEN: usize = 64;

fn score_bin(z: f64) -> usize {
    let bin = if z < 8.0 { z * 8.0 } else { EVEN as f64 + 4.0 * (z / 8.0).log2() };
    (bin as usize).min(SCORES - 1)
}

fn score_of(bin: usize) -> f64 {
    if bin < EVEN { (bin as f64 + 0.5) / 8.0 } else { 8.0 * 2f64.powf((bin - EVEN) as f64 / 4.0 + 0.125) }
}

/// Bins of a variance: a quarter of an octave.
fn variance_bin(variance: f64) -> i16 {
    (4.0 * variance.log2()).floor() as i16
}

fn variance_of(bin: i16) -> f64 {
    2f64.powf((f64::from(bin) + 0.5) / 4.0)
}

impl Spread {
    /// Adds a segment of a base.
    pub fn add(&mut self, kind: MetricKind, scale: Scale, segment: &Stats, base: &Stats) {
        let noise = effect_variance(kind, scale, segment, base).filter(|noise| *noise > 0.0 && noise.is_finite());
        if let Some(noise) = noise {
            let z = measures(kind, scale, segment, base).effect.abs() / noise.sqrt();
            self.cells.entry(variance_bin(noise)).or_insert_with(|| vec![0; SCORES])[score_bin(z)] += 1;
        }
    }

    /// Of both.
    pub fn plus(mut self, other: &Spread) -> Spread {
        for (bin, counts) in &other.cells {
            let own = self.cells.entry(*bin).or_insert_with(|| vec![0; SCORES]);
            own.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
        }
        self
    }

    /// Noise, squared effect and number of the segments in each bin that has some.
    fn observed(&self) -> Vec<(f64, f64, f64)> {
        let of_bin = |(&bin, counts): (&i16, &Vec<u64>)| {
            let noise = variance_of(bin);
            let cell = move |(bin, &count): (usize, &u64)| (noise, score_of(bin).powi(2) * noise, count as f64);
            counts.iter().enumerate().filter(|(_, count)| **count > 0).map(cell).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of_bin).collect()
    }
}

/// Some of the true effects: normal around none with this variance, in the metric's unit squared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    pub variance: f64,
    /// Share of the segments.
    pub weight: f64,
}

/// Empirical-Bayes shrinkage of effects towards none, by a mixture of normals (adaptive shrinkage; Stephens, 2017).
///
/// Each observed effect is a true effect plus noise of known variance v. True effects are spread around zero (those of a partition
/// average to zero) as a mixture: most segments have next to none, a few have large ones. The estimate of a true effect is its mean
/// given the observed one, so what 60 customers show is believed less than what 6,000 do, while a niche far beyond chance is believed
/// nearly as it stands; one normal for all (Efron and Morris, 1975) would shrink it like the many that are nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrinkage {
    kind: MetricKind,
    scale: Scale,
    base: Stats,
    prior: Vec<Component>,
}

/// Extrapolated steps of the expectation maximisation at the most, and the gain of log likelihood below which it ends.
const STEPS: usize = 500;
const SETTLED: f64 = 1e-3;
/// As if so many segments less one had been seen that have no effect: the prior errs towards none (Stephens, 2017).
const TOWARDS_NONE: f64 = 10.0;

impl Shrinkage {
    /// From all segments of a base: the weights with the largest likelihood on a grid of variances that double, of standard deviations
    /// from a tenth of the least noise to beyond twice the largest effect, by expectation maximisation with squared extrapolation
    /// (Varadhan and Roland, 2008).
    pub fn of(kind: MetricKind, scale: Scale, spread: &Spread, base: &Stats) -> Self {
        let observed = spread.observed();
        let mut variances = vec![0.0];
        let least = observed.iter().map(|cell| cell.0).fold(f64::INFINITY, f64::min);
        let most = observed.iter().map(|(noise, square, _)| square - noise).fold(0.0, f64::max);
        if least.is_finite() {
            let (mut variance, last) = (least / 100.0, (4.0 * most).max(least));
            while variance < 2.0 * last {
                variances.push(variance);
                variance *= 2.0;
            }
        }
        let mixture = Mixture::new(&observed, &variances);
        let known = variances.into_iter().zip(mixture.weights()).filter(|(_, weight)| *weight > 1e-12);
        let prior = known.map(|(variance, weight)| Component { variance, weight }).collect();
        Shrinkage::new(kind, scale, prior, base)
    }

    /// By a known prior.
    pub fn new(kind: MetricKind, scale: Scale, prior: Vec<Component>, base: &Stats) -> Self {
        Shrinkage { kind, scale, base: *base, prior }
    }

    /// How true effects are spread.
    pub fn prior(&self) -> &[Component] {
        &self.prior
    }

    /// The estimate of a segment's true effect, in the metric's unit; 0 where its noise is unknown.
    pub fn shrunken_effect(&self, segment: &Stats) -> f64 {
        let effect = measures(self.kind, self.scale, segment, &self.base).effect;
        let Some(noise) = effect_variance(self.kind, self.scale, segment, &self.base).filter(|noise| *noise > 0.0)
        else {
            return 0.0;
        };
        let likelihoods = likelihoods(self.prior.iter().map(|c| c.variance), noise, effect * effect);
        let (mut all, mut kept) = (0.0, 0.0);
        for (component, likelihood) in self.prior.iter().zip(likelihoods) {
            let weight = component.weight * likelihood;
            all += weight;
            kept += weight * component.variance / (component.variance + noise);
        }
        if all > 0.0 { effect * kept / all } else { 0.0 }
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

/// What is known of the weights of a mixture.
struct Mixture {
    /// By observed bin: the likelihoods of all components, over the largest of them.
    likelihoods: Vec<f64>,
    /// Segments of each bin.
    counts: Vec<f64>,
    components: usize,
}

impl Mixture {
    fn new(observed: &[(f64, f64, f64)], variances: &[f64]) -> Mixture {
        let of = |&(noise, square, _): &(f64, f64, f64)| likelihoods(variances.iter().copied(), noise, square);
        Mixture {
            likelihoods: observed.iter().flat_map(of).collect(),
            counts: observed.iter().map(|cell| cell.2).collect(),
            components: variances.len(),
        }
    }

    fn weights(&self) -> Vec<f64> {
        let mut weights = vec![1.0 / self.components as f64; self.components];
        let mut reached = f64::NEG_INFINITY;
        for _ in 0..if self.counts.is_empty() { 0 } else { STEPS } {
            let (first, here) = self.step(&weights);
            if here - reached < SETTLED {
                break;
            }
            reached = here;
            let (second, _) = self.step(&first);
            let change: Vec<f64> = first.iter().zip(&weights).map(|(a, b)| a - b).collect();
            let bend: Vec<f64> =
                second.iter().zip(&first).zip(&change).map(|((c, b), change)| c - b - change).collect();
            let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let far = (norm(&change) / norm(&bend).max(f64::MIN_POSITIVE)).max(1.0);
            let jump = |((w, change), bend): ((&f64, &f64), &f64)| (w + 2.0 * far * change + far * far * bend).max(0.0);
            let mut jumped: Vec<f64> = weights.iter().zip(&change).zip(&bend).map(jump).collect();
            let total: f64 = jumped.iter().sum();
            jumped.iter_mut().for_each(|weight| *weight /= total);
            // A jump that has led downhill is not taken.
            let (after, there) = self.step(&jumped);
            weights = if there.is_finite() && there >= here { after } else { second };
        }
        weights
    }

    /// The next weights, and the logarithm of what is maximised at these.
    fn step(&self, weights: &[f64]) -> (Vec<f64>, f64) {
        let mut next = vec![0.0; weights.len()];
        next[0] = TOWARDS_NONE - 1.0;
        let mut objective = next[0] * weights[0].max(f64::MIN_POSITIVE).ln();
        for (likelihoods, count) in self.likelihoods.chunks_exact(self.components).zip(&self.counts) {
            let share: f64 = likelihoods.iter().zip(weights).map(|(l, w)| l * w).sum();
            objective += count * share.ln();
            let each = count / share;
            next.iter_mut().zip(likelihoods).zip(weights).for_each(|((next, l), w)| *next += l * w * each);
        }
        let total: f64 = next.iter().sum();
        (next.into_iter().map(|weight| weight / total).collect(), objective)
    }
}

/// The likelihood of an observed effect under a normal of each variance and the noise, over the largest of them.
fn likelihoods(variances: impl Iterator<Item = f64>, noise: f64, square: f64) -> Vec<f64> {
    let log = |variance: f64| -0.5 * ((variance + noise).ln() + square / (variance + noise));
    let logs: Vec<f64> = variances.map(log).collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.into_iter().map(|log| (log - most).exp()).collect()
}

/// A lift below this is told apart by its difference from here on: its logarithm would run away, and has no value where a mean is
/// negative.
const LEAST_LIFT: f64 = 1.0 / 64.0;

/// How far a shrunken lift is from none, on a log scale: a third as far as three times. Where there is no lift, how far the shrunken
/// effect is from 0, in the metric's unit.
pub fn strength(shrunken_lift: Option<f64>, shrunken_effect: f64) -> f64 {
    match shrunken_lift {
        Some(lift) if lift < LEAST_LIFT => LEAST_LIFT.ln().abs() + (LEAST_LIFT - lift),
        Some(lift) => lift.ln().abs(),
        None => shrunken_effect.abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Scale = Scale { decimals: 0, den_decimals: 0 };

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    fn fit(segments: &[Stats], base: &Stats) -> Shrinkage {
        let mut spread = Spread::default();
        segments.iter().for_each(|segment| spread.add(MetricKind::Rate, PLAIN, segment, base));
        Shrinkage::of(MetricKind::Rate, PLAIN, &spread, base)
    }

    #[test]
    fn an_effect_is_its_mean_given_what_was_seen_by_hand() {
        // Base: 1000 customers, 500 yes; a: 400 with 300, effect 0.25. Its noise is that of the base's variance,
        // 0.25 * 1000/999 * (1/400 + 1/600) * 0.6^2 = 0.000375375.
        let (a, base) = (rate(400, 300), rate(1000, 500));
        let noise = 0.25 * 1000.0 / 999.0 * (1.0 / 400.0 + 1.0 / 600.0) * 0.36;
        let single = vec![Component { variance: 0.01, weight: 1.0 }];
        let one = Shrinkage::new(MetricKind::Rate, PLAIN, single, &base);
        assert!((one.shrunken_effect(&a) - 0.25 * 0.01 / (0.01 + noise)).abs() < 1e-15);
        assert!((one.shrunken_lift(&a).expect("a mean") - 1.0 - one.shrunken_effect(&a) / 0.5).abs() < 1e-15);
        // Nine in ten have none: the odds of having some are 1/9 times the ratio of the densities.
        let prior = vec![Component { variance: 0.0, weight: 0.9 }, Component { variance: 0.01, weight: 0.1 }];
        let b = rate(400, 210);
        let effect = 0.025;
        let density = |variance: f64| (-0.5 * effect * effect / variance).exp() / variance.sqrt();
        let odds = 0.1 * density(0.01 + noise) / (0.9 * density(noise));
        let two = Shrinkage::new(MetricKind::Rate, PLAIN, prior, &base);
        let expected = effect * 0.01 / (0.01 + noise) * odds / (1.0 + odds);
        assert!((two.shrunken_effect(&b) - expected).abs() < 1e-12, "{} and {expected}", two.shrunken_effect(&b));
    }

    #[test]
    fn a_mixture_is_found_again() {
        // Of 20,000 segments of 500 customers in a base of 10 %, a tenth are at quantiles of a normal of 0.05 around it.
        let base = rate(1_000_000, 100_000);
        let noise = (0.09f64 / 500.0).sqrt();
        let quantile = |i: usize, n: usize| -> f64 {
            // By Winitzki's approximation of the inverse error function.
            let x = 2.0 * (i as f64 + 0.5) / n as f64 - 1.0;
            let (a, l) = (0.147, (1.0 - x * x).ln());
            let t = 2.0 / (std::f64::consts::PI * a) + l / 2.0;
            x.signum() * ((t * t - l / a).sqrt() - t).sqrt() * std::f64::consts::SQRT_2
        };
        let mut segments = Vec::new();
        for i in 0..20_000usize {
            // Another order of quantiles for the true effects than for the noise.
            let part = if i % 10 == 0 { 0.05 * quantile(i / 10 * 7 % 2000, 2000) } else { 0.0 };
            let share = (0.1 + part + noise * quantile(i * 7919 % 20_000, 20_000)).clamp(0.0, 1.0);
            segments.push(rate(500, (share * 500.0).round() as i128));
        }
        let fit = fit(&segments, &base);
        let some: f64 = fit.prior().iter().filter(|c| c.variance > 0.01 * 0.01).map(|c| c.weight).sum();
        assert!((0.06..0.16).contains(&some), "{some}: {:?}", fit.prior());
        // Far beyond chance it is believed; within it hardly.
        assert!(fit.shrunken_effect(&rate(500, 130)) > 0.85 * 0.16 && fit.shrunken_effect(&rate(500, 60)) < 0.3 * 0.02);
    }

    #[test]
    fn sixty_customers_do_not_outrank_six_thousand_by_luck_alone() {
        let base = rate(1_000_000, 50_000);
        let (few, many) = (rate(60, 8), rate(6000, 780));
        let others = (0..500).map(|i| rate(400, 20 + (i % 9) - 4));
        let fit = fit(&others.chain([few, many]).collect::<Vec<_>>(), &base);
        let (few_lift, many_lift) = (fit.shrunken_lift(&few), fit.shrunken_lift(&many));
        let raw = measures(MetricKind::Rate, PLAIN, &few, &base).lift;
        assert!(raw > measures(MetricKind::Rate, PLAIN, &many, &base).lift, "the raw lift is larger");
        assert!(few_lift < many_lift, "{few_lift:?} {many_lift:?}");
    }

    #[test]
    fn noise_alone_shrinks_to_next_to_nothing_and_nothing_at_all_to_nothing() {
        let base = rate(1_000_000, 100_000);
        let chance = (0..400).map(|i| rate(100, 10 + (i % 7) - 3));
        let of_chance = fit(&chance.collect::<Vec<_>>(), &base);
        assert!(of_chance.shrunken_effect(&rate(100, 15)).abs() < 0.005, "{:?}", of_chance.prior());
        let none = fit(&[], &base);
        assert_eq!((none.prior().len(), none.shrunken_effect(&rate(60, 30))), (1, 0.0));
        assert_eq!(none.shrunken_lift(&rate(60, 30)), Some(1.0));
    }

    #[test]
    fn weights_have_settled_where_more_steps_change_nothing() {
        let base = rate(100_000, 9_000);
        let segments: Vec<Stats> = (1..800).map(|i| rate(100 + i, i128::from(9 + i * i % 31 * i / 150))).collect();
        let mut spread = Spread::default();
        segments.iter().for_each(|segment| spread.add(MetricKind::Rate, PLAIN, segment, &base));
        let variances: Vec<f64> = std::iter::once(0.0).chain((0..10).map(|i| 1e-6 * 4f64.powi(i))).collect();
        let mixture = Mixture::new(&spread.observed(), &variances);
        let settled = mixture.weights();
        let mut plain = vec![1.0 / variances.len() as f64; variances.len()];
        (0..100_000).for_each(|_| plain = mixture.step(&plain).0);
        let (reached, most) = (mixture.step(&settled).1, mixture.step(&plain).1);
        assert!(most - reached < 0.1, "{reached} and {most}");
    }

    #[test]
    fn strength_grows_with_the_distance_below_any_lift_and_stays_finite() {
        let strengths = [0.9, 0.3, 0.02, 1.0 / 64.0, 0.01, 0.0, -0.5, -40.0].map(|lift| strength(Some(lift), 0.0));
        assert!(strengths.windows(2).all(|pair| pair[0] < pair[1]) && strengths[7].is_finite(), "{strengths:?}");
        assert!((strength(Some(3.0), 0.0) - strength(Some(1.0 / 3.0), 0.0)).abs() < 1e-15);
    }

    #[test]
    fn segments_may_be_added_in_any_order_and_division() {
        let base = rate(100_000, 9_000);
        let segments: Vec<Stats> = (1..300).map(|i| rate(10 * i, i128::from(i * i % 11 * i / 10))).collect();
        let of = |segments: &[Stats]| {
            let mut spread = Spread::default();
            segments.iter().for_each(|segment| spread.add(MetricKind::Rate, PLAIN, segment, &base));
            spread
        };
        let turned: Vec<Stats> = segments.iter().rev().copied().collect();
        assert_eq!(of(&turned[..90]).plus(&of(&turned[90..])), of(&segments));
    }

    #[test]
    fn bins_hold_what_stands_for_them() {
        for bin in 0..SCORES {
            assert_eq!(score_bin(score_of(bin)), bin);
        }
        for bin in [-400, -41, -1, 0, 1, 77, 300] {
            assert_eq!(variance_bin(variance_of(bin)), bin);
        }
        assert_eq!(score_bin(1e300), SCORES - 1);
    }

    #[test]
    fn a_programme_brings_its_units_and_costs_its_customers() {
        let base = rate(1000, 500);
        let fit = fit(&[rate(400, 300), rate(600, 200)], &base);
        for segment in [rate(400, 300), rate(600, 200)] {
            let brought = 12.5 * segment.uv as f64 * fit.shrunken_effect(&segment).abs();
            let profit = fit.expected_profit(&segment, 12.5, 0.75);
            assert!((profit - (brought - 0.75 * segment.uv as f64)).abs() < 1e-9 && profit > 0.0, "{profit}");
        }
    }
}
