"""The page on a source that nobody may see: what is drawn of it, what follows the target, and the bars."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from mstl.data.augment import to_float, to_pixels
from mstl.methods.cvae import CVAE
from mstl.methods.pp_pssl import PPPSSL
from mstl.report import plots
from mstl.report.family.bars import best
from mstl.report.grid import comparison
from mstl.report.grid.comparison import choose
from mstl.report.grid.judging import COLUMNS, SEEDS, judged, missing, place
from mstl.report.starting.bars import highest, settings
from mstl.run.names import Variant
from mstl.run.train import Trainer


def drawn(model: CVAE, shown: int = 8) -> Figure:
    """``shown`` images of each class of the source, a block for each."""
    names = model.problem.classes
    figure, axes = plt.subplots(1, len(names), figsize=(9, 9 / len(names) * shown / 4 / 2), squeeze=False)
    for k, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        images = to_pixels(model.draw(torch.full((shown,), k)))
        ax.imshow(plots.mosaic([plots.to_picture(image) for image in images], 4))
        ax.set(xticks=[], yticks=[], title=name)
        ax.grid(visible=False)
    return figure


def recognised(model: CVAE, judge: Trainer, each: int = 200) -> float:
    """Share of drawn images, ``each`` of every class, that another network takes for their class; percent."""
    classes = torch.arange(len(model.problem.classes)).repeat_interleave(each)
    with torch.no_grad():
        logits = torch.cat([judge.predict(x).flatten(1).cpu() for x in model.draw(classes).split(64)])
    return 100 * float((logits.argmax(1) == classes).float().mean())


@torch.no_grad()
def followed(method: PPPSSL, images: torch.Tensor, shown: int = 3) -> Figure:
    """Target images, what the source classifier takes them for, and what is drawn in answer.

    Args:
        method: of which what is inherited has been trained.
        images: uint8 (n, 3, h, w) of the target.
        shown: drawn images of each.
    """
    soft = method.conditions(to_float(images).to(next(method.parameters()).device))
    names = method.inherited.model.problem.classes
    figure, axes = plt.subplots(2 + shown, len(images), figsize=(0.9 * len(images), 0.95 * (2 + shown)))
    for column, image, p in zip(axes.T, images, soft, strict=True):
        column[0].imshow(plots.to_picture(image))
        column[1].bar(range(len(p)), p.tolist(), color=plots.PALETTE[0])
        column[1].set(ylim=(0, 1), xticks=range(len(p)), yticks=[])
        column[1].set_xticklabels(names, fontsize=8)
        for ax, answer in zip(column[2:], method.inherited.model.draw(p.expand(shown, -1)), strict=True):
            ax.imshow(plots.to_picture(to_pixels(answer[None])[0]))
        for ax in (column[0], *column[2:]):
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
    for ax, name in zip(axes[:3, 0], ("target", "C(x)", "drawn"), strict=True):
        ax.set_ylabel(name)
    return figure


def inherited_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """I1 to I3 of every setting, one row a comparison; columns as in `mstl.report.grid.part_bars`.

    * I1: PP + P-SSL is at least 3 points above scratch at the fewest labels, with an interval above 0.
    * I2: it is above distillation, the better of two forms, named after the fact.
    * I3: its second stage helps: it is above pseudo pre-training alone.
    """
    cars, rows = comparison.reported(cars, "cars"), []
    fewest = cars.groupby(["data", "recipe"])["labels"].min()
    for where in settings(cars):
        data, recipe, labels = where
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        own = [v for v in scores["method"].unique() if Variant.parse(v).method == "pp_pssl"]
        whole = highest(scores, [v for v in own if not is_part(v)])
        alone = next((v for v in own if whole and _is_first_stage_of(v, whole)), None)
        claims = [
            ("I2", "PP + P-SSL over distillation", best(scores, "distillation"), 0.0, "> 0"),
            ("I3", "PP + P-SSL over PP alone", alone, 0.0, "> 0, interval above 0"),
        ]
        if labels == fewest[data, recipe]:
            scratch = best(scores, "target_only")
            claims.insert(0, ("I1", "PP + P-SSL over scratch", scratch, 3.0, "≥ +3, interval above 0"))
        for bar, claim, other, least, needed in claims:
            if whole is None or other is None:
                row = missing()
            else:
                row = judged(scores, spent, whole, other, least, seeds, clear="interval" in needed)
            rows.append(row | {"bar": bar, "claim": claim, "needed": needed} | place(*where))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def is_part(variant: str) -> bool:
    """Whether it is PP + P-SSL with a stage left out, or one of its controls."""
    left_out = {"weight=0", "first=0", "condition=hard", "condition=random", "consistency=fixmatch"}
    return bool(left_out & set(Variant.parse(variant).changes))


def _is_first_stage_of(variant: str, whole: str) -> bool:
    """Whether it is the same but for λ, which is 0."""
    one, other = (dict(Variant.parse(v).overrides) for v in (variant, whole))
    return one.get("weight") == "0" and one | {"weight": ""} == other | {"weight": ""}
