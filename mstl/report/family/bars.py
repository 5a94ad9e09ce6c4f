"""What became of the family's claims: bars fixed before the sweep was run, and tables for figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from mstl.report.grid import comparison
from mstl.report.grid.comparison import COMBINE, best_rival, choose, family
from mstl.report.grid.judging import COLUMNS, SEEDS, judged, missing, place
from mstl.run.names import Setting, Variant

PARTIAL = ("san", "pada", "iwan")
JOINT = ("dan", "jan")
HALF = re.compile(r"partial-(?P<pair>.+)")
POOLED = "partial-…"


def load(folder: str, name: str) -> pd.DataFrame:
    """`comparison.everything`, by `alike`."""
    return alike(comparison.everything(folder, name))


def alike(table: pd.DataFrame) -> pd.DataFrame:
    """Variants called by what tells them from others of their method in the same data set.

    Where all runs have the same steps of their own, or all of SAN the same strength, a name need not say it:
    a number in a name says that its neighbours had another. The tables keep it in their columns.
    """
    parts = []
    for _, rows in table.groupby("data", sort=False):
        parts.append(rows.assign(method=rows["method"].map(_short(rows["method"].unique()))))
    return pd.concat(parts, ignore_index=True) if parts else table


def _short(names: Iterable[str]) -> dict[str, str]:
    variants = {name: Variant.parse(name) for name in names}
    same_steps = len({variant.steps for variant in variants.values()}) == 1
    short = {}
    for name, variant in variants.items():
        own = [other for other in variants.values() if other.method == variant.method]
        kept = tuple(pair for pair in variant.overrides if not all(pair in other.overrides for other in own))
        steps = None if same_steps else variant.steps
        short[name] = str(replace(variant, overrides=kept, steps=steps))
    return short


def whole_pairs(cars: pd.DataFrame) -> pd.DataFrame:
    """The rows in which the target has every class."""
    return cars[~cars["recipe"].str.startswith("partial")]


def half_pairs(cars: pd.DataFrame) -> pd.DataFrame:
    """The rows in which the target keeps half of the classes, all pairs of a data set as one comparison.

    A test item weighs the same, whatever pair it is of, and is named by pair and item.
    """
    rows = cars[cars["recipe"].map(lambda recipe: bool(HALF.fullmatch(recipe))).astype(bool)]
    return rows.assign(car=rows["recipe"] + "/" + rows["car"].astype(str), recipe=POOLED)


def partial_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """F1 and F2 of every data set with a partial target, one row a comparison; columns as in `part_bars`.

    * F1: DANN does harm: source only minus DANN is above 0, interval included. A row for each variant, since
      one that was tuned may have learnt to do nothing.
    * F2: each of SAN, PADA and IWAN is ≥ 5 points above the best variant of DANN, with an interval above 0.

    They were to be reached on two data sets at least.
    """
    cars, runs = half_pairs(comparison.reported(cars, "cars")), runs.assign(recipe=POOLED)
    rows = []
    for data, scores in cars.groupby("data", sort=True):
        spent = runs[runs["data"] == data]
        for variant in sorted(v for v in scores["method"].unique() if family(v) == "dann"):
            row = judged_if_run(scores, spent, best(scores, COMBINE), variant, 0, seeds)
            rows.append(row | _head("F1", "DANN does harm", "> 0, interval above 0", data))
        for name in PARTIAL:
            row = judged_if_run(scores, spent, best(scores, name), best(scores, "dann"), 5, seeds)
            rows.append(row | _head("F2", f"{name.upper()} over DANN", "≥ +5, interval above 0", data))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def joint_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """F3 for every pair of domains with all classes: DAN and JAN are above source only, interval above 0.

    It was to be reached on four of six pairs at least.
    """
    cars, runs = whole_pairs(comparison.reported(cars, "cars")), whole_pairs(runs)
    rows = []
    for data, recipe in cars[["data", "recipe"]].drop_duplicates().sort_values(["data", "recipe"]).to_numpy():
        scores, spent = (choose(table, recipe, 0, data=data) for table in (cars, runs))
        for name in JOINT:
            row = judged_if_run(scores, spent, best(scores, name), best(scores, COMBINE), 0, seeds)
            head = _head("F3", f"{name.upper()} over source only", "> 0, interval above 0", data)
            rows.append(row | head | place(data, recipe, 0))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def common_answer(cars: pd.DataFrame) -> str:
    """Markdown: which methods are above target only in one setting, and by how much at least and at most."""
    rows = [
        comparison.paired(cars, method, "target_only").assign(method=method)
        for method in cars["method"].unique()
        if method != "target_only"
    ]
    table = pd.concat(rows).sort_values("difference", ascending=False)
    above = table[table["low"] > 0]
    if above.empty:
        return f"**None of {len(table)} methods is above target only**, intervals considered."
    names = ", ".join(map(comparison.variant_label, above["method"]))
    least, most = above["difference"].min(), above["difference"].max()
    return (
        f"**{len(above)} of {len(table)} methods are above target only**, "
        f"by {least:.1f} to {most:.1f} points: {names}."
    )


def best(scores: pd.DataFrame, method: str) -> str | None:
    """The variant of a method with the highest score, named after the fact; None where none was run."""
    return best_rival(scores, COMBINE, (method,))


def outlier_shares(cars: pd.DataFrame, pair: str, classes: int) -> pd.DataFrame:
    """Scores of every variant by the share of the source's classes that the target lacks, in percent.

    Args:
        cars: of one data set.
        pair: the recipe with all classes.
        classes: how many there are.

    Returns:
        Rows of `mstl.report.grid.comparison.summarise`, ``recipe`` the pair, and ``setting``, ``outliers``.
    """
    shares = {recipe: _outliers(recipe, pair, classes) for recipe in cars["recipe"].unique()}
    rows = cars[cars["recipe"].map(shares).notna().astype(bool)]
    if rows.empty:
        return pd.DataFrame(columns=["outliers", "setting", "method"])
    table = comparison.summarise(rows)
    return table.assign(outliers=table["recipe"].map(shares), setting=table["recipe"], recipe=pair)


def _outliers(recipe: str, pair: str, classes: int) -> float | None:
    setting = Setting.parse(recipe)
    if setting == Setting(pair):
        return 0.0
    found = re.fullmatch(rf"partial(\d*)-{re.escape(pair)}", recipe)
    return found and 100 * (1 - int(found[1] or classes // 2) / classes)


def judged_if_run(
    scores: pd.DataFrame,
    spent: pd.DataFrame,
    first: str | None,
    second: str | None,
    needed: float,
    seeds: int,
) -> dict[str, object]:
    """`mstl.report.grid.judging.judged`, or `missing` where one of the two is None."""
    if first is None or second is None:
        return missing()
    return judged(scores, spent, first, second, needed, seeds)


def _head(bar: str, claim: str, needed: str, data: str) -> dict[str, object]:
    return {"bar": bar, "claim": claim, "needed": needed} | place(data, POOLED, 0)


def reached(bars: pd.DataFrame, on: Iterable[str] = ("data",)) -> pd.Series:
    """Which places reach every bar of a table: True or False by place."""
    return (bars["reached"] == "yes").groupby([bars[column] for column in on]).all()
