"""From run folders to the small tidy tables that every figure of the book is drawn from."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mstl.methods.catalogue import described
from mstl.report import tables
from mstl.report.bootstrap import Interval, on_shared_seeds, paired_difference, two_way_bootstrap
from mstl.report.comparisons import COMPARISON, check_one, comparisons, listed
from mstl.report.scores import BESIDES, TITLES, columns, score, title
from mstl.run.names import Setting, Variant
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of, replacing
from mstl.system.notes import note
from mstl.system.progress import progress
from mstl.system.tables import read_csv, to_cells

# Columns besides keys and scores that every table of this name has.
COLUMNS = {"runs": ("seconds",), "images": ("car",), "cars": ("car",)}
COLUMNS |= {"curves": ("step", "progress", "seconds")}
# Names that may look like numbers: 12e4567 is a commit.
TEXT = dict.fromkeys(("commit", "data_fingerprint"), str)
DEAD = "dead runs"  # column that a table has where there are any
RUN_KEYS = ["data", "recipe", "sources", "method", "labels", "seed", "profile"]


def collect(runs: str = "runs", out: str = "results", wanted: Collection[str] | None = None) -> list[Path]:
    """Gather the finished runs below ``runs`` into ``<out>/<data>/{runs,images,curves}.csv``.

    * ``runs.csv``: one row a run, its scores (`mean_scores`) and where they came from, and what its recipe
      and method are put together from (`name_columns`).
    * ``images.csv``: one row a run and test image: Dice, IoU and the recall of each part, or of classes the
      true one and whether it was predicted.
    * ``curves.csv``: one row a run and log point.

    Runs without a manifest are unfinished and left out; the count is printed.

    Args:
        runs: folder of all runs.
        out: folder of the tables.
        wanted: as of `collect_compact`.

    Returns:
        The files written.

    Raises:
        InputError: no finished run, or a run folder that cannot be read.
    """
    runs, out = path_of("runs", runs), path_of("out", out)
    check_writable("out", out)
    found, chosen = _chosen(runs, wanted)
    read = [_read_run(folder) for folder in chosen]
    written = []
    for data in sorted({run["data"] for run, _, _ in read}):
        entries = [entry for entry in read if entry[0]["data"] == data]
        keys = [{name: run[name] for name in RUN_KEYS} for run, _, _ in entries]
        tables = {
            "runs": pd.DataFrame([run for run, _, _ in entries]),
            "images": _stack(keys, [images for _, images, _ in entries]),
            "curves": _stack(keys, [curves for _, _, curves in entries]),
        }
        written += _write(tables, out / data, "%.5g")
    _say_left_out(runs, found, chosen)
    return written


def collect_compact(
    runs: str = "runs-grid",
    out: str = "results/grid",
    wanted: Collection[str] | None = None,
    cars: bool = True,
) -> list[Path]:
    """Gather many runs into small tables, ``<out>/<data>/{runs,cars,curves}.csv``.

    * ``runs.csv``: as of `collect`, each with a number ``run``.
    * ``cars.csv``: one row a run and test car: the means over the car's images of Dice, IoU and the recall of
      each part (of those images that show it), or of accuracy.
    * ``curves.csv``: one row a run and log point.

    The last two name a run by its number; `load` puts the keys back.

    Args:
        runs: folder of all runs.
        out: folder of the tables.
        wanted: the runs of a sweep, as ``<data>/<setting>/<variant>/labels-<n>/seed-<s>``; others are left
            out, and their number is printed. None takes all.
        cars: write ``cars.csv``, too.

    Raises:
        InputError: no finished run, or a run folder that cannot be read.
    """
    runs, out = path_of("runs", runs), path_of("out", out)
    check_writable("out", out)
    found, chosen = _chosen(runs, wanted)
    by_data: dict[str, list[tuple]] = {}
    for folder in progress(chosen, len(chosen), "Reading runs"):
        entry = _read_run(folder)
        by_data.setdefault(entry[0]["data"], []).append(entry)
    written = []
    for data, entries in sorted(by_data.items()):
        keys = [{"run": number} for number in range(len(entries))]
        tables = {
            "runs": pd.DataFrame([key | run for key, (run, _, _) in zip(keys, entries, strict=True)]),
            "cars": _stack(keys, [car_means(images) for _, images, _ in entries]) if cars else None,
            "curves": _stack(keys, [curves for _, _, curves in entries]),
        }
        written += _write({k: v for k, v in tables.items() if v is not None}, out / data, "%.4g")
    _say_left_out(runs, found, chosen)
    return written


def car_means(images: pd.DataFrame) -> pd.DataFrame:
    """One row a car: number of images, and the means of Dice, IoU and part recall, or of accuracy."""
    scores = [c for c in images if c in ("dice", "iou", "accuracy") or c.startswith("recall_")]
    groups = images.groupby("car", sort=True)
    means = groups[scores].mean()
    means.insert(0, "images", groups.size())
    return means.reset_index()


def load(results: str | Path, data: str, table: str) -> pd.DataFrame:
    """``results/<data>/<table>.csv``, with the columns `RUN_KEYS` in place of a run's number.

    Raises:
        InputError: the table does not exist yet, is damaged, or is of other runs than ``runs.csv``; or
            methods that are compared saw different data.
    """
    folder = tables.place(results) / data
    loaded = _read_table(folder / f"{table}.csv")
    if table == "runs":
        _check_same_data(loaded, folder / "runs.csv")
        # Those of tables from before they had these columns, too.
        names = [name_columns(*pair) for pair in zip(loaded["recipe"], loaded["method"], strict=True)]
        return loaded.assign(**pd.DataFrame(names, index=loaded.index))
    if "run" not in loaded:
        return loaded
    runs = _read_table(folder / "runs.csv")
    if "run" not in runs or not loaded["run"].isin(runs["run"]).all():
        path = folder / f"{table}.csv"
        raise InputError(f"{path} has runs that runs.csv beside it has not; {_again(folder)}")
    keys = runs.set_index("run")[RUN_KEYS].loc[loaded["run"]].reset_index(drop=True)
    return pd.concat([keys, loaded.drop(columns="run")], axis=1)


def _check_same_data(runs: pd.DataFrame, path: Path) -> None:
    """Runs that differ in the method only must have been trained and scored on the same images.

    Raises:
        InputError: they were not.
    """
    if "data_fingerprint" not in runs:
        return
    for _, rows in runs.groupby([*COMPARISON, "seed"]):
        if rows["data_fingerprint"].nunique() > 1:
            found = ", ".join(f"{row.method} ({row.data_fingerprint})" for row in rows.itertuples())
            key = rows.iloc[0]
            raise InputError(
                f"{path}: methods on {key['data']}/{key['recipe']} with {key['labels']} labels and seed "
                f"{key['seed']} saw different data: {found}; train them again on the same"
            )


def _read_table(path: Path) -> pd.DataFrame:
    again = _again(path.parent)
    table = tables.read(path, (), again, lambda text: read_csv(text, dtype=TEXT))
    keys = ["run"] if "run" in table and path.stem != "runs" else RUN_KEYS
    needed = [*keys, *COLUMNS.get(path.stem, ())]
    if path.stem in ("runs", "images", "cars"):
        needed += columns(table)
    tables.check_columns(path, table, needed, again)
    numbers = ("run", "seed", "labels", "step", "seconds", "dice", "iou", "accuracy")
    numbers = [c for c in needed if c in numbers]
    holes = [c for c in keys if table[c].isna().any()]
    holes += [c for c in numbers if not pd.api.types.is_numeric_dtype(table[c])]
    if holes:
        raise InputError(f"{path} is damaged: column {holes[0]} is not filled as it should be; {again}")
    return table


def _again(folder: Path) -> str:
    """What to do about a table that is not there or damaged."""
    if folder.parent.name == "results":
        return f"make it with `make reproduce DATA={folder.name}`"
    return f"make it with `make sweep`, which keeps finished runs (or `make reproduce DATA={folder.name}`)"


def _finished(runs: Path) -> list[Path]:
    manifests = sorted(runs.glob("**/manifest.json"))
    folders = [manifest.parent for manifest in manifests if not _untested(manifest)]
    if len(folders) < len(manifests):
        note(f"{runs}: {len(manifests) - len(folders)} finished runs without a test have no score")
    if not folders:
        raise InputError(
            f"no finished run below {runs}; train one with `python -m mstl train` or `make reproduce`"
        )
    return folders


def _chosen(runs: Path, wanted: Collection[str] | None) -> tuple[list[Path], list[Path]]:
    """Folders of all finished runs, and of those that are wanted."""
    found = _finished(runs)
    chosen = [f for f in found if wanted is None or f.relative_to(runs).as_posix() in wanted]
    if not chosen:
        raise InputError(f"none of the {len(found)} finished runs below {runs} belongs to the sweep")
    return found, chosen


def _say_left_out(runs: Path, found: list[Path], chosen: list[Path]) -> None:
    notes = _left_out(_unfinished(runs), "unfinished")
    notes += _left_out(len(found) - len(chosen), "of no current sweep")
    print(f"{len(chosen)} finished runs{notes}", flush=True)


def _unfinished(runs: Path) -> int:
    begun = (config.parent for config in runs.glob("**/config.json"))
    return sum(not (folder / "manifest.json").exists() for folder in begun)


def _untested(manifest: Path) -> bool:
    """Whether a run has no score at all; one that cannot be read is for `_read_run` to report."""
    try:
        return json.loads(manifest.read_text(encoding="utf-8")).get("tested") is False
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _left_out(count: int, reason: str) -> str:
    return f", {count} {reason} left out" if count else ""


def _write(tables: dict[str, pd.DataFrame], folder: Path, float_format: str) -> list[Path]:
    """Each table as ``<folder>/<name>.csv``, whole or not at all."""
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        with replacing(paths[-1]) as temporary:
            to_cells(table).to_csv(temporary, index=False, float_format=float_format)
    return paths


def available(results: str | Path, besides: str = "") -> list[str]:
    """Names of the data with collected results, in alphabetical order, without ``besides``."""
    names = (path.parent.name for path in tables.place(results).glob("*/runs.csv"))
    return sorted(name for name in names if name != besides)


def _read_run(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """A finished run: its row with keys, the scores of its test images, its curves."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        images = read_csv(folder / "images.csv")
        curves = pd.read_json(folder / "metrics.jsonl", lines=True)
        return _tidy(manifest, images, curves)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"run {folder} cannot be read ({error}); delete the folder and run it again"
        ) from error


def _tidy(
    manifest: dict[str, Any], images: pd.DataFrame, curves: pd.DataFrame
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    settings = manifest["settings"]
    if not re.fullmatch(r"\w[\w.-]*", settings["data"]):  # a folder of the tables is named after it
        raise ValueError(f"data {settings['data']!r} is no name of data")
    key = {name: settings[name] for name in RUN_KEYS}
    key["recipe"] = settings.get("setting", settings["recipe"])
    key["sources"] = len(manifest["sources"])
    key["method"] = settings["variant"]
    test = images[images["split"] == "test"]
    validation = images[images["split"] == "validation"]
    run = key | {
        **mean_scores(test, validation),
        "images": len(test),
        "cars": test["car"].nunique(),
        "domain_probe": pd.Series(manifest["domain_probe"], dtype=float).mean(),
        "domain_probe_attended": pd.Series(manifest.get("domain_probe_attended") or {}, dtype=float).mean(),
        "constant": manifest.get("constant", ""),
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
    run |= name_columns(key["recipe"], key["method"])
    kept = ("car", "view", "class", "dice", "iou", "accuracy")
    kept = [c for c in test.columns if c in kept or c.startswith("recall_")]
    test = test[kept].reset_index(drop=True)
    return run, test, curves


def mean_scores(test: pd.DataFrame, validation: pd.DataFrame) -> dict[str, float]:
    r"""Means over images: Dice, IoU and validation Dice; or accuracy, its macro mean and validation's.

    .. math:: \text{macro accuracy} = \frac1K \sum_k \mathrm{mean}_{i: y_i = k} [\hat y_i = k]

    over the K classes that the test images show: the mean of the classes' recalls, in which a rare class
    weighs as much as a frequent one.
    """
    own = score(test)
    besides = {name: test[name].mean() for name in BESIDES[own]}
    if own == "accuracy":
        besides["macro_accuracy"] = test.groupby("class")[own].mean().mean()
    return {own: test[own].mean(), **besides, f"validation_{own}": validation[own].mean()}


def name_columns(recipe: str, method: str) -> dict[str, Any]:
    """The fields of `Setting` and `Variant` that a run's columns recipe and method put together."""
    setting, variant = Setting.parse(recipe), Variant.parse(method)
    return {
        "base_recipe": setting.recipe,
        "own_sources": setting.sources,
        "extra": ", ".join(setting.extra),
        "without": ", ".join(setting.without),
        "keep": ", ".join(setting.keep),
        "base_method": variant.method,
        "overrides": variant.override_text,
        "mean_teacher": variant.mean_teacher,
        "own_steps": variant.steps,
    }


def _stack(keys: Sequence[dict[str, Any]], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, each with the values of its key as first columns."""
    first = pd.DataFrame([key for key, table in zip(keys, tables, strict=True) for _ in range(len(table))])
    return pd.concat([first, pd.concat(tables, ignore_index=True)], axis=1)


def describe(runs: pd.DataFrame) -> str:
    """One paragraph of Markdown: which comparison the tables hold."""
    of = partial(listed, runs)
    return (
        f"Data **{of('data')}**, recipe **{of('recipe')}**, J = {of('sources')} sources, "
        f"{of('labels')} labelled target images, profile `{of('profile')}` "
        f"({of('steps')} steps), seeds {of('seed')}; {of('cars')} test cars a seed. "
        f"Made by `make reproduce DATA={of('data')}`."
    )


def stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table of the only comparison, or those of several below one another, each row with its name."""
    return next(iter(tables.values())) if len(tables) == 1 else pd.concat(tables, names=["comparison"])


def score_table(runs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Score of every method with its interval and its spread over seeds, in percent, sorted by it.

    Several comparisons stand below one another.
    """
    scored = comparisons(images)
    return stacked({name: _score_rows(rows, scored[name]) for name, rows in comparisons(runs).items()})


def _score_rows(runs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    own, rows = score(runs), []
    besides = {"iou": "IoU"} if own == "dice" else {"macro_accuracy": "mean of the classes"}
    for method, group in runs.groupby("method"):
        interval = two_way_bootstrap(images[images["method"] == method])
        rows.append(
            {
                "method": method,
                TITLES[own]: 100 * interval.mean,
                "95 % interval": f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
                "spread over seeds (sd)": 100 * group[own].std(),
                **{name: 100 * group[column].mean() for column, name in besides.items()},
                "seeds": len(group),
                **dead_runs(group),
            }
        )
    table = pd.DataFrame(rows).fillna({DEAD: ""}).sort_values(TITLES[own])
    return table.set_index("method").rename(index=method_label).round(1)


def dead_runs(runs: pd.DataFrame) -> dict[str, str]:
    """A cell that counts the runs that predict nothing, everything or one class; {} where there are none."""
    said = runs["constant"].dropna() if "constant" in runs else pd.Series(dtype=str)
    found = said[said != ""]
    return {DEAD: f"{len(found)} ({', '.join(sorted(set(found)))})"} if len(found) else {}


def ours(methods: Iterable[str]) -> list[str]:
    """Our own models and their variants among ``methods``, the best reading first."""
    places = {"mstl_plus": 0, "mstl": 1}
    found = {method: places.get(Variant.parse(method).method) for method in sorted(set(methods))}
    return sorted((m for m, place in found.items() if place is not None), key=found.get)


def headroom(images: pd.DataFrame, method: str = "mstl") -> str:
    """One sentence of Markdown: how far the references are apart, and how much of that a method closes.

    On the seeds that all three have: seeds differ in their test cars.

    Raises:
        InputError: images of several comparisons.
    """
    check_one(images)
    scores = {name: images[images["method"] == name] for name in ("target_only", "oracle", method)}
    missing = [method_label(name) for name, rows in scores.items() if rows.empty]
    shared = set.intersection(*(set(rows["seed"]) for rows in scores.values()))
    if not shared:
        why = f"not run: {', '.join(missing)}" if missing else "it shares no seed with the references"
        return f"How much room {method_label(method)} had cannot be said: {why}."
    low, high, own = (two_way_bootstrap(rows[rows["seed"].isin(shared)]).mean for rows in scores.values())
    if high <= low:
        return f"{method_label('target_only')} has reached the {method_label('oracle')}: no room is left."
    return (
        f"Between {method_label('target_only')} and the {method_label('oracle')} lie "
        f"**{100 * (high - low):.1f} {title(images)} points**; {method_label(method)} closes "
        f"{100 * (own - low) / (high - low):.0f} % of them."
    )


@dataclass(frozen=True)
class Difference:
    """One of our models minus another method on the same images.

    Attributes:
        method: ours.
        other: what it is compared with.
        interval: of the difference; None where they share no seed.
        dropped: seeds that only one of them has.
        score: what differs, as tables call it.
    """

    method: str
    other: str
    interval: Interval | None
    dropped: int
    score: str = "Dice"

    def __str__(self) -> str:
        """One line of Markdown."""
        names = method_label(self.method), method_label(self.other)
        if self.interval is None:
            return f"* {names[0]} and {names[1]} share no seed, so nothing can be said"
        left_out = f" (without {self.dropped} seeds that only one of them has)" if self.dropped else ""
        return verdict(*names, self.interval, self.score) + left_out


def differences(images: pd.DataFrame, order: Sequence[str]) -> list[Difference]:
    """Each of our models against every other method, and the better reading against the literal one.

    Args:
        images: scores of one comparison.
        order: of the methods.

    Raises:
        InputError: images of several comparisons, or of other test images under the same seed.
    """
    check_one(images)
    mine, scores = ours(order), dict(tuple(images.groupby("method")))
    references = [method for method in order if method not in mine]
    found = []
    for place, method in enumerate(mine):
        for other in (*mine[place + 1 :], *references):
            *sides, dropped = on_shared_seeds(scores[method], scores[other])
            interval = paired_difference(*sides) if len(sides[0]) else None
            found.append(Difference(method, other, interval, dropped, title(images)))
    return found


def cost_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Parameters, training seconds and memory of every method, means over seeds.

    Several comparisons stand below one another.
    """
    columns = {
        "parameters": "parameters",
        "steps": "steps",
        "seconds": "training seconds",
        "peak_memory_gib": "peak memory (GiB)",
    }
    found = {}
    for name, rows in comparisons(runs).items():
        means = rows.groupby("method")[list(columns)].mean().rename(columns=columns)
        found[name] = means.rename(index=method_label).astype({"parameters": int, "steps": int}).round(1)
    return stacked(found)


def probe_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the probe of every method that has one: mean, lowest and highest seed.

    Several comparisons stand below one another.
    """
    found = {}
    for name, rows in comparisons(runs).items():
        probe = rows.dropna(subset=["domain_probe"]).groupby("method")["domain_probe"]
        table = probe.agg(["mean", "min", "max"]).rename(index=method_label)
        found[name] = table.rename_axis("probe accuracy").round(3)
    return stacked(found)


def target_loss(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with one column ``loss_target``, the mean of whatever target losses a method has."""
    terms = [c for c in curves if c.startswith("loss_target")]
    return curves.assign(loss_target=curves[terms].mean(axis=1))


def verdict(name: str, reference: str, difference: Interval, score: str = "") -> str:
    """One line of Markdown on a paired difference: better or worse only if the interval leaves zero."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    unit = f"{score} points".lstrip()
    points = f"{mean:+.1f} {unit} [{low:+.1f}, {high:+.1f}]"
    if difference.low > 0:
        outcome = "better than"
    elif difference.high < 0:
        outcome = "worse than"
    else:
        outcome = "not distinguishable from"
    return f"* {name} is **{outcome}** {reference}: {points}"


def method_label(method: str) -> str:
    """What tables and figures call a method: ``mstl+attention=none`` is MSTL + attention=none."""
    variant = Variant.parse(method)
    return " + ".join([described(variant.method).title, *variant.changes])
