"""Which value of each method's own weight did best on the validation cars of the tuning seeds."""

from __future__ import annotations

import pandas as pd

from mstl.report.comparisons import COMPARISON
from mstl.report.scores import score, title
from mstl.run.names import Variant


def tuned(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean validation score of every value that was tried, over the settings and seeds that all of them have.

    Args:
        runs: rows of ``results/tuning/<data>/runs.csv``; a variant is ``method+name=value``.

    Returns:
        Columns method, value, validation (nan where no setting and seed has all values), seeds, best (bool);
        the values of a method in the order of the table.
    """
    variants = [Variant.parse(name) for name in runs["method"]]
    table = runs.assign(method=[v.method for v in variants], value=[v.change for v in variants])
    table = table.query("value != ''")
    keys = [column for column in (*COMPARISON, "seed") if column in table]
    rows = []
    for method, tried in table.groupby("method", sort=False):
        shared = tried.pivot(index=keys, columns="value", values=f"validation_{score(runs)}").dropna()
        seeds = shared.index.get_level_values("seed").nunique()
        rows += [
            {"method": method, "value": value, "validation": shared[value].mean(), "seeds": seeds}
            for value in tried["value"].unique()
        ]
    means = pd.DataFrame(rows, columns=["method", "value", "validation", "seeds"])
    means["best"] = means["validation"] == means.groupby("method")["validation"].transform("max")
    return means


def tuning_table(runs: pd.DataFrame) -> pd.DataFrame:
    """`tuned` for readers: a row a method, its values with their scores in percent, and the one taken."""
    rows = {
        method: {
            f"tried (validation {title(runs)}, %)": ", ".join(
                f"{v.value} ({100 * v.validation:.1f})" for v in values.itertuples()
            ),
            "taken": next(iter(values[values["best"]]["value"]), "none: no setting has all values"),
        }
        for method, values in tuned(runs).groupby("method", sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index")
