//! What a set of customers has to do with the change of the metric between two periods.

use serde::{Deserialize, Serialize};

use super::same_odds::ln_same_odds;
use super::tail::{Hypergeometric, Z_95, ln_normal, ln_student};
use super::versus::{EXACT_BELOW, proportions_log_p};
use super::{divisor, effect_variance, impact_reference, mean, mean_unit, measures, proportions_z};
use crate::stats::{AFTER, BEFORE, MetricKind, Parts, Scale, Stats};

/// A set of customers in two periods, against the base of each. Pairs are of the earlier period, then the later; means and all
/// that is made of them are in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Distinct customers.
    pub uv: Parts<i64>,
    /// `uv / N`.
    pub uv_share: Parts<f64>,
    /// None without customers (or denominator).
    pub metric_mean: Parts<Option<f64>>,
    /// What the set adds to the change of the base's mean: `mix + rate`.
    pub contribution: f64,
    /// As it became a larger or smaller share of the base.
    pub mix: f64,
    /// As its own mean changed.
    pub rate: f64,
    /// What it adds beyond its size: beyond what it would add had its mean changed as much as the base's, and its share not.
    pub excess: f64,
    /// Natural logarithm of the two-sided p of the change of its share of the customers.
    pub share_log_p: f64,
    /// The same of the change of its mean beyond that of the base's; none where one of them cannot be tested.
    pub mean_log_p: Option<f64>,
    /// Standard scores of both, and of the change of the mean by itself; of means 0 where there is none.
    #[serde(skip)]
    share_z: f64,
    #[serde(skip)]
    mean_z: f64,
    #[serde(skip)]
    rate_z: f64,
    /// What of the excess comes from its mean; the remainder comes from its share.
    #[serde(skip)]
    from_mean: f64,
}

/// How the change of the base's mean, `M1 - M0`, is made up of a set of customers and all others.
///
/// With `w0`, `w1` the set's share of the customers (of a ratio: of the denominator) in the two periods, `m0`, `m1` its means and
/// `R = (M0 + M1) / 2`:
///
/// - `contribution = w1 (m1 - R) - w0 (m0 - R)`. Over the sets of a partition the shares add up to 1 in both periods, so the
///   contributions add up to `M1 - M0` whatever R is.
/// - `rate = (w0 + w1) / 2 * (m1 - m0)` and `mix = (w1 - w0) ((m0 + m1) / 2 - R)`, which add up to the contribution: the midpoint
///   decomposition (Kitagawa, 1955), which treats both periods alike. A set that is there in one period only has no change of its
///   mean, so all of it is mix.
/// - `excess = contribution - (w0 + w1) / 2 * (M1 - M0)`. Over a partition it adds up to nothing, as impacts do.
///
/// Tests take the two periods as independent. Where most customers are in both, what they have in common makes real changes more
/// certain than is told, never less.
///
/// - Share: `uv1 / N1` against `uv0 / N0`, by Fisher's exact test for small counts, else normal with pooled variance.
/// - Mean of a rate: whether the odds against all others changed, exactly (Zelen, 1971) unless all counts are large, else by the
///   logarithms of the odds ratios (Woolf, 1955). So a rate that changed by the same factor as all others' did not change otherwise.
/// - Mean of an amount or ratio: the effect of the later period less that of the earlier, over the root of their variances
///   ([`effect_variance`]), Student with two degrees of freedom less than the set has customers.
pub fn change(kind: MetricKind, scale: Scale, own: &Parts<Stats>, base: &Parts<Stats>) -> Change {
    let of = |period: usize| {
        let (own, base) = (&own[period], &base[period]);
        let all = divisor(kind, base) as f64;
        // The set's part of the base's mean, w m, which has a meaning where the set's own mean has none.
        let part = if all == 0.0 { 0.0 } else { own.sum as f64 / all / mean_unit(kind, scale) };
        let measures = measures(kind, scale, own, base);
        let mean = (divisor(kind, own) != 0).then_some(measures.metric_mean);
        (part, mean, measures)
    };
    let ((part0, m0, before), (part1, m1, after)) = (of(BEFORE), of(AFTER));
    let [w0, w1] = change_weights(kind, own, base);
    let [all0, all1] = [BEFORE, AFTER].map(|period| mean(kind, scale, &base[period]));
    let (reference, weight) = ((all0 + all1) / 2.0, (w0 + w1) / 2.0);
    let contribution = (part1 - w1 * reference) - (part0 - w0 * reference);
    let both = m0.zip(m1);
    let rate = both.map_or(0.0, |(m0, m1)| weight * (m1 - m0));
    let from_mean = both.map_or(0.0, |_| weight * (after.effect - before.effect));
    let ([n0, n1], [uv0, uv1]) = ([base[BEFORE].uv, base[AFTER].uv], [own[BEFORE].uv, own[AFTER].uv]);
    let (uv, n) = (uv0 + uv1, n0 + n1);
    let variance = |period: usize| effect_variance(kind, scale, &own[period], &base[period]);
    let error = both.zip(variance(BEFORE)).zip(variance(AFTER)).map(|((_, v0), v1)| (v0 + v1).sqrt());
    let score = |value: f64| error.filter(|&error| error > 0.0).map_or(0.0, |error| value / error);
    let mean_z = score(after.effect - before.effect);
    Change {
        uv: [before.uv, after.uv],
        uv_share: [before.uv_share, after.uv_share],
        metric_mean: [m0, m1],
        contribution,
        mix: contribution - rate,
        rate,
        excess: contribution - weight * (all1 - all0),
        share_log_p: if 0 < uv && uv < n { proportions_log_p(uv1, n1, uv, n) } else { 0.0 },
        mean_log_p: error.filter(|&error| error > 0.0).map(|_| mean_log_p(kind, own, base, mean_z)),
        share_z: proportions_z(uv1, n1, uv, n),
        mean_z,
        rate_z: both.map_or(0.0, |(m0, m1)| score(m1 - m0)),
        from_mean,
    }
}

/// The natural logarithm of the two-sided p of the change of a set's mean beyond that of the base's, whose standard score is `z`.
fn mean_log_p(kind: MetricKind, own: &Parts<Stats>, base: &Parts<Stats>, z: f64) -> f64 {
    match kind {
        MetricKind::Rate => odds_log_p(own, base),
        // As many degrees of freedom as the set's own customers have: with few of them the variance is no more known than that.
        MetricKind::Amount | MetricKind::Ratio => ln_student(z, (own[BEFORE].uv + own[AFTER].uv - 2).max(1) as f64),
    }
}

/// The same of a rate: whether the set's odds against those of all others changed.
fn odds_log_p(own: &Parts<Stats>, base: &Parts<Stats>) -> f64 {
    let cells = [BEFORE, AFTER].map(|period| {
        let (own, rest) = (own[period], base[period] - own[period]);
        [own.sum, i128::from(own.uv) - own.sum, rest.sum, i128::from(rest.uv) - rest.sum].map(|count| count as f64)
    });
    let fewest = cells.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    if fewest >= EXACT_BELOW {
        // The logarithms of the odds ratios and their variances (Woolf, 1955).
        let [before, after] = cells.map(|[a, b, c, d]| (a * d / (b * c)).ln());
        let variance: f64 = cells.iter().flatten().map(|count| count.recip()).sum();
        return ln_normal((after - before) / variance.sqrt());
    }
    let [before, after] = [BEFORE, AFTER].map(|period| Hypergeometric {
        draws: own[period].uv as f64,
        marked: base[period].sum as f64,
        total: base[period].uv as f64,
    });
    ln_same_odds(before, after, [own[BEFORE].sum as f64, own[AFTER].sum as f64])
}

/// What a share of excess is a share of, in the metric's unit: [`impact_reference`] a customer (or a unit of the denominator), of the
/// period where that is larger.
pub fn change_reference(kind: MetricKind, scale: Scale, base: &Parts<Stats>) -> f64 {
    let of = |base: &Stats| match divisor(kind, base) {
        0 => 0.0,
        _ if kind == MetricKind::Ratio => mean(kind, scale, base).abs(),
        divisor => impact_reference(kind, scale, base) / divisor as f64,
    };
    of(&base[BEFORE]).max(of(&base[AFTER]))
}

/// The share of the base's customers (of a ratio: of its denominator) that a set has, in each period.
pub fn change_weights(kind: MetricKind, own: &Parts<Stats>, base: &Parts<Stats>) -> Parts<f64> {
    [BEFORE, AFTER].map(|period| match divisor(kind, &base[period]) {
        0 => 0.0,
        all => divisor(kind, &own[period]) as f64 / all as f64,
    })
}

impl Change {
    /// Whether there is a mean in both periods.
    pub fn is_defined(&self) -> bool {
        self.metric_mean.iter().all(Option::is_some)
    }

    /// What of the excess is certain: the ends nearest to nothing of the 95 % intervals of what comes from the mean and from the
    /// share, each nothing unless its log p is at most `sure`.
    pub fn certain(&self, sure: f64) -> f64 {
        let [mean, share] = [self.mean_log_p.unwrap_or(0.0), self.share_log_p].map(|log_p| log_p <= sure);
        let from_mean = if mean { nearest(self.from_mean, self.mean_z) } else { 0.0 };
        let from_share = if share { nearest(self.mix, self.share_z) } else { 0.0 };
        from_mean + from_share
    }

    /// The same of the change of its own mean, whatever the base's did: what may be left of its excess where other parts of the base
    /// are looked away from.
    pub fn certain_rate(&self, sure: f64) -> f64 {
        if ln_normal(self.rate_z) <= sure { nearest(self.rate, self.rate_z) } else { 0.0 }
    }
}

/// The end nearest to nothing of the 95 % interval of a value with this standard score; 0 where the interval holds 0.
fn nearest(value: f64, z: f64) -> f64 {
    value * (1.0 - Z_95 / z.abs()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    #[test]
    fn the_worked_example_of_the_method_comes_out() {
        // Of 1,000 customers 200 came by the channel and 20 of them bought, 60 of 1,000 in all; then 300 of 1,500, of whom 18 bought,
        // 78 in all. R = (0.06 + 0.052) / 2 = 0.056.
        let change = change(
            MetricKind::Rate,
            Scale::default(),
            &[rate(200, 20), rate(300, 18)],
            &[rate(1000, 60), rate(1500, 78)],
        );
        assert_eq!((change.uv, change.uv_share), ([200, 300], [0.2, 0.2]));
        assert_eq!(change.metric_mean, [Some(0.1), Some(0.06)]);
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-15, "{found}, expected {expected}");
        close(change.rate, -0.008);
        close(change.mix, 0.0);
        close(change.contribution, -0.008);
        close(change.excess, -0.008 - 0.2 * -0.008);
        assert_eq!(change.share_log_p, 0.0);
    }

    #[test]
    fn who_is_there_in_one_period_only_is_mix() {
        let base = [rate(1000, 50), rate(1000, 80)];
        let [gone, new] = [[rate(200, 30), rate(0, 0)], [rate(0, 0), rate(200, 40)]]
            .map(|own| change(MetricKind::Rate, Scale::default(), &own, &base));
        assert_eq!((gone.rate, gone.mean_log_p, gone.metric_mean), (0.0, None, [Some(0.15), None]));
        assert!((gone.mix + 0.2 * (0.15 - 0.065)).abs() < 1e-15 && (new.mix - 0.2 * (0.2 - 0.065)).abs() < 1e-15);
        assert!(gone.share_log_p < -100.0 && gone.certain(-5.0) < 0.8 * gone.mix);
        assert_eq!(gone.certain(-1000.0), 0.0, "no share is sure to have changed");
    }

    #[test]
    fn tests_agree_with_the_tables_they_are_of() {
        // scipy: log(fisher_exact([[300, 700], [200, 800]]).pvalue).
        let (own, base) = ([rate(200, 20), rate(300, 60)], [rate(1000, 80), rate(1000, 130)]);
        let of_rate = change(MetricKind::Rate, Scale::default(), &own, &base);
        assert!((of_rate.share_log_p - -15.027_770_291_498_372).abs() < 1e-9, "{}", of_rate.share_log_p);
        // Large counts: the normal test of the same hypothesis is near the exact one, a little less than exact.
        let times = |stats: Parts<Stats>, n: i64| stats.map(|stats| stats.times(n));
        let (own, base) = (times(own, 600), times(base, 600));
        let normal = odds_log_p(&own, &base);
        let [first, second] = [BEFORE, AFTER].map(|period| Hypergeometric {
            draws: own[period].uv as f64,
            marked: base[period].sum as f64,
            total: base[period].uv as f64,
        });
        let exact = ln_same_odds(first, second, [own[BEFORE].sum as f64, own[AFTER].sum as f64]);
        assert!((normal / exact - 1.0).abs() < 0.05, "{normal} {exact}");
        // An amount: scipy 1.17, log(2 * t.sf(z, 4)) with the variances of the two effects by hand.
        let amount = |values: &[i128]| -> Stats {
            values.iter().map(|&v| Stats { uv: 1, sum: v, sq: v * v, ..Stats::default() }).sum()
        };
        let own = [amount(&[10, 14, 12]), amount(&[20, 22, 30])];
        let base = [own[BEFORE] + amount(&[9, 11, 10, 14]), own[AFTER] + amount(&[10, 12, 13, 9])];
        let found = change(MetricKind::Amount, Scale::default(), &own, &base);
        let variance =
            |period: usize| effect_variance(MetricKind::Amount, Scale::default(), &own[period], &base[period]);
        let error = (variance(BEFORE).expect("they vary") + variance(AFTER).expect("they vary")).sqrt();
        let z = ((72.0 / 3.0 - 116.0 / 7.0) - (36.0 / 3.0 - 80.0 / 7.0)) / error;
        assert!((found.mean_log_p.expect("they vary") - ln_student(z, 4.0)).abs() < 1e-12);
        assert!((found.mean_z - z).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn contributions_of_a_partition_add_up_to_the_whole_change(
            cells in prop::collection::vec(
                [(0i64..50, -1_000_000i128..1_000_000, 1i128..100), (0i64..50, -1_000_000i128..1_000_000, 1i128..100)], 1..20),
        ) {
            let of = |(uv, sum, den): (i64, i128, i128)| match uv {
                0 => Stats::default(),
                _ => Stats { uv, sum, sq: sum * sum, den, den_sq: den * den, cross: sum * den },
            };
            let cells: Vec<Parts<Stats>> = cells.into_iter().map(|cell| cell.map(of)).collect();
            let base = [BEFORE, AFTER].map(|period| cells.iter().map(|cell| cell[period]).sum::<Stats>());
            prop_assume!(base.iter().all(|base| base.uv > 0));
            let scale = Scale { decimals: 2, den_decimals: 1 };
            for kind in [MetricKind::Amount, MetricKind::Ratio] {
                let all: Vec<Change> = cells.iter().map(|cell| change(kind, scale, cell, &base)).collect();
                let whole = change(kind, scale, &base, &base);
                let [m0, m1] = [BEFORE, AFTER].map(|period| mean(kind, scale, &base[period]));
                let size = all.iter().map(|c| c.mix.abs() + c.rate.abs()).sum::<f64>() + m0.abs() + m1.abs();
                let sum = |of: fn(&Change) -> f64| all.iter().map(of).sum::<f64>();
                prop_assert!((whole.contribution - (m1 - m0)).abs() <= 1e-14 * size);
                prop_assert!((sum(|c| c.contribution) - (m1 - m0)).abs() <= 1e-13 * size);
                prop_assert!((sum(|c| c.mix) + sum(|c| c.rate) - (m1 - m0)).abs() <= 1e-13 * size);
                prop_assert!(sum(|c| c.excess).abs() <= 1e-13 * size);
                for c in &all {
                    prop_assert!((c.mix + c.rate - c.contribution).abs() <= 1e-13 * size);
                }
            }
        }
    }
}
