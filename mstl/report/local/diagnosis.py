"""What `mstl.report.local.diagnose` measured, read back, and what can be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from mstl.report import results, tables
from mstl.report.bootstrap import Interval, two_way_bootstrap
from mstl.report.comparisons import COMPARISON, check_one
from mstl.report.local.diagnose import FOLDER, TOGETHER
from mstl.report.results import method_label
from mstl.run.names import Setting
from mstl.run.snapshots import load_arrays
from mstl.system.errors import InputError
from mstl.system.tables import read_csv


def load(folder: str | Path, data: str, table: str) -> pd.DataFrame:
    """A table of `diagnose`: runs, heads, domains or attention; empty where nothing is measured yet.

    Raises:
        InputError: the file is there but cannot be read.
    """
    return _read(tables.place(folder) / data / FOLDER / f"{table}.csv")


def swept(folder: str | Path, data: str, table: str) -> pd.DataFrame:
    """A table of the sweep, as `mstl.report.results.load`; empty where it is not there yet."""
    if not (tables.place(folder) / data / f"{table}.csv").exists():
        return pd.DataFrame()
    return results.load(folder, data, table)


def matching(table: pd.DataFrame, **wanted) -> pd.DataFrame:
    """The rows whose columns have the wanted values; an empty table stays empty."""
    for column, value in wanted.items():
        table = table[table[column] == value] if column in table else table.iloc[:0]
    return table.reset_index(drop=True)


def place(folder: str | Path, run: pd.Series) -> Path:
    """The folder of a diagnosed run's own files."""
    path = tables.place(folder) / run["data"] / FOLDER / run["recipe"] / run["method"]
    return path / f"labels-{run['labels']}" / f"seed-{run['seed']}"


def pictures(folder: str | Path, run: pd.Series | None, name: str) -> dict[str, np.ndarray]:
    """``attention``, ``film`` or ``cases`` of a diagnosed run; empty where there are none.

    Raises:
        InputError: the file is damaged.
    """
    path = None if run is None else place(folder, run) / f"{name}.npz"
    if path is None or not path.exists():
        return {}
    return load_arrays(path)


def points(folder: str | Path, run: pd.Series | None) -> pd.DataFrame:
    """The embedding of a diagnosed run."""
    return pd.DataFrame() if run is None else _read(place(folder, run) / "embedding.csv")


def shown_run(runs: pd.DataFrame, method: str) -> pd.Series | None:
    """The run whose pictures a page shows: ``method`` with its lowest seed, or another one if it has none."""
    if runs.empty:
        return None
    own = runs[runs["method"] == method]
    return (runs if own.empty else own).sort_values(["method", "seed"]).iloc[0]


def setting_of(run: pd.Series | None, cars: pd.DataFrame, recipe: str, labels: int) -> dict[str, object]:
    """What a page's tables share with the run it shows, for `matching`; without one, most of ``cars``."""
    if run is not None:
        return {column: run[column] for column in COMPARISON}
    setting, rows = {"recipe": recipe, "labels": labels}, matching(cars, recipe=recipe, labels=labels)
    if rows.empty:
        return setting
    usual = rows.groupby(["sources", "profile"]).size().idxmax()
    return setting | dict(zip(("sources", "profile"), usual, strict=True))


def beside(cars: pd.DataFrame, setting: dict[str, object]) -> pd.DataFrame:
    """The rows of a setting, and of those that leave out some of its sources and are otherwise like it."""
    if cars.empty or "sources" not in setting:
        return cars
    number = cars["sources"] + cars["recipe"].map(lambda recipe: len(Setting.parse(recipe).without))
    return cars[(number == setting["sources"]) & (cars["profile"] == setting["profile"])]


def describe(runs: pd.DataFrame, data: str, recipe: str, labels: int, others: int = 0) -> str:
    """One paragraph of Markdown: what the page shows, and how many ``others`` it does not."""
    if runs.empty:
        return (
            f"No run of data **{data}**, recipe **{recipe}** with {labels} labelled target images has been "
            "diagnosed yet: `python -m mstl diagnose --run <folder>` does it. The figures below stay empty."
        )
    methods = ", ".join(
        f"**{method_label(m)}** (seeds {', '.join(map(str, sorted(g['seed'])))})"
        for m, g in runs.groupby("method")
    )
    return (
        f"Data **{data}**, recipe **{recipe}**, {labels} labelled target images, profile "
        f"`{', '.join(sorted(runs['profile'].unique()))}`. Diagnosed runs: {methods}."
    ) + (f" Not shown: {others} of another profile or number of sources." if others else "")


def removal(cars: pd.DataFrame, recipe: str, method: str, labels: int, draws: int = 2000) -> pd.DataFrame:
    """What the recall of each part loses when a source is left out.

    Runs of ``<recipe>~<source>`` and of ``<recipe>`` are paired by seed and test car.

    Returns:
        Columns removed, part, mean, low, high (95 %, seeds and cars resampled; negative is a loss), seeds;
        part "dice" is the Dice coefficient.
    """
    cars = matching(cars, method=method, labels=labels)
    rows = []
    for setting in cars["recipe"].unique() if len(cars) else ():
        removed = _left_out(setting, recipe)
        if removed is None:
            continue
        both = _paired(cars, recipe, setting)
        if both.empty:
            continue
        for column in ["dice", *(c for c in cars if c.startswith("recall_"))]:
            both["difference"] = both[f"{column}_without"] - both[f"{column}_with"]
            some = both.dropna(subset=["difference"])
            if len(some):
                interval = two_way_bootstrap(some, column="difference", draws=draws)
                row = {"removed": removed, "part": column.removeprefix("recall_")}
                rows.append(row | vars(interval) | {"seeds": some["seed"].nunique()})
    return pd.DataFrame(rows)


def own_loss(cars: pd.DataFrame, recipe: str, method: str, labels: int) -> Interval | None:
    """Mean change of the recall of the removed source's own part minus that of the other sources' parts.

    Negative: the part whose source is gone suffers more than the rest.
    """
    cars = matching(cars, method=method, labels=labels)
    removed = {s: _left_out(s, recipe) for s in (cars["recipe"].unique() if len(cars) else ())}
    removed = {setting: name for setting, name in removed.items() if name is not None}
    pieces = []
    for setting, name in removed.items():
        others = [n for n in removed.values() if n != name and f"recall_{n}" in cars]
        if f"recall_{name}" in cars and others:
            both = _paired(cars, recipe, setting)
            if both.empty:
                continue
            change = {n: both[f"recall_{n}_without"] - both[f"recall_{n}_with"] for n in (name, *others)}
            both["contrast"] = change[name] - pd.DataFrame({n: change[n] for n in others}).mean(axis=1)
            pieces.append(both[["seed", "car", "contrast"]].dropna())
    return two_way_bootstrap(pd.concat(pieces), column="contrast") if pieces else None


def attention_verdict(attention: pd.DataFrame) -> str:
    """Markdown: does attention of sub-network j rank part j higher than other networks' attention does?"""
    lines = []
    for method, group in _groups(attention):
        contrasts, ranks, own, total = [], [], [], []
        for _, one in group.groupby("seed"):
            table = one[one["region"] != "object"].pivot(index="source", columns="region", values="auc")
            names = [n for n in table.index if n in table.columns]
            square = table.loc[names, names].to_numpy()
            own.append(square.diagonal().mean())
            if len(names) > 1:
                others = square[~np.eye(len(names), dtype=bool)].mean()
                contrasts.append(square.diagonal().mean() - others)
                ways = [square[range(len(names)), way].mean() for way in permutations(range(len(names)))]
                ranks.append(1 + sum(way > ways[0] + 1e-9 for way in ways[1:]))
                total.append(len(ways))
        text = f"* {method_label(method)}: the AUC of the own part is **{np.mean(own):.3f}**{_range(own)}"
        best = group.loc[group["region"] == group["source"], "best"]
        text += f"; chance is 0.5, and no map this coarse can exceed {best.mean():.2f} on average"
        if contrasts:
            text += (
                f". Minus the AUC of the same parts under the *other* sub-networks' attention that is "
                f"**{np.mean(contrasts):+.3f}**{_range(contrasts, 3)}, above 0 in "
                f"{_of(np.array(contrasts) > 0)}. The true assignment of parts to sub-networks "
                f"is the best of all {total[0]} in {_of(np.array(ranks) == 1)} (by luck in one of {total[0]})"
            )
        lines.append(f"{text}.")
    return "\n".join(lines) or _nothing("attention")


def object_verdict(attention: pd.DataFrame) -> str:
    """Markdown: does attention light up the object, darken it, or neither? And how uneven is it?"""
    lines = []
    for method, group in _groups(attention):
        area = group[group["region"] == "object"]["auc"]
        lines.append(
            f"* {method_label(method)}: the AUC of object above background is {area.mean():.2f}"
            f"{_range(area)}; {(area < 0.5).sum()} of {len(area)} sub-networks give the object the "
            f"*smaller* weights. Entropy: {group['entropy'].mean():.4f} of that of uniform attention."
        )
    return "\n".join(lines) or _nothing("attention")


def heads_verdict(heads: pd.DataFrame) -> str:
    """Markdown: which sub-network knows a part best, and does the whole know more than the best of them?"""
    lines = []
    for method, group in _groups(heads):
        parts = [c for c in group if c.startswith("recall_") and group[c].notna().any()]
        first, beaten, named = [], [], 0
        for _, one in group.groupby("seed"):
            single = one[one["predictor"] != TOGETHER].set_index("predictor")
            whole = one[one["predictor"] == TOGETHER].iloc[0]
            if len(single) < 2:
                continue
            named = len(single)
            own = [p for p in single.index if f"recall_{p}" in parts]
            first += [single[f"recall_{p}"].idxmax() == p for p in own]
            beaten += [whole[p] >= single[p].max() for p in parts]
        if not named:
            lines.append(f"* {method_label(method)} has no sub-networks of which one could ask this.")
            continue
        text = f"* {method_label(method)}: "
        if first:
            text += (
                "the sub-network whose source shows a part has the highest recall of it in "
                f"**{sum(first)} of {len(first)}** cases (seeds × parts; by luck one of {named}). "
            )
        lines.append(
            f"{text}The whole method recalls a part at least as well as its best sub-network in "
            f"**{sum(beaten)} of {len(beaten)}** cases."
        )
    return "\n".join(lines) or _nothing("the sub-networks")


def removal_verdict(losses: pd.DataFrame, contrast: Interval | None) -> str:
    """Markdown: is the part whose source is removed the one that is lost?"""
    if losses.empty:
        return _nothing("runs with a source left out")
    dice = losses[losses["part"] == "dice"]
    text = "Without one source the Dice coefficient changes by " + ", ".join(
        f"{100 * row['mean']:+.1f} points ({row.removed})" for _, row in dice.iterrows()
    )
    if contrast is None:
        return f"{text}. No part is named after a source here, so own and other parts cannot be compared."
    mean, low, high = (100 * v for v in (contrast.mean, contrast.low, contrast.high))
    outcome = "does not change differently from the others: the interval holds 0"
    if high < 0:
        outcome = "**is lost more** than the others: the pieces complete each other"
    elif low > 0:
        outcome = "is lost *less* than the others"
    return (
        f"{text}. The recall of the part whose source is gone, compared with that of the parts whose sources "
        f"stay, changes by {mean:+.1f} points [{low:+.1f}, {high:+.1f}]: it {outcome}."
    )


def distance_verdict(domains: pd.DataFrame) -> str:
    """Markdown: does the proxy A-distance fall from before to after attention?"""
    lines = []
    for method, group in _groups(domains):
        table = group.pivot(index=["seed", "source"], columns="place", values="a_distance")
        before = f"* {method_label(method)}: proxy A-distance {table['before'].mean():.2f} before attention"
        if "after" not in table:
            lines.append(f"{before}; the method has no attention.")
            continue
        change = table["after"] - table["before"]
        lines.append(
            f"{before}, {table['after'].mean():.2f} after; the change is {change.mean():+.3f}"
            f"{_range(change, 3)}, a fall in **{(change < 0).sum()} of {len(change)}** cases "
            "(seeds × sources). 2 is full separation, 0 none."
        )
    return "\n".join(lines) or _nothing("the features")


def puzzle(
    attention: pd.DataFrame, heads: pd.DataFrame, contrast: Interval | None, domains: pd.DataFrame
) -> str:
    """Markdown: how many of the four consequences of the puzzle hold for one method, and each in a line.

    A consequence holds where every case (seed, source) says so; with a source its part is lost where the
    interval of `own_loss` is below 0.
    """
    asked: dict[str, list[bool]] = {}
    if len(attention):
        ranked = attention[attention["region"].isin(attention["source"].unique())]
        own = ranked["region"] == ranked["source"]
        mean = [ranked[rows].groupby("seed")["auc"].mean() for rows in (own, ~own)]
        asked["attention prefers the part that its source shows"] = list(mean[0] > mean[1])
    if len(heads):
        alone = heads[heads["predictor"] != TOGETHER]
        parts = [p for p in alone["predictor"].unique() if f"recall_{p}" in alone]
        best = [one.set_index("predictor") for _, one in alone.groupby("seed")]
        asked["its own sub-network finds a part best"] = [
            one[f"recall_{part}"].idxmax() == part for one in best for part in parts
        ]
    if contrast is not None:
        asked["with its source a part is lost, more than others"] = [contrast.high < 0]
    if len(domains) and "after" in set(domains["place"]):
        distance = domains.pivot(index=["seed", "source"], columns="place", values="a_distance")
        asked["attention brings source and target nearer"] = list(distance["after"] < distance["before"])
    held = {claim: all(cases) for claim, cases in asked.items()}
    if not held:
        return _nothing("the four questions")
    lines = [f"**{sum(held.values())} of {len(held)} consequences of the puzzle hold.**", ""]
    for claim, cases in asked.items():
        answer = "yes" if held[claim] else "no"
        counted = f" ({sum(cases)} of {len(cases)} cases)" if len(cases) > 1 else ""
        lines.append(f"* {claim}: **{answer}**{counted}")
    return "\n".join(lines)


def cases_verdict(cases: dict[str, np.ndarray]) -> str:
    """Markdown: how far the best and the worst are apart."""
    if not cases:
        return _nothing("pictures")
    half = len(cases["dice"]) // 2
    best, worst = cases["dice"][:half], cases["dice"][half:]
    cars = len(set(cases["cars"][half:].tolist()))
    views = ", ".join(map(str, sorted(set(cases["views"][half:].tolist()))))
    return (
        f"The best {half} test images of this run have a Dice of {best.min():.3f} to {best.max():.3f}, "
        f"the worst {half} of {worst.min():.3f} to {worst.max():.3f}. The worst show "
        f"{cars} car{'s' if cars > 1 else ''}, from the views {views}."
    )


def _left_out(setting: str, recipe: str) -> str | None:
    """The one source that a setting leaves out of a recipe that is otherwise taken as it is."""
    parsed = Setting.parse(setting)
    return (
        parsed.without[0]
        if parsed == Setting(recipe, without=parsed.without[:1]) != Setting(recipe)
        else None
    )


def _paired(cars: pd.DataFrame, recipe: str, setting: str) -> pd.DataFrame:
    """Both sides of the seeds that they share; empty where they share none."""
    first, second = (cars[cars["recipe"] == name] for name in (recipe, setting))
    check_one(first)
    check_one(second)
    keys = ["seed", "car"]
    both = first.merge(second, on=keys, suffixes=("_with", "_without"), validate="one_to_one")
    seeds = set(first["seed"]) & set(second["seed"])
    if len(both) < (second["seed"].isin(seeds)).sum():
        raise InputError(
            f"recipes {recipe} and {setting} do not score the same test cars in the same seeds; "
            "run both from the same data"
        )
    return both


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame()
    return tables.read(path, (), "delete it and diagnose its runs again", read_csv)


def _groups(table: pd.DataFrame):
    check_one(table)
    return table.groupby("method") if len(table) else ()


def _range(values: Sequence[float], digits: int = 2) -> str:
    if len(values) < 2:
        return ""
    return f" (from {np.min(values):.{digits}f} to {np.max(values):.{digits}f})"


def _of(true: np.ndarray) -> str:
    return f"{true.sum()} of {len(true)} seed{'s' if len(true) > 1 else ''}"


def _nothing(what: str) -> str:
    return f"*Not measured yet: {what}.*"
