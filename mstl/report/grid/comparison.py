"""The comparison of all methods as tables: who wins where, by how much, and which bars that reaches.

Everything is a function of the tables in ``results/grid/<data>/``, as `mstl.report.results.load` reads them,
with several data sets concatenated where one likes. Scores are in percent; differences are in points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mstl.report import results
from mstl.report.bootstrap import on_shared_seeds, paired_difference, two_way_bootstrap
from mstl.report.comparisons import COMPARISON, check_one
from mstl.report.grid.switches import in_words
from mstl.report.results import RUN_KEYS, method_label
from mstl.report.scores import score, scores_of, title
from mstl.run.names import Setting, Variant
from mstl.system.errors import InputError

TUNING_SEEDS = (100, 101, 102)  # their runs chose hyper-parameters, so they are never reported
LITERAL, OURS, COMBINE = "mstl", "mstl_plus", "source_combine"
DRAWS = 1000
NOT_RUN = "not run"
TIME = f"seconds, {method_label(OURS)} = 1"


def family(variant: str) -> str:
    """The method of a variant: ``dann`` of ``dann+mean_teacher=1+steps=900``."""
    return Variant.parse(variant).method


def at_equal_time(variant: str) -> bool:
    """Whether a variant has steps of its own, given to it so that it trains as long as `OURS`."""
    return Variant.parse(variant).steps is not None


def is_rival(variant: str) -> bool:
    """Whether a variant is neither ours (literal, best or ablated) nor the oracle, which sees all masks."""
    return family(variant) not in (LITERAL, OURS, "oracle")


def variant_label(variant: str) -> str:
    """What tables and figures call a variant: ``source combine, mean teacher 1, 800 steps``."""
    v = Variant.parse(variant)
    return ", ".join(filter(None, (method_label(v.method), in_words(v.change))))


def is_ablation(variant: str, base: str = OURS) -> bool:
    """Whether a variant is ``base`` with something else changed than its steps."""
    return family(variant) == base and replace(Variant.parse(variant), steps=None) != Variant(base)


def load(folder: str, data: str, table: str) -> pd.DataFrame:
    """``<folder>/<data>/<table>.csv``, of one profile, and for each recipe of one number of sources.

    The profile is that of most runs, and so is the number; `left_out` counts the others.

    Raises:
        InputError: as `mstl.report.results.load`.
    """
    kept = _kept(results.load(folder, data, "runs"))
    return results.load(folder, data, table).merge(kept[RUN_KEYS], on=RUN_KEYS)


def left_out(folder: str, data: str) -> str:
    """A sentence on the runs that `load` leaves out, with a blank before it; ``""`` where there are none."""
    runs = results.load(folder, data, "runs")
    others = runs.drop(_kept(runs).index).drop_duplicates(["recipe", "sources", "profile"])
    named = [f"{row.recipe} (J = {row.sources}, profile {row.profile})" for row in others.itertuples()]
    return f" Not shown, because most runs are otherwise: {', '.join(named)}." if named else ""


def _kept(runs: pd.DataFrame) -> pd.DataFrame:
    kept = runs[runs["profile"] == runs["profile"].mode()[0]]
    usual = kept.groupby("recipe")["sources"].transform(lambda numbers: numbers.mode()[0])
    return kept[kept["sources"] == usual]


def everything(folder: str, table: str) -> pd.DataFrame:
    """`load` of all data that have a table.

    Raises:
        InputError: there is none.
    """
    names = results.available(folder)
    if not names:
        raise InputError(f"{folder} holds no results; fill it with `make sweep SWEEP=main`")
    return pd.concat([load(folder, data, table) for data in names], ignore_index=True)


def unchanged(table: pd.DataFrame, base: str = OURS) -> pd.DataFrame:
    """The rows of all variants but those that change an ingredient of ``base``; all where only those ran."""
    whole = table[~table["method"].map(lambda variant: is_ablation(variant, base)).astype(bool)]
    return whole if len(whole) else table


def reported(table: pd.DataFrame, name: str = "the table") -> pd.DataFrame:
    """The rows of seeds that are reported.

    Raises:
        InputError: no such row.
    """
    if not len(table):
        raise InputError(f"{name} is empty; fill results/grid with `make sweep SWEEP=main`")
    rows = table[~table["seed"].isin(TUNING_SEEDS)]
    if not len(rows):
        raise InputError(f"{name} holds the seeds of the tuning only; run `make sweep SWEEP=main`")
    return rows


def choose(
    table: pd.DataFrame,
    recipe: str,
    labels: int,
    sources: int | None = None,
    data: str | None = None,
) -> pd.DataFrame:
    """The rows of one setting; none where it was not run.

    Raises:
        InputError: an empty table, or rows of several settings.
    """
    rows = reported(table)
    rows = rows[(rows["recipe"] == recipe) & (rows["labels"] == labels)]
    for column, value in (("sources", sources), ("data", data)):
        rows = rows if value is None else rows[rows[column] == value]
    for column in ("data", "sources", "profile"):
        found = sorted(rows[column].unique())
        if len(found) > 1:
            raise InputError(f"{recipe} with {labels} labels has several {column}: {found}; choose one")
    return rows


def summarise(cars: pd.DataFrame, draws: int = DRAWS) -> pd.DataFrame:
    """One row a setting and variant: its score, interval ``low``, ``high``, and ``sd`` over ``seeds``.

    Columns: `COMPARISON`, method, dice or accuracy (both where there are such data), low, high, sd (all in
    percent), seeds.
    """
    rows = []
    for key, scores in reported(cars, "cars").groupby([*COMPARISON, "method"], sort=True):
        interval = two_way_bootstrap(scores, draws=draws)
        per_seed = scores.groupby("seed")[score(scores)].mean()
        numbers = {
            score(scores): interval.mean,
            "low": interval.low,
            "high": interval.high,
            "sd": per_seed.std(),
        }
        row = dict(zip([*COMPARISON, "method"], key, strict=True))
        rows.append(row | {name: 100 * value for name, value in numbers.items()} | {"seeds": len(per_seed)})
    return pd.DataFrame(rows)


def setting_table(
    cars: pd.DataFrame,
    runs: pd.DataFrame,
    recipe: str,
    labels: int,
    sources: int | None = None,
    data: str | None = None,
) -> pd.DataFrame:
    """Every variant of one setting, for readers: score with its interval, cost, seeds; the best last.

    A setting without runs is a table with one row, ``not run``.

    Raises:
        InputError: an empty table, or several settings at once.
    """
    chosen = choose(cars, recipe, labels, sources, data)
    if not len(chosen):
        return pd.DataFrame(
            {f"{title(cars)} %": [np.nan], "seeds": [0]}, index=pd.Index([NOT_RUN], name="method")
        )
    table = summarise(chosen).set_index("method").sort_values(score(chosen))
    spent = choose(runs, recipe, labels, sources, data).groupby("method")
    dead = {method: results.dead_runs(rows) for method, rows in spent}
    spent = spent[["seconds", "steps", "parameters"]].mean().reindex(table.index)
    result = pd.DataFrame(
        {
            f"{title(chosen)} %": table[score(chosen)].round(1),
            "95 % interval": [
                f"{a:.1f} to {b:.1f}" for a, b in zip(table["low"], table["high"], strict=True)
            ],
            "sd over seeds": table["sd"].round(1),
            "seconds": spent["seconds"].round(0).astype("Int64"),
            "steps": spent["steps"].round(0).astype("Int64"),
            "parameters": spent["parameters"].round(0).astype("Int64"),
            "seeds": table["seeds"],
        }
    )
    if OURS in table.index:
        result.insert(4, TIME, (spent["seconds"] / spent["seconds"][OURS]).round(2))
    if any(dead.values()):
        result[results.DEAD] = [dead.get(method, {}).get(results.DEAD, "") for method in table.index]
    return result.rename(index=variant_label)


def best_rival(cars: pd.DataFrame, ours: str = OURS, among: Iterable[str] | None = None) -> str | None:
    """The variant with the highest score in one setting among the rivals, or among the methods named.

    All variants take part: more steps, mean teacher, tuned weights. The choice is made on the test scores,
    *after* the fact, which favours the rival. Variants are compared on the seeds they share with ``ours``,
    so that a missing seed makes none of them look better.

    Args:
        cars: scores of one setting.
        ours: the variant they will be compared with.
        among: methods, ``("source_combine",)``; every rival where open.

    Returns:
        The variant, or None where no rival was run.
    """
    table = _by_seed(cars)
    families = None if among is None else set(among)
    rivals = [v for v in table if is_rival(v) and (families is None or family(v) in families)]
    if not rivals:
        return None
    relative = table[rivals].sub(table[ours], axis=0) if ours in table else table[rivals]
    means = relative.mean().dropna()
    return means.idxmax() if len(means) else table[rivals].mean().idxmax()


def is_single_source(variant: str) -> bool:
    """Whether a variant is a network that saw one of several sources only."""
    return family(variant) == "source_only" and "source" in dict(Variant.parse(variant).overrides)


def best_single_source(cars: pd.DataFrame, ours: str = OURS) -> str | None:
    """The best of the networks that saw one source each, named after the fact; None where none was run."""
    return best_rival(cars[cars["method"].map(is_single_source).astype(bool)], ours)


def top_rivals(cars: pd.DataFrame, number: int = 5, ours: str = OURS) -> list[str]:
    """The ``number`` best rivals of one setting, one variant of each method, the best first."""
    families = {family(v) for v in cars["method"].unique() if is_rival(v)}
    best = [variant for name in families if (variant := best_rival(cars, ours, (name,)))]
    means = _by_seed(cars)[best].mean() if best else pd.Series(dtype=float)
    return list(means.sort_values(ascending=False).index[:number])


def against_best(
    cars: pd.DataFrame, pick: Callable[[pd.DataFrame], str | None] = best_rival, draws: int = DRAWS
) -> pd.DataFrame:
    """`paired` difference of `OURS` to the variant that ``pick`` names in each setting, column ``rival``."""
    rows = []
    for _, scores in reported(cars, "cars").groupby(COMPARISON, sort=True):
        rival = pick(scores)
        if rival is not None and OURS in set(scores["method"]):
            rows.append(paired(scores, OURS, rival, draws).assign(rival=rival))
    columns = [*COMPARISON, "difference", "low", "high", "seeds", "dropped", "note", "rival"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def gap_closed(score: float, target_only: float, oracle: float) -> float:
    r"""Share of the gap between the references that a method closes, in percent.

    .. math:: 100\, (s - s_{target\ only}) / (s_{oracle} - s_{target\ only})

    nan where the oracle is not above target only: there is no gap.
    """
    return 100 * (score - target_only) / (oracle - target_only) if oracle > target_only else float("nan")


def gap_of(cars: pd.DataFrame, method: str = OURS) -> float:
    """`gap_closed` by a method in one setting, on the seeds all three share; nan where one was not run."""
    table = _by_seed(cars)
    names = [method, "target_only", "oracle"]
    if not set(names) <= set(table) or table[names].dropna().empty:
        return float("nan")
    return gap_closed(*table[names].dropna().mean())


def paired(cars: pd.DataFrame, first: str, second: str, draws: int = DRAWS) -> pd.DataFrame:
    """Score of ``first`` minus that of ``second`` in every setting, in points, with its paired interval.

    Columns: `COMPARISON`, difference, low, high, seeds (that both have), dropped (that only one has), note.
    A side that was not run leaves the numbers empty, and the note says so.
    """
    rows = [
        dict(zip(COMPARISON, key, strict=True)) | _difference(*_sides(scores, first, second), draws)
        for key, scores in reported(cars, "cars").groupby(COMPARISON, sort=True)
    ]
    return pd.DataFrame(rows)


def per_car_differences(cars: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """One row a setting, seed and car that both methods scored: ``difference`` in points."""
    keys = [*COMPARISON, "seed", "car"]
    sides = _sides(reported(cars, "cars"), first, second)
    both = sides[0].merge(sides[1], on=keys, suffixes=("_first", "_second"), validate="one_to_one")
    both["difference"] = 100 * (scores_of(both, "_first") - scores_of(both, "_second"))
    return both[[*keys, "difference"]].sort_values([*COMPARISON, "difference"], ignore_index=True)


def ablation(cars: pd.DataFrame, base: str = OURS, draws: int = DRAWS) -> pd.DataFrame:
    """What each change does to ``base``: its score minus that of ``base``, paired, by setting.

    A change that costs points removes something useful. Rows with more steps only are no change of the
    method and left out.

    Columns: `COMPARISON`, change, difference, low, high, seeds, dropped, note.
    """
    rows = []
    for key, scores in reported(cars, "cars").groupby(COMPARISON, sort=True):
        for variant in sorted(scores["method"].unique()):
            if is_ablation(variant, base):
                result = _difference(*_sides(scores, variant, base), draws)
                change = {"change": Variant.parse(variant).change}
                rows.append(dict(zip(COMPARISON, key, strict=True)) | change | result)
    columns = [*COMPARISON, "change", "difference", "low", "high", "seeds", "dropped", "note"]
    return pd.DataFrame(rows, columns=columns)


def robustness(cars: pd.DataFrame, methods: Sequence[str] | None = None, draws: int = DRAWS) -> pd.DataFrame:
    """What a bad source costs each method: the score with it minus without, on the same cars, in points.

    Columns: data, recipe (without the extra sources), labels, profile, extra, method, difference, low, high,
    seeds, dropped, note.
    """
    rows = []
    keys = ["data", "labels", "profile", "recipe", "method"]
    groups = dict(list(reported(cars, "cars").groupby(keys, sort=True)))
    for data, labels, profile, recipe, method in groups:
        setting = Setting.parse(recipe)
        if setting.extra and (methods is None or method in methods):
            clean = str(replace(setting, extra=()))
            without = groups.get((data, labels, profile, clean, method), cars.iloc[:0])
            key = {"data": data, "recipe": clean, "labels": labels, "profile": profile}
            key |= {"extra": " ".join(setting.extra), "method": method}
            rows.append(key | _difference(groups[data, labels, profile, recipe, method], without, draws))
    columns = ["data", "recipe", "labels", "profile", "extra", "method", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "seeds", "dropped", "note"])


def main_settings(cars: pd.DataFrame, labels: Sequence[int] = (0, 4, 8)) -> list[tuple[str, int]]:
    """(recipe, labels) of the settings with a recipe's own sources, none added and none left out.

    Of a recipe that was run with none of ``labels`` every number of labels, and all recipes where none is so.
    """
    there = reported(cars, "cars")[["recipe", "labels"]].drop_duplicates()
    plain = there[there["recipe"].map(lambda recipe: Setting.parse(recipe).plain)]
    there = plain if len(plain) else there
    usual = there["labels"].isin(labels)
    there = there[usual | ~there["recipe"].isin(there["recipe"][usual])]
    return sorted(there.itertuples(index=False, name=None))


def shown_setting(cars: pd.DataFrame, recipe: str, labels: int) -> tuple[str, int, str]:
    """The setting that a page shows and one line that says so: that named, or else that of most methods."""
    settings = main_settings(cars, (0, 4, 8, labels))
    if (recipe, labels) in settings:
        return recipe, labels, ""
    methods = {pair: choose(cars, *pair)["method"].nunique() for pair in settings}
    found = max(settings, key=methods.get)
    line = f"{recipe} with {labels} labels was not run here; shown in its place: "
    return *found, f"*{line}{found[0]} with {found[1]} labels.*"


def label_budget(cars: pd.DataFrame, recipe: str, methods: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of `summarise` for one recipe at every number of labels."""
    rows = reported(cars, "cars")
    rows = rows[rows["recipe"] == recipe]
    rows = rows if methods is None else rows[rows["method"].isin(methods)]
    return summarise(rows) if len(rows) else _nothing()


def source_numbers(
    cars: pd.DataFrame, recipe: str, labels: int, methods: Sequence[str] | None = None
) -> pd.DataFrame:
    """Rows of `summarise` for one recipe with every number J of sources, none added and none left out."""
    rows = reported(cars, "cars")
    plain = rows["recipe"].map(lambda text: replace(Setting.parse(text), sources=0) == Setting(recipe))
    plain = plain.astype(bool)
    rows = rows[plain & (rows["labels"] == labels)]
    rows = rows if methods is None else rows[rows["method"].isin(methods)]
    # `parts` and `parts-3` are the same setting where three is the recipe's own number.
    rows = rows.sort_values("recipe").drop_duplicates(["data", "sources", "profile", "method", "seed", "car"])
    return summarise(rows.assign(recipe=recipe)) if len(rows) else _nothing()


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=[*COMPARISON, "method", "dice", "low", "high", "sd", "seeds"])


def _by_seed(cars: pd.DataFrame) -> pd.DataFrame:
    """Mean score in one setting, seeds as rows and variants as columns; cars weigh alike."""
    check_one(cars)
    return cars.pivot_table(index="seed", columns="method", values=score(cars), aggfunc="mean")


def _sides(cars: pd.DataFrame, first: str, second: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return cars[cars["method"] == first], cars[cars["method"] == second]


def _difference(first: pd.DataFrame, second: pd.DataFrame, draws: int = DRAWS) -> dict[str, object]:
    """Mean paired difference in points, its interval, and how many seeds it rests on."""
    *sides, alone = on_shared_seeds(first, second)
    shared = sides[0]["seed"].nunique()
    row = {"difference": np.nan, "low": np.nan, "high": np.nan, "seeds": shared, "dropped": alone}
    if not shared:
        return row | {"note": NOT_RUN}
    try:
        interval = paired_difference(*sides, draws=draws)
    except InputError as error:
        names = " and ".join(sorted({*first["method"], *second["method"]}))
        where = ", ".join(sorted({*first["recipe"], *second["recipe"]}))
        raise InputError(f"{names} on {where}: {error}; run both again on the same data") from None
    values = {"difference": interval.mean, "low": interval.low, "high": interval.high}
    note = f"{alone} seeds on one side only" if alone else ""
    return row | {name: 100 * value for name, value in values.items()} | {"note": note}
