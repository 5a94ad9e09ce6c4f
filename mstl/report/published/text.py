"""The table in words, computed, so that they are true whatever the numbers say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mstl.report.bootstrap import Interval
from mstl.report.comparisons import name_of
from mstl.report.published.references import TITLES
from mstl.report.published.table import BAR, DATA, MEAN, NOT_RUN, interval
from mstl.report.published.variants import labels, plain
from mstl.report.results import verdict
from mstl.run.names import Variant

WIDE = 6  # columns of tasks
SEEDS = 5  # fewer than these are provisional
OURS = ("mstl", "mstl_plus")
SETTING = ["data", "recipe", "sources", "labels", "profile"]
POOLED = "source_combine"


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each published method of each benchmark: its mean over tasks, or its only task."""
    rows = table[table["published"].notna()]
    single = rows.groupby(["benchmark", "method"])["task"].transform("size") == 1
    return rows[(rows["task"] == MEAN) | single]


def summary(table: pd.DataFrame) -> str:
    """A paragraph of Markdown: how many published means are reproduced, which are not, and why."""
    rows = compared(table)
    run = rows[rows["verdict"] != NOT_RUN]
    within = run["verdict"].str.startswith("within")
    if run.empty:
        return "**Nothing was run yet** that has a published number; `make sweep SWEEP=published` does it."
    far = run["difference"].abs()
    said = [f"**{within.sum()} of {len(run)} published means are reproduced within ±{BAR} accuracy points**"]
    said[0] += f"; half of them lie within {far.median():.1f} and the farthest is off by {far.max():.1f}."
    few = run[(run["seeds"] > 0) & (run["seeds"] < SEEDS)]
    if len(few):
        said.append(f"{len(few)} of them rest on fewer than {SEEDS} seeds and are provisional.")
    if absent := len(rows) - len(run):
        said.append(f"{absent} more were not run.")
    fixed = table[(table["seeds"] == 0) & table["difference"].notna() & (table["task"] != MEAN)]
    for (benchmark, method), each in fixed.groupby(["benchmark", "method"], sort=False):
        exact = (each["ours"].round(2) - each["published"]).abs() < 0.005
        if exact.all():
            said.append(f"*{benchmark}, {method}* is equal to the last digit on all {len(each)} tasks.")
    return " ".join(said) + "\n\n" + off(run[~within])


def off(rows: pd.DataFrame) -> str:
    """A Markdown list of the means that are not reproduced, each with its reason."""
    lines = []
    for row in rows.itertuples():
        reason = row.reason or "**the reason is not found**"
        lines.append(
            f"* {row.benchmark}, {row.method}: {row.ours:.1f} instead of {row.published:.1f}, "
            f"{row.verdict} by {abs(row.difference):.1f}; {reason}"
        )
    return "\n".join(lines)


def test_rows(table: pd.DataFrame) -> str:
    r"""One sentence: how far other test rows would move a score, :math:`1.96 \sqrt{p (1 - p) / n}`."""
    rows = table[table["ours"].notna() & (table["task"] != MEAN)]
    if rows.empty:
        return f"*{NOT_RUN}*"
    share = rows["ours"] / 100
    half = 196 * (share * (1 - share) / rows["rows"]) ** 0.5
    ends = [f"±{half[at]:.1f} points ({rows['rows'][at]:,.0f} rows)" for at in (half.idxmin(), half.idxmax())]
    return f"Other test rows of the same kind would move the score of a single task by {' to '.join(ends)}."


def wide(table: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """A benchmark's methods as rows, its tasks as columns: ours, and in brackets what is published.

    A star marks a published number from memory. With more than `WIDE` tasks they are the rows.
    """
    rows = table[table["benchmark"] == benchmark]
    cells = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    methods, tasks = (list(dict.fromkeys(rows[name])) for name in ("method", "task"))
    tasks.sort(key=lambda task: task == MEAN)
    shown = cells.pivot(index="method", columns="task", values="cell")
    shown = shown.reindex(index=methods, columns=tasks).fillna("")
    last = compared(rows).set_index("method")["verdict"]
    seeds = rows.groupby("method")["seeds"].max()
    shown["verdict"] = last.reindex(shown.index).fillna("")
    shown["seeds"] = [str(n) if n else "–" for n in seeds.reindex(shown.index)]
    shown = shown.rename_axis(columns=None, index="ours (published)")
    return shown.T.rename_axis(columns=None, index="ours (published)") if len(tasks) > WIDE else shown


def _cell(row) -> str:
    ours = "–" if np.isnan(row.ours) else f"{row.ours:.1f}"
    if np.isnan(row.published):
        return ours
    return f"{ours}\N{NO-BREAK SPACE}({round(row.published, 2)}{'*' if row.recalled else ''})"


def protocols(table: pd.DataFrame) -> str:
    """A Markdown table: what each paper did, and where we deviate."""
    lines = ["| Benchmark | Where | Protocol of the paper | We deviate |", "|---|---|---|---|"]
    for row in table.itertuples():
        lines.append(f"| {row.benchmark} | {row.table} | {row.protocol} | {row.deviations or NOT_RUN} |")
    return "\n".join(lines)


def against_linear(table: pd.DataFrame) -> str:
    """A Markdown list: each published network on the Amazon reviews against the linear classifier."""
    rows = table[table["task"] != MEAN]
    linear = rows[rows["variant"] == "linear_svm"].drop_duplicates("task").set_index("task")["ours"]
    networks = rows[rows["published"].notna() & rows["task"].isin(linear.index)]
    lines = []
    for (benchmark, method), each in networks.groupby(["benchmark", "method"], sort=False):
        if "linear_svm" in set(each["variant"]):
            continue
        level = linear.loc[each["task"]]
        ahead = int((level.to_numpy() >= each["published"].to_numpy()).sum())
        means = f"published {each['published'].mean():.1f}, linear {level.mean():.1f}"
        lines.append(
            f"* {benchmark}, {method}: {means}; the linear one is ahead on {ahead} of {len(each)} tasks"
        )
    return "\n".join(lines) or f"*{NOT_RUN}*"


def offsets(table: pd.DataFrame) -> pd.DataFrame:
    """Ours minus published by task, over the networks of a benchmark: mean, lowest and highest of them."""
    rows = table[table["difference"].notna() & (table["task"] != MEAN) & ~table["variant"].isin(TITLES)]
    found = rows.groupby(["benchmark", "task"], sort=False)["difference"].agg(["mean", "min", "max", "size"])
    named = {"min": "lowest", "max": "highest", "size": "methods"}
    return found[found["size"] > 1].rename(columns=named).round(1)


def differences(measured: pd.DataFrame) -> pd.DataFrame:
    """Models of ours against plain pooling, against the best rival and against themselves with one change.

    One row a pair and setting: data, targets, J, labels and profile. A difference is formed seed by seed, as
    the mean over the targets that both sides have; `interval` of it over seeds. The best rival is named after
    the fact, which favours it.

    Args:
        measured: rows of `mstl.report.published.table.scores`.
    """
    runs = measured[(measured["seed"] >= 0) & (measured["sources"] > 1)]
    targets = runs["recipe"].where(~runs["recipe"].str.startswith("to-"), "all targets")
    rows = []
    for key, group in runs.groupby(["data", targets, "sources", "labels", "profile"], sort=True):
        called = labels(set(group["method"]))
        for kind, method, reference in _pairs(group):
            difference = _paired(group, method, reference)
            if difference is None:
                continue
            mean, low, high = interval(difference["difference"])
            found = {"kind": kind, "method": method, "reference": reference}
            found["names"] = called[method], called[reference]
            found |= {"difference": mean, "low": low, "high": high}
            found |= {"seeds": len(difference), "tasks": difference["tasks"].iloc[0]}
            rows.append(dict(zip(SETTING, key, strict=True)) | found)
    columns = ["kind", "method", "reference", "names", "difference", "low", "high", "seeds", "tasks"]
    return pd.DataFrame(rows, columns=[*SETTING, *columns])


def _pairs(group: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    variants = {name: Variant.parse(name).method for name in group["method"].unique()}
    level, base = group.groupby("method")["accuracy"].mean(), plain(variants)
    rivals = [name for name, method in variants.items() if method not in (*OURS, "oracle", "target_only")]
    best = max((r for r in rivals if r != base.get(POOLED)), key=level.get, default=None)
    for name, method in variants.items():
        if method in OURS and name == base.get(method):
            yield from (("pooling", name, base[POOLED]),) if POOLED in base else ()
            yield from (("best rival", name, best),) if best else ()
        elif method in OURS and method in base:
            yield "change", name, base[method]
    if set(OURS) <= set(base):
        yield "reading", base["mstl_plus"], base["mstl"]


def _paired(group: pd.DataFrame, method: str, reference: str) -> pd.DataFrame | None:
    """Difference of each seed, mean over the targets that both have in every shared seed."""
    sides = [
        group[group["method"] == name].pivot(index="seed", columns="recipe", values="accuracy")
        for name in (method, reference)
    ]
    apart = (sides[0] - sides[1]).dropna(axis=1, how="all").dropna(axis=0)
    if apart.empty:
        return None
    return pd.DataFrame({"difference": apart.mean(axis=1), "tasks": apart.shape[1]})


def difference_lines(table: pd.DataFrame) -> str:
    """A Markdown list of the rows of `differences`, with a verdict each, below the name of their setting."""
    lines = []
    for key, rows in table.groupby(SETTING, sort=False):
        data, recipe, *rest = key
        at = name_of(dict(zip(SETTING[2:], rest, strict=True)))
        lines += ["", f"**{DATA.get(data, data)}, {recipe}** ({at})", ""]
        lines += [_difference_line(row) for row in rows.itertuples()]
    return "\n".join(lines[1:]) or f"*{NOT_RUN}*"


def _difference_line(row) -> str:
    after = ", the best rival, named after the fact" if row.kind == "best rival" else ""
    names = row.names[0], row.names[1] + after
    if row.seeds == 1:
        return f"* {names[0]} minus {names[1]}: {row.difference:+.1f} accuracy points on one seed, no verdict"
    line = verdict(*names, Interval(row.difference / 100, row.low / 100, row.high / 100), "accuracy")
    return line + (f" *({row.seeds} of {SEEDS} seeds: provisional)*" if row.seeds < SEEDS else "")
