"""Trees of points against SciPy's.

    linkage.py BENCH [--inputs 50] [--points 2000]

BENCH is the program of `cargo bench --bench linkage --no-run`. For each input, points of 4 to 130 coordinates, scattered evenly or in
clusters, the merges of both programs are held against each other, linkage by linkage, from a matrix and in rounds by 1, 2 and 4 workers. Prints the largest relative difference of a
height; ends with 1 when a merge differs, or a height by more than 1e-9.
"""

import argparse
import subprocess
import sys

import numpy as np
from scipy.cluster.hierarchy import linkage


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bench")
    arguments.add_argument("--inputs", type=int, default=50)
    arguments.add_argument("--points", type=int, default=2000)
    arguments = arguments.parse_args()
    worst, wrong = {}, 0
    for seed in range(arguments.inputs):
        random = np.random.default_rng(seed)
        dimensions = int(random.integers(4, 131))
        points = random.random((arguments.points, dimensions))
        if seed % 2:
            centres = random.random((12, dimensions)) * 3
            points = centres[random.integers(0, 12, arguments.points)] + 0.1 * random.standard_normal(points.shape)
        text = "\n".join(",".join(repr(float(value)) for value in point) for point in points)
        for method in ("ward", "average", "complete"):
            expected = linkage(points, method)
            for workers in ([], ["1"], ["2"], ["4"]):
                command = [arguments.bench, "tree", method, *workers]
                found = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
                found = np.array([[float(value) for value in line.split(",")] for line in found.stdout.split()])
                wrong += int((found[:, :2] != expected[:, :2]).any(axis=1).sum())
                difference = float(np.max(np.abs(found[:, 2] - expected[:, 2]) / expected[:, 2]))
                key = f"{method}, {'rounds by ' + workers[0] if workers else 'matrix'}"
                worst[key] = max(worst.get(key, 0.0), difference)
    for method, difference in worst.items():
        print(f"{method}: {arguments.inputs} inputs of {arguments.points} points, largest relative difference {difference:.2g}")
    print(f"merges that differ: {wrong}")
    sys.exit(0 if wrong == 0 and max(worst.values()) <= 1e-9 else 1)


if __name__ == "__main__":
    main()
