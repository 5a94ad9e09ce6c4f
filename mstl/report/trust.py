"""The tables of the page "How we know it is right": claims, the tests that prove them, mutants."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from mstl.report import tables

AREAS = (
    "formulas",
    "adversaries",
    "limits",
    "synchronisation",
    "equalities",
    "faults",
    "hostile input",
    "ageing",
)
COLUMNS = {
    "claims": ("area", "claim", "test", "cases", "skipped", "outcome", "reason", "measured"),
    "provenance": ("date", "commit", "python", "torch", "command"),
    "mutants": ("module", "mutants", "tested", "killed", "survived", "percent"),
    "survivors": ("module", "line", "mutation", "explanation"),
}
OUTCOMES = {"passed": "#009E73", "skipped": "#999999", "failed": "#D55E00"}
MADE_BY = {"claims": "make trust", "provenance": "make trust"}


def load(folder: str | Path, table: str) -> pd.DataFrame:
    """``<folder>/<table>.csv``: ``claims``, ``provenance``, ``mutants`` or ``survivors``.

    Raises:
        InputError: the table does not exist yet or lacks a column.
    """
    again = f"make it with `{MADE_BY.get(table, 'make mutants')}`"
    path = tables.place(folder) / f"{table}.csv"
    return tables.read(path, COLUMNS[table], again, _parse)


def _parse(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), keep_default_na=False, dtype={"commit": str})


def claims_table(claims: pd.DataFrame, area: str) -> str:
    """The claims of one area as a Markdown table; a claim that did not pass says why."""
    rows = claims[claims["area"] == area]
    if rows.empty:
        return "*No test of this area has run.*"
    lines = ["| We claim | Cases | Outcome | Measured |", "|---|---:|---|---|"]
    for row in rows.to_dict("records"):
        outcome = row["outcome"] if row["outcome"] == "passed" else f"**{row['outcome']}**: {row['reason']}"
        if row["outcome"] == "passed" and row["skipped"]:
            outcome += f", {row['skipped']} skipped: {row['reason']}"
        cells = (row["claim"], f"{row['cases']:,}", outcome, row["measured"])
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def summary(claims: pd.DataFrame) -> str:
    """One sentence: how many claims, cases and outcomes."""
    ended = claims["outcome"].value_counts()
    parts = [f"{ended[outcome]} {outcome}" for outcome in OUTCOMES if outcome in ended]
    return (
        f"**{len(claims)} claims** in {claims['area'].nunique()} areas, "
        f"{claims['cases'].sum():,} cases: {', '.join(parts)}."
    )


def mutants_table(mutants: pd.DataFrame) -> str:
    """Killed mutants of each module as a Markdown table, with their sum."""
    counts = mutants[["mutants", "tested", "killed", "survived"]]
    lines = [
        "| Module | Mutants | Tested | Killed | Survived | Killed, % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in [
        *zip(mutants["module"], counts.values, strict=True),
        ("*together*", counts.values.sum(0)),
    ]:
        percent = 100 * row[2] / row[1]
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + f" | {percent:.1f} |")
    return "\n".join(lines)


def outcome_bars(claims: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Stacked bars: claims of each area by outcome, with the number of cases beside them."""
    ax = ax or plt.subplots(figsize=(7.5, 3.2))[1]
    counts = claims.groupby(["area", "outcome"]).size().unstack(fill_value=0).reindex(AREAS, fill_value=0)
    cases = claims.groupby("area")["cases"].sum().reindex(AREAS, fill_value=0)
    left = pd.Series(0, index=counts.index)
    for outcome, colour in OUTCOMES.items():
        if outcome in counts:
            ax.barh(counts.index, counts[outcome], left=left, color=colour, label=outcome)
            left = left + counts[outcome]
    for area, width in left.items():
        ax.annotate(
            f"{cases[area]:,} cases", (width, area), (4, 0), textcoords="offset points", va="center", size=9
        )
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.2)
    ax.set_xlabel("claims")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def _cell(text: object) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("$", "\\$")
