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
    "mutants": ("module", "mutants", "tested", "killed", "survived", "percent", "tests"),
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


# Test -> what turns it red, of the claims that the page shows first.
STARRED = {
    "test_adversaries.py::test_a_planted_defect_is_noticed_in_every_method": (
        "a softmax over one logit, a flipped sign, or a strength that is read too late"
    ),
    "test_reverse.py::test_identity_forwards_and_minus_strength_backwards": (
        "any other sign or factor in the reversal, of the gradient or of what goes forwards"
    ),
    "test_synchronisation.py::test_all_sub_networks_see_the_same_target_pixels": (
        "a target batch of its own for each sub-network"
    ),
    "test_kills.py::test_a_killed_run_resumes_to_bit_identical_weights": (
        "one optimiser, random stream or metric that the checkpoint forgets"
    ),
    "test_golden.py::test_the_published_value_is_reproduced": (
        "any factor that moves a value by more than 1e-12 of it, such as those that published code got wrong"
    ),
}


def starred(claims: pd.DataFrame) -> str:
    """The claims of `STARRED` that were tried, as Markdown: what is claimed, and what would turn it red."""
    rows = claims.set_index("test")
    lines = [
        f"* **{_cell(_sentence(row['claim']))}** {_outcome(row)} *Red with:* {red}."
        for test, red in STARRED.items()
        if test in rows.index
        for row in [rows.loc[test]]
    ]
    return "\n".join(lines) or "*None of them has been tried.*"


def area_line(claims: pd.DataFrame, area: str) -> str:
    """One line on an area, and one for each of its claims that did not pass everywhere."""
    rows = claims[claims["area"] == area]
    if rows.empty:
        return "*No test of this area has run.*"
    others = rows[(rows["outcome"] != "passed") | (rows["skipped"] > 0)]
    number = (rows["outcome"] == "passed").sum()
    held = "all held" if number == len(rows) else f"{number} held"
    lines = [
        f"**{len(rows)} claims, {rows['cases'].sum():,} cases: {held}.** All are in the table below.",
        "",
    ]
    lines += [f"* {_cell(_sentence(row['claim']))} {_outcome(row)}" for row in others.to_dict("records")]
    return "\n".join(lines)


def claims_html(claims: pd.DataFrame, mutants: pd.DataFrame) -> str:
    """All claims as one table, with a search where scripts run (``filter.js``).

    Args:
        claims: as `load` reads them.
        mutants: likewise; says how many faults that were planted behind a claim its tests noticed.
    """
    planted: dict[str, list[str]] = {}
    for row in mutants.to_dict("records"):
        for name in row["tests"].split():
            planted.setdefault(name, []).append(f"{row['killed']} of {row['tested']} in {row['module']}")
    body = []
    for row in claims.to_dict("records"):
        whole = row["outcome"] == "passed" and not row["skipped"]
        claim = _sentence(row["claim"]) + ("" if whole else " " + _outcome(row).replace("*", ""))
        noticed = "; ".join(planted.get(row["test"].partition(".py::")[0], ()))
        test = row["test"].replace("::", " ").replace("_", " ")  # breaks into lines, unlike its name
        body.append([claim, f"{row['cases']:,}", noticed, row["measured"], row["area"], test])
    head = ("We claim", "Cases", "Faults planted and noticed", "Measured", "Area", "Test")
    return _searchable(pd.DataFrame(body, columns=head), "claims", "softmax, resume, hostile …")


def survivors_html(survivors: pd.DataFrame) -> str:
    """Faults that no test noticed, the reason first, as `claims_html`."""
    shown = survivors[["explanation", "module", "line", "mutation"]]
    return _searchable(shown, "faults", "equivalent, gap, fusion …")


def _searchable(table: pd.DataFrame, name: str, hint: str) -> str:
    with pd.option_context("display.max_colwidth", None):
        rows = table.to_html(index=False, border=0, classes="table", na_rep="")
    window = f'<div class="mstl-scroll" tabindex="0" role="region" aria-label="{name}">{rows}</div>'
    return f'<div class="mstl-filter" data-hint="{hint}">{window}</div>'


def _sentence(claim: str) -> str:
    """A claim as a sentence: with a capital and a full stop."""
    return claim[0].upper() + claim[1:].rstrip(".") + "."


def _outcome(row) -> str:
    """How a claim ended, as a short sentence; that it failed is loud."""
    if row["outcome"] != "passed":
        return f"**{row['outcome'].capitalize()}**: {_cell(row['reason'])}."
    cases = f"{row['cases']:,} {'case' if row['cases'] == 1 else 'cases'}"
    skipped = f", {row['skipped']} skipped: {_cell(row['reason'])}" if row["skipped"] else ""
    return f"{cases} held{skipped}."


def summary(claims: pd.DataFrame) -> str:
    """One sentence: how many claims, cases and outcomes."""
    ended = claims["outcome"].value_counts()
    parts = [f"{ended[outcome]} {outcome}" for outcome in OUTCOMES if outcome in ended]
    return (
        f"**{len(claims)} claims** in {claims['area'].nunique()} areas, "
        f"{claims['cases'].sum():,} cases: {', '.join(parts)}."
    )


def killed(mutants: pd.DataFrame) -> str:
    """One sentence: how many of the planted faults that were tried made a test fail."""
    tried, found = mutants["tested"].sum(), mutants["killed"].sum()
    return f"Of {tried} small faults that were planted in the code the tests noticed {found}."


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
