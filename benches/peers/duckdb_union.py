#!/usr/bin/env python3
"""Every conjunction of up to L text columns that enough rows share, with its rows and a sum, counted by DuckDB.

    duckdb_union.py TABLE.parquet --metric COLUMN [--features A,B,...] [--level 3] [--min-share 0.001 | --min-uv N]
                    [--mode union8 | cuboid8] [--block 5] [--threads 2] [--repeat 3] [--out OTHER.csv]
                    [--segments RUN/segments.parquet]

union8   one GROUP BY per set of columns, UNION ALL of 64 in a query.
cuboid8  one GROUP BY per covering block of up to --block columns into a temporary table; the sets inside are summed out
         of that table.

Columns are coded to the smallest unsigned integer first, as DuckDB groups small integers through an array. All text columns
are features unless --features says which. Prints one line of JSON for each repeat: seconds to load and code (`load_s`), to
count into memory (`count_s`), CPU seconds of counting, and peak memory so far. With --segments the answer is compared with
that of a run, and the exit code is 1 if they differ. Needs duckdb and pyarrow; Python 3.10 or later.
"""

import argparse
import csv
import json
import math
import os
import resource
import sys
import time
from itertools import combinations
from pathlib import Path

import duckdb
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from compare import compare, rows_of_run

SETS_A_QUERY = 64
# A block's table may have as many groups as fit a grid of this size.
BLOCK_CELLS = 1 << 18


class Table:
    """A table in DuckDB with columns f0, f1 ... of codes and m, the metric; and what the codes mean."""

    def __init__(self, path, metric, features, threads):
        schema = parquet.read_schema(path)
        texts = [field.name for field in schema if is_text(field.type)]
        self.features = features or texts
        unfit = [name for name in self.features if name not in texts or "=" in name]
        if unfit:
            sys.exit(f"{unfit}: expected columns of text, without '=' in their names")
        columns = parquet.read_table(path, columns=[*self.features, metric])
        self.items, coded = [], {}
        for number, name in enumerate(self.features):
            items, codes = code(columns[name])
            self.items.append([f"{name}={item}" for item in items])
            coded[f"f{number}"] = codes
        coded["m"] = columns[metric].cast(arrow.int64())
        self.rows = columns.num_rows
        self.base = DuckDB(threads)
        self.base.load("t", arrow.table(coded))

    def cells(self, columns):
        return math.prod(len(self.items[column]) for column in columns)


class DuckDB:
    def __init__(self, threads):
        self.connection = duckdb.connect()
        self.connection.execute(f"SET threads = {threads}")
        self.connection.execute("SET preserve_insertion_order = false")

    def load(self, name, table):
        self.connection.register("incoming", table)
        self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
        self.connection.unregister("incoming")

    def execute(self, sql):
        self.connection.execute(sql)

    def rows(self, sql):
        return self.connection.sql(sql).to_arrow_table()


def is_text(kind):
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    return arrow.types.is_string(kind) or arrow.types.is_large_string(kind)


def code(column):
    """The distinct values of a column and a small integer for each row; a missing value is an item of its own."""
    column = column.cast(arrow.string())
    if compute.any(compute.equal(column, "(missing)")).as_py():
        sys.exit("a value is '(missing)', which stands for no value")
    column = compute.fill_null(column, "(missing)").combine_chunks().dictionary_encode()
    items = column.dictionary.to_pylist()
    odd = [item for item in items if " & " in item or item != item.strip() or item.startswith('"') or not item.isprintable()]
    if odd:
        sys.exit(f"{odd[:3]}: the run would quote these values, which is not done here")
    kind = arrow.uint8() if len(items) <= 256 else arrow.uint16()
    return items, column.indices.cast(kind)


def sets_up_to(level, columns):
    return [chosen for size in range(1, level + 1) for chosen in combinations(range(columns), size)]


def blocks_for(table, level, widest):
    """Blocks of columns and the sets to be summed out of each, every set once. Greedy: a block starts with a set that has
    no block yet, and takes in the column that completes most such sets while its cells are few enough."""
    missing = set(combinations(range(len(table.features)), min(level, len(table.features))))
    summed = set()
    for start in sorted(missing):
        if start not in missing:
            continue
        block = list(start)
        while len(block) < widest:
            def completed(column):
                return sum(tuple(sorted((*rest, column))) in missing for rest in combinations(block, level - 1))

            others = [c for c in range(len(table.features)) if c not in block and table.cells([*block, c]) <= BLOCK_CELLS]
            best = max(others, key=completed, default=None)
            if best is None or not completed(best):
                break
            block.append(best)
        block.sort()
        inside = [chosen for size in range(1, level + 1) for chosen in combinations(block, size) if chosen not in summed]
        summed.update(inside)
        missing.difference_update(inside)
        yield block, inside


def group_by(number, columns, level, source, least, uv, metric):
    """SELECT of one set: its number, the codes of its items, rows and sum."""
    items = [f"f{column}" for column in columns]
    padded = [f"{name}::USMALLINT AS c{i}" for i, name in enumerate(items + ["0"] * (level - len(items)))]
    return (
        f"SELECT {number}::INTEGER AS s, {', '.join(padded)}, {uv}::BIGINT AS uv, sum({metric})::BIGINT AS metric_sum "
        f"FROM {source} GROUP BY {', '.join(items)} HAVING {uv} >= {least}"
    )


def count_by_union(table, level, least, _widest):
    """Sets and the answers to the queries, each of which has the numbers of its sets."""
    sets = sets_up_to(level, len(table.features))
    answers = []
    for first in range(0, len(sets), SETS_A_QUERY):
        numbered = enumerate(sets[first : first + SETS_A_QUERY], first)
        selects = [group_by(number, columns, level, "t", least, "count(*)", "m") for number, columns in numbered]
        answers.append(table.base.rows(" UNION ALL ".join(selects)))
    return sets, answers


def count_by_block(table, level, least, widest):
    sets, answers = [], []
    for block, inside in blocks_for(table, level, widest):
        names = ", ".join(f"f{column}" for column in block)
        table.base.execute(
            f"CREATE OR REPLACE TEMP TABLE block AS "
            f"SELECT {names}, count(*) AS n, sum(m)::BIGINT AS m FROM t GROUP BY {names}"
        )
        numbered = enumerate(inside, len(sets))
        selects = [group_by(number, columns, level, "block", least, "sum(n)", "m") for number, columns in numbered]
        answers.append(table.base.rows(" UNION ALL ".join(selects)))
        sets.extend(inside)
    return sets, answers


MODES = {"union8": count_by_union, "cuboid8": count_by_block}


def segments(table, sets, answers):
    """Segment, rows and sum of every row of the answers."""
    labels = [arrow.array(items) for items in table.items]
    for answer in answers:
        answer = answer.sort_by("s")
        numbers = compute.value_counts(answer["s"])
        first = 0
        for entry in numbers:
            columns, length = sets[entry["values"].as_py()], entry["counts"].as_py()
            part = answer.slice(first, length)
            first += length
            items = [labels[column].take(part[f"c{i}"].combine_chunks()) for i, column in enumerate(columns)]
            texts = compute.binary_join_element_wise(*items, " & ")
            yield from zip(texts.to_pylist(), part["uv"].to_pylist(), part["metric_sum"].to_pylist())


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--features", type=lambda text: text.split(","))
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--min-share", type=float, default=0.001)
    parser.add_argument("--min-uv", type=int)
    parser.add_argument("--mode", choices=MODES, default="union8")
    parser.add_argument("--block", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--segments", type=Path)
    given = parser.parse_args()

    started = time.perf_counter()
    table = Table(given.table, given.metric, given.features, given.threads)
    load_s = time.perf_counter() - started
    # As the program does it: rounded up, and a share that falls on a whole number stays there.
    least = given.min_uv or max(1, math.ceil(given.min_share * table.rows - 1e-9))
    for _ in range(given.repeat):
        started, cpu = time.perf_counter(), cpu_seconds()
        sets, answers = MODES[given.mode](table, given.level, least, given.block)
        count_s, count_cpu_s = time.perf_counter() - started, cpu_seconds() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        facts = {
            "mode": given.mode,
            "duckdb": duckdb.__version__,
            "threads": given.threads,
            "rows": table.rows,
            "features": len(table.features),
            "level": given.level,
            "min_uv": least,
            "sets": len(sets),
            "queries": len(answers),
            "segments": sum(answer.num_rows for answer in answers),
            "load_s": round(load_s, 3),
            "count_s": round(count_s, 3),
            "count_cpu_s": round(count_cpu_s, 3),
            "peak_mb": round(peak / 1e6),
            "load_average": round(os.getloadavg()[0], 1),
        }
        print(json.dumps(facts), flush=True)

    if given.out:
        with open(given.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["segment", "uv", "metric_sum"])
            writer.writerows(segments(table, sets, answers))
    if given.segments and not compare(rows_of_run(given.segments), segments(table, sets, answers)):
        sys.exit(1)


if __name__ == "__main__":
    main()
