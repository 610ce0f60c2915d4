"""How often a run over a shuffled metric has a validated highlight.

    noise.py NICHEMINE JOB METRIC_COLUMN [--seeds 200] [--set KEY=VALUE]...

For each seed the metric's values are dealt out anew among the rows of the job's table (CSV) and the job runs on it, the split
into discovery and validation by the same seed. Nothing that is found is true. Prints the runs with highlights, with validated
ones, and the bound of an exact binomial test of the stated rate (`highlight.alpha`): ends with 1 when the share of runs with a
validated highlight lies surely above it (95 %).
"""

import argparse
import pathlib
import random
import re
import sys
import tempfile

import runs


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("job", type=pathlib.Path)
    arguments.add_argument("column")
    arguments.add_argument("--seeds", type=int, default=200)
    arguments.add_argument("--set", action="append", default=[])
    arguments = arguments.parse_args()
    job = arguments.job.read_text()
    names, rows, delimiter, header = runs.read(job)
    place = names.index(arguments.column)
    values = [row[place] for row in rows]
    found, validated, most = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        table = folder / "table.csv"
        (folder / "job.toml").write_text(re.sub(r'^path = ".*"', f'path = "{table}"', job, flags=re.M))
        for seed in range(arguments.seeds):
            random.Random(seed).shuffle(values)
            for row, value in zip(rows, values):
                row[place] = value
            runs.write(table, names if header else None, rows, delimiter)
            settings = [f"highlight.seed={seed}", "output.keep_runs=1", f'output.dir="{folder}/out"', *arguments.set]
            summary = runs.run(arguments.nichemine, folder / "job.toml", settings)
            found += summary["highlights"] > 0
            validated += summary["validated"] > 0
            most = max(most, summary["highlights"])
            segments = summary["segments"]
    print(f"{arguments.job.name}: {arguments.seeds} shuffled runs of {len(rows):,} rows, about {segments:,} segments each")
    print(f"  with highlights {found}, at most {most} in one; with a validated highlight {validated}")
    sys.exit(0 if runs.bounded(job, validated, arguments.seeds, "alpha", "0.05") else 1)


if __name__ == "__main__":
    main()
