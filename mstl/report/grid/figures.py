"""Figures of the comparison: each from a table of `comparison`, readable in print and without colour.

A method has one colour and one marker (`mstl.methods.catalogue`) and one line style everywhere. Open markers
are variants with a number of steps of their own, half-filled ones have a mean teacher added.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from mstl.methods.catalogue import described
from mstl.report.comparisons import check_one, name_of, telling
from mstl.report.grid.comparison import NOT_RUN, at_equal_time, family, variant_label
from mstl.report.grid.switches import in_words
from mstl.report.plots import GREY, PALETTE, colour, order, round_numbers
from mstl.report.scores import score, scores_of, title
from mstl.run.names import Variant

LINES = {"target_only": ":", "oracle": "--", "source_combine": "-.", "mstl": (0, (6, 2)), "mstl_plus": "-"}
SETTING_MARKERS = "osD^v<>P"
LONG = 24  # characters of a title on one line
PAGE, PANEL, LETTER = 9.2, 2.2, 0.085  # inches: widest figure, least panel, a letter of a name


def marker(method: str) -> dict[str, object]:
    """Marker, size and filling of a variant: the star is ours; open or half-filled where it was changed."""
    name, paint = family(method), colour(method)
    shape = described(name).marker
    style = {"marker": shape, "ms": 11 if name == "mstl_plus" else 7, "mew": 1.3}
    if not MarkerStyle(shape).is_filled():  # strokes alone would drown in the line of their interval
        style |= {"ms": 11, "mew": 2}
    style |= {"mec": paint, "mfc": "white" if at_equal_time(method) else paint}
    if Variant.parse(method).mean_teacher is not None:
        style |= {"fillstyle": "left" if at_equal_time(method) else "bottom", "mfc": paint, "mfcalt": "white"}
    return style


def score_dots(table: pd.DataFrame) -> Figure:
    """A panel for each setting, a row for each variant: mean score with its interval.

    As many panels stand side by side as a page is wide, so that words stay legible.

    Args:
        table: rows of `mstl.report.grid.comparison.summarise`.
    """
    if table.empty:
        return _not_run(plt.subplots(figsize=(6.5, 1.5))[1]).figure
    columns = telling(table)
    panels = list(table.groupby(columns, sort=True))
    best = scores_of(table).groupby(table["method"]).mean()
    methods = sorted(best.index, key=lambda m: (family(m) == "oracle", best[m]))
    names = 0.3 + LETTER * max(len(variant_label(m)) for m in methods)
    across = max(1, min(len(panels), int((PAGE - names) / PANEL)))
    down = -(-len(panels) // across)
    size = min(PAGE, max(6.5, names + 1.1 * PANEL * across)), down * (1.3 + 0.27 * len(methods))
    figure, grid = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False)
    axes = grid.flatten()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (key, rows) in zip(axes, panels, strict=False):
        rows = rows.set_index("method")
        for y, method in enumerate(methods):
            if method in rows.index:
                _interval(ax, rows.loc[method], score(rows), y, method)
                _value(ax, f"{rows.loc[method, score(rows)]:.1f}", rows.loc[method, "high"], y)
            else:
                absent = {"color": "#999999", "fontsize": 8, "ha": "center", "va": "center"}
                ax.text(0.5, y, NOT_RUN, transform=ax.get_yaxis_transform(), **absent)
        place, *rest = name_of(dict(zip(columns, key, strict=True))).split(", ")
        for mark in ("/", "-to-"):
            if max(map(len, place.splitlines())) > LONG:
                place = place.replace(mark, f"{mark}\n", 1)
        ax.set_title("\n".join([place, *rest]), fontsize=8.5 if len(place) > 2 * LONG else None)
        ax.set_xlabel(f"{title(rows)} (%)")
        low, high = rows["low"].min(), rows["high"].max()
        ax.set_xlim(low - 0.06 * (high - low), high + 0.28 * (high - low))
    for ax in grid[:, 0]:
        ax.set_yticks(range(len(methods)), [variant_label(m) for m in methods])
    axes[0].set_ylim(-0.7, len(methods) - 0.3)
    return figure


def ranking(table: pd.DataFrame) -> Figure:
    """One setting, large: a row for each variant, the highest on top, ours set off by a band and bold type.

    Args:
        table: rows of `mstl.report.grid.comparison.summarise`.

    Raises:
        InputError: rows of several settings.
    """
    if table.empty:
        return _not_run(plt.subplots(figsize=(8, 1.5))[1]).figure
    check_one(table)
    column = score(table)
    rows = table.sort_values(column).set_index("method")
    figure, ax = plt.subplots(figsize=(8, 1.1 + 0.29 * len(rows)))
    for y, (method, row) in enumerate(rows.iterrows()):
        _interval(ax, row, column, y, method)
        _value(ax, f"{row[column]:.1f}", row["high"], y, size=9.5)
        if described(family(method)).role == "ours":
            ax.axhspan(y - 0.5, y + 0.5, color=colour(method), alpha=0.13, lw=0, zorder=0)
    ax.set_yticks(range(len(rows)), [variant_label(m) for m in rows.index], fontsize=10)
    for text, method in zip(ax.get_yticklabels(), rows.index, strict=True):
        text.set_fontweight("bold" if described(family(method)).role == "ours" else "normal")
    ax.set_ylim(-0.6, len(rows) - 0.4)
    low, high = rows["low"].min(), rows["high"].max()
    ax.set_xlim(low - 0.03 * (high - low), high + 0.12 * (high - low))
    ax.set_xlabel(f"{title(table)} (%)")
    ax.grid(axis="y", visible=False)
    return figure


def interval_curves(table: pd.DataFrame, x: str, ax: Axes, xlabel: str) -> Axes:
    """Mean score against ``x`` (labels or sources), a line with its band for each variant.

    The values of ``x`` stand at equal distances: 0 labels has a place beside 4, 8, 16 and 32.

    Raises:
        InputError: settings that differ in more than ``x``.
    """
    if table.empty:
        return _not_run(ax)
    check_one(table.drop(columns=x))
    values = sorted(table[x].unique())
    for method in order(table["method"]):
        rows = table[table["method"] == method].sort_values(x)
        place = [values.index(value) for value in rows[x]]
        line = {"ls": LINES.get(family(method), (0, (4, 1, 1, 1))), "lw": 1.8, "color": colour(method)}
        ax.plot(place, rows[score(table)], **line, **marker(method), label=variant_label(method))
        ax.fill_between(place, rows["low"], rows["high"], color=colour(method), alpha=0.13, lw=0)
    ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    ax.set(xlabel=xlabel, ylabel=f"{title(table)} (%)")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def per_car_strip(
    differences: dict[str, pd.DataFrame], intervals: dict[str, pd.Series], ax: Axes | None = None
) -> Axes:
    """Differences on every test car, a row for each rival, with the mean and its paired interval.

    Args:
        differences: rows of `mstl.report.grid.comparison.per_car_differences`, by rival.
        intervals: the row of `mstl.report.grid.comparison.paired`, by rival.
        ax: axes to draw on; new ones where None.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.9 + 0.62 * max(1, len(differences))))[1]
    if not differences:
        return _not_run(ax)
    generator = np.random.default_rng(0)
    names = list(differences)[::-1]
    for y, name in enumerate(names):
        check_one(differences[name])
        points = differences[name]["difference"].to_numpy()
        jitter = y + generator.uniform(-0.22, 0.22, len(points))
        ax.plot(points, jitter, "o", ms=3.5, color=colour(name), alpha=0.6, mew=0)
        row = intervals[name]
        ax.plot([row["low"], row["high"]], [y, y], color="black", lw=3, solid_capstyle="butt", zorder=3)
        ax.plot(row["difference"], y, "D", color="white", mec="black", ms=7, zorder=4)
        share = 100 * (points > 0).mean() if len(points) else np.nan
        text = f"{row['difference']:+.1f}; above 0 on {share:.0f} %"
        ax.annotate(text, (1.01, y), xycoords=ax.get_yaxis_transform(), va="center", fontsize=9)
    _zero_line(ax)
    ax.set_yticks(range(len(names)), [f"against {variant_label(name)}" for name in names])
    ax.set_ylim(-0.5, len(names) - 0.5)
    ax.set_xlabel("points, ours minus rival, one dot a test car")
    return ax


def ablation_forest(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The effect of each change with its interval; settings have markers of their own.

    An effect far beyond all others stands at the edge with its number: it would squeeze the others together.

    Args:
        table: rows of `mstl.report.grid.comparison.ablation`.
        ax: axes to draw on; new ones where None.
    """
    shown = table.dropna(subset=["difference"])
    if shown.empty:
        return _not_run(ax or plt.subplots(figsize=(7.5, 1.3))[1])
    changes = shown.groupby("change")["difference"].mean().sort_values(ascending=False).index  # order only
    columns = telling(shown)
    settings = list(shown.groupby(columns, sort=True))
    step = 0.7 / max(1, len(settings))
    ax = ax or plt.subplots(figsize=(7.5, 1.3 + max(0.36, 0.17 * len(settings)) * len(changes)))[1]
    edge = 2 * shown[["low", "high"]].abs().stack().quantile(0.9)
    for i, (key, everything) in enumerate(settings):
        shade, shape = PALETTE[(0, 5, 2, 3, 7, 1)[i % 6]], SETTING_MARKERS[i % len(SETTING_MARKERS)]
        shift = (i - (len(settings) - 1) / 2) * -step
        far = everything["difference"].abs() > edge
        for row in everything[far].itertuples():
            side = 1 if row.difference > 0 else -1
            y = changes.get_loc(row.change) + shift
            ax.plot(side * edge, y, marker=">" if side > 0 else "<", color=shade, ms=7, clip_on=False)
            interval = f" {row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}] "
            ax.text(side * edge * 0.97, y, interval, ha="right" if side > 0 else "left", va="center")
            ax.set_xlim(-edge, edge)
        rows = everything[~far]
        y = changes.get_indexer(rows["change"]) + shift
        spread = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        name = name_of(dict(zip(columns, key, strict=True)))
        ax.errorbar(rows["difference"], y, xerr=spread, fmt=shape, color=shade, ms=6, lw=1.6, label=name)
    _zero_line(ax)
    ax.set_yticks(range(len(changes)), [in_words(change).replace(", ", ",\n") for change in changes])
    ax.set_ylim(-0.6, len(changes) - 0.4)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel("change in points (left of zero: worse)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)
    return ax


def robustness_dots(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What an added source costs each method: a row a method, a marker for each kind of source.

    Args:
        table: rows of `mstl.report.grid.comparison.robustness` of one recipe and number of labels.
        ax: axes to draw on; new ones where None.

    Raises:
        InputError: rows of several.
    """
    shown = table.dropna(subset=["difference"])
    check_one(shown)
    methods = order(shown["method"])
    kinds = sorted(shown["extra"].unique(), reverse=True)
    ax = ax or plt.subplots(figsize=(7.5, 1.2 + 0.36 * len(methods)))[1]
    if shown.empty:
        return _not_run(ax)
    for i, kind in enumerate(kinds):
        shade, shape = PALETTE[(0, 5, 7, 2, 3)[i % 5]], "osD^v"[i % 5]
        for row in shown[shown["extra"] == kind].itertuples():
            y = methods.index(row.method) - min(0.3, 0.7 / len(kinds)) * (i - (len(kinds) - 1) / 2)
            ax.plot([row.low, row.high], [y, y], color=shade, lw=2)
            ax.plot(row.difference, y, shape, color=shade, ms=6)
        ax.plot([], [], shape, color=shade, label=f"{kind} source added")
    _zero_line(ax)
    ax.set_yticks(range(len(methods)), [variant_label(m) for m in methods])
    ax.set_xlabel("change in points by the added source")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def time_against_score(table: pd.DataFrame, runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Seconds of training (logarithmic) against mean score with its interval; a line joins equal methods.

    Args:
        table: rows of `mstl.report.grid.comparison.summarise` of one setting.
        runs: the runs of that setting.
        ax: axes to draw on; new ones where None.

    Raises:
        InputError: rows of several settings.
    """
    check_one(table)
    check_one(runs)
    ax = ax or plt.subplots(figsize=(8, 4.6))[1]
    if table.empty:
        return _not_run(ax)
    seconds = runs.groupby("method")["seconds"].mean()
    rows = table.set_index("method")
    for name in dict.fromkeys(map(family, order(rows.index))):
        own = sorted((m for m in rows.index if family(m) == name and m in seconds), key=seconds.get)
        ax.plot(seconds[own], rows.loc[own, score(table)], color=colour(name), lw=0.8, alpha=0.6)
        for method in own:
            row = rows.loc[method]
            ax.plot([seconds[method]] * 2, [row["low"], row["high"]], color=colour(name), lw=1, alpha=0.5)
            ax.plot(
                seconds[method], row[score(table)], ls="none", **marker(method), label=variant_label(method)
            )
    ax.set_xscale("log")
    ticks = round_numbers(*ax.get_xlim())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="seconds of training (logarithmic)", ylabel=f"{title(table)} (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return ax


def curves_over_progress(
    table: pd.DataFrame, column: str, ax: Axes, ylabel: str, chance: float | None = None
) -> Axes:
    """One log column over the progress of training: mean over seeds, band from the lowest to the highest.

    Raises:
        InputError: curves of several settings.
    """
    check_one(table)
    present = table.dropna(subset=[column]) if column in table else table.iloc[:0]
    for method in order(present["method"]):
        seeds = present[present["method"] == method].groupby("progress")[column]
        mean = seeds.mean()
        style = {"ls": LINES.get(family(method), (0, (4, 1, 1, 1))), "color": colour(method)}
        every = max(1, len(mean) // 4)
        ax.plot(mean, **style, **(marker(method) | {"ms": 6}), markevery=every, label=variant_label(method))
        ax.fill_between(mean.index, seeds.min(), seeds.max(), color=colour(method), alpha=0.15, lw=0)
    if chance is not None:
        ax.axhline(chance, color=GREY, ls=":", lw=1)
    if present.empty:
        return _not_run(ax)
    ax.set(xlabel="progress of training", ylabel=ylabel, xlim=(0, 1.02))
    return ax


def probe_dots(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of a fresh domain classifier: on the features (filled) and after attention (open).

    Raises:
        InputError: runs of several settings.
    """
    check_one(runs)
    names = ["domain_probe", "domain_probe_attended"]
    means = runs.groupby("method")[[n for n in names if n in runs]].mean().reindex(columns=names)
    means = means.dropna(how="all")
    methods = order(means.index)
    ax = ax or plt.subplots(figsize=(7, 1 + 0.3 * max(1, len(methods))))[1]
    if not methods:
        return _not_run(ax)
    for y, method in enumerate(methods):
        before, after = means.loc[method]
        ax.plot([before, after], [y, y], color=colour(method), lw=1.5, alpha=0.6)
        ax.plot(before, y, "o", color=colour(method), ms=7)
        ax.plot(after, y, "s", mfc="white", mec=colour(method), ms=7, mew=1.5)
    ax.axvline(0.5, color=GREY, ls=":", lw=1)
    ax.plot([], [], "o", color=GREY, label="features")
    ax.plot([], [], "s", mfc="white", mec=GREY, label="after attention")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    ax.set_yticks(range(len(methods)), [variant_label(m) for m in methods])
    ax.set(xlabel="accuracy of a fresh domain classifier (chance: 0.5)", ylim=(-0.6, len(methods) - 0.4))
    return ax


def _not_run(ax: Axes) -> Axes:
    ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, color=GREY, ha="center", va="center")
    ax.set(xticks=[], yticks=[])
    return ax


def _interval(ax: Axes, row: pd.Series, column: str, y: float, method: str) -> None:
    ax.plot([row["low"], row["high"]], [y, y], color=colour(method), lw=2.5, solid_capstyle="round")
    ax.plot(row[column], y, ls="none", **marker(method), zorder=3)


def _value(ax: Axes, text: str, x: float, y: float, size: float = 8) -> None:
    place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
    ax.annotate(text, (x, y), **place, fontsize=size, color=GREY)


def _zero_line(ax: Axes) -> None:
    ax.axvline(0, color=GREY, lw=1, zorder=0)
    ax.grid(axis="y", visible=False)
