"""The tables of the comparison in words: for readers of a page, computed so that they are true of any numbers."""

from __future__ import annotations

import pandas as pd

from mstl.bootstrap import Interval
from mstl.comparison import NOT_RUN, family, reported, variant_label
from mstl.results import verdict


def for_readers(table: pd.DataFrame) -> pd.DataFrame:
    """A table of differences with its interval in one column and without empty columns."""
    shown = table.copy()
    for column in ("rival", "method"):
        if column in shown:
            shown[column] = shown[column].map(variant_label)
    interval = [f"{a:+.1f} to {b:+.1f}" for a, b in zip(shown["low"], shown["high"], strict=True)]
    shown.insert(shown.columns.get_loc("low"), "95 % interval", interval)
    shown.loc[shown["difference"].isna(), "95 % interval"] = NOT_RUN
    shown = shown.drop(columns=["low", "high", "profile"], errors="ignore").round(1)
    empty = [c for c in ("note", "dropped", "time", "gap_closed") if c in shown and not _says(shown[c])]
    return shown.drop(columns=empty).set_index(shown.columns[0])


def difference_lines(table: pd.DataFrame, first: str = "{}", second: str = "rival") -> str:
    """A Markdown list: for each row of differences, better, worse or not distinguishable, and where.

    Args:
        table: rows of `paired`, `against_best`, `ablation` or `robustness`.
        first: what is compared; ``{}`` in it is replaced by the setting.
        second: the column that names what it is compared with.
    """
    lines = []
    for row in table.dropna(subset=["difference"]).to_dict("records"):
        interval = Interval(*(row[name] / 100 for name in ("difference", "low", "high")))
        where = f"{row['data']}/{row['recipe']}, {row['labels']} labels"
        lines.append(verdict(first.format(where, **row), variant_label(row[second]), interval))
    return "\n".join(lines) or f"* {NOT_RUN}"


def describe(runs: pd.DataFrame) -> str:
    """One paragraph of Markdown: what the grid holds."""
    rows = reported(runs, "runs")
    settings = rows[["data", "recipe", "labels"]].drop_duplicates()

    def listed(column: str) -> str:
        return ", ".join(map(str, sorted(rows[column].unique())))

    return (
        f"**{len(rows)} runs** on {listed('data')}: {len(settings)} settings, "
        f"{rows['method'].map(family).nunique()} methods in {rows['method'].nunique()} variants, "
        f"seeds {listed('seed')}, labels {listed('labels')}, profile `{listed('profile')}`. "
        f"Computed on {listed('device')}, from commit {listed('commit')}. Made by `make sweep SWEEP=main`."
    )


def _says(column: pd.Series) -> bool:
    return bool((column.notna() & (column != "") & (column != 0)).any())
