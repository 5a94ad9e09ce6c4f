"""The page on distant pairs: which bridges take part from round to round, and the bars."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.methods.ddtl import DDTL
from mstl.report import plots
from mstl.report.family.bars import judged_if_run
from mstl.report.grid import comparison
from mstl.report.grid.comparison import choose
from mstl.report.grid.judging import COLUMNS, SEEDS, place
from mstl.report.starting.bars import highest, settings
from mstl.run.names import Variant
from mstl.run.train import Trainer
from mstl.system.errors import InputError


def scored(method: DDTL, bridges: Domain) -> pd.DataFrame:
    """v and s of every bridge as the network is now: columns ``bridge``, ``score`` (s), ``chosen`` (v)."""
    device, training = next(method.parameters()).device, method.training
    method.eval()
    found = [method.chosen(to_float(images).to(device)).cpu() for images in bridges.images.split(64)]
    method.train(training)
    v, s = np.concatenate([part.numpy() for part in found], 1)
    return pd.DataFrame({"bridge": np.arange(len(s)), "score": s, "chosen": v > 0})


def rounds(trainer: Trainer, bridges: Domain) -> pd.DataFrame:
    """Trains a run of DDTL to its end, and asks as each round begins: `scored`, and ``round``, from 1.

    In round 0 no bridge takes part. What is asked is the whole pool, not the batches that come up.

    Raises:
        InputError: there is no second round.
    """
    asked, steps, number = [], trainer.config.profiled("steps"), trainer.method.hyper.rounds
    starts = {int(np.ceil(steps * k / number)): k for k in range(1, number) if steps > 1}
    if not starts:
        raise InputError(
            f"steps={steps}, rounds={number}: both must be ≥ 2, for in the first no bridge takes part"
        )
    for step in range(steps):
        if step in starts:
            asked.append(scored(trainer.method, bridges).assign(round=starts[step]))
        trainer.update()
    return pd.concat(asked, ignore_index=True)


def shown(bridges: Domain, asked: pd.DataFrame, each: int = 10) -> Figure:
    """The bridges that cost least and most in every round, and how many take part.

    Args:
        bridges: the pool.
        asked: `rounds`.
        each: images of a block.
    """
    numbers = sorted(asked["round"].unique())
    figure, axes = plt.subplots(len(numbers), 2, figsize=(9, 0.75 * len(numbers) + 0.5), squeeze=False)
    for row, number in zip(axes, numbers, strict=True):
        now = asked[asked["round"] == number].sort_values("score")
        share = 100 * now["chosen"].mean()
        row[0].set_ylabel(f"round {number}:\n{share:.0f} %", rotation=0, ha="right", va="center")
        for ax, part in zip(row, (now.head(each), now.tail(each)), strict=True):
            pictures = [plots.to_picture(bridges.images[i]) for i in part["bridge"]]
            ax.imshow(plots.mosaic(pictures, each))
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
    for ax, title in zip(axes[0], ("cost least", "cost most"), strict=True):
        ax.set_title(title)
    return figure


def distant_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """D1 to D3 of every pair, one row a comparison; columns as in `mstl.report.grid.part_bars`.

    * D1: SLA is above the best of target only, pooling, self-taught learning (all bridges, no source) and
      DDTL without bridges, named after the fact, with an interval above 0. It was to be so on most pairs.
    * D2: it is above as many bridges drawn at random.
    * D3: it is above target only.
    """
    cars, rows = comparison.reported(cars, "cars"), []
    for where in settings(cars):
        data, recipe, labels = where
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        found = {v: Variant.parse(v) for v in scores["method"].unique()}
        own = highest(scores, [v for v in found if found[v].method == "ddtl" and not is_control(v)])
        at_random = [v for v in found if "bridges=random" in found[v].changes]
        rivals = [v for v in found if is_control(v) or found[v].method != "ddtl"]
        alone = [v for v in found if found[v].method == "target_only"]
        claims = (
            ("D1", "SLA over the best baseline", highest(scores, [v for v in rivals if v not in at_random])),
            ("D2", "SLA over bridges at random", highest(scores, at_random)),
            ("D3", "SLA over target only", highest(scores, alone)),
        )
        for bar, claim, other in claims:
            row = judged_if_run(scores, spent, own, other, 0.0, seeds)
            head = {"bar": bar, "claim": claim, "needed": "> 0, interval above 0"}
            rows.append(row | head | place(*where))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def is_control(variant: str) -> bool:
    """Whether it is DDTL that does not choose its bridges."""
    return any(change.startswith("bridges=") for change in Variant.parse(variant).changes)
