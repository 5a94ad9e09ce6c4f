"""The bars where sources label a part each, fixed before the sweep was run; beside them that of windows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mstl.report.grid import comparison
from mstl.report.grid.comparison import OURS, at_equal_time, choose, family, gap_of, is_rival
from mstl.report.grid.judging import COLUMNS, SEEDS, against, judged, missing, noted, place

# They know that sources label parts: what carries the result is told by them, not by the rivals.
CONTROLS = ("multi_head", "positive_unlabelled", "source_only")
DATA = ("carparts", "studio")
WITHOUT_ADVERSARY = f"{OURS}+adversarial=false"


def part_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """Every bar P1 to P4 with what was measured, one row a setting; columns as in `bars.bars`.

    * P1: recipe masks, no labels: `OURS` minus the best rival is ≥ 5 points with an interval above 0, where
      rivals were also run at equal time.
    * P2: recipe masks, 4 labels, photographs: ≥ 3 points, target only with a mean teacher included, and
      ≥ 50 % of the gap between target only and the oracle.
    * P3: recipe masks-styled, no labels: the adversary wins points against none, with an interval above 0.
    * P4: recipe parts, windows as sources, 4 and 8 labels: `OURS` is at most 0.5 points below the best rival.

    A fifth, P5, is about attention and not about scores: `attention_auc`.

    Rivals are all but `CONTROLS` and `OURS`; against the best of them, chosen after the fact.

    Raises:
        InputError: an empty table.
    """
    cars, runs = comparison.reported(cars, "cars"), comparison.reported(runs, "runs")
    rows = [_over_rivals(cars, runs, "P1", data, 0, 5, seeds) for data in DATA]
    rows.append(_over_rivals(cars, runs, "P2", "carparts", 4, 3, seeds))
    rows += [_adversary(cars, runs, data, seeds) for data in DATA]
    rows += [_windows(cars, runs, data, labels, seeds) for data in DATA for labels in (4, 8)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def rivals(scores: pd.DataFrame) -> list[str]:
    """The methods of a table that the bars count as rivals."""
    found = {family(variant) for variant in scores["method"] if is_rival(variant)}
    return sorted(found - set(CONTROLS))


def best_control(cars: pd.DataFrame) -> str | None:
    """The best of `CONTROLS` in one setting; None where none was run."""
    return comparison.best_rival(cars, among=CONTROLS)


def attention_auc(curves: pd.DataFrame, recipe: str = "masks", needed: float = 0.8) -> pd.DataFrame:
    """Bar P5: the AUC of each source's attention for its own part on validation images, end of training.

    Returns:
        One row a data set, number of labels and variant with attention: ``lowest`` and ``mean`` over sources
        of the mean over seeds, one column ``auc_<source>`` each, seeds, and whether the lowest is ``needed``.
    """
    areas = [column for column in curves if column.startswith("auc_")]
    rows = curves[curves["recipe"] == recipe].dropna(subset=areas, how="all") if areas else curves.iloc[:0]
    keys = ["data", "labels", "method"]
    last = rows.loc[rows.groupby([*keys, "seed"])["step"].idxmax()]
    table = last.groupby(keys)[areas].mean()
    table.insert(0, "lowest", table.min(axis=1))
    table.insert(1, "mean", table[areas].mean(axis=1))
    table["seeds"] = last.groupby(keys)["seed"].nunique()
    table["reached"] = np.where(table["lowest"] >= needed, "yes", "no")
    return table.reset_index()


def _over_rivals(
    cars, runs, bar: str, data: str, labels: int, needed: float, seeds: int
) -> dict[str, object]:
    scores, spent = (choose(table, "masks", labels, data=data) for table in (cars, runs))
    row = against(scores, spent, rivals(scores), needed, seeds) | place(data, "masks", labels)
    row |= {"bar": bar, "claim": f"≥ {needed:g} points over the best rival"}
    row["needed"] = f"≥ +{needed:g}, interval above 0, equal time"
    if not any(at_equal_time(v) and family(v) in rivals(scores) for v in scores["method"].unique()):
        row = noted(row, "untested", "no rival at equal time") if row["reached"] == "yes" else row
    if bar == "P2":
        row["claim"] += " and ≥ 50 % of the gap"
        row["needed"] += ", gap ≥ 50 %"
        row["gap_closed"] = gap_of(scores)
        if row["gap_closed"] < 50 and row["reached"] in ("yes", "no"):
            row = noted(row, "no", f"{50 - row['gap_closed']:.0f} % short of half the gap")
        elif np.isnan(row["gap_closed"]) and row["reached"] == "yes":
            row = noted(row, "untested", "no gap to close, or references not run")
    return row


def _adversary(cars, runs, data: str, seeds: int) -> dict[str, object]:
    scores, spent = (choose(table, "masks-styled", 0, data=data) for table in (cars, runs))
    row = judged(scores, spent, OURS, WITHOUT_ADVERSARY, 0, seeds) if len(scores) else missing()
    head = {"bar": "P3", "claim": "the adversary wins points", "needed": "interval above 0"}
    return row | head | place(data, "masks-styled", 0)


def _windows(cars, runs, data: str, labels: int, seeds: int) -> dict[str, object]:
    scores, spent = (choose(table, "parts", labels, data=data) for table in (cars, runs))
    row = against(scores, spent, rivals(scores), -0.5, seeds, clear=False) | place(data, "parts", labels)
    return row | {"bar": "P4", "claim": "at most 0.5 points below the best rival", "needed": "≥ −0.5"}
