"""The tables of the comparison in words, computed, so that they are true whatever the numbers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from mstl.report.bootstrap import Interval
from mstl.report.comparisons import COMPARISON, listed, name_of, telling
from mstl.report.grid.comparison import (
    LITERAL,
    NOT_RUN,
    family,
    paired,
    reported,
    robustness,
    summarise,
    variant_label,
)
from mstl.report.grid.switches import IDEAS, in_words
from mstl.report.results import verdict
from mstl.report.scores import scores_of
from mstl.run.config import PROFILES
from mstl.run.names import Setting


def for_readers(table: pd.DataFrame) -> pd.DataFrame:
    """A table of differences with its interval in one column and without empty columns."""
    shown = table.copy()
    for column, words in {"rival": variant_label, "method": variant_label, "change": in_words}.items():
        if column in shown:
            shown[column] = shown[column].map(words)
    interval = [f"{a:+.1f} to {b:+.1f}" for a, b in zip(shown["low"], shown["high"], strict=True)]
    shown.insert(shown.columns.get_loc("low"), "95 % interval", interval)
    shown.loc[shown["difference"].isna(), "95 % interval"] = NOT_RUN
    shown = shown.drop(columns=["low", "high", "profile"], errors="ignore").round(1)
    empty = [c for c in ("note", "dropped", "time", "gap_closed") if c in shown and not _says(shown[c])]
    shown = shown.drop(columns=empty).set_index(shown.columns[0])
    return shown.astype(object).where(shown.notna(), "–") if shown.isna().any(axis=None) else shown


FEW = 3  # an interval from fewer seeds knows nothing of how runs differ, and is called no verdict


def difference_lines(table: pd.DataFrame, subject: str, reference: str) -> str:
    """A Markdown list with a verdict for each row of differences: better, worse or not distinguishable.

    Rows with fewer than `FEW` seeds say so.

    Args:
        table: rows of `mstl.report.grid.comparison.paired`, ``against_best``, ``ablation`` or ``robustness``.
        subject: what is compared; a column's name in braces, ``"{method}"``, stands for its value.
        reference: what it is compared with, likewise.
    """
    lines, shown = [], table.dropna(subset=["difference"])
    columns = telling(shown)
    for row in shown.to_dict("records"):
        row |= {name: variant_label(row[name]) for name in ("rival", "method") if name in row}
        interval = Interval(*(row[name] / 100 for name in ("difference", "low", "high")))
        where = name_of({column: row[column] for column in columns})
        line = verdict(f"{where}: {subject.format(**row)}", reference.format(**row), interval)
        few = f" *({row['seeds']} of at least {FEW} seeds: provisional)*" if row["seeds"] < FEW else ""
        lines.append(line + few)
    return "\n".join(lines) or f"* {NOT_RUN}"


def asked_lines(cars: pd.DataFrame, asked: Sequence[tuple[str, int, str, str]]) -> str:
    """`difference_lines` of chosen comparisons: recipe, labels, a variant and what it is compared with.

    Args:
        cars: scores of one data set or several; a comparison that was not run there has no line.
    """
    rows = []
    for recipe, labels, ours, other in asked:
        there = cars[(cars["recipe"] == recipe) & (cars["labels"] == labels)]
        if {ours, other} <= set(there["method"]):
            names = {"ours": variant_label(ours), "other": variant_label(other)}
            rows.append(paired(there, ours, other).assign(**names))
    return difference_lines(pd.concat(rows), "{ours}", "{other}") if rows else f"* {NOT_RUN}"


def ablation_lines(table: pd.DataFrame) -> str:
    """A Markdown list with a line for each setting of an ablation: which changes cost points, which win some.

    Args:
        table: rows of `mstl.report.grid.comparison.ablation`.
    """
    lines = []
    shown = table.dropna(subset=["difference"]).sort_values("difference")
    columns = telling(shown)
    for key, rows in shown.groupby(columns, sort=True):
        enough = rows["seeds"] >= FEW
        kinds = {
            "costs points": (rows["high"] < 0) & enough,
            "wins points": (rows["low"] > 0) & enough,
            "not distinguishable": (rows["low"] <= 0) & (rows["high"] >= 0) & enough,
            f"fewer than {FEW} seeds, so no verdict": ~enough,
        }
        found = []
        for kind, chosen in kinds.items():
            named = zip(rows[chosen]["change"], rows[chosen]["difference"], strict=True)
            if chosen.any():
                found.append(f"**{kind}**: " + "; ".join(f"{in_words(c)} ({d:+.1f})" for c, d in named))
        lines.append(f"* {name_of(dict(zip(columns, key, strict=True)))}: " + ". ".join(found) + ".")
    return "\n".join(lines) or f"* {NOT_RUN}"


def ideas_line(table: pd.DataFrame) -> str:
    """One sentence of Markdown: which of the paper's ideas have an effect clear of zero on the useful side.

    Args:
        table: rows of `mstl.report.grid.comparison.ablation`, of all settings.
    """
    effects, useful = [], []
    for idea, (change, sign) in IDEAS.items():
        for row in table[table["change"] == change].itertuples():
            gain, low, high = sign * row.difference, *sorted((sign * row.low, sign * row.high))
            effects.append(f"{idea} {gain:+.1f} [{low:+.1f}, {high:+.1f}] ({row.data}, {row.labels} labels)")
            useful += [idea] if low > 0 else []
    if not effects:
        return f"The paper's ideas: {NOT_RUN}."
    found = ", ".join(dict.fromkeys(useful)) or "none"
    return f"Of the paper's ideas **{found}** helps clear of zero here: {'; '.join(effects)}."


def describe(runs: pd.DataFrame) -> str:
    """One paragraph of Markdown: what the grid holds."""
    rows = reported(runs, "runs")
    settings = rows[COMPARISON].drop_duplicates()
    profiles = "; ".join(_size(name) for name in sorted(rows["profile"].unique()))
    of = partial(listed, rows)
    return (
        f"**{len(rows)} runs** on {of('data')}: {len(settings)} settings, "
        f"{rows['method'].map(family).nunique()} methods in {rows['method'].nunique()} variants, "
        f"seeds {of('seed')}, labels {of('labels')}, profile {profiles}. "
        f"Computed on {of('device')}, from commit {of('commit')}. "
        "Made by `make sweep`; what it trains is written in `workflow/sweeps/`."
    )


def coverage(cars: pd.DataFrame) -> str:
    """One sentence: in which setting most methods meet, and how many there are in the others."""
    rows = reported(cars, "cars")
    methods = rows["method"].map(family).groupby([rows[c] for c in COMPARISON]).nunique()
    most = dict(zip(COMPARISON, methods.idxmax(), strict=True))
    where = name_of({column: most[column] for column in ("data", "recipe", "labels")})
    others = methods.drop(methods.idxmax())
    rest = f" in the {len(others)} others there are {others.min()} to {others.max()}" if len(others) else ""
    return f"**{methods.max()} methods meet in one setting**, {where};{rest}."


def with_and_without(cars: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Scores of every method with an added source and without it, and the paired difference, for readers.

    Args:
        cars: scores of one data set and number of labels.
        recipe: the one that sources are added to.
    """
    changes = robustness(cars).dropna(subset=["difference"]).query("recipe == @recipe")
    summary = summarise(cars).set_index(["recipe", "method"])
    mean = scores_of(summary)
    there = [str(replace(Setting.parse(recipe), extra=tuple(extra.split()))) for extra in changes["extra"]]
    changes["without"] = [mean[recipe, method] for method in changes["method"]]
    changes["with"] = [mean[place] for place in zip(there, changes["method"], strict=True)]
    columns = ["method", "extra", "without", "with", "difference", "low", "high", "seeds"]
    return for_readers(changes[columns].rename(columns={"extra": "source added"}))


GAME = 0.1  # of the task's gradient; below it an adversary is decoration (`book/glossary.md`)


def game_line(curves: pd.DataFrame, runs: pd.DataFrame, method: str = LITERAL) -> str:
    """How strong a method's game was in one setting, and whether domains are still told apart, in words."""
    ratio = curves[curves["method"] == method].get("gradient_ratio", pd.Series(dtype=float)).dropna()
    if ratio.empty:
        return f"No game of {variant_label(method)} was logged here."
    probe = runs[runs["method"] == method].get("domain_probe", pd.Series(dtype=float)).mean()
    word = "hardly played" if ratio.median() < GAME else "played"
    told = f", and a fresh classifier tells domains apart in {100 * probe:.0f} %" if pd.notna(probe) else ""
    return (
        f"The adversarial game of {variant_label(method)} is **{word}** here: the reversed gradient is "
        f"{ratio.median():.2f} of the task's (median over training){told}. "
        f"Below {GAME:g} an adversary is decoration."
    )


def missing(runs: pd.DataFrame) -> pd.DataFrame:
    """Settings in which methods were run with unequal numbers of seeds: who has fewer than the most."""
    rows = reported(runs, "runs")
    columns = telling(rows)
    seeds = rows.groupby([*columns, "method"])["seed"].nunique()
    most = seeds.groupby(level=columns).transform("max")
    table = pd.DataFrame({"seeds": seeds, "of": most})[seeds < most]
    return table.rename(index=variant_label, level="method").reset_index()


def _size(profile: str) -> str:
    if profile not in PROFILES:
        return f"`{profile}`"
    known = PROFILES[profile]
    return f"`{profile}` ({known.size[0]}×{known.size[1]} pixels, {known.width} channels at full resolution)"


def _says(column: pd.Series) -> bool:
    return bool((column.notna() & (column != "") & (column != 0)).any())
