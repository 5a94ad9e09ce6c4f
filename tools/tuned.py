"""Which value of each method's own weight did best on the validation cars of the tuning seeds?

    make sweep SWEEP=tuning DATA_DIR_CARPARTS=path/to/photographs
    python tools/tuned.py

Prints each method's values with their mean validation score in percent, the best one starred. Another folder
of results may be named, `tools/tuned.py masks-tuning`; each data set, number of labels and kind of target
(all classes, or some) has its own list then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from mstl.report import results
from mstl.report.grid.tuning import tuned
from mstl.system.errors import InputError

POOLED = "tuning"  # one value of a weight for all its settings


def main(name: str = POOLED) -> int:
    """Print the table; returns the exit status."""
    folder = Path(__file__).parent.parent / "results" / name
    try:
        runs = [results.load(folder, data, "runs") for data in results.available(folder)]
        if not runs:
            raise InputError(f"{folder} holds no results; make them with `make sweep SWEEP={name}`")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = pd.concat(runs)
    parts = {"": table} if name == POOLED else dict(iter(table.groupby(_places(table))))
    for title, rows in parts.items():
        print(title, end="\n" * bool(title))
        for row in tuned(rows).itertuples():
            print(f"{row.method:<18}{row.value:<34}{100 * row.validation:6.1f}{' *' if row.best else ''}")
    return 0


def _places(table: pd.DataFrame) -> pd.Series:
    """What has a list of its own."""
    partial = table["recipe"].str.startswith("partial").map({True: ", partial target", False: ""})
    return table["data"] + partial + ", " + table["labels"].astype(str) + " labels"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
