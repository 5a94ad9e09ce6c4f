"""From run folders to the small tidy tables that every figure of the book is drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mstl.bootstrap import Interval, two_way_bootstrap
from mstl.errors import InputError
from mstl.files import replacing

RUN_KEYS = ["data", "recipe", "sources", "method", "labels", "seed", "profile"]


def collect(runs: str = "runs", out: str = "results") -> list[Path]:
    """Gather every finished run below ``runs`` into ``<out>/<data>/{runs,images,curves}.csv``.

    * ``runs.csv``: one row a run, its scores and where they came from.
    * ``images.csv``: one row a run and test image, with the recall of each part.
    * ``curves.csv``: one row a run and log point.

    Runs without a manifest are unfinished and left out; the count is printed.

    Returns:
        The files written.

    Raises:
        InputError: no finished run, or a run folder that cannot be read.
    """
    manifests = sorted(Path(runs).glob("**/manifest.json"))
    if not manifests:
        raise InputError(
            f"no finished run below {runs}; train one with `python -m mstl train` or `make reproduce`"
        )
    unfinished = len(list(Path(runs).glob("**/config.json"))) - len(manifests)
    read = [_read_run(manifest) for manifest in manifests]
    written = []
    for data in sorted({run["data"] for run, _, _ in read}):
        chosen = [entry for entry in read if entry[0]["data"] == data]
        tables = {
            "runs": pd.DataFrame([run for run, _, _ in chosen]),
            "images": pd.concat([images for _, images, _ in chosen], ignore_index=True),
            "curves": pd.concat([curves for _, _, curves in chosen], ignore_index=True),
        }
        for name, table in tables.items():
            path = Path(out) / data / f"{name}.csv"
            with replacing(path) as temporary:
                table.to_csv(temporary, index=False, float_format="%.5g")
            written.append(path)
    print(
        f"{len(read)} finished runs" + (f", {unfinished} unfinished left out" if unfinished else ""),
        flush=True,
    )
    return written


def load(results: str | Path, data: str, table: str) -> pd.DataFrame:
    """``results/<data>/<table>.csv``.

    Raises:
        InputError: the table does not exist yet.
    """
    path = Path(results) / data / f"{table}.csv"
    if not path.exists():
        raise InputError(f"{path} does not exist; make it with `make reproduce DATA={data}`")
    return pd.read_csv(path, dtype={"car": str}, keep_default_na=True)


def available(results: str | Path, besides: str = "") -> list[str]:
    """Names of the data with collected results, in alphabetical order, without ``besides``."""
    return sorted(
        path.parent.name for path in Path(results).glob("*/runs.csv") if path.parent.name != besides
    )


def _read_run(manifest_path: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    folder = manifest_path.parent
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        images = pd.read_csv(folder / "images.csv", dtype={"car": str})
        curves = pd.read_json(folder / "metrics.jsonl", lines=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"run {folder} cannot be read ({error}); delete the folder and run it again"
        ) from error
    settings = manifest["settings"]
    key = {name: settings[name] for name in RUN_KEYS}
    key["sources"] = len(manifest["sources"])
    key["method"] = settings["variant"]
    test = images[images["split"] == "test"]
    validation = images[images["split"] == "validation"]
    run = key | {
        "dice": test["dice"].mean(),
        "iou": test["iou"].mean(),
        "validation_dice": validation["dice"].mean(),
        "images": len(test),
        "cars": test["car"].nunique(),
        "domain_probe": pd.Series(manifest["domain_probe"], dtype=float).mean(),
        "parameters": manifest["parameters"],
        "steps": settings["steps"],
        "seconds": manifest["seconds_training"],
        "peak_memory_gib": manifest["peak_memory_gib"]["host"],
        "device": manifest["device"],
        "precision": manifest["precision"],
        "commit": manifest["commit"],
        "data_fingerprint": manifest["data_fingerprint"],
        "command": manifest["command"],
    }
    kept = [c for c in test.columns if c in ("car", "view", "dice", "iou") or c.startswith("recall_")]
    test = test[kept].reset_index(drop=True)
    return run, _with_key(test, key), _with_key(curves, key)


def _with_key(table: pd.DataFrame, key: dict[str, Any]) -> pd.DataFrame:
    columns = pd.DataFrame({name: [value] * len(table) for name, value in key.items()})
    return pd.concat([columns, table.reset_index(drop=True)], axis=1)


def describe(runs: pd.DataFrame) -> str:
    """One paragraph of Markdown: which comparison the tables hold."""

    def listed(column: str) -> str:
        return ", ".join(map(str, sorted(runs[column].unique())))

    return (
        f"Data **{listed('data')}**, recipe **{listed('recipe')}**, J = {listed('sources')} sources, "
        f"{listed('labels')} labelled target images, profile `{listed('profile')}` "
        f"({listed('steps')} steps), seeds {listed('seed')}; {listed('cars')} test cars a seed. "
        f"Made by `make reproduce DATA={listed('data')}`."
    )


def dice_table(runs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Dice of every method with its interval and its spread over seeds, in percent, sorted by Dice."""
    rows = []
    for method, group in runs.groupby("method"):
        interval = two_way_bootstrap(images[images["method"] == method])
        rows.append(
            {
                "method": method,
                "Dice": 100 * interval.mean,
                "95 % interval": f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
                "spread over seeds (sd)": 100 * group["dice"].std(),
                "IoU": 100 * group["iou"].mean(),
                "seeds": len(group),
            }
        )
    table = pd.DataFrame(rows).sort_values("Dice").set_index("method")
    return table.rename(index=method_label).round({"Dice": 1, "spread over seeds (sd)": 1, "IoU": 1})


def headroom(images: pd.DataFrame, method: str = "mstl") -> str:
    """One sentence of Markdown: how far the references are apart, and how much of that a method closes."""
    dice = {name: two_way_bootstrap(scores).mean for name, scores in images.groupby("method")}
    low, high = dice["target_only"], dice["oracle"]
    return (
        f"Between {method_label('target_only')} and the {method_label('oracle')} lie "
        f"**{100 * (high - low):.1f} Dice points**; {method_label(method)} closes "
        f"{100 * (dice[method] - low) / (high - low):.0f} % of them."
    )


def cost_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Parameters, training seconds and memory of every method, means over seeds."""
    columns = {
        "parameters": "parameters",
        "steps": "steps",
        "seconds": "training seconds",
        "peak_memory_gib": "peak memory (GiB)",
    }
    table = runs.groupby("method")[list(columns)].mean().rename(columns=columns).rename(index=method_label)
    return table.astype({"parameters": int, "steps": int}).round(1)


def target_loss(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with one column ``loss_target``, the mean of whatever target losses a method has."""
    terms = [c for c in curves if c.startswith("loss_target")]
    return curves.assign(loss_target=curves[terms].mean(axis=1))


def verdict(name: str, reference: str, difference: Interval) -> str:
    """One line of Markdown on a paired difference: better or worse only if the interval leaves zero."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    points = f"{mean:+.1f} Dice points [{low:+.1f}, {high:+.1f}]"
    if difference.low > 0:
        outcome = "better than"
    elif difference.high < 0:
        outcome = "worse than"
    else:
        outcome = "not distinguishable from"
    return f"* {name} is **{outcome}** {reference}: {points}"


METHOD_LABELS = {
    "source_only": "source only",
    "source_combine": "source combine",
    "target_only": "target only",
    "pooled_ensemble": "pooled ensemble",
    "dann": "DANN",
    "dann_per_source": "DANN per source",
    "mdan_hard": "MDAN hard",
    "mdan_soft": "MDAN soft",
    "m3sda": "M3SDA",
    "mfsan": "MFSAN",
    "dctn": "DCTN",
    "consistency": "model consistency",
    "mstl": "MSTL",
    "mstl_plus": "MSTL-plus",
    "oracle": "oracle",
}


def method_label(method: str) -> str:
    """What tables and figures call a method: ``mstl+attention=none`` is MSTL + attention=none."""
    name, *changes = method.split("+")
    return " + ".join([METHOD_LABELS.get(name, name.replace("_", " ")), *changes])
