//! Two-sided tails of the normal, Student and hypergeometric distributions as natural logarithms.
//!
//! The strongest segments of a large base have p-values far below the smallest float, and they must still be ranked
//! and adjusted; so nothing here leaves log space.

use std::f64::consts::{LN_2, PI, SQRT_2};

use statrs::function::gamma;

const LN_TWO_PI: f64 = 1.837_877_066_409_345_5;
/// The standard normal's two-sided 5 % point.
pub(crate) const Z_95: f64 = 1.959_963_984_540_054;

/// `ln P(|Z| >= |z|)` for a standard normal Z.
///
/// The body by the series of erf (Abramowitz and Stegun, 7.1.6), the tail by the continued fraction of erfc (7.1.14):
/// relative error below 1e-12 for any z. The `erfc` of statrs 0.19 is off by 1e-10 near z = 1.
pub(crate) fn ln_normal(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    if x < 2.0 {
        let mut term = 2.0 / PI.sqrt() * x * (-x * x).exp();
        let mut erf = term;
        let mut odd = 1.0;
        while term > 1e-17 * erf {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            erf += term;
        }
        return (-erf).ln_1p();
    }
    // At x = 2 the fraction needs most terms: 100 leave nothing.
    let fraction = (1..=100).rev().fold(x, |below, n| x + 0.5 * f64::from(n) / below);
    -0.5 * z * z - 0.5 * PI.ln() - fraction.ln()
}

/// `ln P(|T| >= |t|)` for Student's T with `df` degrees of freedom, fractions allowed.
///
/// It is the regularised incomplete beta function `I_x(df/2, 1/2)` at `x = df / (df + t^2)`. The tail is the continued
/// fraction of Didonato and Morris (1992, eq. 9), in the form that needs `1 - x` but not its difference from 1, so that
/// a billion degrees of freedom cost no digits; the body is one minus the power series of the complement.
///
/// Domain: `df > 0`, `t` finite.
pub(crate) fn ln_student(t: f64, df: f64) -> f64 {
    if t == 0.0 {
        return 0.0;
    }
    let square = t * t;
    let (a, b) = (0.5 * df, 0.5);
    let (x, y) = (df / (df + square), square / (df + square));
    // ln(x^a y^b / B(a, b)), with B(a, 1/2) = gamma(a) sqrt(pi) / gamma(a + 1/2).
    let front = -a * (square / df).ln_1p() + b * y.ln() + ln_gamma_step(a) - 0.5 * PI.ln();
    if square < 3.0 {
        let mut term = 1.0;
        let mut sum = 1.0;
        let mut n = 0.0;
        while term > 1e-17 * sum {
            term *= (a + b + n) / (b + 1.0 + n) * y;
            sum += term;
            n += 1.0;
        }
        return (-(front + sum.ln() - b.ln()).exp()).ln_1p();
    }
    (front - student_fraction(a, b, x, y).ln()).min(0.0)
}

/// The continued fraction by which `x^a y^b / B(a, b)` is divided, by the modified Lentz method.
fn student_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let denominator = |m: f64| {
        m + m * (b - m) * x / (a + 2.0 * m - 1.0)
            + (a + m) * (a * y - b * x + 1.0 + m * (1.0 + y)) / (a + 2.0 * m + 1.0)
    };
    let tiny = 1e-300;
    let nonzero = |v: f64| if v == 0.0 { tiny } else { v };
    let mut f = nonzero(a * (a * y - b * x + 1.0) / (a + 1.0));
    let (mut c, mut d) = (f, 0.0);
    for step in 1..10_000 {
        let m = f64::from(step);
        let root = a + 2.0 * m - 1.0;
        let numerator = (a + m - 1.0) / root * ((a + b + m - 1.0) / root) * m * (b - m) * x * x;
        let bottom = denominator(m);
        d = 1.0 / nonzero(bottom + numerator * d);
        c = nonzero(bottom + numerator / c);
        f *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    f
}

/// `ln gamma(a + 1/2) - ln gamma(a)`, without subtracting large logarithms.
fn ln_gamma_step(a: f64) -> f64 {
    if a < 30.0 {
        return gamma::ln_gamma(a + 0.5) - gamma::ln_gamma(a);
    }
    let r = 1.0 / a;
    let s = r * r;
    0.5 * a.ln() - r * (1.0 / 8.0 - s * (1.0 / 192.0 - s * (1.0 / 640.0 - s * (17.0 / 14336.0 - s * 31.0 / 18432.0))))
}

/// The point beyond which both tails of Student's distribution hold 5 %.
///
/// The Cornish-Fisher expansion (Abramowitz and Stegun, 26.7.5), corrected by Newton steps on log scales, where the
/// tail is nearly straight, as long as its error could show.
pub(crate) fn student_95(df: f64) -> f64 {
    let z = Z_95;
    let (z3, z5) = (z.powi(3), z.powi(5));
    let (z7, z9) = (z.powi(7), z.powi(9));
    let mut t = z
        + (z3 + z) / (4.0 * df)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * df.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * df.powi(3))
        + (79.0 * z9 + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z) / (92_160.0 * df.powi(4));
    if df > 1000.0 {
        return t;
    }
    for _ in 0..20 {
        let ln_p = ln_student(t, df);
        let ln_density = ln_gamma_step(0.5 * df) - 0.5 * (df * PI).ln() - 0.5 * (df + 1.0) * (t * t / df).ln_1p();
        let slope = -t * (LN_2 + ln_density - ln_p).exp();
        let step = (0.05f64.ln() - ln_p) / slope;
        t *= step.exp();
        if step.abs() < 1e-14 {
            break;
        }
    }
    t
}

/// Tables that are no more than so many times as likely as the observed one count as at most as likely, as in R.
pub(crate) const AS_LIKELY: f64 = 1.0 + 1e-7;

/// Steps from the mirrored place to where the other tail begins, before it is searched for.
const MOST_STEPS: u32 = 48;

/// The terms of a distribution over whole numbers from `x` to `last`, away from the mode, as a multiple of the first: as long as they
/// count. `step_up` is `P(x + 1) / P(x)`.
pub(crate) fn tail(step_up: impl Fn(f64) -> f64, mut x: f64, up: bool, last: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    while x != last && term > 1e-17 * sum {
        if up {
            term *= step_up(x);
            x += 1.0;
        } else {
            x -= 1.0;
            term /= step_up(x);
        }
        sum += term;
    }
    sum
}

/// Draws without replacement: `hits` of `draws`, from `total` of which `marked` are hits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hypergeometric {
    pub draws: f64,
    pub marked: f64,
    pub total: f64,
}

impl Hypergeometric {
    /// The fewest and the most hits there can be.
    pub(crate) fn ends(self) -> (f64, f64) {
        ((self.draws + self.marked - self.total).max(0.0), self.draws.min(self.marked))
    }

    /// `ln P(hits)`, as a product of binomial terms (Loader, "Fast and accurate computation of binomial
    /// probabilities", 2000): its error does not grow with `total` as that of a sum of log-gammas does.
    pub(crate) fn ln_term(self, hits: f64) -> f64 {
        let (p, q) = (self.draws / self.total, (self.total - self.draws) / self.total);
        ln_binomial_term(hits, self.marked, p, q) + ln_binomial_term(self.draws - hits, self.total - self.marked, p, q)
            - ln_binomial_term(self.draws, self.total, p, q)
    }

    /// `P(hits + 1) / P(hits)`.
    pub(crate) fn step_up(self, hits: f64) -> f64 {
        (self.marked - hits) * (self.draws - hits)
            / ((hits + 1.0) * (self.total - self.marked - self.draws + hits + 1.0))
    }

    /// `P(to) / P(from)`, step by step.
    fn ratio(self, from: f64, to: f64) -> f64 {
        let (low, steps) = (from.min(to), (to - from).abs() as u32);
        let up: f64 = (0..steps).map(|i| self.step_up(low + f64::from(i))).product();
        if to >= from { up } else { up.recip() }
    }

    /// The terms from `hits` away from the mode, as a multiple of the first.
    fn tail(self, hits: f64, up: bool, last: f64) -> f64 {
        tail(|x| self.step_up(x), hits, up, last)
    }

    /// Where the other tail begins, beyond the mode as seen from `hits`: the first that is at most as likely, and how likely it
    /// is against `hits`; none if there is none.
    fn far(self, hits: f64, mode: f64, end: f64, observed: f64) -> Option<(f64, f64)> {
        let outwards = if hits > mode { -1.0 } else { 1.0 };
        // As far from the mode on the other side, which is nearly right where the distribution is nearly symmetric: the first
        // is then a few steps from there.
        let inner = mode + outwards;
        if (inner - end) * outwards > 0.0 {
            return None;
        }
        let mirrored = 2.0 * mode - hits;
        let mut x = if (mirrored - end) * outwards > 0.0 { end } else { mirrored };
        let mut term = (self.ln_term(x) - observed).exp();
        // Where that is beyond what a float can tell, steps would lead nowhere.
        let steps = if (1e-200..1e200).contains(&term) { MOST_STEPS } else { 0 };
        for _ in 0..steps {
            let next = if term > AS_LIKELY { x + outwards } else { x - outwards };
            if term > AS_LIKELY {
                // On outwards, to the first that is unlikely enough.
                if x == end {
                    return None;
                }
                term *= self.ratio(x, next);
                x = next;
                if term <= AS_LIKELY {
                    return Some((x, term));
                }
            } else {
                // Back inwards, as long as the next is unlikely enough too.
                if x == inner {
                    return Some((x, term));
                }
                let before = term * self.ratio(x, next);
                if before > AS_LIKELY {
                    return Some((x, term));
                }
                (x, term) = (next, before);
            }
        }
        // The terms fall from the mode to the end: bisect for the first that counts.
        let limit = observed + AS_LIKELY.ln();
        if self.ln_term(end) > limit {
            return None;
        }
        let (mut inside, mut outside) = (mode, end);
        while (inside - outside).abs() > 1.0 {
            let middle = ((inside + outside) / 2.0).floor();
            if self.ln_term(middle) <= limit { outside = middle } else { inside = middle }
        }
        Some((outside, (self.ln_term(outside) - observed).exp()))
    }

    /// Fisher's exact test: `ln` of the probability of all tables at most as likely as the one with `hits`.
    ///
    /// Tables that are [`AS_LIKELY`] count. Both tails are summed
    /// from their inner end until a term no longer counts, about nine standard deviations at the most.
    ///
    /// Domain: whole numbers, `0 < draws < total`, `0 < marked < total`, `hits` possible.
    pub(crate) fn ln_two_sided(self, hits: f64) -> f64 {
        let (first, last) = self.ends();
        let mode = ((self.draws + 1.0) * ((self.marked + 1.0) / (self.total + 2.0))).floor().clamp(first, last);
        // Only a few steps from the mode can a term be as likely as there, unless there are so many customers that it is flat.
        let few_steps = (hits - mode).abs() <= 8.0;
        if hits == mode || (few_steps && self.ratio(hits, mode) <= AS_LIKELY) {
            return 0.0;
        }
        let observed = self.ln_term(hits);
        if !few_steps && self.total > 1e8 && self.ln_term(mode) - observed <= AS_LIKELY.ln() {
            return 0.0;
        }
        let up = hits > mode;
        let near = self.tail(hits, up, if up { last } else { first });
        let end = if up { first } else { last };
        let far = match self.far(hits, mode, end, observed) {
            Some((start, term)) => term * self.tail(start, !up, end),
            None => 0.0,
        };
        (observed + (near + far).ln()).min(0.0)
    }
}

/// `ln (n choose x) p^x q^(n - x)` for whole `0 <= x <= n` and `p + q = 1`, both positive.
fn ln_binomial_term(x: f64, n: f64, p: f64, q: f64) -> f64 {
    if n == 0.0 {
        0.0
    } else if x == 0.0 {
        if p < 0.1 { -deviance(n, n * q) - n * p } else { n * q.ln() }
    } else if x == n {
        if q < 0.1 { -deviance(n, n * p) - n * q } else { n * p.ln() }
    } else {
        stirling_error(n)
            - stirling_error(x)
            - stirling_error(n - x)
            - deviance(x, n * p)
            - deviance(n - x, n * q)
            - 0.5 * (LN_TWO_PI + x.ln() + (-x / n).ln_1p())
    }
}

/// `x ln(x / m) + m - x`, by its series where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut term = 2.0 * x * v;
    for j in 1..1000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// `ln n! - ln(sqrt(2 pi n) (n / e)^n)` for whole n.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (2..=n as u32).map(f64::from).product();
        return factorial.ln() - ((n + 0.5) * n.ln() - n + 0.5 * LN_TWO_PI);
    }
    let s = 1.0 / (n * n);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / n
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found:e}, expected {expected:e}");
    }

    #[test]
    fn normal_tails_are_right_far_below_the_smallest_float() {
        // mpmath 1.4, 60 digits: log(erfc(z / sqrt(2))), or its asymptotic series from 1e4 on.
        for (z, expected) in [
            (0.01, -0.008_010_712_884_424_787),
            (0.5, -0.4827645810336733),
            (0.7, -0.725_820_580_971_586_3),
            (1.0, -1.1478744644493182),
            (1.96, -2.9958164711696933),
            (2.82, -5.338_646_784_825_036),
            (2.83, -5.369_856_244_905_249),
            (3.0, -5.914_579_040_950_404),
            (7.0, -26.69116031825113),
            (7.1, -27.409824344227614),
            (10.0, -52.538_137_969_952_52),
            (38.0, -725.864_068_838_260_2),
            (50.0, -1254.13821395886),
            (447.3, -100044.97402586109),
            (1000.0, -500_007.133_547_631_6),
            (100000.0, -5_000_000_011.738_717),
        ] {
            assert_close(ln_normal(z), expected, 1e-12, &format!("z = {z}"));
            assert_eq!(ln_normal(-z), ln_normal(z));
        }
        assert_eq!(ln_normal(0.0), 0.0);
    }

    #[test]
    fn student_tails_are_right_for_few_and_for_a_billion_degrees_of_freedom() {
        // mpmath 1.4, 60 digits: log(betainc(df/2, 1/2, 0, df/(df + t^2), regularized=True)), by quadrature of the
        // density from df = 10000 on. scipy.stats.t.logsf(t, df) + log(2) agrees where it does not underflow.
        for (t, df, expected) in [
            (0.1, 1.0, -0.065_553_473_212_398_38),
            (1.0, 1.0, -LN_2),
            (12.7, 1.0, -2.9952458380960209),
            (1e6, 1.0, -14.267093263254062),
            (1.0, 2.5, -0.906_189_354_809_551_5),
            (1.7, 3.3, -1.7185650746340955),
            (1.8, 3.3, -1.8247256631915193),
            (5.0, 9.7, -7.436_654_331_738_164),
            (50.0, 9.7, -28.331571748822475),
            (0.3, 30.0, -0.26625187457092673),
            (2.5, 60.2, -4.189008675479744),
            (4.0, 59.0, -8.628344448155878),
            (12.0, 500.0, -65.8641111922718),
            (100.0, 500.5, -764.963_306_803_344_5),
            (1.7, 1e4, -2.417300084228925),
            (1.75, 1e4, -2.523868092615659),
            (6.0, 1e4, -20.009522974561462),
            (300.0, 1e4, -11517.703782359613),
            (3.0, 1e6, -5.9145544178523611),
            (40.0, 1e6, -803.275_177_569_782),
            (1.5, 1e9, -2.0127972179011817),
            (5.0, 1e9, -14.371851044867404),
            (500.0, 1e9, -124990.81788214538),
        ] {
            assert_close(ln_student(t, df), expected, 1e-11, &format!("t = {t}, df = {df}"));
            assert_eq!(ln_student(-t, df), ln_student(t, df));
        }
        assert_eq!(ln_student(0.0, 5.0), 0.0);
    }

    #[test]
    fn student_quantiles_hold_five_percent_in_both_tails() {
        // mpmath 1.4: root of betainc(df/2, 1/2, 0, df/(df + t^2), regularized=True) = 1/20; from 1001 on
        // scipy.stats.t.isf(0.025, df).
        for (df, expected) in [
            (1.0, 12.706204736174705),
            (1.5, 6.0166631044279319),
            (2.0, 4.302_652_729_749_464),
            (3.3, 3.0248744618408083),
            (5.0, 2.5705818356363155),
            (10.0, 2.228_138_851_986_275),
            (30.0, 2.042_272_456_301_238),
            (100.0, 1.9839715185235523),
            (999.0, 1.96234146113345),
            (1001.0, 1.962_336_705_280_88),
            (1e5, 1.959_987_707_534_61),
            (1e9, 1.9599639869123253),
        ] {
            assert_close(student_95(df), expected, 1e-12, &format!("df = {df}"));
        }
    }

    proptest! {
        #[test]
        fn exact_tests_are_the_sum_over_all_tables_by_definition(
            total in 2u32..3000,
            draws in 0.0..1.0,
            marked in 0.0..1.0,
            place in 0.0f64..1.0,
        ) {
            let part = |share: f64| f64::from(((f64::from(total) * share) as u32).clamp(1, total - 1));
            let table = Hypergeometric { draws: part(draws), marked: part(marked), total: f64::from(total) };
            let (first, last) = ((table.draws + table.marked - table.total).max(0.0), table.draws.min(table.marked));
            let hits = first + ((last - first) * place).round();
            let observed = table.ln_term(hits);
            let all = (0..=(last - first) as u32).map(|i| table.ln_term(first + f64::from(i)) - observed);
            let p: f64 = all.filter(|ratio| *ratio <= AS_LIKELY.ln()).map(f64::exp).sum();
            let (found, expected) = (table.ln_two_sided(hits), (observed + p.ln()).min(0.0));
            prop_assert!((found - expected).abs() <= 1e-10 * expected.abs().max(1e-2), "{found} {expected} {table:?} {hits}");
        }
    }

    #[test]
    fn exact_tests_sum_every_table_at_most_as_likely() {
        // mpmath 1.4: log of the sum over tables, terms by loggamma at 60 digits; up to a total of 10000 also
        // log(scipy.stats.fisher_exact([[hits, draws - hits], [marked - hits, ...]]).pvalue).
        for (hits, draws, marked, total, expected) in [
            (3.0, 10.0, 5.0, 20.0, 0.0),
            (5.0, 10.0, 10.0, 20.0, 0.0),
            (0.0, 12.0, 8.0, 40.0, -2.5384440697213803),
            (12.0, 60.0, 500.0, 1e4, -10.311721384134243),
            (1.0, 60.0, 500.0, 1e4, -0.992_984_257_699_364),
            (60.0, 60.0, 500.0, 1e4, -183.25600689235486),
            (9.0, 10.0, 12.0, 24.0, -5.8927216530074437),
            (7.0, 10.0, 12.0, 24.0, -1.5429158973447252),
            (330.0, 1000.0, 500.0, 1300.0, -28.862_035_076_890_69),
            (30.0, 1000.0, 2000.0, 1e6, -56.371397123230542),
            (120.0, 1000.0, 2000.0, 1e6, -387.356_699_659_510_1),
            (0.0, 3000.0, 2000.0, 1e6, -5.119_340_148_877_604),
            (2.0, 1e6, 5.0, 1e9, -11.514926960040822),
            (900.0, 10000.0, 80000.0, 1e6, -8.245973902854297),
            (700.0, 10000.0, 80000.0, 1e6, -8.684_385_408_450_296),
            (400.0, 5000.0, 5e7, 1e9, -42.965_620_914_458_98),
        ] {
            let found = Hypergeometric { draws, marked, total }.ln_two_sided(hits);
            assert_close(found, expected, 1e-9, &format!("{hits} of {draws}, {marked} of {total}"));
        }
    }
}
