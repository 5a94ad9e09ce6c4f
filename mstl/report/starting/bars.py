"""What became of the claims about networks that are trained: bars fixed before the sweep was run."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from mstl.report.family.bars import best
from mstl.report.grid import comparison
from mstl.report.grid.comparison import choose
from mstl.report.grid.judging import COLUMNS, SEEDS, judged, missing, noted, place
from mstl.report.scores import scores_of
from mstl.run.names import Variant

CHAIN = ("afa", "delta", "l2_sp", "fine_tuning", "target_only")  # each is to be no worse than the next
UNIFORM = "attention=uniform"


def is_control(variant: str) -> bool:
    """Whether it is AFA whose attention attends to nothing."""
    return UNIFORM in Variant.parse(variant).changes


def names(cars: pd.DataFrame) -> dict[str, str]:
    """Variant -> title of the chain's methods and of AFA's control, in order: what a figure shows."""
    order = ("target_only", "fine_tuning", "l2_sp", "feature_map", "delta", "afa")
    found = sorted(cars["method"].unique(), key=lambda variant: (is_control(variant), len(variant)))
    shown = {v: v for name in order for v in found if Variant.parse(v).method == name}
    return {v: _title(v) if not is_control(v) else "AFA, uniform attention" for v in shown}


def over(cars: pd.DataFrame, base: str = "fine_tuning") -> pd.DataFrame:
    """Every other of `names` minus ``base``, paired, in points: `comparison.paired` and ``method``."""
    others = (variant for variant in names(cars) if variant != base)
    return pd.concat([comparison.paired(cars, variant, base).assign(method=variant) for variant in others])


def settings(cars: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(data, recipe, labels), in order."""
    found = cars[["data", "recipe", "labels"]].drop_duplicates().sort_values(["data", "recipe", "labels"])
    return [(row.data, row.recipe, row.labels) for row in found.itertuples()]


def chain_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """S1 and S2 of every setting, one row a comparison; columns as in `mstl.report.grid.part_bars`.

    * S1: AFA is at least a point above L2 at the fewest labels, with an interval above 0.
    * S2: AFA ≥ DELTA ≥ L2-SP ≥ L2 ≥ scratch, sign by sign.
    * S3: AFA is above its own control, whose attention is uniform.
    """
    cars, rows = comparison.reported(cars, "cars"), []
    fewest = cars.groupby(["data", "recipe"])["labels"].min()
    for where in settings(cars):
        data, recipe, labels = where
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        learned = scores[~scores["method"].map(is_control).astype(bool)]
        if labels == fewest[data, recipe]:
            head = {"bar": "S1", "claim": "AFA over L2", "needed": "≥ +1, interval above 0"}
            rows.append(_of(learned, spent, ("afa", "fine_tuning"), 1.0, seeds) | head | place(*where))
        for pair in pairwise(CHAIN):
            head = {"bar": "S2", "claim": " over ".join(map(_title, pair)), "needed": "≥ 0"}
            rows.append(_of(learned, spent, pair, 0.0, seeds, clear=False) | head | place(*where))
        control = next((v for v in scores["method"].unique() if is_control(v)), None)
        head = {"bar": "S3", "claim": "AFA over uniform attention", "needed": "> 0, interval above 0"}
        ours = best(learned, "afa")
        row = (
            missing() if control is None or ours is None else judged(scores, spent, ours, control, 0.0, seeds)
        )
        rows.append(row | head | place(*where))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def _of(scores, spent, pair, needed, seeds, clear=True) -> dict[str, object]:
    first, second = (best(scores, name) for name in pair)
    if first is None or second is None:
        return missing()
    return judged(scores, spent, first, second, needed, seeds, clear)


def _title(name: str) -> str:
    return "scratch" if name == "target_only" else comparison.variant_label(name)


def teachers(variant: str) -> tuple[str, ...]:
    """The weights that a run of AMCF, or of fine-tuning, begins with; () of any other."""
    parsed = Variant.parse(variant)
    said = dict(parsed.overrides)
    if parsed.method == "amcf" and "models" in said:
        return tuple(name.removeprefix("tf_").replace("@", " ") for name in said["models"].split(","))
    if parsed.method == "fine_tuning" and "weights" in said:
        encoder = said.get("encoder", "")
        return (f"{encoder.removeprefix('tf_')} {said['weights']}".strip(),)
    return ()


def teacher_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """T1 and T2 of every group of source models, one row a comparison; columns as in `chain_bars`.

    * T1: AMCF against the best of its source models fine-tuned alone, named after the fact: not below,
      and the interval above −1.
    * T2: AMCF against the same models that do not collaborate (λ = 0), the mean of an ensemble: above 0.
    """
    cars, rows = comparison.reported(cars, "cars"), []
    for where in settings(cars):
        data, recipe, labels = where
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        variants = sorted(scores["method"].unique())
        for group in sorted({teachers(v) for v in variants if Variant.parse(v).method == "amcf"} - {()}):
            own = [v for v in variants if teachers(v) == group and Variant.parse(v).method == "amcf"]
            alone = [v for v in own if "weight=0" in Variant.parse(v).changes]
            together = [v for v in own if v not in alone]
            single = [v for v in variants if len(teachers(v)) == 1 and set(teachers(v)) <= set(group)]
            single = [v for v in single if Variant.parse(v).method == "fine_tuning"]
            ours = highest(scores, together)
            name = ", ".join(group)
            head = {"bar": "T1", "claim": f"AMCF of {name}, over the best alone"}
            row = _judged(scores, spent, ours, highest(scores, single), seeds)
            if row["reached"] == "yes" and row["low"] <= -1:
                row = noted(row | {"reached": "no"}, "no", "interval not above −1")
            rows.append(row | head | {"needed": "≥ 0, interval above −1"} | place(*where))
            head = {"bar": "T2", "claim": f"AMCF of {name}, over their mean"}
            row = _judged(scores, spent, ours, highest(scores, alone), seeds)
            rows.append(row | head | {"needed": "> 0"} | place(*where))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def highest(scores: pd.DataFrame, among: list[str]) -> str | None:
    """The variant with the highest mean, of those that were run."""
    rows = scores[scores["method"].isin(among)]
    if rows.empty:
        return None
    return str(scores_of(rows).groupby(rows["method"]).mean().idxmax())


def _judged(scores, spent, ours, other, seeds) -> dict[str, object]:
    return (
        missing() if ours is None or other is None else judged(scores, spent, ours, other, 0.0, seeds, False)
    )
