//! Whether two fourfold tables have the same odds ratio, exactly.

use super::tail::{AS_LIKELY, Hypergeometric, tail};

/// Two tables as draws without replacement, given how many hits they have together: those of the second.
///
/// Where both tables have one odds ratio, whatever it is, the probability of `x` is in proportion to the product of what it would be
/// in each table if there the draws had nothing to do with the marks (Zelen, 1971).
struct Together {
    first: Hypergeometric,
    second: Hypergeometric,
    hits: f64,
}

impl Together {
    /// `ln` of the probability of `x`, but for a constant.
    fn ln_term(&self, x: f64) -> f64 {
        self.first.ln_term(self.hits - x) + self.second.ln_term(x)
    }

    /// `P(x + 1) / P(x)`, which falls as x rises.
    fn step_up(&self, x: f64) -> f64 {
        self.second.step_up(x) / self.first.step_up(self.hits - x - 1.0)
    }

    /// The smallest and the largest x that both tables allow.
    fn ends(&self) -> (f64, f64) {
        let [first, second] = [self.first, self.second].map(Hypergeometric::ends);
        (second.0.max(self.hits - first.1), second.1.min(self.hits - first.0))
    }

    fn tail(&self, x: f64, up: bool, end: f64) -> f64 {
        tail(|x| self.step_up(x), x, up, end)
    }
}

/// The first of whole numbers from `low` to `high` that is past what `inside` says of `low`, or else `high + 1`.
fn first_past(low: f64, high: f64, inside: impl Fn(f64) -> bool) -> f64 {
    let (mut yes, mut no) = (low - 1.0, high + 1.0);
    while no - yes > 1.0 {
        let middle = ((yes + no) / 2.0).floor();
        if inside(middle) { yes = middle } else { no = middle }
    }
    no
}

/// `ln` of the two-sided p that the tables with `hits[0]` of the draws of the first and `hits[1]` of the second have the same odds ratio:
/// the probability of all pairs of tables with as many hits together that are at most as likely, as in Fisher's test (Zelen, 1971).
///
/// Domain as for [`Hypergeometric::ln_two_sided`], but that a table may have no marks or nothing but marks: it then says nothing.
pub(super) fn ln_same_odds(first: Hypergeometric, second: Hypergeometric, hits: [f64; 2]) -> f64 {
    let all = Together { first, second, hits: hits[0] + hits[1] };
    let (low, high) = all.ends();
    if low >= high {
        return 0.0;
    }
    let observed = hits[1];
    let mode = first_past(low, high - 1.0, |x| all.step_up(x) > 1.0).min(high);
    let (ln_mode, ln_observed) = (all.ln_term(mode), all.ln_term(observed));
    if observed == mode || ln_mode - ln_observed <= AS_LIKELY.ln() {
        return 0.0;
    }
    let total = all.tail(mode, true, high) + all.tail(mode, false, low) - 1.0;
    let up = observed > mode;
    let near = all.tail(observed, up, if up { high } else { low });
    // Where the other tail begins, beyond the mode: the first that is at most as likely.
    let limit = ln_observed + AS_LIKELY.ln();
    let far = if up {
        let start = first_past(low, mode, |x| all.ln_term(x) <= limit) - 1.0;
        (start >= low).then(|| (all.ln_term(start) - ln_observed).exp() * all.tail(start, false, low))
    } else {
        let start = first_past(mode, high, |x| all.ln_term(x) > limit);
        (start <= high).then(|| (all.ln_term(start) - ln_observed).exp() * all.tail(start, true, high))
    };
    (ln_observed - ln_mode + (near + far.unwrap_or(0.0)).ln() - total.ln()).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by the definition: every pair of tables.
    fn by_definition(first: Hypergeometric, second: Hypergeometric, hits: [f64; 2]) -> f64 {
        let all = Together { first, second, hits: hits[0] + hits[1] };
        let (low, high) = all.ends();
        let terms: Vec<f64> = (0..=(high - low) as u32).map(|i| all.ln_term(low + f64::from(i))).collect();
        let observed = all.ln_term(hits[1]);
        let ln_sum = |limit: f64| {
            let counted = || terms.iter().copied().filter(|term| *term <= limit);
            let most = counted().fold(f64::NEG_INFINITY, f64::max);
            most + counted().map(|term| (term - most).exp()).sum::<f64>().ln()
        };
        ln_sum(observed + AS_LIKELY.ln()) - ln_sum(f64::INFINITY)
    }

    fn table(total: u32, draws: f64, marked: f64) -> Hypergeometric {
        let part = |share: f64| f64::from(((f64::from(total) * share) as u32).clamp(1, total - 1));
        Hypergeometric { draws: part(draws), marked: part(marked), total: f64::from(total) }
    }

    proptest! {
        #[test]
        fn it_is_the_sum_over_all_pairs_of_tables(
            totals in [2u32..400, 2u32..400], draws in [0.0f64..1.0, 0.0f64..1.0], marked in [0.0f64..1.0, 0.0f64..1.0],
            places in [0.0f64..1.0, 0.0f64..1.0],
        ) {
            let [first, second] = [0, 1].map(|i| table(totals[i], draws[i], marked[i]));
            let hits = [(first, places[0]), (second, places[1])].map(|(table, place)| {
                let (low, high) = table.ends();
                low + ((high - low) * place).round()
            });
            let (found, expected) = (ln_same_odds(first, second, hits), by_definition(first, second, hits));
            prop_assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found}, expected {expected}");
            // Neither which table is called the first nor which customers are called the segment makes a difference.
            prop_assert!((ln_same_odds(second, first, [hits[1], hits[0]]) - expected).abs() <= 1e-9 * expected.abs().max(1.0));
        }
    }

    #[test]
    fn far_tails_are_summed_where_no_float_could_hold_them() {
        let first = Hypergeometric { draws: 2_000.0, marked: 5_000.0, total: 100_000.0 };
        let second = Hypergeometric { draws: 2_000.0, marked: 6_000.0, total: 100_000.0 };
        let found = ln_same_odds(first, second, [20.0, 1_500.0]);
        assert!(found < -800.0 && (found - by_definition(first, second, [20.0, 1_500.0])).abs() < 1e-7, "{found}");
        // A table that can be but one says nothing.
        let sure = Hypergeometric { draws: 10.0, marked: 0.0, total: 100.0 };
        assert_eq!(ln_same_odds(sure, second, [0.0, 500.0]), 0.0);
    }
}
