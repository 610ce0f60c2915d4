"""Trees of points against SciPy's.

    linkage.py BENCH [--inputs 50] [--points 2000]

BENCH is the program of `cargo bench --bench linkage --no-run`. For each input, points of 4 to 130 coordinates, scattered evenly or in
clusters, the merges of both programs are held against each other, linkage by linkage. Prints the largest relative difference of a
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
            found = subprocess.run([arguments.bench, "tree", method], input=text, capture_output=True, text=True, check=True)
            found = np.array([[float(value) for value in line.split(",")] for line in found.stdout.split()])
            expected = linkage(points, method)
            wrong += int((found[:, :2] != expected[:, :2]).any(axis=1).sum())
            difference = float(np.max(np.abs(found[:, 2] - expected[:, 2]) / expected[:, 2]))
            worst[method] = max(worst.get(method, 0.0), difference)
    for method, difference in worst.items():
        print(f"{method}: {arguments.inputs} inputs of {arguments.points} points, largest relative difference {difference:.2g}")
    print(f"merges that differ: {wrong}")
    sys.exit(0 if wrong == 0 and max(worst.values()) <= 1e-9 else 1)


if __name__ == "__main__":
    main()
