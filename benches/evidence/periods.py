"""How often the rows of one table, dealt at random into two periods, are told to differ.

    periods.py NICHEMINE JOB [--seeds 200] [--set KEY=VALUE]...

For each seed every row of the job's table (CSV with a header) is of one of two periods, by the toss of a coin, and the job runs with
a section [compare]. Nothing has changed but by chance, so no segment explains anything. Prints the runs in which one is told to,
and the bound of an exact binomial test of the stated rate (`highlight.alpha`): ends with 1 when their share lies surely above it (95 %).
"""

import argparse
import json
import pathlib
import random
import re
import sys
import tempfile

import runs

COMPARE = """
[compare]
column = "_period"
before = "a"
after = "b"
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("job", type=pathlib.Path)
    arguments.add_argument("--seeds", type=int, default=200)
    arguments.add_argument("--set", action="append", default=[])
    arguments = arguments.parse_args()
    job = arguments.job.read_text()
    names, rows, delimiter, header = runs.read(job)
    assert header, "the table needs a header line, to which the period's column is added"
    told, most, tested = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        table = folder / "table.csv"
        (folder / "job.toml").write_text(re.sub(r'^path = ".*"', f'path = "{table}"', job, flags=re.M) + COMPARE)
        for seed in range(arguments.seeds):
            coin = random.Random(seed)
            runs.write(table, [*names, "_period"], [[*row, coin.choice("ab")] for row in rows], delimiter)
            settings = ["output.keep_runs=1", f'output.dir="{folder}/out"', *arguments.set]
            run = runs.run(arguments.nichemine, folder / "job.toml", settings)
            change = json.loads((pathlib.Path(run["path"]) / "change.json").read_text())
            told += len(change["steps"]) > 0
            most = max(most, len(change["steps"]))
            tested = change["tested"]
    print(f"{arguments.job.name}: {arguments.seeds} divisions of {len(rows):,} rows, about {tested:,} segments each")
    print(f"  with a segment that is told to explain something {told}, at most {most} in one")
    sys.exit(0 if runs.bounded(job, told, arguments.seeds, "alpha", "0.05") else 1)


if __name__ == "__main__":
    main()
