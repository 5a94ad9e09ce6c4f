"""Figures of the page on the rivals' own benchmarks, each drawn from the table."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from mstl.methods.catalogue import described
from mstl.report.plots import GREY, colour
from mstl.report.published.references import TITLES
from mstl.report.published.table import BAR, MEAN, NOT_RUN
from mstl.report.published.text import compared
from mstl.report.published.variants import plain
from mstl.run.names import Variant

ROW = 0.3  # inches


def look(ours: str) -> dict[str, object]:
    """Colour, marker and size of what a row of the table calls ``ours``; grey for what is no network."""
    method = variant(ours).method
    paint, shape = (GREY, "D") if method in TITLES else (colour(method), described(method).marker)
    edge = "white" if MarkerStyle(shape).is_filled() else paint  # a cross is nothing but its edge
    return {"color": paint, "marker": shape, "mec": edge, "ms": 12 if shape == "*" else 8, "ls": "none"}


def variant(ours: str) -> Variant:
    """The first of the variants that a row of the table names."""
    return Variant.parse(ours.split(", ")[0].rpartition("/")[2])


def forest(table: pd.DataFrame) -> Figure:
    """Ours minus published, a row for each method of each benchmark: the mean over tasks, and each task."""
    shown = compared(table)
    lines = []
    for name, rows in shown.groupby("benchmark", sort=False):
        lines += [(name, None), *((name, row) for row in rows.itertuples())]
    figure, ax = plt.subplots(figsize=(8, 1.0 + ROW * len(lines)))
    ax.axvspan(-BAR, BAR, color="#009E73", alpha=0.10, lw=0)
    ax.axvline(0, color=GREY, lw=1)
    for y, (name, row) in enumerate(lines):
        if row is None:
            continue
        each = table[(table["benchmark"] == name) & (table["method"] == row.method) & (table["task"] != MEAN)]
        _row(ax, y, row, each["difference"].dropna())
    ax.set_yticks(range(len(lines)), [name if row is None else row.method for name, row in lines])
    for label, (_, row) in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"ours minus published, accuracy points (shaded: ±{BAR})")
    return figure


def _row(ax: Axes, y: int, row, each: pd.Series) -> None:
    right = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 9}
    if np.isnan(row.difference):
        ax.text(1.02, y, f"{NOT_RUN} (published {row.published:.1f})", color="#777777", **right)
        return
    style = look(row.variant)
    ends = [row.low - row.published, row.high - row.published]
    ax.plot(each, np.full(len(each), y), "|", color=style["color"], ms=8, alpha=0.55)
    ax.plot(ends, [y, y], color=style["color"], lw=2, solid_capstyle="round")
    ax.plot(row.difference, y, **style)
    ax.text(1.02, y, f"{row.ours:.1f} (published {row.published:.1f})", **right)


def levels(table: pd.DataFrame, benchmark: str) -> Figure:
    """A panel for each task of a benchmark: published and our accuracy of each method, a line at the SVM's.

    Of methods that nothing is published of, the plain variant.
    """
    rows = table[(table["benchmark"] == benchmark) & (table["task"] != MEAN)]
    unchanged = set(plain([name for name in rows["variant"] if name and "/" not in name]).values())
    rows = rows[rows["variant"].isin(unchanged) | rows["published"].notna()]
    tasks, methods = list(dict.fromkeys(rows["task"])), list(dict.fromkeys(rows["method"]))
    size = (2.1 * len(tasks) + 1.6, 1.5 + ROW * len(methods))
    figure, axes = plt.subplots(1, len(tasks), figsize=size, sharey=True, squeeze=False)
    for ax, task in zip(axes[0], tasks, strict=True):
        for row in rows[rows["task"] == task].itertuples():
            _level(ax, methods.index(row.method), row)
        for level in rows[(rows["task"] == task) & (rows["variant"] == "linear_svm")]["ours"]:
            ax.axvline(level, color=GREY, lw=1, ls="--", zorder=1)
        ax.set_title(task)
        ax.set_xlabel("accuracy (%)")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.margins(x=0.12)
        ax.grid(axis="y", visible=False)
    axes[0][0].set_yticks(range(len(methods)), methods)
    axes[0][0].set_ylim(len(methods) - 0.5, -0.5)
    keys = [
        Line2D([], [], ls="none", marker="o", ms=8, mfc="white", mec=GREY, label="published"),
        Line2D([], [], color=GREY, marker="o", ms=8, mec="white", label="ours, with the interval over seeds"),
        Line2D([], [], color=GREY, lw=1, ls="--", label="linear SVM on the same counts"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _level(ax: Axes, y: int, row) -> None:
    ax.plot(row.published, y, "o", ms=8, mfc="white", mec=GREY)
    if row.variant:
        style = look(row.variant)
        ax.plot([row.low, row.high], [y, y], color=style["color"], lw=2, solid_capstyle="round")
        ax.plot(row.ours, y, **style)
