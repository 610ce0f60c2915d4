"""Tests, intervals and adjusted p-values of a run against SciPy, statsmodels and mpmath.

    against_scipy.py RUN [--sample 1000]

Reads the exact sums of `sums.parquet` and compares `log_p`, `q`, `cautious_q`, `effect_low` and `effect_high` of a sample of
`segments.parquet`, evenly spread over the table. Prints the largest relative difference of each; ends with 1 above 1e-9.
"""

import argparse
import json
import math
import pathlib
import sys

import mpmath
import numpy as np
import pyarrow.parquet as pq
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

mpmath.mp.dps = 40
TOLERANCE = 1e-9


def ln_normal(z):
    """ln of the two-sided p of a standard score."""
    return float(mpmath.log(mpmath.erfc(mpmath.mpf(abs(z)) / mpmath.sqrt(2))))


def ln_student(t, df):
    """ln of the two-sided p of Student's t, by the regularised incomplete beta function."""
    x = mpmath.mpf(df) / (mpmath.mpf(df) + mpmath.mpf(t) ** 2)
    return float(mpmath.log(mpmath.betainc(mpmath.mpf(df) / 2, mpmath.mpf(1) / 2, 0, x, regularized=True)))


def ln_fisher(hits, n, marked, total):
    """ln of Fisher's exact two-sided p: all tables that are at most as likely, within a factor of 1 + 1e-7.

    Term by term from the least count, in 40 digits; SciPy's own `hypergeom.logpmf` is only right to 1e-9.
    """
    lowest, highest = max(0, n + marked - total), min(n, marked)
    terms = [mpmath.mpf(1)]
    for k in range(lowest, highest):
        terms.append(terms[-1] * ((marked - k) * (n - k)) / mpmath.mpf((k + 1) * (total - marked - n + k + 1)))
    own = terms[hits - lowest] * (1 + mpmath.mpf(10) ** -7)
    return min(0.0, float(mpmath.log(mpmath.fsum(t for t in terms if t <= own) / mpmath.fsum(terms))))


class Sums:
    """Of one segment, exact: customers, sum, squares, denominator, its squares, product."""

    def __init__(self, uv, s, sq=None, den=None, den_sq=None, cross=None):
        self.uv, self.s, self.sq, self.den, self.den_sq, self.cross = uv, s, sq, den, den_sq, cross

    def minus(self, other):
        pairs = zip(vars(self).values(), vars(other).values())
        return Sums(*[None if a is None else a - b for a, b in pairs])


def expected(kind, own, base, unit, den_unit):
    """ln p, cautious ln p, and the interval of the effect in the metric's unit."""
    rest = base.minus(own)
    if kind == "rate":
        smallest = min(own.uv, rest.uv) * min(base.s, base.uv - base.s) / base.uv
        if smallest < 10_000:
            log_p = ln_fisher(own.s, own.uv, base.s, base.uv)
        else:
            p = mpmath.mpf(base.s) / base.uv
            z = (mpmath.mpf(own.s) / own.uv - mpmath.mpf(rest.s) / rest.uv) / mpmath.sqrt(
                p * (1 - p) * (mpmath.mpf(1) / own.uv + mpmath.mpf(1) / rest.uv)
            )
            log_p = ln_normal(z)
        low, high = confint_proportions_2indep(own.s, own.uv, rest.s, rest.uv, method="newcomb")
        share, mean = rest.uv / base.uv, base.s / base.uv
        return log_p, log_p, max(low * share, -mean), min(high * share, 1 - mean)
    if kind == "amount":
        variance = lambda x: float((mpmath.mpf(x.uv) * x.sq - mpmath.mpf(x.s) ** 2) / x.uv / (x.uv - 1)) if x.uv > 1 else 0.0
        of_base = variance(base)
        sides = [(variance(x) / x.uv, x.uv - 1) if variance(x) > 0 else (of_base / x.uv, base.uv - 1) for x in (own, rest)]
        difference = float(mpmath.mpf(own.s) / own.uv - mpmath.mpf(rest.s) / rest.uv)
        error = math.sqrt(sides[0][0] + sides[1][0])
        df = error**4 / sum(v * v / d for v, d in sides)
        by_base = math.sqrt(of_base / own.uv + of_base / rest.uv)
        log_p = ln_student(difference / error, df)
        half = float(stats.t.ppf(0.975, df)) * error
        scale = rest.uv / base.uv / unit
        cautious = max(log_p, ln_student(difference / by_base, base.uv - 1))
        return log_p, cautious, (difference - half) * scale, (difference + half) * scale
    residual = lambda x: float(
        (mpmath.mpf(x.sq) - mpmath.mpf(x.s) ** 2 / x.uv)
        - 2 * (mpmath.mpf(x.s) / x.den) * (mpmath.mpf(x.cross) - mpmath.mpf(x.s) * x.den / x.uv)
        + (mpmath.mpf(x.s) / x.den) ** 2 * (mpmath.mpf(x.den_sq) - mpmath.mpf(x.den) ** 2 / x.uv)
    ) / (x.uv - 1)
    of_base = residual(base)
    squared = lambda x, v: x.uv * v / x.den / x.den
    own_v = [residual(x) if x.uv > 1 and residual(x) > 1e-9 * of_base else of_base for x in (own, rest)]
    error = math.sqrt(squared(own, own_v[0]) + squared(rest, own_v[1]))
    by_base = math.sqrt(squared(own, of_base) + squared(rest, of_base))
    difference = float(mpmath.mpf(own.s) / own.den - mpmath.mpf(rest.s) / rest.den)
    log_p = ln_normal(difference / error)
    half = float(stats.norm.ppf(0.975)) * error
    scale = rest.den / base.den / unit * den_unit
    cautious = max(log_p, ln_normal(difference / by_base))
    return log_p, cautious, (difference - half) * scale, (difference + half) * scale


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=pathlib.Path)
    arguments.add_argument("--sample", type=int, default=1000)
    arguments = arguments.parse_args()
    manifest = json.loads((arguments.run / "manifest.json").read_text())
    metric = manifest["metrics"][0]
    kind, unit, den_unit = metric["kind"], 10.0 ** metric["decimals"], 10.0 ** metric["den_decimals"]
    unit = 1.0 if kind == "rate" else unit
    segments = pq.read_table(arguments.run / "segments.parquet")
    sums = pq.read_table(arguments.run / "sums.parquet")
    names = ["sum", "sum_squares", "denominator", "denominator_squares", "product"]
    names = names[: {"rate": 1, "amount": 2, "ratio": 5}[kind]]
    columns = [sums["discovery.uv"].to_pylist()] + [sums[f"discovery.metric.{name}"].to_pylist() for name in names]
    of = lambda row: Sums(*[None if c[row] is None else int(c[row]) for c in columns])
    base, total = of(0), segments.num_rows
    log_p, q = segments["log_p"].to_pylist(), segments["q"].to_pylist()
    cautious_q = segments["cautious_q" if kind != "rate" else "q"].to_pylist()
    low, high = segments["effect_low"].to_pylist(), segments["effect_high"].to_pylist()
    worst = {"log_p": 0.0, "effect_low": 0.0, "effect_high": 0.0, "q": 0.0, "cautious_q": 0.0}
    relative = lambda found, right, magnitude=0.0: abs(found - right) / max(abs(right), magnitude, 1e-300)
    asked = 0
    for row in np.unique(np.linspace(0, total - 1, arguments.sample).astype(int)):
        if log_p[row] is None or columns[0][row + 1] is None:
            continue
        asked += 1
        right, _, right_low, right_high = expected(kind, of(row + 1), base, unit, den_unit)
        # ln p of a p near 1 is near 0: there the p is compared.
        near_one = abs(right) < 1e-3
        worst["log_p"] = max(worst["log_p"], abs(math.expm1(log_p[row] - right)) if near_one else relative(log_p[row], right))
        width = right_high - right_low
        worst["effect_low"] = max(worst["effect_low"], relative(low[row], right_low, width))
        worst["effect_high"] = max(worst["effect_high"], relative(high[row], right_high, width))
    method = {"benjamini_hochberg": "fdr_bh", "benjamini_yekutieli": "fdr_by"}[manifest["job"]["highlight"]["adjust"]]
    tested = [row for row in range(total) if log_p[row] is not None]
    right = multipletests(np.exp([log_p[row] for row in tested]), method=method)[1]
    for place, row in enumerate(tested):
        if right[place] > 1e-290:
            worst["q"] = max(worst["q"], relative(q[row], right[place]))
    if all(columns[0][row + 1] is not None for row in tested) and total <= 40_000:
        cautious = [expected(kind, of(row + 1), base, unit, den_unit)[1] for row in tested] if kind != "rate" else [log_p[row] for row in tested]
        right = multipletests(np.exp(cautious), method=method)[1]
        for place, row in enumerate(tested):
            if right[place] > 1e-290:
                worst["cautious_q"] = max(worst["cautious_q"], relative(cautious_q[row], right[place]))
    else:
        del worst["cautious_q"]
    print(f"{kind}: {asked} of {total} segments compared, q over all {len(tested)} tested")
    for name, difference in worst.items():
        print(f"  {name:12} largest relative difference {difference:.1e}")
    sys.exit(0 if max(worst.values()) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
