"""Which score a table holds: Dice of masks, or accuracy of classes."""

from __future__ import annotations

import pandas as pd

# Column and what tables and figures call it, and the columns that stand beside it.
TITLES = {"dice": "Dice", "accuracy": "accuracy"}
BESIDES = {"dice": ("iou",), "accuracy": ()}


def score(table: pd.DataFrame) -> str:
    """The column of a table's score, "dice" or "accuracy"; of rows of both kinds, that of the masks."""
    return next((name for name in TITLES if name in table and table[name].notna().any()), "dice")


def title(table: pd.DataFrame) -> str:
    """What tables and figures call the score of a table."""
    return TITLES[score(table)]
