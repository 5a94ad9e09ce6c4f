"""Figures of the notebooks, drawn with Matplotlib and, heat maps, with seaborn, in one look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.methods.catalogue import METHODS, described
from mstl.report.bootstrap import two_way_bootstrap
from mstl.report.comparisons import check_one, comparisons
from mstl.report.results import Difference, differences
from mstl.report.results import method_label as label
from mstl.report.scores import score, title
from mstl.run.inference import load_method
from mstl.run.names import Variant

# Okabe & Ito's palette: eight colours that people with any colour vision can tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555")
GREY = PALETTE[7]
MASK_COLOUR = np.array((0.90, 0.62, 0.0))
# Front, cabin, rear, wheels, glass, lights, mirrors, and the foreign body of a chimera.
PART_COLOURS = ("#0072B2", "#009E73", "#E69F00", "#444444", "#56B4E9", "#F0E442", "#CC79A7", "#B0B0B0")

# Beside a style sheet of Matplotlib's: seaborn, whose look it is, takes seconds to import.
LOOK = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.edgecolor": "#bbbbbb",
    "axes.linewidth": 1.25,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "grid.color": "#e6e6e6",
    "grid.linewidth": 1.0,
    "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"],
    "legend.fontsize": 11,
    "legend.title_fontsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "image.cmap": "magma",
    "patch.edgecolor": "white",
    "patch.force_edgecolor": True,
}


def style() -> None:
    """The look of every figure: white, light grid, readable at the width of a page and in print.

    Tables show their cells whole: what is evidence may be long.
    """
    pd.set_option("display.max_colwidth", None)
    plt.style.use("seaborn-v0_8-whitegrid")
    plt.rcParams.update(LOOK)


def heatmap(table: pd.DataFrame, **look: object) -> Axes:
    """seaborn's, imported where it is drawn."""
    import seaborn

    return seaborn.heatmap(table, **look)


def order(methods: Sequence[str]) -> list[str]:
    """Methods in the order of the tables: references from below, rivals, ours, the oracle last."""
    known = list(METHODS)

    def rank(method: str) -> tuple[bool, int, str]:
        name = Variant.parse(method).method
        return name == "oracle", known.index(name) if name in known else len(known), method

    return sorted(set(methods), key=rank)


def colour(method: str) -> str:
    """The colour of a method, the same in every figure."""
    return described(Variant.parse(method).method).colour


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two limits: the ticks of a logarithmic axis."""
    return [n for e in range(-3, 6) for m in (1, 2, 5) if low <= (n := m * 10.0**e) <= high]


def to_picture(image: Tensor) -> np.ndarray:
    """uint8 (3, h, w) as uint8 (h, w, 3) for ``imshow``."""
    return image.permute(1, 2, 0).cpu().numpy()


def overlay(image: Tensor, mask: Tensor, strength: float = 0.5) -> np.ndarray:
    """An image with its mask in amber: float (h, w, 3) in [0, 1]."""
    picture = to_picture(image) / 255
    weight = strength * mask.squeeze(0).cpu().numpy()[..., None].astype(float)
    return picture * (1 - weight) + MASK_COLOUR * weight


def from_network(image: Tensor) -> np.ndarray:
    """A network's input, float (3, h, w) in [-2, 2], as float (h, w, 3) in [0, 1]."""
    return (image.detach().permute(1, 2, 0).float().cpu().numpy() / 4 + 0.5).clip(0, 1)


def part_overlay(image: Tensor, parts: Tensor, strength: float = 0.75) -> np.ndarray:
    """An image with its part map in `PART_COLOURS`: float (h, w, 3) in [0, 1]; part 0 stays as it is."""
    colours = np.array([(0.0, 0.0, 0.0), *map(to_rgb, PART_COLOURS)])
    index = parts.squeeze(0).cpu().numpy()
    weight = strength * (index > 0)[..., None]
    return to_picture(image) / 255 * (1 - weight) + colours[index] * weight


def framed(picture: np.ndarray, colour: str, width: int = 3) -> np.ndarray:
    """A picture (h, w, 3), uint8 or float, with a coloured frame drawn over its edge: float in [0, 1]."""
    scale = 255 if picture.dtype == np.uint8 else 1
    result = np.empty(picture.shape)
    result[:] = to_rgb(colour)
    inside = (slice(width, -width), slice(width, -width))
    result[inside] = picture[inside] / scale
    return result


def mosaic(pictures: Sequence[np.ndarray], columns: int, gap: int = 3) -> np.ndarray:
    """Pictures (h, w, 3) of one size, uint8 or float, as one picture with white between: float in [0, 1]."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    result = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        result[y : y + height, x : x + width] = picture / (255 if picture.dtype == np.uint8 else 1)
    return result


def legend(names: Sequence[str], colours: Sequence[str], figure: Figure, columns: int = 8) -> None:
    """Coloured squares with names below a figure of pictures."""
    squares = [Patch(color=colour, label=name) for name, colour in zip(names, colours, strict=False)]
    figure.legend(handles=squares, loc="outside lower center", ncols=min(columns, len(squares)), fontsize=9)


def picture_grid(pictures: Sequence[Sequence[np.ndarray]], rows: Sequence[str], width: float = 9.0) -> Figure:
    """Rows of pictures with a name at the left of each row."""
    columns = max(len(row) for row in pictures)
    heights = [row[0].shape[0] / row[0].shape[1] for row in pictures]
    figure, axes = plt.subplots(
        len(pictures),
        columns,
        figsize=(width, width / columns * sum(heights) * 1.06),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for row_axes, row, name in zip(axes, pictures, rows, strict=True):
        for ax in row_axes:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
        for ax, picture in zip(row_axes, row, strict=False):
            ax.imshow(picture)
        row_axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def domain_montage(task: Task, columns: int = 8, masks: bool = True, seed: int = 0) -> Figure:
    """A row of random images for every source and for the target, masks in amber."""
    target = task.unlabelled or task.labelled
    rows = [sample(domain, columns, seed, masks) for domain in (*task.sources, target)]
    return picture_grid(rows, [*(source.name for source in task.sources), "target"])


def sample(domain: Domain, count: int, seed: int = 0, masks: bool = True) -> list[np.ndarray]:
    """Random images of a domain as pictures, masks in amber."""
    chosen = np.random.default_rng(seed).choice(len(domain), min(count, len(domain)), replace=False)
    strength = 0.5 if masks else 0.0
    return [overlay(domain.images[i], domain.masks[i], strength) for i in chosen]


def panels(
    table: pd.DataFrame,
    draw: Callable[[pd.DataFrame, Sequence[Axes]], object],
    height: Callable[[pd.DataFrame], float],
    width: float = 7,
    columns: int = 1,
) -> Figure:
    """A row of axes for every comparison, with its name where there are several.

    Args:
        table: rows of one or more comparisons.
        draw: draws the rows of one.
        height: of its row, in inches.
        width: of the figure, in inches.
        columns: axes a row.
    """
    parts = comparisons(table)
    heights = [height(rows) for rows in parts.values()]
    figure, axes = plt.subplots(
        len(parts),
        columns,
        figsize=(width, sum(heights)),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for row, (name, rows) in zip(axes, parts.items(), strict=True):
        draw(rows, row)
        if name:
            row[0].set_title(" · ".join(filter(None, (name, row[0].get_title()))), loc="left")
    return figure


def score_intervals(images: pd.DataFrame) -> Figure:
    """Mean score of every method with its 95 % interval over seeds and cars; one dot a seed."""
    return panels(images, _score_intervals, lambda rows: 0.6 + 0.5 * rows["method"].nunique())


def _score_intervals(images: pd.DataFrame, axes: Sequence[Axes]) -> None:
    (ax,) = axes
    methods = order(images["method"])
    for y, method in enumerate(reversed(methods)):
        scores = images[images["method"] == method]
        interval = two_way_bootstrap(scores)
        ax.plot([interval.low, interval.high], [y, y], color=colour(method), lw=3, solid_capstyle="round")
        ax.plot(interval.mean, y, "o", color=colour(method), ms=9, mec="white", mew=1.5, zorder=3)
        per_seed = scores.groupby("seed")[score(images)].mean()
        ax.plot(per_seed, np.full(len(per_seed), y - 0.25), "|", color=colour(method), ms=8, mew=2)
        _name_value(ax, f"{interval.mean:.3f}", interval.mean, y)
    ax.set_yticks(range(len(methods)), [label(m) for m in reversed(methods)])
    ax.set_ylim(-0.7, len(methods) - 0.4)
    ax.set_xlabel(f"{title(images)}, mean over test images")
    ax.grid(axis="y", visible=False)


def part_recall_heatmap(images: pd.DataFrame) -> Figure:
    """Recall of every part (columns) by every method (rows)."""
    return panels(images, _part_recall, lambda rows: 0.9 + 0.45 * rows["method"].nunique(), width=9)


def _part_recall(images: pd.DataFrame, axes: Sequence[Axes]) -> None:
    (ax,) = axes
    parts = [c for c in images.columns if c.startswith("recall_") and images[c].notna().any()]
    table = images.groupby("method")[parts].mean().loc[order(images["method"])]
    table.index = [label(m) for m in table.index]
    table.columns = [c.removeprefix("recall_") for c in table.columns]
    low = np.floor(table.min(axis=None) * 20) / 20
    few = len(parts) <= 10  # numbers of eighteen parts would run into each other
    bar = {"label": "recall"}
    heatmap(table, annot=few, fmt=".2f", cmap="cividis", vmin=low, vmax=1, ax=ax, cbar_kws=bar)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="", ylabel="")


def curves(table: pd.DataFrame, column: str, ax: Axes, ylabel: str) -> Axes:
    """One log column over the steps: a line a method, a band from the lowest to the highest seed.

    Where nobody logged it, as a target loss without labels, the axes say so.

    Raises:
        InputError: curves of several comparisons.
    """
    check_one(table)
    present = table.dropna(subset=[column]) if column in table else table.iloc[:0]
    if present.empty:
        ax.text(0.5, 0.5, f"no {ylabel} here", transform=ax.transAxes, color=GREY, ha="center", va="center")
        ax.set(xticks=[], yticks=[])
        return ax
    for method in order(present["method"]):
        by_step = present[present["method"] == method].groupby("step")[column]
        ax.plot(by_step.mean(), color=colour(method), label=label(method))
        ax.fill_between(
            by_step.mean().index, by_step.min(), by_step.max(), color=colour(method), alpha=0.2, lw=0
        )
    ax.set(xlabel="step", ylabel=ylabel)
    return ax


def has_parts(images: pd.DataFrame) -> bool:
    """Whether the scores hold the recall of parts."""
    return any(c.startswith("recall_") and images[c].notna().any() for c in images)


def difference_intervals(images: pd.DataFrame) -> Figure:
    """Paired differences of each of our models to every other method, in points, with a line at zero.

    Args:
        images: scores of one or more comparisons.
    """
    found: dict[str, list[Difference]] = {}
    for name, rows in comparisons(images).items():
        for difference in differences(rows, order(rows["method"])):
            if difference.interval:
                title = ", ".join(filter(None, (label(difference.method), name)))
                found.setdefault(title, []).append(difference)
    if not found:
        return nothing("no model of ours beside another method")
    figure, axes = plt.subplots(len(found), 1, figsize=(7, 2.7 * len(found)), sharex=True, squeeze=False)
    for ax, (title, against) in zip(axes[:, 0], found.items(), strict=True):
        _difference_intervals(against, ax)
        ax.set(title=title, xlabel=f"difference in {against[0].score} points")
        ax.label_outer()
    return figure


def _difference_intervals(differences: Sequence[Difference], ax: Axes) -> None:
    for y, difference in enumerate(reversed(differences)):
        interval, paint = difference.interval, colour(difference.other)
        low, mean, high = (100 * v for v in (interval.low, interval.mean, interval.high))
        ax.plot([low, high], [y, y], color=paint, lw=3, solid_capstyle="round")
        ax.plot(mean, y, "o", color=paint, ms=9, mec="white", mew=1.5, zorder=3)
        _name_value(ax, f"{mean:+.1f}", mean, y)
    ax.axvline(0, color=GREY, lw=1)
    ax.set_yticks(range(len(differences)), [f"against {label(d.other)}" for d in reversed(differences)])
    ax.set_ylim(-0.5, len(differences) - 0.4)
    ax.grid(axis="y", visible=False)


def nothing(what: str) -> Figure:
    """A figure that says what there is none of."""
    figure, ax = plt.subplots(figsize=(6, 0.8))
    ax.text(0.5, 0.5, what, ha="center", va="center", color=GREY)
    ax.set_axis_off()
    return figure


def time_against_score(runs: pd.DataFrame) -> Figure:
    """One dot a run: seconds of training against its score on the test cars."""
    return panels(runs, _time_against_score, lambda rows: 3.2, width=6.5)


def _time_against_score(runs: pd.DataFrame, axes: Sequence[Axes]) -> None:
    (ax,) = axes
    for method in order(runs["method"]):
        chosen = runs[runs["method"] == method]
        ax.plot(
            chosen["seconds"],
            chosen[score(runs)],
            "o",
            color=colour(method),
            ms=8,
            mec="white",
            label=label(method),
        )
    ax.set(xlabel="seconds of training", ylabel=f"{title(runs)} on test cars", xlim=(0, None))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))  # inside, its dots would pass for runs


def best_and_worst(folder: Path, task: Task, images: pd.DataFrame, columns: int = 4) -> Figure:
    """The best, the middle and the worst test images of a run, prediction in amber, true outline in blue."""
    method, test = load_method(folder), task.test
    ranking = images.reset_index(drop=True)["dice"].sort_values(ascending=False).index.to_numpy()
    middle = (len(ranking) - columns) // 2
    rows = {
        "best": ranking[:columns],
        "middle": ranking[middle : middle + columns],
        "worst": ranking[-columns:],
    }
    figure, axes = plt.subplots(3, columns, figsize=(9, 4.8), squeeze=False)
    for row_axes, (name, chosen) in zip(axes, rows.items(), strict=True):
        with torch.no_grad():
            predicted = method.predict(to_float(test.images[chosen])) > 0
        for ax, index, mask in zip(row_axes, chosen, predicted, strict=True):
            ax.imshow(overlay(test.images[index], mask))
            ax.contour(test.masks[index, 0], levels=[0.5], colors=[PALETTE[0]], linewidths=1.2)
            ax.set_title(f"{images['dice'].iloc[index]:.3f}", fontsize=9)
            ax.set(xticks=[], yticks=[])
        row_axes[0].set_ylabel(name)
    return figure


def _name_value(ax: Axes, text: str, x: float, y: float) -> None:
    ax.annotate(text, (x, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9)
