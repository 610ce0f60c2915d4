"""What a run finds of 20 planted niches among correlated features and decoy parents.

    truth.py NICHEMINE [--customers 1000000] [--seed 1] [--dir DIR]

Makes a table of 20 features of 5 to 10 items. Features 10 to 14 repeat features 0 to 4 for 80 % of the customers, so that every
niche has shadows; ten items raise their customers' conversion by 10 % each, a little for many: decoys, of which some are parents
of niches. 20 niches of two or three items have 0.1 % to 3 % of the customers and lifts of 0.4 to 5. The true probability of every
customer is known, so the true lift of every highlight is, too.

Prints each niche with the smallest lift that its customers could show with a chance of 80 %: in the discovery part, at the p-value
that the false discovery rate came to in this run, with the interval's end beyond `min_lift` and at least `min_impact_share`. Then recall, precision, ranks.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

BASE = 0.05
# The program's defaults.
FDR, MIN_LIFT, HOLDOUT, LEAST_IMPACT = 0.05, 1.2, 0.3, 0.0005


def table(customers, seed):
    """Codes by feature, niches (items, lift, rows), and the true probability of each customer."""
    dice = np.random.default_rng(seed)
    items = dice.integers(5, 11, 20)
    codes = []
    for feature, n in enumerate(items):
        shares = 1.0 / np.arange(1, n + 1) ** 0.6
        own = dice.choice(n, customers, p=shares / shares.sum())
        if 10 <= feature < 15:
            same = dice.random(customers) < 0.8
            own = np.where(same, codes[feature - 10] % n, own)
        codes.append(own.astype(np.int8))
    odds = np.ones(customers)
    for feature in range(10):
        odds[codes[feature] == feature % items[feature]] *= 1.1
    shares = np.geomspace(0.001, 0.03, 20)
    lifts = [5, 0.4, 3.5, 0.5, 2.5, 4, 0.6, 2, 3, 0.4, 5, 1.6, 2.2, 0.5, 4, 1.4, 0.7, 2.5, 1.5, 3]
    niches, taken = [], np.zeros(customers, bool)
    for share, lift in zip(shares, lifts):
        for _ in range(200_000):
            level = int(dice.integers(2, 4))
            features = np.sort(dice.choice(20, level, replace=False))
            chosen = [(int(f), int(dice.integers(items[f]))) for f in features]
            if any((f + 10, c) in chosen for f, c in chosen if f < 5):
                continue
            rows = np.logical_and.reduce([codes[f] == c for f, c in chosen])
            size = rows.sum()
            if abs(size / customers / share - 1) < 0.1 and (rows & taken).sum() < 0.05 * size:
                niches.append((chosen, lift, rows))
                taken |= rows
                break
        else:
            raise SystemExit(f"no place for a niche of {share:.3%}")
    # Everybody else makes up for the niches, so that lifts are what they say.
    p = np.zeros(customers)
    for _, lift, rows in niches:
        p[rows] = BASE * lift
    p[~taken] = odds[~taken] * (BASE * customers - p.sum()) / odds[~taken].sum()
    return codes, niches, np.clip(p, 0, 0.95)


def smallest_lift(uv, base, p_at_most, least_impact, over):
    """The lift nearest to 1 that this many customers of the discovery part show with a chance of 80 %."""
    for step in range(1, 2000):
        lift = 1 + 0.005 * step if over else 1 - 0.0005 * step
        if lift <= 0 or lift * base >= 1:
            return None
        mean, sd = uv * base * lift, math.sqrt(uv * base * lift * (1 - base * lift))
        # The count that is reached, or undercut, with a chance of 80 %.
        count = mean - 0.8416 * sd if over else mean + 0.8416 * sd
        count = math.floor(count) if over else math.ceil(count)
        tail = stats.binom.sf(count - 1, uv, base) if over else stats.binom.cdf(count, uv, base)
        half = 1.96 * math.sqrt(max(count, 1) * (1 - count / uv)) / uv
        bound = count / uv - half if over else count / uv + half
        far = bound >= MIN_LIFT * base if over else bound <= base / MIN_LIFT
        if 2 * tail <= p_at_most and far and abs(count - uv * base) >= least_impact:
            return lift
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--dir")
    arguments = arguments.parse_args()
    folder = pathlib.Path(arguments.dir or tempfile.mkdtemp())
    codes, niches, p = table(arguments.customers, arguments.seed)
    yes = np.random.default_rng(arguments.seed + 1).random(arguments.customers) < p
    names = [f"f{feature:02}" for feature in range(20)]
    columns = {name: pa.array([f"v{c}" for c in range(11)]).take(pa.array(own)) for name, own in zip(names, codes)}
    columns = {"id": pa.array(np.arange(arguments.customers)), **columns, "y": pa.array(yes.astype(np.int8))}
    pq.write_table(pa.table(columns), folder / "table.parquet")
    (folder / "job.toml").write_text(
        f'[input]\npath = "{folder}/table.parquet"\nid = "id"\n[metric]\ncolumn = "y"\nkind = "rate"\n'
        f'[screen]\noff = true\n[enumerate]\nmin_share = 0.0005\n[highlight]\ndiverse = 100\n[output]\ndir = "{folder}/out"\n'
    )
    run = subprocess.run([arguments.nichemine, "run", folder / "job.toml", "--output", "json"], capture_output=True, text=True, check=True)
    run = pathlib.Path(json.loads(run.stdout)["path"])
    segments = pq.read_table(run / "segments.parquet", columns=["p", "q", "status", "segment"])
    p_values, q = segments["p"].to_numpy(), segments["q"].to_numpy()
    least_impact = LEAST_IMPACT * yes.sum() * (1 - HOLDOUT)
    p_at_most = p_values[q <= FDR].max()
    status = dict(zip(segments["segment"].to_pylist(), segments["status"].to_pylist()))
    highlights = pq.read_table(run / "highlights.parquet").to_pylist()
    rows_of = lambda text: np.logical_and.reduce(
        [codes[names.index(f)] == int(v[1:]) for f, v in (item.split("=") for item in text.split(" & "))]
    )
    covered = [rows_of(h["segment"]) for h in highlights]
    print(f"{arguments.customers:,} customers, base {yes.mean():.2%}, {len(q):,} segments, q <= {FDR} means p <= {p_at_most:.2g}")
    print(f"{'niche':32} {'uv':>6} {'lift':>5} {'smallest':>8}  found")
    recalled, could, exact = 0, 0, 0
    of_niche = [False] * len(highlights)
    for chosen, lift, rows in niches:
        text = " & ".join(f"{names[f]}=v{c}" for f, c in chosen)
        uv, over = int(rows.sum()), lift > 1
        smallest = smallest_lift(int(uv * (1 - HOLDOUT)), BASE, p_at_most, least_impact, over)
        enough = smallest is not None and (lift >= smallest if over else lift <= smallest)
        jaccards = [(rows & c).sum() / (rows | c).sum() for c in covered]
        best = int(np.argmax(jaccards)) if jaccards else -1
        for place, jaccard in enumerate(jaccards):
            of_niche[place] |= jaccard >= 0.5 or (rows & covered[place]).sum() >= 0.8 * covered[place].sum()
        hit = best >= 0 and highlights[best]["segment"] == text
        exact += hit
        could += enough
        recalled += hit and enough
        told = f"rank {highlights[best]['rank']}, {highlights[best]['direction']} {highlights[best]['direction_rank']}" if hit else f"{status.get(text, 'not frequent')}; nearest rank {highlights[best]['rank']} (Jaccard {jaccards[best]:.2f})"
        validated = {True: ", validated", False: ", not validated", None: ""}[highlights[best]["validated"]] if hit else ""
        print(f"{text:32} {uv:>6} {lift:>5} {smallest or float('nan'):>8.2f}  {told}{validated}{'' if enough else '  (below what can be shown)'}")
    base = p.mean()
    right, close = 0, 0
    false_validated, validated = 0, 0
    for h, rows, of in zip(highlights, covered, of_niche):
        true_lift = p[rows].mean() / base
        right += true_lift > 1 if h["direction"] == "over" else true_lift < 1
        far = true_lift >= MIN_LIFT if h["direction"] == "over" else true_lift <= 1 / MIN_LIFT
        close += far
        validated += h["validated"]
        false_validated += h["validated"] and not far
    print(f"recall: {exact} of 20 with exactly their customers; of the {could} that the sample could show {recalled}")
    print(f"precision: of {len(highlights)} highlights {sum(of_niche)} are a niche or part of one; {right} truly on their side of the base, {close} truly beyond {MIN_LIFT};")
    print(f"  of {validated} validated ones {validated - false_validated} truly beyond {MIN_LIFT}")
    for name, column in (("reported (shrunken)", "shrunken_lift"), ("raw", "lift"), ("held out", "validation_lift")):
        errors = [abs(h[column] / (p[c].mean() / base) - 1) for h, c in zip(highlights, covered) if h[column] is not None]
        print(f"  mean relative error of the {name} lift against the true one: {np.mean(errors):.3f}")


if __name__ == "__main__":
    main()
