"""What `make gpu` found, as the page on training with a GPU shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mstl.report.grid import comparison
from mstl.report.grid.text import FEW
from mstl.report.plots import PALETTE
from mstl.report.tables import place
from mstl.run.config import PROFILES
from mstl.run.names import Variant

WAYS = {  # the way of `workflow/gpu/speed.py` -> name in the legend, colour, marker
    "loop": ("one after the other", PALETTE[0], "o"),
    "vmap (grouped convolutions)": ("stacked (grouped convolutions)", PALETTE[2], "s"),
    "CUDA graph": ("one CUDA graph", PALETTE[5], "D"),
}
BOUNDS = {  # test of tests/test_gpu.py -> what it says
    "test_losses_and_gradients_are_the_cpu_s": "first step in float32: losses and gradient are the CPU's",
    "test_ten_steps_and_the_scores_are_the_cpu_s": "ten steps in float32: weights and scores are the CPU's",
    "test_half_precision_is_near_float32": "bfloat16 and float16: losses and gradient are near float32's",
    "test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been": "a stopped run goes on as if it had not",
    "test_the_store_lies_on_the_device_as_bytes": "the data set lies on the GPU, one byte a value",
    "test_predictions_are_the_cpu_s": "predictions are the CPU's",
    "test_no_step_between_log_points_waits_for_the_device": "no step waits for the GPU between log points",
}


def load(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The tables in ``folder``, by name; empty where no GPU has run yet."""
    files = sorted(place(folder).glob("*.csv"))
    return {file.stem: pd.read_csv(file, dtype={"commit": str, "at": str}) for file in files}


def summary(tables: dict[str, pd.DataFrame]) -> str:
    """One paragraph of Markdown: which GPU, and what ran."""
    if "steps" not in tables:
        return "*No GPU has run this yet; `make gpu` on one writes the tables of this page.*"
    steps = tables["steps"]
    told = [f"{row.step} {row.status} ({row.seconds:.0f} s)" for row in steps.itertuples()]
    machines = ", ".join(sorted(set(steps["device"])))
    torch = ", ".join(sorted(set(steps["torch"])))
    return (
        f"**{machines}**, PyTorch {torch}, commits {', '.join(sorted(set(steps['commit'])))}; "
        f"steps of `make gpu`: {'; '.join(told)}."
    )


def proofs(tables: dict[str, pd.DataFrame]) -> str:
    """A Markdown table: for each claim how many methods pass, and the extremes of what was measured."""
    if "tests" not in tables:
        return ""
    tests = tables["tests"].assign(claim=tables["tests"]["test"].str.partition("[")[0])
    lines = ["| claim | passed | measured |", "|---|---:|---|"]
    for name, group in tests.groupby("claim", sort=False):
        counted = group["outcome"].value_counts()
        whole = counted.drop("skipped", errors="ignore").sum()
        passed, measured = counted.get("passed", 0), _range(group["measured"].dropna())
        lines.append(f"| {BOUNDS.get(name, name)} | {passed} of {whole} | {measured} |")
    return "\n".join(lines)


def _range(texts: pd.Series) -> str:
    found: dict[str, list[float]] = {}
    for text in texts:
        for what, value in re.findall(r"([^;:]+): ([-+.\de]+)", text):
            found.setdefault(what.strip(), []).append(float(value))
    return "; ".join(f"{what} {min(v):.2g} to {max(v):.2g}" for what, v in found.items())


def passes(tables: dict[str, pd.DataFrame]) -> Figure:
    """Milliseconds of a forward and backward pass over J, a panel a profile, in each of `WAYS`."""
    speed = tables["speed"]
    chosen = speed[speed["quantity"].str.startswith("forward and backward")]
    parsed = chosen["at"].str.extract(r"(?P<profile>\w+) J=(?P<J>\d+)").astype({"J": int})
    chosen = chosen.assign(way=chosen["quantity"].str.removeprefix("forward and backward, "), **parsed)
    profiles = list(dict.fromkeys(chosen["profile"]))
    figure, axes = plt.subplots(1, len(profiles), figsize=(3 * len(profiles), 3.2), squeeze=False)
    for ax, profile in zip(axes[0], profiles, strict=True):
        for way, (label, shade, marker) in WAYS.items():
            rows = chosen[(chosen["profile"] == profile) & (chosen["way"] == way)]
            spread = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
            ax.errorbar(
                rows["J"], rows["value"], yerr=spread, fmt=marker, ls="-", color=shade, ms=4, label=label
            )
        height, width = PROFILES[profile].size
        ax.set_title(f"{profile}: {height}×{width}, width {PROFILES[profile].width}", fontsize=10)
        ax.set(xlabel="sub-networks J", ylim=(0, None), xticks=sorted(set(chosen["J"])))
    axes[0][0].set_ylabel("ms, forward and backward")
    axes[0][0].legend(fontsize=8)
    return figure


def gains(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How many times faster the two other ways are than the loop, a row for each profile and J."""
    speed = tables["speed"]
    chosen = speed[speed["quantity"].str.startswith("loop over")]
    shown = chosen["value"].map("{:.1f}".format) + "×"
    table = chosen.assign(shown=shown, way=chosen["quantity"].str.removeprefix("loop over "))
    return table.pivot(index="at", columns="way", values="shown").reindex(dict.fromkeys(chosen["at"]))


def sharing(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Steps a second of equal runs that share the device, by their number."""
    speed = tables["speed"]
    names = {
        "steps a second of runs that share the device": "steps a second, together",
        "their work over that of one run": "over one run",
    }
    chosen = speed[speed["quantity"].isin(names)]
    shown = chosen.assign(quantity=chosen["quantity"].map(names), runs=chosen["at"].astype(int))
    return shown.pivot(index="runs", columns="quantity", values="value").round(2)


def minutes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Step time and memory of the profile ``full``, and the minutes of all its steps at that rate."""
    alone = tables["full"][tables["full"]["quantity"].str.endswith("alone on the device")]
    wide = alone.pivot(index="at", columns="quantity", values="value")
    time, memory = (wide[f"{name}, alone on the device"] for name in ("step time", "memory"))
    table = pd.DataFrame({"ms a step": time.round(1), "GiB": memory.round(2)})
    steps = PROFILES["full"].steps
    table[f"minutes for {steps} steps"] = (time * steps / 60_000).round(1)
    return table.sort_values("ms a step")


def at_equal_time(
    tables: dict[str, pd.DataFrame], folder: str | Path, data: str = "carparts"
) -> pd.DataFrame:
    """Runs of the profile ``full``, each beside the run of MSTL-plus that took as much time of the GPU.

    Columns: labels, steps, GPU seconds (steps times the step time alone), Dice % on test cars, seeds, and
    MSTL-plus minus the method in points, paired over cars and seeds, with its 95 % interval. No rows where no
    GPU has run them.
    """
    columns = ["labels", "steps", "GPU seconds", "Dice %", "seeds", "MSTL-plus minus it"]
    if "full" not in tables or not (place(folder) / data / "cars.csv").exists():
        return pd.DataFrame(columns=columns)
    times = tables["full"].set_index("at").query("quantity == 'step time, alone on the device'")["value"]
    cars = comparison.load(str(folder), data, "cars")
    rows = []
    for row in comparison.summarise(cars).itertuples():
        variant = Variant.parse(row.method)
        step = times[f"{data}, {row.labels} labels, {replace(variant, steps=None)}"] / 1e3
        seconds = round(variant.steps * step)
        rows.append((row.method, row.labels, variant.steps, seconds, round(row.dice, 1), row.seeds, ""))
    table = pd.DataFrame(rows, columns=["method", *columns])
    for _, group in table.groupby(["labels", "GPU seconds"]):
        ours = next((m for m in group["method"] if comparison.family(m) == comparison.OURS), None)
        for index, row in group[group["method"] != ours].iterrows() if ours else ():
            both = comparison.paired(cars[cars["labels"] == row["labels"]], ours, row["method"]).iloc[0]
            told = f"{both['difference']:+.1f} [{both['low']:+.1f}, {both['high']:+.1f}]"
            table.loc[index, "MSTL-plus minus it"] = told
    table = table.sort_values(["labels", "GPU seconds", "Dice %"])
    return table.set_index(table.pop("method").map(comparison.variant_label))


def answer(tables: dict[str, pd.DataFrame], folder: str | Path) -> str:
    """Markdown: MSTL-plus against each method of `at_equal_time` that has several seeds."""
    table = at_equal_time(tables, folder)
    told = table[(table["seeds"] >= FEW) & (table["MSTL-plus minus it"] != "")] if len(table) else table
    lines = [
        f"* {row['labels']} labels, {row['GPU seconds']} GPU seconds: MSTL-plus minus {name} "
        f"{row['MSTL-plus minus it']} points"
        for name, row in told.iterrows()
    ]
    return "\n".join(lines) or "* Nothing was run on a GPU yet."


def in_float16(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What a T4's settings took: step time, memory, scale of the loss, loss."""
    return tables["t4"].pivot(index="at", columns="quantity", values="value")
