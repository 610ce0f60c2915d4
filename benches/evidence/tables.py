"""The CSV table of a job, read and written as its rows."""

import csv
import pathlib
import re


def read(job):
    """Names, rows, delimiter, and whether there is a header line, of the table that a job's text names."""
    path = re.search(r'^path = "(.*)"', job, re.M).group(1)
    delimiter = (re.search(r'^delimiter = "(.*)"', job, re.M) or [None, ","])[1]
    header = "header = false" not in job
    names = re.findall(r'"([^"]+)"', re.search(r"^names = \[(.*?)\]", job, re.M | re.S).group(1)) if not header else None
    rows = []
    for file in sorted(pathlib.Path(path).parent.glob(pathlib.Path(path).name)):
        read = list(csv.reader(file.open(encoding="utf-8"), delimiter=delimiter))
        names, read = (read[0], read[1:]) if header else (names, read)
        rows += [row for row in read if len(row) == len(names)]
    return [name.strip() for name in names], rows, delimiter, header


def write(path, names, rows, delimiter):
    """Rows under names, if any."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerows(([names] if names else []) + rows)
