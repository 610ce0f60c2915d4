#!/usr/bin/env python3
"""Compares segments.parquet of a run with another program's CSV, row by row.

    compare.py SEGMENTS.parquet OTHER.csv [--supports-only]

The CSV has the columns segment, uv and metric_sum; a segment is written as in segments.parquet. The order of the rows does
not matter. Exit code 0: the same segments with the same customers and the same sums, all of them exactly; 1: not so.
With --supports-only the sums are not looked at, for programs that have none. Needs pyarrow.
"""

import argparse
import csv
import sys
from pathlib import Path

import pyarrow.parquet as parquet

SHOWN = 5


def rows_of_run(path):
    """Segment, customers and sum of every row of a segments.parquet."""
    columns = parquet.read_table(path, columns=["segment", "uv", "metric_sum"]).to_pydict()
    yield from zip(columns["segment"], columns["uv"], columns["metric_sum"])


def rows_of_csv(path):
    """The same of a CSV. A sum is a whole number or a float that is written in full."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        for row in lines:
            try:
                yield row["segment"], int(row["uv"]), float(row["metric_sum"] or 0)
            except (KeyError, TypeError, ValueError):
                sys.exit(f"{path}, line {lines.line_num}: expected segment, uv and metric_sum, found {row}")


def by_segment(rows, supports_only):
    """The figures by segment, and the segments that occur more than once."""
    figures, repeated = {}, []
    for segment, uv, metric_sum in rows:
        if segment in figures:
            repeated.append(segment)
        figures[segment] = (uv,) if supports_only else (uv, float(metric_sum))
    return figures, repeated


def compare(run, other, supports_only=False):
    """Whether the rows of two sources are the same. Says on stdout what is not."""
    ours, ours_repeated = by_segment(run, supports_only)
    theirs, theirs_repeated = by_segment(other, supports_only)
    differences = {
        "twice in the run": ours_repeated,
        "twice in the other": theirs_repeated,
        "in the run only": [s for s in ours if s not in theirs],
        "in the other only": [s for s in theirs if s not in ours],
        "with other figures": [s for s, figures in ours.items() if s in theirs and theirs[s] != figures],
    }
    for what, segments in differences.items():
        if segments:
            print(f"{len(segments)} segments {what}, such as")
            for segment in segments[:SHOWN]:
                print(f"    {segment}: {ours.get(segment)} and {theirs.get(segment)}")
    same = not any(differences.values())
    print(f"{len(ours)} and {len(theirs)} segments: {'the same' if same else 'different'}")
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segments", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--supports-only", action="store_true")
    given = parser.parse_args()
    same = compare(rows_of_run(given.segments), rows_of_csv(given.other), given.supports_only)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
