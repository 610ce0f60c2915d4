"""Groups by every linkage, side by side.

    groups.py NICHEMINE JOB... [--linkages smallest_first,ward]

Runs each job with each `merge.linkage` and prints a table: highlights merged, groups, smallest and largest group, customers in groups
as the sum over them and as the manifest counts them, the share of the metric's variance between the groups, and the silhouette.
Then, of the groups by the first linkage, the same share beside that of k-means and a decision tree of as many parts, of one part more,
and held out; the customers in parts, and of the smallest and the largest one; conditions; and how the worst and the best part do.
"""

import argparse
import json
import pathlib
import tempfile

import runs

LINKAGES = ("smallest_first", "ward", "average", "complete")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("nichemine")
    arguments.add_argument("jobs", nargs="+", type=pathlib.Path)
    arguments.add_argument("--linkages", default=",".join(LINKAGES))
    arguments = arguments.parse_args()
    linkages = arguments.linkages.split(",")
    print("| job | linkage | merged | groups | smallest | largest | in groups | explained | silhouette |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    others = []
    for job in arguments.jobs:
        for linkage in linkages:
            with tempfile.TemporaryDirectory() as folder:
                settings = [f"merge.linkage={linkage}", f'output.dir="{folder}"']
                run = pathlib.Path(runs.run(arguments.nichemine, job, settings)["path"])
                groups, manifest = (json.loads((run / name).read_text()) for name in ("groups.json", "manifest.json"))
            if linkage == linkages[0]:
                others += [(job.stem, entry) for entry in groups["alternatives"]]
            sizes = [group["uv"] for group in groups["groups"]]
            assert sum(sizes) == manifest["assigned"], f"{job}: {sum(sizes)} and {manifest['assigned']}"
            chosen = next((choice for choice in groups["choices"] if choice["chosen"]), {})
            figures = [chosen.get("explained"), chosen.get("silhouette")]
            figures = ["–" if figure is None else f"{figure:.3f}" for figure in figures]
            sizes = [len(groups["leaves"]), len(sizes), min(sizes, default=0), max(sizes, default=0), sum(sizes)]
            print("|", " | ".join([job.stem, linkage, *(f"{size:,}" for size in sizes), *figures]), "|", flush=True)
    print()
    print("| job | method | parts | explained | held out | one more | held out | in parts | smallest | largest | conditions | lowest | highest |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    share = lambda value: "–" if value is None else f"{value:.3f}"
    number = lambda value: "–" if value is None else f"{value:,}"
    end = lambda end: "–" if end is None else f"{end['lift']:.2f}" if end["lift"] is not None else f"{end['effect']:+.3g}"
    for name, entry in others:
        more = entry["one_more"] or {"explained": None, "validation_explained": None}
        row = [name, entry["method"], str(entry["count"])]
        row += [share(of[key]) for of in (entry, more) for key in ("explained", "validation_explained")]
        row += [f"{entry['uv_share']:.0%}", number(entry["smallest"]), number(entry["largest"]), number(entry["conditions"])]
        print("|", " | ".join(row + [end(entry["lowest"]), end(entry["highest"])]), "|")


if __name__ == "__main__":
    main()
