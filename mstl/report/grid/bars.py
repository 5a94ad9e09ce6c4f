"""The bars of the comparison, fixed before it was run: what was claimed, what came out, was it reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from mstl.report.grid import comparison
from mstl.report.grid.comparison import COMBINE, NOT_RUN, OURS, ablation, choose, gap_of
from mstl.report.grid.judging import COLUMNS, SEEDS, against, missing, noted, place, settings
from mstl.report.results import method_label
from mstl.run.names import Setting

E1 = [("studio", "parts"), ("studio", "chimeras"), ("carparts", "parts")]
E1_LABELS = (4, 8)


def bars(cars: pd.DataFrame, runs: pd.DataFrame, seeds: int = SEEDS) -> pd.DataFrame:
    """Every bar E1 to E4 with what was measured, one row a setting.

    * E1: `OURS` minus the best rival is ≥ 2 points with an interval above 0, in a setting where rivals were
      also run at equal time, and `OURS` closes ≥ 50 % of the gap between target only and the oracle.
    * E2: with a harmful source `OURS` minus source combine is ≥ 4 points with an interval above 0; and no
      added source costs `OURS` more than 1 point where it costs source combine 3 or more.
    * E3: on styled views without labels, `OURS` minus source combine and minus DANN is ≥ 2 points, likewise.
    * E4: every change of `OURS` has its effect and interval; nothing has to be exceeded.

    Against a method means: against its best variant there, chosen after the fact, which favours it.

    Columns: ``difference``, ``low``, ``high`` in points; ``gap_closed`` in percent; ``time``, the training
    seconds of what it is compared with, as a multiple of ours; ``seeds`` both sides have and ``dropped``,
    those only one has; ``reached``:
    yes, no, ``not run``, or ``untested`` where the bar's own conditions are not met (the note names them).

    Raises:
        InputError: an empty table.
    """
    cars, runs = comparison.reported(cars, "cars"), comparison.reported(runs, "runs")
    rows = [_first(cars, runs, data, recipe, n, seeds) for data, recipe in E1 for n in E1_LABELS]
    rows += _second(cars, runs, seeds) + _third(cars, runs, seeds) + _fourth(cars)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"labels": "Int64"})


def bar_lines(table: pd.DataFrame) -> str:
    """The rows of `bars`, E1 to E3, as a Markdown list of verdicts; short of a bar says by how much."""
    words = {"yes": "reached", "no": "missed", NOT_RUN: NOT_RUN, "untested": "untested"}
    lines = []
    for row in table[table["bar"] != "E4"].itertuples():
        labels = "" if pd.isna(row.labels) else f", {int(row.labels)} labels"
        where = f"{row.data}/{row.recipe}{labels}"
        line = f"* **{row.bar}**, {where}: {row.claim}: **{words[row.reached]}**"
        if not np.isnan(row.difference):
            line += f", {row.difference:+.1f} points [{row.low:+.1f}, {row.high:+.1f}]"
            line += f" against {row.against}" if row.against else ""
        if not np.isnan(row.gap_closed):
            line += f", {row.gap_closed:.0f} % of the gap closed"
        lines.append(line + (f" ({row.note})" if row.note else "") + ".")
    return "\n".join(lines)


def bar_answer(table: pd.DataFrame, asked_of: Mapping[str, int] | None = None) -> str:
    """What `bar_lines` says one by one, in short: how many bars are reached, and where each claim holds.

    Bars that were not run or are untested are counted as such and in no share. Where a bar can be reached
    with an interval that holds zero, it is said how many are clear of it.

    Args:
        table: rows of bars.
        asked_of: bar -> in how many settings it was to be reached; then claims are counted, not settings.
    """
    asked = table[table["bar"] != "E4"]
    judged = asked[asked["reached"].isin(["yes", "no"])]
    met, left = (judged["reached"] == "yes").sum(), len(asked) - len(judged)
    count = f"**{met} of {len(judged)} bars that were set beforehand are reached.**"
    claims = judged.groupby(["bar", "claim"], sort=False)["reached"].apply(lambda r: (r == "yes").sum())
    if asked_of:
        holds = [met >= asked_of.get(bar, 1) for (bar, _), met in claims.items()]
        count = f"**{sum(holds)} of {len(holds)} claims that were set beforehand hold.**"
    lines = [count + (f" {left} more are untested or were not run." if left else ""), ""]
    for (bar, claim), rows in judged.groupby(["bar", "claim"], sort=False):
        least, most = rows["difference"].min(), rows["difference"].max()
        if len(rows) > 1:
            met = rows["reached"] == "yes"
            said = f"reached in **{met.sum()} of {len(rows)}** settings"
            said += f" ({asked_of[bar]} were asked)" if asked_of and bar in asked_of else ""
            clear = (met & (rows["low"] > 0)).sum()
            said += f", {clear} of them clear of zero" if clear < met.sum() else ""
            lines.append(f"* **{bar}** {claim}: {said}, {least:+.1f} to {most:+.1f} points")
        else:
            row = rows.iloc[0]
            met = {"yes": "reached", "no": "missed"}[row["reached"]]
            points = f"{row['difference']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"
            lines.append(f"* **{bar}** {claim}: **{met}**, {points}")
    return "\n".join(lines)


def _first(cars, runs, data: str, recipe: str, labels: int, seeds: int) -> dict[str, object]:
    scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
    row = against(scores, spent, None, 2, seeds) | {
        "bar": "E1",
        "claim": "≥ 2 points over the best rival and ≥ 50 % of the gap",
        "needed": "≥ +2, interval above 0, gap ≥ 50 %, equal time",
        "gap_closed": gap_of(scores),
    }
    row |= place(data, recipe, labels)
    if row["reached"] in ("yes", "no"):
        if row["gap_closed"] < 50:
            row = noted(row, "no", f"{50 - row['gap_closed']:.0f} % short of half the gap")
        elif np.isnan(row["gap_closed"]) and row["reached"] == "yes":
            row = noted(row, "untested", "no gap to close, or references not run")
        equal = [m for m in scores["method"].unique() if comparison.at_equal_time(m)]
        if row["reached"] == "yes" and not any(map(comparison.is_rival, equal)):
            row = noted(row, "untested", "no rival at equal time")
    return row


def _second(cars, runs, seeds: int) -> list[dict[str, object]]:
    rows = []
    for data, recipe, labels in settings(cars, lambda setting: setting.extra == ("harmful",)):
        scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
        rows.append(against(scores, spent, (COMBINE,), 4, seeds) | place(data, recipe, labels))
    rows = rows or [missing(recipe="parts+harmful")]
    head = {"bar": "E2", "claim": "≥ 4 points over source combine with a harmful source"}
    rows = [row | head | {"needed": "≥ +4, interval above 0"} for row in rows]
    return rows + _costs(cars, seeds)


def _costs(cars, seeds: int) -> list[dict[str, object]]:
    """The second half of E2: what an added source costs us, where it costs source combine 3 points."""
    table = comparison.robustness(cars, (OURS, COMBINE))
    keys = ["data", "recipe", "extra", "labels", "profile"]
    rows = []
    for (data, recipe, extra, labels, _), both in table.groupby(keys, sort=True):
        change = {row.method: row for row in both.itertuples()}
        setting = replace(Setting.parse(recipe), extra=tuple(extra.split()))
        row = place(data, str(setting), labels) | {"reached": NOT_RUN, "note": ""}
        if set(change) == {OURS, COMBINE} and all(c.seeds for c in change.values()):
            ours, combine = change[OURS], change[COMBINE]
            row |= {name: getattr(ours, name) for name in ("difference", "low", "high", "seeds", "dropped")}
            row |= {"against": "itself without that source", "reached": "yes"}
            row["note"] = (
                f"source combine {combine.difference:+.1f} [{combine.low:+.1f}, {combine.high:+.1f}]"
            )
            if min(ours.seeds, combine.seeds) < seeds:
                row = noted(row, "untested", f"{min(ours.seeds, combine.seeds)} of {seeds} seeds")
            elif combine.difference > -3:
                row = noted(row, "untested", "too small a loss of source combine to test it")
            elif ours.difference < -1:
                row = noted(row, "no", f"{-1 - ours.difference:.1f} short")
        rows.append(row)
    head = {"bar": "E2", "claim": "a bad source costs ≤ 1 point where source combine loses ≥ 3"}
    rows = rows or [missing(recipe="parts+harmful")]
    return [missing() | row | head | {"needed": "≥ −1"} for row in rows]


def _third(cars, runs, seeds: int) -> list[dict[str, object]]:
    rows = []
    styled = settings(cars, lambda setting: setting == Setting("views-styled"), labels=0)
    for rival in (COMBINE, "dann"):
        head = {"bar": "E3", "claim": f"≥ 2 points over {method_label(rival)} without labels"}
        head["needed"] = "≥ +2, interval above 0"
        found = []
        for data, recipe, labels in styled:
            scores, spent = (choose(table, recipe, labels, data=data) for table in (cars, runs))
            found.append(against(scores, spent, (rival,), 2, seeds) | place(data, recipe, labels))
        rows += [row | head for row in found or [missing(recipe="views-styled", labels=0)]]
    return rows


def _fourth(cars) -> list[dict[str, object]]:
    table = ablation(cars)
    rows = [
        missing()
        | place(row.data, row.recipe, row.labels)
        | {name: getattr(row, name) for name in ("difference", "low", "high", "seeds", "dropped", "note")}
        | {"against": method_label(OURS), "claim": row.change, "reached": "yes" if row.seeds else NOT_RUN}
        for row in table.itertuples()
    ]
    rows = rows or [missing() | {"claim": "effect of every ingredient"}]
    return [row | {"bar": "E4", "needed": "an interval"} for row in rows]
