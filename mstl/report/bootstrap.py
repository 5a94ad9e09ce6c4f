"""Intervals that know two sources of chance: the cars in the test set and the seeds of the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile interval, in the unit of the score."""

    mean: float
    low: float
    high: float


def two_way_bootstrap(
    scores: pd.DataFrame, *, column: str = "dice", draws: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    r"""Percentile interval of a mean score under resampling of seeds and of test cars.

    Each draw takes S seeds with replacement and, within every seed taken, that seed's cars with replacement,
    then averages. (Test cars differ between seeds, so cars are nested in seeds.)

    Args:
        scores: one row per seed, car and image with columns ``seed``, ``car`` and ``column``.
        column: the score to average; images of one car are averaged first, so that cars weigh alike.
        draws: bootstrap draws.
        level: coverage, 0.95 for a 95 % interval.
        seed: of the resampling.

    Source: Davison & Hinkley, Bootstrap Methods and their Application, 1997, §3.8 (hierarchical data).
    """
    per_car = scores.groupby(["seed", "car"], sort=True)[column].mean()
    seeds = [values.to_numpy() for _, values in per_car.groupby(level="seed")]
    generator = np.random.default_rng(seed)
    means = np.empty((len(seeds), draws))
    # One row per seed holds independent resamples of that seed's cars; a draw then mixes rows.
    resampled = [
        values[generator.integers(len(values), size=(len(seeds), draws, len(values)))].mean(-1)
        for values in seeds
    ]
    chosen = generator.integers(len(seeds), size=(len(seeds), draws))
    for slot in range(len(seeds)):
        means[slot] = np.stack([r[slot] for r in resampled])[chosen[slot], np.arange(draws)]
    low, high = np.quantile(means.mean(0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([v.mean() for v in seeds])), float(low), float(high))


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, column: str = "dice", **options
) -> Interval:
    """Interval of mean(first) - mean(second) on the same seeds and cars, and views where both have them.

    Raises:
        ValueError: the two tables do not score the same images.
    """
    keys = [key for key in ("seed", "car", "view") if key in first and key in second]
    both = first.merge(second, on=keys, suffixes=("_first", "_second"), validate="one_to_one")
    if len(both) != len(first) or len(both) != len(second):
        raise ValueError(
            f"{len(first)} and {len(second)} scores share {len(both)} ({', '.join(keys)}): "
            "a paired difference needs the same images on both sides"
        )
    both["difference"] = both[f"{column}_first"] - both[f"{column}_second"]
    return two_way_bootstrap(both, column="difference", **options)
