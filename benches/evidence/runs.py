"""Runs of a job over tables that are made of its own, and what they say of a stated rate."""

import csv
import gzip
import json
import pathlib
import re
import subprocess

from scipy import stats


def read(job):
    """Names, rows, delimiter, and whether there is a header line, of the table that a job's text names."""
    path = re.search(r'^path = "(.*)"', job, re.M).group(1)
    delimiter = (re.search(r'^delimiter = "(.*)"', job, re.M) or [None, ","])[1]
    header = "header = false" not in job
    names = re.findall(r'"([^"]+)"', re.search(r"^names = \[(.*?)\]", job, re.M | re.S).group(1)) if not header else None
    rows = []
    for file in sorted(pathlib.Path(path).parent.glob(pathlib.Path(path).name)):
        opened = gzip.open if file.suffix == ".gz" else open
        read = list(csv.reader(opened(file, "rt", encoding="utf-8"), delimiter=delimiter))
        names, read = (read[0], read[1:]) if header else (names, read)
        rows += [row for row in read if len(row) == len(names)]
    return [name.strip() for name in names], rows, delimiter, header


def write(path, names, rows, delimiter):
    """Rows under names, if any."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerows(([names] if names else []) + rows)


def run(nichemine, job, settings, options=()):
    """Runs a job with settings and further options; what it says on one line."""
    command = [nichemine, "run", str(job), "--output", "json", *options]
    command += [part for setting in settings for part in ("--set", setting)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def bounded(job, hits, runs, setting, default):
    """Prints the share of runs with a hit against the rate that a setting of the job states; whether it may be no more than that."""
    rate = float((re.search(rf"^{setting} = ([0-9.]+)", job, re.M) or [None, default])[1])
    above = stats.binomtest(hits, runs, rate, alternative="greater").pvalue
    upper = stats.binomtest(hits, runs).proportion_ci(method="exact").high
    print(f"  share {hits / runs:.3f}, at most {upper:.3f} (95 %); p that it is above {rate}: {above:.3g}")
    return above > 0.05
