"""Whether what is reported holds on other customers: highlights found on one file, looked at on another.

    holds.py NICHEMINE JOB TRAIN TEST [--set KEY=VALUE]...

Runs the job on TRAIN, and on TEST with `min_uv = 1` to know every segment there; bands must be the job's own, so that segments mean the
same. Prints the mean relative error of three reported lifts against TEST's: held out, shrunken, raw; and beside them that of the naive
list, as many segments with the largest raw lift (smallest, for under-performers) of all that are frequent in TRAIN.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import pyarrow.parquet as pq


def run(nichemine, job, folder, settings):
    command = [nichemine, "run", str(job), "--output", "json"]
    command += [part for setting in [*settings, f'output.dir="{folder}"'] for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return pathlib.Path(json.loads(done.stdout)["path"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("job", type=pathlib.Path)
    arguments.add_argument("train")
    arguments.add_argument("test")
    arguments.add_argument("--set", action="append", default=[])
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = pathlib.Path(folder) / "job.toml"
        runs = []
        for name, table, settings in (("train", arguments.train, []), ("test", arguments.test, ["enumerate.allow_small=true", "enumerate.min_uv=1", "highlight.holdout=0.0"])):
            job.write_text(re.sub(r'^path = ".*"', f'path = "{table}"', arguments.job.read_text(), flags=re.M))
            runs.append(run(arguments.nichemine, job, f"{folder}/{name}", [*arguments.set, *settings]))
        train, test = runs
        columns = ["segment", "uv", "lift", "metric_sum"]
        there = pq.read_table(test / "segments.parquet", columns=columns).to_pylist()
        there = {row["segment"]: row for row in there}
        highlights = pq.read_table(train / "highlights.parquet").to_pylist()
        segments = pq.read_table(train / "segments.parquet", columns=columns).to_pylist()
    absent = {"uv": 0, "lift": None}
    test_lift = lambda row: there.get(row["segment"], absent)["lift"]
    print(f"{arguments.job.name}: {len(segments):,} segments of {arguments.train}, {len(highlights)} highlights")
    for direction in ("over", "under"):
        own = [h for h in highlights if h["direction"] == direction and h["validated"] is not False]
        order = sorted(segments, key=lambda s: s["lift"], reverse=direction == "over")
        naive = order[: len(own)]
        print(f"  {direction}: {len(own)} validated highlights")

        def told(name, rows, column):
            # A segment that TEST has nobody of, or nobody who is yes, has no relative error; its absolute one counts.
            pairs = [(row[column], test_lift(row)) for row in rows if test_lift(row) is not None]
            relative = [abs(a / b - 1) for a, b in pairs if b > 0]
            absolute = [abs(a - b) for a, b in pairs]
            held = np.mean([b > 1 if direction == "over" else b < 1 for _, b in pairs])
            print(f"    {name:34} mean relative error {np.mean(relative):.3f}, mean absolute error of the lift {np.mean(absolute):.3f}; on their side in TEST {held:.0%} of {len(rows)}")

        told("highlights, held-out lift", [h for h in own if h["validation_lift"] is not None], "validation_lift")
        told("highlights, shrunken lift", own, "shrunken_lift")
        told("highlights, lift on the whole base", own, "lift")
        told("naive top by lift", naive, "lift")
        for name, rows in (("highlights", own), ("naive top", naive)):
            items = collections.Counter(item for row in rows for item in row["segment"].split(" & "))
            print(f"    {name}: the most frequent item, {items.most_common(1)[0][0]}, is in {items.most_common(1)[0][1]} of {len(rows)}")


if __name__ == "__main__":
    main()
