"""Tables and figures of the page "What it costs", drawn from what `make bench` measured."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mstl.report import tables
from mstl.report.plots import GREY, PALETTE, round_numbers

NAMES = ("train", "mmd", "step", "limit", "growth", "start", "levers")
LONG = ("dice",)  # minutes of training, which not every `make bench` has to wait for
COLUMNS = ("quantity", "at", "value", "unit", "low", "high", "bar", "note", "device", "commit", "command")
LOOPS = {
    "plain loop": ("s", PALETTE[5]),
    "plain loop as advised": ("o", PALETTE[1]),
    "ours": ("*", PALETTE[0]),
}
STORES = {"memory": ("o", PALETTE[0]), "file": ("s", PALETTE[2]), "cold file": ("D", PALETTE[5])}
LABEL = 50  # characters to a line of a row's label
FAR = 5.0  # times better than asked; what lies beyond is written as a number


def load(folder: str | Path) -> pd.DataFrame:
    """All tables of ``make bench`` below one another, with a column ``table``; `LONG` may be missing.

    Raises:
        InputError: a table is missing or lacks a column.
    """
    place = tables.place(folder)
    found = []
    for name in (*NAMES, *(name for name in LONG if (place / f"{name}.csv").exists())):
        loaded = tables.read(place / f"{name}.csv", COLUMNS, "make it with `make bench`", _parse)
        found.append(loaded.assign(table=name))
    rows = pd.concat(found, ignore_index=True)
    text = ["at", "bar", "note", "commit"]
    return rows.assign(**rows[text].fillna(""))


def _parse(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), dtype={"at": str, "commit": str, "bar": str, "note": str})


def choose(rows: pd.DataFrame, table: str, begins: str) -> pd.DataFrame:
    """Rows of one table whose quantity begins with ``begins``."""
    return rows[(rows["table"] == table) & rows["quantity"].str.startswith(begins)]


def bars_table(rows: pd.DataFrame) -> str:
    """Every quantity that has a bar, as a Markdown table; one that is missed says by how much and why."""
    lines = ["| Quantity | Measured (rounds from, to) | Asked | |", "|---|---:|---:|---|"]
    for row in rows[rows["bar"] != ""].to_dict("records"):
        place = f", {row['at']}" if row["at"] else ""
        unit = "×" if row["unit"] == "×" else f" {row['unit']}"
        value = f"{row['value']:.3g}{unit} ({row['low']:.3g} to {row['high']:.3g})"
        verdict = (
            "met" if shortfall(row) <= 0 else f"**missed by {100 * shortfall(row):.0f} %**: {row['note']}"
        )
        asked = row["bar"].replace(">=", "≥").replace("<=", "≤")
        lines.append(f"| {row['quantity']}{place} | {value} | {asked} | {verdict} |")
    return "\n".join(lines)


def shortfall(row: dict) -> float:
    """By which share of the bar a measured value misses it; ≤ 0 where it does not."""
    sign, limit = row["bar"].split()
    distance = (row["value"] - float(limit)) / float(limit)
    return -distance if sign == ">=" else distance


def summary(rows: pd.DataFrame) -> str:
    """One sentence: how many bars are met."""
    asked = rows[rows["bar"] != ""].to_dict("records")
    met = sum(shortfall(row) <= 0 for row in asked)

    def listed(column: str) -> str:
        return ", ".join(f"`{value}`" if column == "commit" else value for value in rows[column].unique())

    return f"**{met} of {len(asked)} bars are met**, on {listed('device')}, at commit {listed('commit')}."


def steps(rows: pd.DataFrame) -> str:
    """One sentence: how many steps of source combine a step of MSTL and one of MSTL-plus cost."""
    times = choose(rows, "step", "step, time").set_index("at")["value"]
    ratios = [times[name] / times["source_combine"] for name in ("mstl", "mstl_plus")]
    return f"A step of MSTL costs {ratios[0]:.1f} steps of source combine, one of MSTL-plus {ratios[1]:.1f}."


def values_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Median with the lowest and highest round, for reading."""
    shown = rows.assign(
        median=rows["value"].map("{:.4g}".format) + " " + rows["unit"],
        rounds=rows["low"].map("{:.3g}".format) + " to " + rows["high"].map("{:.3g}".format),
    )
    return shown[["quantity", "at", "median", "rounds", "note"]].set_index("quantity")


def time_to_dice(rows: pd.DataFrame) -> str:
    """The table of `benchmarks/bench_dice.py` in Markdown, or that it was not measured."""
    shown = rows[rows["table"] == "dice"]
    if shown.empty:
        return "*Not measured on this machine yet: `python benchmarks/bench_dice.py`.*"
    lines = ["| Quantity | Median (runs from, to) | |", "|---|---:|---|"]
    for row in shown.itertuples():
        value = f"{row.value:.3g} {row.unit} ({row.low:.3g} to {row.high:.3g})"
        lines.append(f"| {row.quantity} | {value} | {row.note} |")
    return "\n".join(lines)


def commands(rows: pd.DataFrame) -> pd.DataFrame:
    """Command, device, threads and commit of every table."""
    return rows.groupby("table", sort=False)[["command", "device", "threads", "commit"]].first()


def bar_dots(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Every bar: the measured value as a share of what was asked; right of the line it is met."""
    asked = rows[rows["bar"] != ""].to_dict("records")
    ax = ax or plt.subplots(figsize=(6, 1 + 0.46 * len(asked)))[1]
    for y, row in enumerate(asked):
        sign, limit = row["bar"].split()
        values = np.array([row[key] for key in ("low", "value", "high")]) / float(limit)
        low, middle, high = values if sign == ">=" else 1 / values[::-1]
        shade, marker = (PALETTE[0], "o") if middle >= 1 else (PALETTE[5], "X")
        if middle > FAR:
            ax.annotate(f"{middle:.0f} ▸", (FAR, y), ha="right", va="center", fontsize=9, color=shade)
            continue
        ax.plot([low, min(high, FAR)], [y, y], color=shade, lw=2)
        ax.plot(middle, y, marker, color=shade, ms=8, mec="white")
    ax.plot([], [], "o", ls="none", color=PALETTE[0], label="met")
    ax.plot([], [], "X", ls="none", color=PALETTE[5], label="missed")
    ax.axvline(1, color=GREY, lw=1)
    ax.set_yticks(range(len(asked)), [_asked(row) for row in asked], fontsize=9)
    ax.set_ylim(len(asked) - 0.5, -0.5)
    ax.set_xlim(0.25, FAR)
    _log_ticks(ax)
    ax.set_xlabel("times better than asked (left of 1: missed)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _asked(row: dict) -> str:
    place = f", {row['at']}" if row["at"] else ""
    sign, limit = row["bar"].split()
    return fill(f"{row['quantity']}{place}: {'≥' if sign == '>=' else '≤'} {limit}", LABEL)


def peers(rows: pd.DataFrame) -> Figure:
    """Images a second and peak memory of the three loops, by kind of photographs and number of cores."""
    first = choose(rows, "train", "images a second, ours, ")
    places = [(q.rpartition(", ")[2], at) for q, at in zip(first["quantity"], first["at"], strict=True)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 1.2 + 0.5 * len(places)), sharey=True)
    wanted = {"images a second": "images a second", "peak memory": "peak memory (MiB)"}
    for ax, (begins, xlabel) in zip(axes, wanted.items(), strict=True):
        for i, (loop, (marker, shade)) in enumerate(LOOPS.items()):
            for place, (size, at) in enumerate(places):
                y = place + 0.2 * (i - 1)
                own = choose(rows, "train", f"{begins}, {loop}, {size}")
                row = own[own["at"] == at].iloc[0]
                ax.plot([row["low"], row["high"]], [y, y], color=shade, lw=2, alpha=0.6)
                label = loop if place == 0 else None
                size_of = 15 if marker == "*" else 9
                style = {"color": shade, "ms": size_of, "ls": "none", "mec": "white", "label": label}
                ax.plot(row["value"], y, marker, **style)
        ax.set_xlim(0, 1.08 * ax.get_xlim()[1])
        ax.set_xlabel(xlabel)
    axes[0].set_yticks(range(len(places)), [f"{size}\n{at}" for size, at in places], fontsize=9)
    axes[0].set_ylim(len(places) - 0.5, -0.5)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def growth(rows: pd.DataFrame) -> Figure:
    """Step time over sources, side and batch, both axes logarithmic, with the fitted exponent."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True)
    for ax, what in zip(axes, ("sources J", "side of the image in pixels", "batch"), strict=True):
        measured = choose(rows, "growth", f"step time over {what}")
        exponent = choose(rows, "growth", f"exponent of step time over {what}")["value"].iloc[0]
        _power_law(ax, measured, exponent, PALETTE[0], "o", f"∝ {_letter(what)}$^{{{exponent:.2f}}}$")
        ax.set_xlabel(what)
        ax.legend(loc="upper left")
    low, high = axes[0].get_ylim()
    ticks = round_numbers(low, high)
    axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].set_ylabel("step time (ms)")
    return figure


def store(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Time to gather a batch, and to open the store, over the number of images; of what was measured."""
    ax = ax or plt.subplots(figsize=(7, 3.4))[1]
    for way, (marker, shade) in STORES.items():
        measured = choose(rows, "growth", "gathering 32 images")
        measured = measured[measured["quantity"].str.endswith(f"from {way}")]
        if len(measured):
            _line(ax, measured, shade, marker, f"gather a batch, from {way}")
    opening = choose(rows, "growth", "opening the store")
    _line(ax, opening, GREY, "^", "open the store, checksum of every pixel")
    full = choose(rows, "growth", "images that fill")["value"].iloc[0]
    ax.axvline(full, color=GREY, ls=":", lw=1)
    place = {"xycoords": ("data", "axes fraction"), "xytext": (-4, 5), "textcoords": "offset points"}
    ax.annotate("memory full", (full, 0), ha="right", fontsize=9, color=GREY, **place)
    ax.set(xscale="log", yscale="log", xlabel="images in the store", ylabel="milliseconds")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def lever_dots(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How many times faster each lever makes what it acts on; left of the line it costs."""
    shown = rows[(rows["table"] == "levers") & (rows["unit"] == "×")]
    names = list(dict.fromkeys(shown["quantity"]))
    ax = ax or plt.subplots(figsize=(7.5, 1.2 + 0.42 * len(names)))[1]
    profiles = list(dict.fromkeys(shown["at"]))
    for i, profile in enumerate(profiles):
        shade, marker = (PALETTE[0], PALETTE[1], PALETTE[2])[i % 3], "osD"[i % 3]
        for row in shown[shown["at"] == profile].itertuples():
            y = names.index(row.quantity) + 0.24 * (i - (len(profiles) - 1) / 2)
            ax.plot([row.low, row.high], [y, y], color=shade, lw=2)
            ax.plot(row.value, y, marker, color=shade, ms=6)
        ax.plot([], [], marker, color=shade, label=f"profile {profile}")
    ax.axvline(1, color=GREY, lw=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(shown["low"].min() / 1.2, max(2.0, shown["high"].max()) * 1.2)
    _log_ticks(ax)
    ax.set_xlabel("times faster than the engine's own way (left of 1: slower)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def minutes(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Where the processor-minutes of `make reproduce` go: training by method, and the pages."""
    shown = choose(rows, "start", "make reproduce").sort_values("value", ascending=False)
    ax = ax or plt.subplots(figsize=(7.5, 1 + 0.28 * len(shown)))[1]
    trained = shown["quantity"].str.endswith("runs")
    for kind, hatch, shade, rows_of_kind in (
        ("training runs", "", PALETTE[0], trained),
        ("pages of the book", "//", PALETTE[1], ~trained),
    ):
        own = shown[rows_of_kind]
        places = np.flatnonzero(rows_of_kind.to_numpy())
        ax.barh(places, own["value"] / 60, color=shade, hatch=hatch, edgecolor="white", label=kind)
    ax.set_yticks(range(len(shown)), shown["at"])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("processor-minutes")
    ax.legend(loc="lower right")
    return ax


def _line(ax: Axes, rows: pd.DataFrame, shade: str, marker: str, label: str) -> np.ndarray:
    points = rows["at"].astype(float).to_numpy()
    spread = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    ax.errorbar(
        points, rows["value"], yerr=spread, fmt=marker, ls="-", color=shade, ms=5, lw=1.2, label=label
    )
    return points


def _power_law(ax: Axes, rows: pd.DataFrame, exponent: float, shade: str, marker: str, label: str) -> None:
    """Points, and the straight line of ``exponent`` through their middle."""
    points = rows["at"].astype(float).to_numpy()
    spread = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    ax.errorbar(points, rows["value"], yerr=spread, fmt=marker, color=shade, ms=5)
    middle = np.exp(np.log(rows["value"]).mean() - exponent * np.log(points).mean())
    ax.plot(points, middle * points**exponent, color=GREY, lw=1, ls="--", label=label)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(points, [f"{p:g}" for p in points], rotation=45 if len(points) > 6 else 0)
    ax.minorticks_off()


def _letter(what: str) -> str:
    return {"sources J": "J", "batch": "batch"}.get(what, "side")


def _log_ticks(ax: Axes) -> None:
    """A logarithmic x axis with 1, 2 and 5 times the powers of ten in plain numbers."""
    low, high = ax.get_xlim()
    ax.set_xscale("log")
    ticks = round_numbers(low, high)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlim(low, high)
    ax.minorticks_off()
