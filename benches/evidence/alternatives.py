"""The decision tree and k-means beside the groups against scikit-learn, on the same items.

    alternatives.py NICHEMINE JOB...

For each job, whose table is a CSV file, the program is run three times with nobody held out, so that both look at all customers:

- as it is: the tree is held against a second one grown here (all cuts of a feature's items by order of their means, best first), leaf
  by leaf; k-means, where the table has few enough customers that none is left out, against the squared distances that
  scikit-learn's KMeans comes to, and always by what its parts explain;
- over a table with one yes/no column for each item, against scikit-learn's DecisionTreeRegressor on these columns, leaf by leaf.

Prints both sides; ends with 1 when a tree differs, or k-means is more than 1 % worse. Needs scikit-learn, and jobs whose features are
texts and numbers.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.cluster import KMeans
from sklearn.tree import DecisionTreeRegressor

from runs import read, write


def publish(nichemine, job, out, *settings):
    """Runs a job with nobody held out; the run's folder and its log."""
    settings = ["highlight.holdout=0", f"output.dir={out}", *settings]
    command = [nichemine, "--log-format", "json", "run", str(job), "--output", "json"]
    command += [part for setting in settings for part in ("--set", setting)]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NICHEMINE_LOG": "debug"})
    if ran.returncode:
        sys.exit(f"{job}: {ran.stderr}")
    return pathlib.Path(json.loads(ran.stdout)["path"]), ran.stderr


def codes(run, names, rows):
    """Of each combined feature its name and a code a row, by the run's own codebook; -1 for values too rare for an item."""
    features = json.loads((run / "features.json").read_text())["features"]
    coded = []
    for feature in features:
        place = names.index(feature["column"])
        texts = [row[place].strip() for row in rows]
        missing = ["missing" if text == "" or text in feature["null_values"] else None for text in texts]
        items = feature["items"]

        def code(text, is_missing):
            if is_missing:
                return next((i for i, item in enumerate(items) if item == "missing"), -1)
            for i, item in enumerate(items):
                if item == "missing":
                    continue
                kind, value = next(iter(item.items()))
                if kind == "text" and value == text:
                    return i
                if kind in ("int", "number") and float(text) == value:
                    return i
                if kind == "bool" and text.lower() in (["1", "true"] if value else ["0", "false"]):
                    return i
                if kind == "range":
                    low, high = value["low"], value["high"]
                    if (low is None or float(text) >= low) and (high is None or float(text) < high):
                        return i
            return -1

        known = {}
        column = []
        for text, is_missing in zip(texts, missing):
            if (text, is_missing) not in known:
                known[text, is_missing] = code(text, is_missing)
            column.append(known[text, is_missing])
        column = np.array(column)
        coded.append((feature["name"], len(items), column))
        if (np.bincount(column[column >= 0], minlength=len(items)) != feature["uv"][: len(items)]).any():
            sys.exit(f"{feature['name']}: items are not counted as the run counts them")
    return coded


def best_cut(column, items, y, own, least):
    """The cut of one feature's items by order of their means that adds most: what it adds, and the codes of those who do best."""
    shifted = column[own] + 1
    uv = np.bincount(shifted, minlength=items + 1)
    total = np.bincount(shifted, weights=y[own], minlength=items + 1)
    there = np.flatnonzero(uv)
    order = there[np.argsort(-total[there] / uv[there], kind="stable")]
    n, s = np.cumsum(uv[order])[:-1], np.cumsum(total[order])[:-1]
    if not len(n):
        return -1, None
    all_n, all_s = uv.sum(), total.sum()
    gain = s**2 / n + (all_s - s) ** 2 / (all_n - n) - all_s**2 / all_n
    gain[(n < least) | (all_n - n < least)] = -1
    at = int(np.argmax(gain))
    return gain[at], order[: at + 1] - 1


def grow(coded, y, leaves, least):
    """Best first; the rows of each leaf."""
    y = y - y.mean()
    cuts = lambda own: max(((*best_cut(c, items, y, own, least), i) for i, (_, items, c) in enumerate(coded)), key=lambda c: c[0])
    parts = [np.ones(len(y), bool)]
    best = [cuts(parts[0])]
    while len(parts) < leaves and max(best, key=lambda c: c[0])[0] > 0:
        part = max(range(len(parts)), key=lambda i: best[i][0])
        _, moved, feature = best[part]
        moves = parts[part] & np.isin(coded[feature][2], moved)
        parts[part] = parts[part] & ~moves
        parts.append(moves)
        best[part] = cuts(parts[part])
        best.append(cuts(moves))
    return parts


def explained(parts, y):
    """Share of the variance of y between sets of rows."""
    return sum(part.sum() * (y[part].mean() - y.mean()) ** 2 for part in parts if part.any()) / ((y - y.mean()) ** 2).sum()


def leaves_of(entry):
    """Customers and yes (or sum) of each part, sorted."""
    return sorted((part["uv"], round(part["metric_sum"], 4)) for part in entry["parts"])


def same(what, found, parts, y):
    expected = sorted((int(part.sum()), round(float(y[part].sum()), 4)) for part in parts)
    share = explained(parts, y)
    alike = leaves_of(found) == expected and abs(found["explained"] - share) < 1e-9
    print(f"  {what}: {found['count']} leaves explain {found['explained']:.6f}, the other {share:.6f}; {'the same leaves' if alike else 'DIFFERENT'}")
    if not alike:
        print("   ", leaves_of(found), expected)
    return alike


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("job", type=pathlib.Path, nargs="+")
    arguments = arguments.parse_args()
    well = True
    for job in arguments.job:
        text = job.read_text()
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            run, log = publish(arguments.nichemine, job, folder / "as-it-is")
            names, rows, _, _ = read(text)
            groups = json.loads((run / "groups.json").read_text())
            manifest = json.loads((run / "manifest.json").read_text())
            metric = manifest["job"]["metric"]
            place = names.index(metric["column"])
            positive = metric.get("positive") or ["1", "yes", "true"]
            positive = [positive] if isinstance(positive, str) else positive
            y = np.array([float(row[place].strip() in map(str, positive)) for row in rows])
            coded = codes(run, names, rows)
            by = {entry["method"]: entry for entry in groups["alternatives"]}
            parts, least = by["tree"]["count"], manifest["privacy"]["min_uv"]
            print(f"{job.stem}: {len(y)} customers, {len(coded)} features, {parts} parts")
            well &= same("items in order of their means", by["tree"], grow(coded, y, parts, least), y)
            more = grow(coded, y, parts + 1, least)
            difference = abs(explained(more, y) - by["tree"]["one_more"]["explained"])
            print(f"    with one leaf more the difference is {difference:.1e}")
            well &= difference < 1e-9

            one_hot = np.column_stack([c == i for _, items, c in coded for i in range(-1 if (c < 0).any() else 0, items)])
            verdicts = {v["feature"]: v["influence"] for v in json.loads((run / "features.json").read_text())["verdicts"] if v["kept"]}
            total = sum(verdicts.values())
            weight = np.array([verdicts[name] / total for name, items, c in coded for _ in range(items + int((c < 0).any()))])
            for kind, points in (("weighted", one_hot * np.sqrt(weight)), ("not weighted", one_hot.astype(float))):
                fitted = KMeans(parts, n_init=20, random_state=1).fit(points)
                shares = [explained([fitted.labels_ == part for part in range(parts)], y)]
                ours = [float(s) for s in re.findall(r'"scatter":"Some\(\[([0-9.e+-]+),', log)]
                if kind == "weighted":
                    print(f"  k-means explains {by['kmeans']['explained']:.4f}; scikit-learn's {shares[0]:.4f}, squared distances {fitted.inertia_:.4f} against {ours}")
                    if len(y) <= 8192 and ours:
                        well &= ours[0] <= 1.01 * fitted.inertia_
                else:
                    print(f"  scikit-learn's without weights of features explains {shares[0]:.4f}")

            header = [f"i{number}" for number in range(one_hot.shape[1])]
            lines = [[*map(str, row.astype(int)), str(int(value))] for row, value in zip(one_hot, y)]
            write(folder / "one-hot.csv", header + ["y"], lines, ",")
            (folder / "job.toml").write_text(
                f'input = {{ path = "{folder}/one-hot.csv" }}\nmetric = {{ column = "y", kind = "rate" }}\n'
                f'output = {{ dir = "{folder}/one-hot" }}\nscreen = {{ off = true }}\nenumerate = {{ max_level = 2, min_uv = {least} }}\n'
                "highlight = { max_uv_share = 0.3, min_gain = 1.0, min_impact_share = 0.0 }\n"
            )
            run, _ = publish(arguments.nichemine, folder / "job.toml", folder / "one-hot")
            groups = json.loads((run / "groups.json").read_text())
            tree = next(entry for entry in groups["alternatives"] if entry["method"] == "tree")
            fitted = DecisionTreeRegressor(max_leaf_nodes=tree["count"], min_samples_leaf=least, random_state=0).fit(one_hot, y)
            leaf = fitted.apply(one_hot)
            well &= same("an item against the others, scikit-learn", tree, [leaf == number for number in np.unique(leaf)], y)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
