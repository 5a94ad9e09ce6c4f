"""Which value of each method's own weight did best on the validation cars of the tuning seeds."""

from __future__ import annotations

import pandas as pd

from mstl.run.names import Variant


def tuned(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean validation Dice of every value that was tried.

    Args:
        runs: rows of ``results/tuning/<data>/runs.csv``; a variant is ``method+name=value``.

    Returns:
        Columns method, value, validation (Dice, mean over seeds and settings), seeds, best (bool); the values
        of a method in the order of the table.
    """
    variants = [Variant.parse(name) for name in runs["method"]]
    table = runs.assign(method=[v.method for v in variants], value=[v.change for v in variants])
    table = table.query("value != ''")
    grouped = table.groupby(["method", "value"], sort=False)
    means = grouped.agg(validation=("validation_dice", "mean"), seeds=("seed", "nunique")).reset_index()
    means["best"] = means["validation"] == means.groupby("method")["validation"].transform("max")
    return means


def tuning_table(runs: pd.DataFrame) -> pd.DataFrame:
    """`tuned` for readers: a row a method, its values with their Dice in percent, and the one taken."""
    rows = {
        method: {
            "tried (validation Dice, %)": ", ".join(
                f"{v.value} ({100 * v.validation:.1f})" for v in values.itertuples()
            ),
            "taken": values[values["best"]]["value"].iloc[0],
        }
        for method, values in tuned(runs).groupby("method", sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index")
