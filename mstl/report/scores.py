"""Which score a table holds: Dice of masks, or accuracy of classes."""

from __future__ import annotations

import pandas as pd

# Column and what tables and figures call it, and the columns that stand beside it.
TITLES = {"dice": "Dice", "accuracy": "accuracy"}
BESIDES = {"dice": ("iou",), "accuracy": ()}


def score(table: pd.DataFrame) -> str:
    """The column of a table's score, "dice" or "accuracy"; of rows of both kinds, that of the masks."""
    return next((name for name in TITLES if name in table and table[name].notna().any()), "dice")


def columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table's score and of what stands beside it."""
    return [score(table), *BESIDES[score(table)]]


def title(table: pd.DataFrame) -> str:
    """What tables and figures call the score of a table."""
    return TITLES[score(table)]


def scores_of(table: pd.DataFrame, suffix: str = "") -> pd.Series:
    """The score of every row of a table, of whatever data it is; columns end in ``suffix``."""
    found = [table[name + suffix] for name in TITLES if name + suffix in table]
    return found[0] if len(found) == 1 else found[0].fillna(found[1])
