"""The page on relations: what a graph links in an image, how far its links reach, and the bars."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from mstl.data.augment import to_float
from mstl.methods.glomo import GLoMo
from mstl.report import plots
from mstl.report.family.bars import judged_if_run
from mstl.report.grid import comparison
from mstl.report.grid.comparison import choose
from mstl.report.grid.judging import COLUMNS, SEEDS, place
from mstl.report.starting.bars import highest, settings
from mstl.run.names import Variant

DIRECTIONS = {"from earlier patches": plots.PALETTE[1], "from later patches": plots.PALETTE[4]}


@torch.no_grad()
def mixed(method: GLoMo, images: torch.Tensor) -> np.ndarray:
    """M of both directions, (2, n, T, T), of uint8 images."""
    device = next(method.parameters()).device
    sequence = method.units.sequence(to_float(images).to(device))
    return torch.stack([graph.float().cpu() for graph in method.mixed(sequence)]).numpy()


def linked(method: GLoMo, images: torch.Tensor, units: int = 4, links: int = 3) -> Figure:
    """From where some patches of each image draw: the ``links`` heaviest in either direction.

    Args:
        method: with graphs that have learned.
        images: uint8 (n, 3, h, w).
        units: patches of each image that are asked, spread over those that are not empty.
        links: lines to each, in either direction; the heavier, the wider.
    """
    graphs, patch, (_, columns) = mixed(method, images), method.units.patch, method.units.grid
    figure, axes = plt.subplots(
        1, len(images), figsize=(3 * len(images), 3.5), squeeze=False, layout="constrained"
    )
    for i, (ax, image) in enumerate(zip(axes[0], images, strict=True)):
        ax.imshow(plots.to_picture(image), cmap="gray")
        for t in asked(image, patch, units):
            end = _centre(t, columns, patch)
            for graph, colour in zip(graphs[:, i], DIRECTIONS.values(), strict=True):
                for j in np.argsort(graph[t])[::-1][:links]:
                    if graph[t, j] > 0:
                        start = _centre(j, columns, patch)
                        ax.plot(
                            *zip(start, end, strict=True), color=colour, lw=1 + 5 * graph[t, j], alpha=0.8
                        )
            ax.plot(*end, "o", color="white", mec="black", ms=6)
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    lines = [plt.Line2D([], [], color=colour, lw=3) for colour in DIRECTIONS.values()]
    figure.legend(lines, list(DIRECTIONS), loc="outside lower center", ncols=2, frameon=False)
    return figure


def asked(image: torch.Tensor, patch: int, units: int) -> list[int]:
    """Patches that vary most, the first half of them thinned out to ``units``, in raster order."""
    spread = torch.nn.functional.unfold(image[None].float(), patch, stride=patch)[0].std(0).numpy()
    lively = np.sort(np.argsort(spread)[::-1][: max(units, int((spread > 0).sum()) // 2)])
    return [int(lively[k]) for k in np.linspace(0, len(lively) - 1, units).round().astype(int)]


def _centre(t: int, columns: int, patch: int) -> tuple[float, float]:
    return (t % columns + 0.5) * patch - 0.5, (t // columns + 0.5) * patch - 0.5


def by_offset(graphs: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    r"""How much a unit draws on one so far away, mean over all pairs of them, images and directions.

    .. math:: A_{\delta} = \operatorname{mean}_{(t, j):\ j - t = \delta} M_{tj}

    Args:
        graphs: (…, T, T).
        grid: rows and columns of units, T their product.

    Returns:
        (2·rows − 1, 2·columns − 1), no offset in the middle.
    """
    rows, columns = grid
    mean = graphs.reshape(-1, rows, columns, rows, columns).mean(0)
    total, count = np.zeros((2, 2 * rows - 1, 2 * columns - 1))
    for y in range(rows):
        for x in range(columns):
            there = np.s_[rows - 1 - y : 2 * rows - 1 - y, columns - 1 - x : 2 * columns - 1 - x]
            total[there] += mean[y, x]
            count[there] += 1
    return total / count


def reaching(methods: Mapping[str, GLoMo], images: torch.Tensor) -> Figure:
    """`by_offset` of several networks, side by side, on one scale."""
    maps = {name: by_offset(mixed(method, images), method.units.grid) for name, method in methods.items()}
    highest_value = max(float(found.max()) for found in maps.values())
    figure, axes = plt.subplots(1, len(maps), figsize=(3.2 * len(maps), 3.2), squeeze=False)
    for ax, (name, found) in zip(axes[0], maps.items(), strict=True):
        half = np.array(found.shape) // 2
        extent = (-half[1] - 0.5, half[1] + 0.5, half[0] + 0.5, -half[0] - 0.5)
        shown = ax.imshow(found, vmin=0, vmax=highest_value, extent=extent, cmap="viridis")
        ax.set(title=name, xlabel="patches to the right")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("patches down")
    figure.colorbar(shown, ax=axes[0], shrink=0.8, label="mean of M")
    return figure


def relation_bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """G1 to G3 of every setting, one row a comparison; columns as in `mstl.report.grid.part_bars`.

    * G1: GLoMo is above the same network without a graph, the best of its variants.
    * G2: it is above a graph of a network that never learned.
    * G3: it is above the graph that the task itself learns, from scratch.

    All with an interval above 0. G1 was to be reached on one text and one image task.
    """
    cars, rows = comparison.reported(cars, "cars"), []
    for where in settings(cars):
        data, recipe, labels = where
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        found = {v: Variant.parse(v) for v in scores["method"].unique()}
        ours = highest(scores, [v for v in found if found[v].method == "glomo" and kind(v) == "learned"])
        for bar, claim, graph in (
            ("G1", "GLoMo over no graph", "none"),
            ("G2", "GLoMo over a random graph", "random"),
            ("G3", "GLoMo over a graph from scratch", "scratch"),
        ):
            other = highest(scores, [v for v in found if found[v].method == "glomo" and kind(v) == graph])
            row = judged_if_run(scores, spent, ours, other, 0.0, seeds)
            head = {"bar": bar, "claim": claim, "needed": "> 0, interval above 0"}
            rows.append(row | head | place(*where))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def kind(variant: str) -> str:
    """Of its graph."""
    return dict(Variant.parse(variant).overrides).get("graph", "learned")
