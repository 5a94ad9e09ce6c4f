"""Draw overview.png, the picture of the README: ``python book/images/overview.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mstl.data import Domain, local_task
from mstl.report import plots

ROW, GAP, LEFT = 1.25, 0.06, 0.85  # inches: height of a row of pictures, space between, space for names
SIZE = (160, 240)


def main() -> None:
    """Three rows of source windows on the left, the target's cars on the right, masks outlined in amber."""
    plots.style()
    task = local_task("studio", size=SIZE, seed=0)
    width = LEFT + 5 * (ROW + GAP) + 0.5 + 3 * (1.5 * ROW + GAP)
    figure = plt.figure(figsize=(width, 3 * (ROW + GAP) + 0.4), dpi=110, layout="none")
    right = LEFT + 5 * (ROW + GAP) + 0.5
    _text(figure, LEFT, "three labelled sources, each shows one part")
    _text(figure, right, "the target: whole, other cars; 8 of them labelled")
    for row, source in enumerate(task.sources):
        _name(figure, row, source.name)
        _pictures(figure, source, 5, LEFT, ROW, row, seed=1)
        _pictures(figure, task.unlabelled, 3, right, 1.5 * ROW, row, seed=row)
    figure.savefig(Path(__file__).with_name("overview.png"))


def _pictures(
    figure: Figure, domain: Domain, count: int, left: float, width: float, row: int, seed: int
) -> None:
    chosen = np.random.default_rng(seed).choice(len(domain), count, replace=False)
    for column, index in enumerate(chosen):
        ax = _axes(figure, left + column * (width + GAP), row, width)
        ax.imshow(plots.overlay(domain.images[index], domain.masks[index], 0.1))
        ax.contour(domain.masks[index, 0], levels=[0.5], colors=["#E69F00"], linewidths=1.6)
        ax.set_axis_off()


def _axes(figure: Figure, left: float, row: int, width: float) -> plt.Axes:
    total_width, total_height = figure.get_size_inches()
    bottom = (2 - row) * (ROW + GAP) + GAP
    return figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, ROW / total_height)
    )


def _text(figure: Figure, left: float, text: str) -> None:
    figure.text(left / figure.get_size_inches()[0], 0.985, text, fontsize=13, va="top")


def _name(figure: Figure, row: int, text: str) -> None:
    ax = _axes(figure, 0.0, row, LEFT - 0.1)
    ax.text(1, 0.5, text, ha="right", va="center", fontsize=13)
    ax.set_axis_off()


if __name__ == "__main__":
    main()
