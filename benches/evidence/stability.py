"""How much of the groups stays from one run to the next, and whether two halves of a table have the same groups.

    stability.py halves NICHEMINE JOB... [--seeds 5] [--follow] [--set KEY=VALUE]...
    stability.py days NICHEMINE JOB... [--seeds 5] [--set KEY=VALUE]... [--least 0.95]
    stability.py month NICHEMINE JOB... [--days 30] [--set KEY=VALUE]...

`halves`: the table of each job is dealt at random into two halves, each is run by itself, and all customers of both are put into groups by
the rules of the one and by those of the other run (`assignment_sql`, asked of DuckDB). Printed: the adjusted Rand index of the two
assignments over all customers (none is a group), and over those whom both rules put into one. With `--follow` the second half runs into the
folder of the first, and so keeps what its groups were made of while that stands there.

`days`: the job runs on its table and then, into the same folder, on the table of the day after: 1 % of the customers have left, as many are
new, each with the row of a customer drawn at random, and 2 % of those who stay have the row of another customer drawn at random, metric and
all. Printed: the share of the customers of the first run's groups who are still in the table and are in the group of the same id
afterwards; of all of them, and of those whose row is the same as before. Beside it what the best matching of the two runs' groups by shared
customers would give (SciPy), whatever the ids say. Ends with 1 when the median over all jobs and seeds is below --least.

`month`: so many such days, one after the other, in one folder, with the least share of one day to the next, and on the last day what the
groups explain of the metric's variance beside groups of the same table without any run before: whether what is kept becomes worse.

The tables are CSV; a column of ids is put before the others.
"""

import argparse
import gzip
import json
import pathlib
import random
import re
import statistics
import sys
import tempfile

import duckdb
import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

import runs

ID = "nichemine_row"


def table(job):
    """The job's text with an id and without its path, its columns, and its rows as lists of text."""
    text = job.read_text()
    own = re.search(r'^id = "(.*)"', text, re.M)
    names, rows, delimiter, _ = runs.read(text)
    if own:
        return text, own.group(1), names, rows, delimiter
    rows = [[str(1000 + number)] + row for number, row in enumerate(rows)]
    text = re.sub(r"^names = \[.*?\]\n", "", text, flags=re.M | re.S).replace("header = false\n", "")
    text = re.sub(r"^(on_bad_row|max_bad_rows) = .*\n", "", text, flags=re.M)
    return re.sub(r"^path = ", f'id = "{ID}"\npath = ', text, flags=re.M), ID, [ID] + names, rows, delimiter


def run(arguments, text, folder, out, names, rows, delimiter):
    """Runs a job's text on rows; the folder of what it published."""
    path = folder / "table.csv"
    runs.write(path, names, rows, delimiter)
    job = folder / "job.toml"
    job.write_text(re.sub(r'^path = ".*"', f'path = "{path}"', text, flags=re.M))
    summary = runs.run(arguments.nichemine, job, [f'output.dir="{folder / out}"', *arguments.set])
    return pathlib.Path(summary["path"])


def members(run):
    """The group of each customer of a run's audience packages."""
    found = {}
    for group in json.loads((run / "groups.json").read_text())["groups"]:
        for file in (run / group["audience"]).glob("*.parquet"):
            for customer in pq.read_table(file).column(0).to_pylist():
                found[str(customer)] = group["id"]
    return found


def day_after(names, rows, place, seed, mark=""):
    """The rows a day later, and the ids of those whose row has changed; `mark` tells the new ids of several days apart."""
    rng = random.Random(seed)
    order = list(range(len(rows)))
    rng.shuffle(order)
    left, changed = order[: len(rows) // 100], order[len(rows) // 100 : len(rows) // 100 + len(rows) // 50]
    with_id = lambda row, own: row[:place] + [own] + row[place + 1 :]
    after = list(rows)
    for at in changed:
        after[at] = with_id(rows[rng.randrange(len(rows))], rows[at][place])
    gone = set(left)
    kept = [row for at, row in enumerate(after) if at not in gone]
    numeric = rows[0][place].isdigit()
    new = [with_id(rows[rng.randrange(len(rows))], str(10_000_000_000 + 1_000_000 * seed + n) if numeric else f"new-{mark}{n}") for n in range(len(left))]
    return kept + new, {rows[at][place] for at in changed}


def days(arguments):
    all_shares = []
    for job in arguments.jobs:
        text, own, names, rows, delimiter = table(job)
        place = names.index(own)
        shares, same, best, numbers = [], [], [], []
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                before = run(arguments, text, folder, "out", names, rows, delimiter)
                first = members(before)
                after, changed = day_after(names, rows, place, seed)
                then = run(arguments, text, folder, "out", names, after, delimiter)
                second = members(then)
            there = {row[place] for row in after}
            stayed = [customer for customer in first if customer in there]
            kept = [first[customer] == second.get(customer) for customer in stayed]
            unchanged = [k for customer, k in zip(stayed, kept) if customer not in changed]
            olds, news = sorted(set(first.values())), sorted(set(second.values()))
            shared = np.zeros((len(olds), len(news)), int)
            for customer in stayed:
                if customer in second:
                    shared[olds.index(first[customer]), news.index(second[customer])] += 1
            optimum = shared[linear_sum_assignment(-shared)].sum()
            shares.append(sum(kept) / len(kept))
            same.append(sum(unchanged) / len(unchanged))
            best.append(optimum / len(stayed))
            numbers.append(f"{len(olds)}-{len(news)}")
        all_shares += shares
        print(f"{job.stem}: {len(rows):,} customers, {len(stayed):,} in groups; in the group of the same id the day after: "
              f"median {statistics.median(shares):.3f}, least {min(shares):.3f}; whose row is the same: {statistics.median(same):.3f}, {min(same):.3f}; "
              f"by the best matching {statistics.median(best):.3f}, {min(best):.3f}; groups {' '.join(numbers)}", flush=True)
        print("    " + " ".join(f"{share:.3f}" for share in shares), flush=True)
    median = statistics.median(all_shares)
    print(f"all: median {median:.3f}, least {min(all_shares):.3f}")
    sys.exit(0 if median >= arguments.least else 1)


def month(arguments):
    for job in arguments.jobs:
        text, own, names, rows, delimiter = table(job)
        place = names.index(own)
        shares, kept, first = [], 0, None
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            done = run(arguments, text, folder, "out", names, rows, delimiter)
            before = first = members(done)
            for day in range(arguments.days):
                rows, _ = day_after(names, rows, place, day, f"{day}-")
                done = run(arguments, text, folder, "out", names, rows, delimiter)
                after = members(done)
                there = {row[place] for row in rows}
                stayed = [customer for customer in before if customer in there]
                shares.append(sum(before[customer] == after.get(customer) for customer in stayed) / len(stayed))
                kept += json.loads((done / "groups.json").read_text()).get("kept") is not None
                before = after
            explained = []
            for path in (done, run(arguments, text, folder, "alone", names, rows, delimiter)):
                groups = json.loads((path / "groups.json").read_text())
                own_worth = groups.get("kept") or next(choice for choice in groups["choices"] if choice["chosen"])
                explained.append((own_worth["explained"], len(groups["groups"]), len(members(path))))
        there = {row[place] for row in rows}
        stayed = [customer for customer in first if customer in there]
        all_days = sum(first[customer] == before.get(customer) for customer in stayed) / len(stayed)
        print(f"{job.stem}: {arguments.days} days; from one day to the next least {min(shares):.3f}, median {statistics.median(shares):.3f}; from the first "
              f"to the last {all_days:.3f}; groups kept as they were made on {kept} days; explained on the last day "
              f"{explained[0][0]:.4f} by {explained[0][1]} groups of {explained[0][2]:,} customers, without runs before {explained[1][0]:.4f} by {explained[1][1]} of {explained[1][2]:,}", flush=True)


def halves(arguments):
    for job in arguments.jobs:
        text, own, names, rows, delimiter = table(job)
        found = []
        for seed in range(arguments.seeds):
            rng = random.Random(seed)
            order = list(rows)
            rng.shuffle(order)
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                rules = []
                for half in (0, 1):
                    done = run(arguments, text, folder, "out" if arguments.follow else f"out{half}", names, order[half::2], delimiter)
                    rules.append(json.loads((done / "groups.json").read_text()))
                runs.write(folder / "all.csv", names, rows, delimiter)
                query = ", ".join(f"coalesce(({rule['assignment_sql']}), 0) as rule{i}" for i, rule in enumerate(rules))
                assigned = duckdb.sql(f"select {query} from read_csv('{folder / 'all.csv'}', delim='{delimiter}', header=true)").fetchnumpy()
            a, b = assigned["rule0"], assigned["rule1"]
            both = (a > 0) & (b > 0)
            found.append((adjusted_rand_score(a, b), adjusted_rand_score(a[both], b[both]), both.mean(), (a > 0).mean(), (b > 0).mean(), len(rules[0]["groups"]), len(rules[1]["groups"])))
        print(f"{job.stem}: {len(rows):,} customers in two halves, {arguments.seeds} times; adjusted Rand index over all: "
              f"median {statistics.median(f[0] for f in found):.3f}, least {min(f[0] for f in found):.3f}; over those in a group by both: "
              f"median {statistics.median(f[1] for f in found):.3f}, least {min(f[1] for f in found):.3f}", flush=True)
        for f in found:
            print("    ari {:.3f}, in both {:.3f}; in a group by both {:.1%}, by each {:.1%} {:.1%}; groups {} {}".format(*f), flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["halves", "days", "month"])
    arguments.add_argument("nichemine")
    arguments.add_argument("jobs", nargs="+", type=pathlib.Path)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--follow", action="store_true")
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--least", type=float, default=0.95)
    arguments.add_argument("--set", action="append", default=[])
    arguments = arguments.parse_args()
    {"halves": halves, "days": days, "month": month}[arguments.what](arguments)


if __name__ == "__main__":
    main()
