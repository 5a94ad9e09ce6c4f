"""Intervals that know two sources of chance: the cars in the test set and the seeds of the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mstl.report.comparisons import check_one
from mstl.report.scores import score
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile interval, in the unit of the score."""

    mean: float
    low: float
    high: float


def two_way_bootstrap(
    scores: pd.DataFrame,
    *,
    column: str | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    r"""Percentile interval of a mean score under resampling of seeds and of test cars.

    Each draw takes S seeds with replacement and, within every seed taken, that seed's cars with replacement,
    then averages. (Test cars differ between seeds, so cars are nested in seeds.)

    Args:
        scores: one row per seed, car and image with columns ``seed``, ``car`` and ``column``.
        column: the score to average, by default the table's own; images of one car are averaged first, so
            that cars weigh alike.
        draws: bootstrap draws.
        level: coverage, 0.95 for a 95 % interval.
        seed: of the resampling.

    Raises:
        InputError: scores of several comparisons or methods, which nobody means to average.

    Source: Davison & Hinkley, Bootstrap Methods and their Application, 1997, §3.8 (hierarchical data).
    """
    check_one(scores, ["method"])
    per_car = scores.groupby(["seed", "car"], sort=True)[column or score(scores)].mean()
    seeds = [values.to_numpy() for _, values in per_car.groupby(level="seed")]
    generator = np.random.default_rng(seed)
    means = np.empty((len(seeds), draws))
    # One row per seed holds independent resamples of that seed's cars; a draw then mixes rows.
    resampled = [[_resampled(values, draws, generator) for _ in seeds] for values in seeds]
    chosen = generator.integers(len(seeds), size=(len(seeds), draws))
    for slot in range(len(seeds)):
        means[slot] = np.stack([r[slot] for r in resampled])[chosen[slot], np.arange(draws)]
    low, high = np.quantile(means.mean(0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([v.mean() for v in seeds])), float(low), float(high))


def _resampled(values: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Means of ``draws`` resamples, (draws,): one row at a time, as 6,000 reviews a seed fill 200 MB."""
    return values[generator.integers(len(values), size=(draws, len(values)))].mean(-1)


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, column: str | None = None, **options
) -> Interval:
    """Interval of mean(first) - mean(second) on the same images of the same seeds.

    An image is named by seed, car and view, where both sides have views, and by its place among the others of
    that name: groups of one's own pictures have no views.

    Raises:
        InputError: one side holds several comparisons or methods, or the two do not score the same images.
    """
    keys = [key for key in ("seed", "car", "view") if key in first and key in second]
    column = column or score(first)
    sides = []
    for side in (first, second):
        check_one(side, ["method"])
        sides.append(side[[*keys, column]].assign(place=side.groupby(keys).cumcount()))
    both = sides[0].merge(
        sides[1], on=[*keys, "place"], suffixes=("_first", "_second"), validate="one_to_one"
    )
    if len(both) != len(first) or len(both) != len(second):
        raise InputError(
            f"{len(first)} and {len(second)} scores share {len(both)} ({', '.join(keys)}): "
            "a paired difference needs the same images on both sides"
        )
    both["difference"] = both[f"{column}_first"] - both[f"{column}_second"]
    return two_way_bootstrap(both, column="difference", **options)


def on_shared_seeds(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The rows of those seeds that both sides have, and the number of seeds that only one has."""
    seeds = set(first["seed"]), set(second["seed"])
    shared = seeds[0] & seeds[1]
    kept = (side[side["seed"].isin(shared)] for side in (first, second))
    return *kept, len(seeds[0] ^ seeds[1])
