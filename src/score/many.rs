//! Many tests at once: p-values adjusted for their number.

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
    fn nothing_tested_needs_no_adjustment_and_tiny_p_stay_in_order() {
        assert!(
            benjamini_hochberg(&[], 3).is_empty() && benjamini_yekutieli(&[], 0).is_empty() && holm(&[]).is_empty()
        );
        // exp(-800) underflows, exp(-800 + ln 2) too: both are 0, the third is its own p.
        assert_eq!(benjamini_hochberg(&[-900.0, 0.5f64.ln(), -800.0], 3), [0.0, 0.5, 0.0]);
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
