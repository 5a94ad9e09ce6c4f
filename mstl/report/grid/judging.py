"""How a bar is judged: the paired difference to a rival, and why it is reached, missed or not tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mstl.report.comparisons import COMPARISON
from mstl.report.grid import comparison
from mstl.report.grid.comparison import NOT_RUN, OURS, best_rival, is_single_source, variant_label
from mstl.run.names import Setting

SEEDS = 5  # a bar counts as tested with this many
COLUMNS = ["bar", "claim", "data", "recipe", "labels", "against", "difference", "low", "high", "needed"]
COLUMNS += ["gap_closed", "time", "seeds", "dropped", "reached", "note"]


def against(
    scores: pd.DataFrame,
    spent: pd.DataFrame,
    among: Iterable[str] | None,
    needed: float,
    seeds: int,
    **options,
) -> dict[str, object]:
    """`judged` of `OURS` and the best variant of some methods, of every rival where None."""
    name = best_rival(scores, among=among) if len(scores) else None
    return missing() if name is None else judged(scores, spent, OURS, name, needed, seeds, **options)


def judged(
    scores: pd.DataFrame,
    spent: pd.DataFrame,
    ours: str,
    name: str,
    needed: float,
    seeds: int,
    clear: bool = True,
) -> dict[str, object]:
    """Variant ``ours`` minus variant ``name`` in one setting: is it ``needed`` points, and ``clear`` of 0?"""
    if not {ours, name} <= set(scores["method"]):
        return missing()
    difference = comparison.paired(scores, ours, name).iloc[0].to_dict()
    row = missing() | {key: difference[key] for key in difference if key not in COMPARISON}
    if row["note"] == NOT_RUN:
        return row
    time = spent.groupby("method")["seconds"].mean()
    row |= {"against": named(name), "time": time.get(name, np.nan) / time.get(ours, np.nan)}
    if row["seeds"] < seeds:
        return noted(row, "untested", f"{row['seeds']} of {seeds} seeds")
    if row["difference"] < needed:
        return noted(row, "no", f"{needed - row['difference']:.1f} points short")
    if clear and row["low"] <= 0:
        return noted(row, "no", "interval not above 0")
    return row | {"reached": "yes"}


def named(variant: str) -> str:
    """What a reader is told of a variant that was chosen among others."""
    after = " (the best single source, named after the fact)" if is_single_source(variant) else ""
    return variant_label(variant) + after


def noted(row: dict[str, object], reached: str, note: str) -> dict[str, object]:
    """The row with a verdict and the reason added."""
    return row | {"reached": reached, "note": "; ".join(filter(None, (row.get("note"), note)))}


def place(data: str, recipe: str, labels: int) -> dict[str, object]:
    """The columns that say where."""
    return {"data": data, "recipe": recipe, "labels": labels}


def missing(recipe: str = "", labels: float = np.nan) -> dict[str, object]:
    """A row of what was not run."""
    numbers = dict.fromkeys(("difference", "low", "high", "gap_closed", "time"), np.nan)
    words = {"data": "any data", "recipe": recipe, "against": "", "reached": NOT_RUN, "note": ""}
    return {**numbers, **words, "labels": labels, "seeds": 0, "dropped": 0}


def settings(cars: pd.DataFrame, wanted, labels: int | None = None) -> Sequence[tuple[str, str, int]]:
    """(data, recipe, labels) of the settings whose recipe is ``wanted``, in order."""
    there = cars[["data", "recipe", "labels"]].drop_duplicates().sort_values(["data", "recipe", "labels"])
    return [
        (row.data, row.recipe, row.labels)
        for row in there.itertuples()
        if wanted(Setting.parse(row.recipe)) and labels in (None, row.labels)
    ]
