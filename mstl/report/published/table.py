"""What papers report and what we measure, row by row: joined, averaged over targets, judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from mstl.report import results, tables
from mstl.report.comparisons import name_of
from mstl.report.published.references import TITLES, measure
from mstl.report.published.variants import labels
from mstl.system.errors import InputError
from mstl.system.files import replacing
from mstl.system.tables import read_csv

BAR = 1.5  # accuracy points by which a mean over targets may differ from the published one
MEAN = "mean"
NOT_RUN = "not run"
SWEEP = "make sweep SWEEP=published"
DATA = {
    "amazon": "Amazon reviews",
    "surf": "Office-Caltech10 SURF",
    "digits": "Digits",
    "studio-styles": "Studio body styles",
}
COLUMNS = {
    "anchors": ("benchmark", "data", "task", "method", "ours", "published", "recalled"),
    "protocols": ("benchmark", "data", "profile", "source", "table", "protocol", "deviations"),
    "references": ("data", "recipe", "method", "accuracy", "rows", "chosen", "commit", "command"),
    "reasons": ("benchmark", "method", "reason"),
    "table": ("benchmark", "task", "method", "published", "ours", "low", "high", "seeds", "verdict"),
}
ORDER = ["benchmark", "task", "method", "published", "ours", "low", "high", "seeds", "difference", "verdict"]
ORDER += ["reason", "deviations", "recalled", "variant", "rows", "commit", "command"]
KEY = ["data", "recipe", "method", "labels", "profile"]


@dataclass(frozen=True)
class Measured:
    """Accuracies in percent of one method on one task.

    Attributes:
        method: its variant, with its recipe where that is not the task's name.
        scores: by seed; one without a seed where nothing is left to chance.
        rows: number of test rows of each seed.
        commit: of the runs.
        command: that repeats the first of them.
    """

    method: str
    scores: pd.Series
    rows: float = np.nan
    commit: str = ""
    command: str = ""

    def row(self) -> dict[str, object]:
        """Mean, interval and where they come from, as columns of the table."""
        mean, low, high = interval(self.scores)
        seeds = len(self.scores) if self.scores.index[0] >= 0 else 0
        kept = {"variant": self.method, "ours": mean, "low": low, "high": high, "seeds": seeds}
        return kept | {"rows": self.rows, "commit": self.commit, "command": self.command}


def interval(scores: pd.Series) -> tuple[float, float, float]:
    r"""Mean over seeds and its 95 % interval, :math:`\bar x \pm t_{0.975, S-1}\, s / \sqrt S`.

    It says how far another set of seeds would move the mean. Test rows are not resampled: most of these
    benchmarks fix them, so that they are the same for the published number. One seed gives no interval; a
    score without chance (seed −1) is its own.
    """
    mean, count = float(scores.mean()), len(scores)
    if scores.index[0] < 0:
        return mean, mean, mean
    if count < 2:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf(0.975, count - 1) * scores.std() / np.sqrt(count))
    return mean, mean - half, mean + half


def read(folder: str | Path, name: str) -> pd.DataFrame:
    """``<folder>/<name>.csv`` of `COLUMNS`; of references and reasons an empty table where there are none.

    Raises:
        InputError: it does not exist or is damaged.
    """
    place = tables.place(folder)
    if name in ("anchors", "protocols", "reasons") and not (place / "anchors.csv").exists():
        place = tables.place("results/published")
    path = place / f"{name}.csv"
    if name in ("references", "reasons") and not path.exists():
        return pd.DataFrame(columns=list(COLUMNS[name]))
    text = dict.fromkeys(("commit", "inputs", "recalled", "profile", "deviations", "reason", "chosen"), str)
    again = f"make it with `{SWEEP}`" if name == "table" else "take it from the repository"
    table = tables.read(path, COLUMNS[name], again, lambda content: read_csv(content, dtype=text))
    return table.assign(
        **{c: table[c].astype(object).where(table[c].notna(), "") for c in text if c in table}
    )


def scores(folder: str | Path) -> pd.DataFrame:
    """All that was measured on classes, in percent: runs of every ``runs.csv`` below a folder, references.

    Raises:
        InputError: a table is damaged, or two hold the same run.
    """
    folder, found = tables.place(folder), []
    for path in sorted(folder.rglob("runs.csv")):
        runs = results.load(path.parent.parent, path.parent.name, "runs")
        if "accuracy" in runs:
            found.append(runs.assign(rows=runs["images"]))
    fixed = read(folder, "references")
    several = fixed["recipe"].astype(str).str.startswith("to-")
    found.append(fixed.assign(labels=0, profile="", seed=-1, sources=1 + several))
    columns = [*KEY, "sources", "seed", "accuracy", "rows", "commit", "command"]
    kept = [table[columns] for table in found if len(table)]
    every = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=columns)
    twice = every[every.duplicated([*KEY, "seed"])]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"{folder}: two tables hold the run {first['data']}/{first['recipe']}/{first['method']}, seed "
            f"{first['seed']}; keep the newer one"
        )
    return every.assign(accuracy=100 * every["accuracy"].astype(float))


def joined(folder: str | Path) -> pd.DataFrame:
    """The table: a row for each published number and for whatever else was measured, and means over tasks.

    A published number stands beside runs of the same data, task, method and *profile* that saw no label of
    the target. In ``ours`` of ``anchors.csv`` a star stands for anything, ``*-to-books/dann``: then the best
    is taken, chosen on the test rows, as papers do with "best single source". A mean over tasks is formed
    where all of them are there, on the seeds that all have.

    Args:
        folder: of the runs' tables and of ``references.csv``; and of ``anchors.csv`` and what describes them,
            which else are those of the repository.

    Raises:
        InputError: a table is missing or damaged, or anchors name a benchmark that protocols do not have.
    """
    anchors, protocols, reasons = (read(folder, name) for name in ("anchors", "protocols", "reasons"))
    unknown = sorted(set(anchors["benchmark"]) - set(protocols["benchmark"]))
    if unknown:
        raise InputError(f"anchors.csv: no row of protocols.csv describes the benchmark {unknown[0]!r}")
    measured = scores(folder)
    rows = [*_published(anchors, protocols, measured), *_besides(anchors, protocols, measured)]
    table = pd.DataFrame([row for each in _with_means(rows) for row in each])
    table["difference"] = (table["ours"] - table["published"]).round(6)
    table["verdict"] = [*map(verdict, table["published"], table["difference"])]
    table = table.merge(protocols[["benchmark", "deviations"]], on="benchmark", how="left", validate="m:1")
    linear = measured[(measured["data"] == "amazon") & (measured["method"] == "linear_svm")]
    return _with_reasons(table, reasons, dict(zip(linear["recipe"], linear["accuracy"], strict=True)))


def verdict(published: float, difference: float) -> str:
    """``within 1.5``, ``above`` or ``below`` what is published; nothing where nothing is."""
    if np.isnan(published):
        return ""
    if np.isnan(difference):
        return NOT_RUN
    return f"within {BAR}" if abs(difference) <= BAR else "above" if difference > 0 else "below"


def _published(anchors, protocols, measured) -> Iterator[tuple[dict, Measured | None]]:
    profiles = protocols.set_index("benchmark")["profile"]
    for anchor in anchors.to_dict("records"):
        own = measured[
            (measured["data"] == anchor["data"])
            & (measured["labels"] == 0)
            & measured["profile"].isin([profiles[anchor["benchmark"]], ""])
        ]
        head = {name: anchor[name] for name in ("benchmark", "task", "method", "published", "recalled")}
        yield head, _best(own, anchor["task"], anchor["ours"])


def _best(rows: pd.DataFrame, task: str, ours: str) -> Measured | None:
    """The rows of the method and recipe that are called ``ours``; of several the best."""
    recipe, _, method = ours.rpartition("/")
    fits = [
        fnmatchcase(r, recipe or task) and fnmatchcase(m, method)
        for r, m in zip(rows["recipe"], rows["method"], strict=True)
    ]
    there = rows[np.array(fits, dtype=bool)]
    groups = [_measured(group, task) for _, group in there.groupby(["recipe", "method"])]
    return max(groups, key=lambda one: one.scores.mean(), default=None)


def _measured(rows: pd.DataFrame, task: str) -> Measured:
    first = rows.sort_values("seed").iloc[0]
    name = first["method"] if first["recipe"] == task else f"{first['recipe']}/{first['method']}"
    commits = ", ".join(sorted(set(rows["commit"].astype(str))))
    return Measured(name, rows.set_index("seed")["accuracy"], rows["rows"].mean(), commits, first["command"])


def _besides(anchors, protocols, measured) -> Iterator[tuple[dict, Measured]]:
    """What was measured and has no published number, each in a benchmark of the same protocol."""
    known = anchors[~anchors["ours"].str.contains("/", regex=False)].merge(
        protocols[["benchmark", "profile"]], on="benchmark"
    )
    taken = {
        (row.data, row.task, row.ours, 0, profile)
        for row in known.itertuples()
        for profile in (row.profile, "")
    }
    tasks = known.groupby(["data", "profile", "task"])["benchmark"].first()
    names = set(zip(anchors["benchmark"], anchors["method"], strict=True))
    anywhere = known.groupby(["data", "task"])["benchmark"].first()
    together = measured.groupby(["data", "sources", "profile", "labels"])["method"]
    called = {(*key, name): label for key, found in together for name, label in labels(set(found)).items()}
    for key, rows in measured.groupby(KEY, sort=True):
        data, recipe, method, labelled, profile = key
        if key in taken:
            continue
        sources = rows["sources"].iloc[0]
        place = tasks.get((data, profile, recipe)) if profile else anywhere.get((data, recipe))
        if place is None:
            at = {"sources": sources} | ({"profile": profile} if profile else {})
            place = f"{DATA.get(data, data)}, {name_of(at)}"
        title = TITLES.get(method) or called[data, sources, profile, labelled, method]
        title = (method if (place, title) in names else title) + (f", {labelled} labels" if labelled else "")
        head = {"benchmark": place, "task": recipe, "method": title, "published": np.nan, "recalled": ""}
        yield head, _measured(rows, recipe)


def _with_means(rows: list[tuple[dict, Measured | None]]) -> Iterator[list[dict[str, object]]]:
    """The rows of each benchmark and method, and their mean where they are all of the benchmark's tasks."""
    tasks: dict[str, set[str]] = {}
    groups: dict[tuple[str, str], list[tuple[dict, Measured | None]]] = {}
    for head, one in rows:
        tasks.setdefault(head["benchmark"], set()).add(head["task"])
        groups.setdefault((head["benchmark"], head["method"]), []).append((head, one))
    places = list(tasks)
    for (benchmark, method), group in sorted(groups.items(), key=lambda entry: places.index(entry[0][0])):
        yield [head | (_absent(head, one)) for head, one in group]
        if len(group) < 2 or len(group) < len(tasks[benchmark]):
            continue
        published = float(np.mean([head["published"] for head, _ in group]))
        recalled = "recalled" if any(head["recalled"] for head, _ in group) else ""
        head = {"benchmark": benchmark, "task": MEAN, "method": method, "published": published}
        yield [head | {"recalled": recalled} | _absent(head, _mean([one for _, one in group]))]


def _absent(head: dict, one: Measured | None) -> dict[str, object]:
    return Measured("", pd.Series([np.nan], index=[-1])).row() if one is None else one.row()


def _mean(group: list[Measured | None]) -> Measured | None:
    """The mean over tasks, seed by seed; None where one is missing or they share no seed."""
    if None in group:
        return None
    every = pd.concat([one.scores for one in group], axis=1, join="inner").mean(axis=1)
    if every.empty:
        return None
    names = {one.method.rpartition("/")[2] for one in group}
    commits = ", ".join(sorted({name for one in group for name in one.commit.split(", ")}))
    return Measured(", ".join(sorted(names)), every, sum(one.rows for one in group), commits, SWEEP)


def _with_reasons(table: pd.DataFrame, reasons: pd.DataFrame, linear: dict[str, float]) -> pd.DataFrame:
    """The column ``reason`` where ours is off: a written one, or that a linear classifier is no worse."""
    table = table.merge(reasons, on=["benchmark", "method"], how="left", validate="m:1")
    tasks = table[table["task"] != MEAN].groupby("benchmark")["task"].agg(set)
    for index, row in table.iterrows():
        among = tasks[row["benchmark"]] if row["task"] == MEAN else {row["task"]}
        level = np.mean([linear.get(task, np.nan) for task in among])
        weak = row["verdict"] == "above" and row["variant"] != "linear_svm" and level >= row["published"]
        if weak and pd.isna(row["reason"]):
            said = f"the published number is weak: a linear SVM on the same counts reaches {level:.1f}"
            table.loc[index, "reason"] = said
        elif row["verdict"] not in ("above", "below"):
            table.loc[index, "reason"] = ""
    return table.fillna({"reason": "", "deviations": ""})


def write(folder: Path, data_dirs: Mapping[str, str]) -> list[Path]:
    """Measure the references of the data that have a folder, and write ``<folder>/table.csv``.

    Returns:
        The files written.
    """
    measured = measure(data_dirs, folder)
    with replacing(folder / "table.csv") as temporary:
        joined(folder)[ORDER].to_csv(temporary, index=False, float_format="%.5g")
    return [path for path in (measured, folder / "table.csv") if path]
