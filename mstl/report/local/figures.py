"""Figures of what `mstl.report.local.diagnose` measured; where nothing is measured yet a figure says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mstl.report import plots, widgets
from mstl.report.comparisons import check_one
from mstl.report.local.diagnose import TOGETHER
from mstl.report.results import method_label

Arrays = Mapping[str, np.ndarray]


def source_colours(names: Sequence[str]) -> dict[str, str]:
    """One colour a source; front, cabin and rear have those of `plots.PART_COLOURS`."""
    return dict(
        zip(
            names,
            plots.PALETTE[0:1] + plots.PALETTE[2:3] + plots.PALETTE[1:2] + plots.PALETTE[3:],
            strict=False,
        )
    )


def attention_montage(scene: Arrays) -> Figure:
    """Cars (columns) with their regions, below the attention of each sub-network with its own outlined."""
    if not scene:
        return _empty("attention maps")
    names, layout = scene["sources"].tolist(), scene["layout"].tolist()
    count = len(scene["images"])
    figure, axes = plt.subplots(
        len(names) + 1, count, figsize=(9.2, 9.2 / count * 0.72 * (len(names) + 1)), squeeze=False,
        layout="compressed",
    )  # fmt: skip
    _cars(axes[0], scene)
    axes[0, 0].set_ylabel("regions", rotation=0, ha="right", va="center")
    shown = None
    for j, name in enumerate(names):
        shown = _attention_row(axes[j + 1], scene, scene["maps"][j], layout, name, _spread(scene["maps"]))
        axes[j + 1, 0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.colorbar(shown, ax=axes[1:], shrink=0.8, label="weight")
    plots.legend(layout, list(source_colours(layout).values()), figure)
    return figure


def attention_films(film: Arrays) -> dict[str, list[bytes]]:
    """For every source the frames of its attention over training, as JPEG; empty where nothing was stored."""
    if not film:
        return {}
    names, layout, spread = film["sources"].tolist(), film["layout"].tolist(), _spread(film["maps"])
    films: dict[str, list[bytes]] = {}
    for j, name in enumerate(names):
        films[name] = []
        for maps in film["maps"]:
            count = len(film["images"])
            figure, axes = plt.subplots(2, count, figsize=(8.4, 3.1), squeeze=False, layout="compressed")
            _cars(axes[0], film)
            shown = _attention_row(axes[1], film, maps[j], layout, name, spread)
            figure.colorbar(shown, ax=axes, shrink=0.7, label="weight")
            films[name].append(widgets.jpeg(figure, dpi=80))
    return films


def auc_matrix(attention: pd.DataFrame) -> Figure:
    """AUC of the attention of each sub-network (rows) for each region (columns); a panel a method."""
    check_one(attention)
    regions = attention[attention["region"] != "object"] if len(attention) else attention
    methods = plots.order(regions["method"]) if len(regions) else []
    if not methods:
        return _empty("AUC of attention")
    figure, axes = plt.subplots(1, len(methods), figsize=(max(4.2, 3.3 * len(methods)), 2.9), squeeze=False)
    for ax, method in zip(axes[0], methods, strict=True):
        table = _ordered(regions[regions["method"] == method], "source", "region", "auc")
        plots.heatmap(
            table, annot=True, fmt=".2f", cmap="PuOr_r", center=0.5, vmin=0.2, vmax=0.8, ax=ax, square=True,
            cbar=False,
        )  # fmt: skip
        _frame_own(ax, table)
        ax.set(title=_title(method), xlabel="region", ylabel="attention of")
        ax.tick_params(axis="y", rotation=0)
    return figure


def auc_over_training(curves: pd.DataFrame) -> Figure:
    """AUC of each source's own part (left) and entropy of attention (right) at the log points.

    One method; lines are means over seeds, bands reach from the lowest to the highest seed.
    """
    check_one(curves, ["method"])
    columns = [c for c in curves if c.startswith("auc_") and curves[c].notna().any()]
    if not columns:
        return _empty("AUC of attention over training")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.1))
    names = [c.removeprefix("auc_") for c in columns]
    for (name, colour), column, style in zip(source_colours(names).items(), columns, _STYLES, strict=False):
        _line(axes[0], curves, column, colour, style, name)
    axes[0].axhline(0.5, color=plots.GREY, ls=":", lw=1)
    axes[0].set(xlabel="step", ylabel="AUC of the own part")
    figure.legend(title="attention of", loc="outside right upper", fontsize=9, title_fontsize=9)
    _line(axes[1], curves, "attention_entropy", plots.PALETTE[0], "-", "")
    axes[1].axhline(1, color=plots.GREY, ls=":", lw=1)
    axes[1].set(xlabel="step", ylabel="entropy (1 is uniform)")
    axes[1].ticklabel_format(axis="y", useOffset=False)
    return figure


def head_recall(heads: pd.DataFrame) -> Figure:
    """Recall of each part (columns) by the whole method and by each sub-network alone; a panel a method."""
    check_one(heads)
    methods = plots.order(heads["method"]) if len(heads) else []
    if not methods:
        return _empty("recall of the sub-networks")
    tables = {}
    for method in methods:
        group = heads[heads["method"] == method].dropna(axis=1, how="all")
        parts = ["dice", *(c for c in group if c.startswith("recall_"))]
        table = group.groupby("predictor", sort=False)[parts].mean()
        tables[method] = table.rename(columns=_part_name)
    rows = sum(len(t) for t in tables.values())
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(9, 0.9 + 0.36 * rows + 0.55 * len(tables)), squeeze=False, sharex=True,
        gridspec_kw={"height_ratios": [len(t) for t in tables.values()]},
    )  # fmt: skip
    low = np.floor(min(t.min(axis=None) for t in tables.values()) * 20) / 20
    for ax, (method, table) in zip(axes[:, 0], tables.items(), strict=True):
        few = table.shape[1] <= 11  # more numbers would run into each other
        plots.heatmap(
            table, annot=few, fmt=".2f", cmap="cividis", vmin=low, vmax=1, ax=ax, cbar_kws={"label": ""}
        )
        _frame_own(ax, table)
        ax.axvline(1, color="white", lw=4)
        if TOGETHER in table.index and len(table) > 1:
            ax.axhline(1, color="white", lw=4)
        ax.set_title(method_label(method), loc="left")
        ax.set(xlabel="", ylabel="")
        ax.tick_params(axis="y", rotation=0)
    return figure


def removal_matrix(losses: pd.DataFrame) -> Figure:
    """Change of each part's recall (columns) when a source (rows) is left out, in points.

    A star marks a change whose 95 % interval leaves out 0.
    """
    if losses.empty:
        return _empty("runs with a source left out")
    mean = 100 * _ordered(losses, "removed", "part", "mean")
    sure = _ordered(losses.assign(sure=(losses["low"] > 0) | (losses["high"] < 0)), "removed", "part", "sure")
    text = mean.map("{:+.1f}".format) + sure.map({True: "*", False: ""}.get)
    figure, ax = plt.subplots(figsize=(9, 1.1 + 0.45 * len(mean)))
    limit = max(1.0, float(mean.abs().max(axis=None)))
    few = mean.shape[1] <= 11
    plots.heatmap(
        mean, annot=text if few else None, fmt="", cmap="PuOr", center=0, vmin=-limit, vmax=limit, ax=ax,
        cbar_kws={"label": "points"},
    )  # fmt: skip
    _frame_own(ax, mean)
    ax.axvline(1, color="white", lw=4)
    ax.set(xlabel="", ylabel="left out")
    ax.tick_params(axis="y", rotation=0)
    return figure


def distances(domains: pd.DataFrame) -> Figure:
    """Proxy A-distance before and after attention: a line a source and seed, a panel a method."""
    check_one(domains)
    methods = plots.order(domains["method"]) if len(domains) else []
    if not methods:
        return _empty("proxy A-distance")
    figure, axes = plt.subplots(
        1, len(methods), figsize=(max(4.5, 3.1 * len(methods)), 3.1), squeeze=False, sharey=True
    )
    names = list(dict.fromkeys(domains["source"]))
    markers = dict(zip(names, "os^DvP", strict=False))
    for ax, method in zip(axes[0], methods, strict=True):
        group = domains[domains["method"] == method]
        for (name, _), lines in group.groupby(["source", "seed"], sort=False):
            at = [{"before": 0, "after": 1}[p] for p in lines["place"]]
            colour = source_colours(names)[name]
            ax.plot(
                at,
                lines["a_distance"],
                "-",
                marker=markers.get(name, "o"),
                color=colour,
                alpha=0.8,
                label=name,
            )
        ax.axhline(0, color=plots.GREY, ls=":", lw=1)
        ax.set_xticks([0, 1], ["before\nattention", "after\nattention"])
        ax.set(title=_title(method), xlim=(-0.3, 1.3), ylim=(min(-0.1, domains["a_distance"].min()), 2.05))
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("proxy A-distance")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    first = dict(zip(labels, handles, strict=True))
    axes[0, -1].legend(first.values(), first, loc="lower right", fontsize=9)
    return figure


def game(curves: pd.DataFrame) -> Figure:
    """Accuracy of the discriminators (left) and gradient ratio (right) of every method that has them."""
    if "discriminator_accuracy" not in curves or curves["discriminator_accuracy"].isna().all():
        return _empty("discriminators")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    plots.curves(curves, "discriminator_accuracy", axes[0], "discriminator accuracy")
    axes[0].axhline(0.5, color=plots.GREY, ls=":", lw=1)
    plots.curves(curves, "gradient_ratio", axes[1], "gradient ratio")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def embeddings(points: pd.DataFrame) -> Figure:
    """Source and target in the features of each sub-network (columns), before and after attention (rows)."""
    if points.empty:
        return _empty("features")
    names, places = list(dict.fromkeys(points["source"])), list(dict.fromkeys(points["place"]))
    figure, axes = plt.subplots(
        len(places), len(names), figsize=(max(4.5, 3 * len(names)), 0.4 + 2.4 * len(places)), squeeze=False
    )
    looks = {"source": (plots.PALETTE[1], "o"), "target": (plots.PALETTE[0], "^")}
    for row, place in zip(axes, places, strict=True):
        for ax, name in zip(row, names, strict=True):
            cloud = points[(points["source"] == name) & (points["place"] == place)]
            for domain, (colour, marker) in looks.items():
                some = cloud[cloud["domain"] == domain]
                ax.scatter(some["x"], some["y"], s=11, c=colour, marker=marker, alpha=0.6, lw=0, label=domain)
            ax.set_title(f"{name}, {place} attention ({100 * cloud['explained'].iloc[0]:.0f} %)", fontsize=9)
            ax.set(xticks=[], yticks=[])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=2)
    return figure


def best_and_worst(cases: Arrays) -> Figure:
    """Test images with the largest and the smallest Dice: outline predicted (amber) and true (blue)."""
    if not cases:
        return _empty("pictures")
    half, width = len(cases["dice"]) // 2, cases["images"].shape[-1]
    masks, predicted = (np.unpackbits(cases[k], axis=-1, count=width) for k in ("masks", "predicted"))
    figure, axes = plt.subplots(2, half, figsize=(9.2, 3.6), squeeze=False, layout="compressed")
    for i, ax in enumerate(axes.flat):
        ax.imshow(cases["images"][i].transpose(1, 2, 0))
        for mask, colour, style in ((masks[i], plots.PALETTE[0], "-"), (predicted[i], "#ff9900", "--")):
            if mask.any() and not mask.all():
                ax.contour(mask, levels=[0.5], colors=[colour], linewidths=1.7, linestyles=style)
        ax.set_title(f"{cases['dice'][i]:.3f}", fontsize=9)
        ax.set(xticks=[], yticks=[])
    for ax, name in zip(axes[:, 0], ("best", "worst"), strict=True):
        ax.set_ylabel(name)
    return figure


_STYLES = ("-", "--", "-.", ":", (0, (1, 1)))


def _cars(row: Sequence[Axes], scene: Arrays) -> None:
    """Pictures with the outline of each region in its colour."""
    colours = list(source_colours(scene["layout"].tolist()).values())
    for ax, image, regions in zip(row, scene["images"], scene["regions"], strict=True):
        ax.imshow(image.transpose(1, 2, 0))
        for r in np.unique(regions[regions > 0]):
            ax.contour(regions == r, levels=[0.5], colors=[colours[r - 1]], linewidths=1.6)
        ax.set(xticks=[], yticks=[])


def _attention_row(row, scene: Arrays, maps: np.ndarray, layout: list[str], name: str, spread: float):
    """Maps (n, h, w) of one sub-network with the outline of the region it is named after."""
    height, width = scene["images"].shape[-2:]
    for ax, weights, regions in zip(row, maps.astype(np.float32), scene["regions"], strict=True):
        limits = {"vmin": 1 - spread, "vmax": 1 + spread}
        shown = ax.imshow(weights, cmap="RdBu_r", extent=(-0.5, width - 0.5, height - 0.5, -0.5), **limits)
        inside = regions == (layout.index(name) + 1 if name in layout else -1)
        if inside.any():
            ax.contour(inside, levels=[0.5], colors="black", linewidths=1.2)
        ax.set(xticks=[], yticks=[])
    return shown


def _spread(maps: np.ndarray) -> float:
    """Largest distance from weight 1, where attention is the identity."""
    return max(float(np.abs(maps.astype(np.float32) - 1).max()), 1e-3)


def _line(ax: Axes, curves: pd.DataFrame, column: str, colour: str, style, label: str) -> None:
    by_step = curves.dropna(subset=[column]).groupby("step")[column]
    ax.plot(by_step.mean(), color=colour, ls=style, label=label)
    ax.fill_between(by_step.mean().index, by_step.min(), by_step.max(), color=colour, alpha=0.2, lw=0)


def _ordered(table: pd.DataFrame, index: str, columns: str, values: str) -> pd.DataFrame:
    """Means as a table that keeps the order in which rows and columns first come."""
    made = table.groupby([index, columns])[values].mean().unstack()
    made = made.loc[list(dict.fromkeys(table[index])), list(dict.fromkeys(table[columns]))]
    if values == "sure":
        made = made > 0.5
    return made.rename(columns=_part_name).rename_axis(None).rename_axis(None, axis=1)


def _part_name(column: str) -> str:
    return "Dice" if column == "dice" else column.removeprefix("recall_")


def _frame_own(ax: Axes, table: pd.DataFrame) -> None:
    """A frame around the cells whose row and column have the same name."""
    for y, name in enumerate(table.index):
        for x, column in enumerate(table.columns):
            if name == column:
                frame = plt.Rectangle(
                    (x, y), 1, 1, fill=False, lw=2.5, color="black", clip_on=False, zorder=5
                )
                ax.add_patch(frame)


def _title(method: str) -> str:
    """A method's name on as many lines as it has changes: panels are narrow."""
    return method_label(method).replace(" + ", "\n+ ")


def _empty(what: str) -> Figure:
    return plots.nothing(f"{what}: not measured yet")
