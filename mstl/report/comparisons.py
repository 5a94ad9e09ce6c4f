"""What makes scores comparable: no table, interval or figure averages over several of these by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mstl.system.errors import InputError

# Methods and seeds of one comparison share these; extra sources and those left out are part of the recipe.
COMPARISON = ["data", "recipe", "sources", "labels", "profile"]


def comparisons(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each comparison by its name, which says what the others have otherwise.

    A single comparison has the name ``""``.
    """
    varying = [column for column in COMPARISON if table[column].nunique() > 1]
    return {
        name_of({column: rows[column].iloc[0] for column in varying}): rows
        for _, rows in table.groupby(COMPARISON, sort=True)
    }


def name_of(values: Mapping[str, object]) -> str:
    """``"studio/parts, 4 labels"``: whatever of the columns `COMPARISON` is given, in that order."""
    place = "/".join(str(values[column]) for column in ("data", "recipe") if column in values)
    spoken = {"sources": "J = {}", "labels": "{} labels", "profile": "profile {}"}
    rest = [form.format(values[column]) for column, form in spoken.items() if column in values]
    return ", ".join(filter(None, [place, *rest]))


def listed(table: pd.DataFrame, column: str) -> str:
    """The values of a column, each once, in order."""
    return ", ".join(map(str, sorted(table[column].unique())))


def telling(table: pd.DataFrame, always: Sequence[str] = ("data", "recipe", "labels")) -> list[str]:
    """The columns of `COMPARISON` that tell a table's comparisons apart: ``always``, and others it takes."""
    there = [column for column in COMPARISON if column in table]
    several = table.groupby(list(always))[there].nunique().max() > 1
    return [column for column in there if column in always or several[column]]


def check_one(table: pd.DataFrame, besides: Sequence[str] = ()) -> None:
    """Refuse a table of several comparisons, or of several values in the columns ``besides``.

    Raises:
        InputError: it is one.
    """
    for column in (*COMPARISON, *besides):
        if column in table and table[column].nunique() > 1:
            raise InputError(
                f"scores of several {column} ({listed(table, column)}) would be averaged into one number; "
                "take the rows of one"
            )
