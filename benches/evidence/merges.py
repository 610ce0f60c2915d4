"""The trees of real highlights against SciPy's.

    merges.py NICHEMINE JOB...

Runs each job to one group a direction, by Ward's, average and complete linkage: from a matrix, in rounds by 1, 2 and 4 workers, and in
rounds by 2 processes. What each highlight is, how its customers spread over the items, and where it stands are counted again over the
raw table, and SciPy merges the points that docs/method.md makes of that. Every merge is held against SciPy's as the highlights that it
joins. Prints the largest relative difference of a height; ends with 1 when a merge differs, or a height by more than 1e-9.
"""

import argparse
import json
import math
import pathlib
import sys
import tempfile

import numpy as np
import pyarrow.parquet as parquet
from scipy.cluster.hierarchy import linkage

import runs

LAYOUTS = {
    "matrix": [],
    "rounds, 1 worker": ["-w", "1", "--set", "merge.max_matrix=1"],
    "rounds, 2 workers": ["-w", "2", "--set", "merge.max_matrix=1"],
    "rounds, 4 workers": ["-w", "4", "--set", "merge.max_matrix=1"],
    "rounds, 2 processes": ["-w", "1", "--processes", "2", "--set", "merge.max_matrix=1"],
}


def number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def codes(feature, values, nulls):
    """The code of every value, as features.json says what codes stand for."""
    nulls = set(nulls) | set(feature["null_values"]) | {""}
    missing = np.array([value in nulls for value in values])
    numbers = np.array([math.nan if gone else number(value) for value, gone in zip(values, missing)])
    found = np.full(len(values), len(feature["items"]))
    for code, item in enumerate(feature["items"]):
        if item == "missing":
            mask = missing
        else:
            ((kind, value),) = item.items()
            if kind == "text":
                mask = ~missing & (np.array(values) == value)
            elif kind in ("int", "number"):
                mask = numbers == value
            elif kind == "range":
                low, high = value["low"], value["high"]
                mask = (numbers >= (-math.inf if low is None else low)) & (numbers < (math.inf if high is None else high))
            else:
                raise SystemExit(f"{feature['name']}: items of {kind} are not decoded here")
        found[mask] = code
    if feature["completed"] is not None:
        found[missing] = feature["completed"]
    return found


def points(run, job):
    """A point for each leaf, and its direction."""
    described, groups = (json.loads((run / name).read_text()) for name in ("features.json", "groups.json"))
    table = parquet.read_table(run / "highlights.parquet").to_pydict()
    known = {segment: (lift, over) for segment, lift, over in zip(table["segment"], table["lift"], table["direction"])}
    names, rows, _, _ = runs.read(job)
    nulls = json.loads((run / "manifest.json").read_text())["job"]["input"]["csv"]["null_values"]
    features = {}
    for feature in described["features"]:
        place = names.index(feature["column"])
        features[feature["name"]] = codes(feature, [row[place].strip() for row in rows], nulls)
    influence = {verdict["feature"]: verdict["influence"] for verdict in described["verdicts"] if verdict["kept"]}
    total = sum(influence[feature["name"]] for feature in described["features"])
    found = []
    for leaf in groups["leaves"]:
        mask = np.ones(len(rows), bool)
        for item in leaf.split(" & "):
            name, label = item.split("=", 1)
            feature = next(feature for feature in described["features"] if feature["name"] == name)
            mask &= features[name] == next(code for code, known in enumerate(feature["items"]) if text(known) == label)
        coordinates = []
        for feature in described["features"]:
            counts = np.bincount(features[feature["name"]][mask], minlength=len(feature["items"]) + int(feature["rest"]))
            weight = influence[feature["name"]] / total if total > 0 else 1 / len(described["features"])
            coordinates.append(np.sqrt(0.75 * weight / 2 * counts / counts.sum()))
        lift, _ = known[leaf]
        coordinates.append([0.5 * math.log(min(max(lift, 1 / 64), 64), 4)])
        found.append(np.concatenate(coordinates))
    return np.array(found), np.array([known[leaf][1] for leaf in groups["leaves"]])


def text(item):
    """An item as segments name it."""
    if item == "missing":
        return "(missing)"
    ((kind, value),) = item.items()
    if kind == "range":
        plain = lambda number: repr(number).removesuffix(".0")
        if value["low"] is None:
            return f"<{plain(value['high'])}"
        return f">={plain(value['low'])}" if value["high"] is None else f"[{plain(value['low'])},{plain(value['high'])})"
    return value if kind == "text" else repr(value).removesuffix(".0") if kind == "number" else str(value)


def sets(merges, leaves):
    """What each merge joins, as sets of leaves, with its height."""
    members = [frozenset([leaf]) for leaf in leaves]
    joined = {}
    for left, right, height in merges:
        joined[frozenset([members[int(left)], members[int(right)]])] = height
        members.append(members[int(left)] | members[int(right)])
    return joined


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("jobs", nargs="+", type=pathlib.Path)
    arguments = arguments.parse_args()
    wrong, worst = 0, 0.0
    for job in arguments.jobs:
        for method in ("ward", "average", "complete"):
            expected = None
            for layout, options in LAYOUTS.items():
                with tempfile.TemporaryDirectory() as folder:
                    settings = [f"merge.linkage={method}", "merge.groups=[1, 1]", f'output.dir="{folder}"']
                    run = pathlib.Path(runs.run(arguments.nichemine, job, settings, options)["path"])
                    groups = json.loads((run / "groups.json").read_text())
                    if expected is None:
                        found, directions = points(run, job.read_text())
                        expected = {}
                        for direction in set(directions):
                            own = np.flatnonzero(directions == direction)
                            if len(own) > 1:
                                expected |= sets(linkage(found[own], method)[:, :3], own.tolist())
                merges = [(merge["left"], merge["right"], merge["distance"]) for merge in groups["merges"]]
                joined = sets(merges, range(len(groups["leaves"])))
                differ = len(joined.keys() ^ expected.keys())
                height = max((abs(joined[pair] / expected[pair] - 1) for pair in joined if pair in expected), default=0.0)
                print(f"{job.stem}, {method}, {layout}: {len(joined)} merges, {differ} differ, heights to {height:.2g}", flush=True)
                wrong, worst = wrong + differ, max(worst, height)
    sys.exit(0 if wrong == 0 and worst <= 1e-9 else 1)


if __name__ == "__main__":
    main()
