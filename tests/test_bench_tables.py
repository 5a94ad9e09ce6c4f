"""Measurements become tables, ratios are held against a baseline, and what fell is said."""

from __future__ import annotations

import json

import baseline
import pytest
import rounds
import table


@pytest.fixture
def made(tmp_path):
    one = table.Table("some", folder=tmp_path)
    one.add("ours over theirs", [3.0, 4.0, 3.5], bar=">= 3")
    one.add("theirs over ours", [0.5, 0.4, 0.6], at=8, better="lower")
    one.add("a time", [10.0], "ms", better="lower")
    one.write()
    return tmp_path


def test_a_row_has_the_median_and_the_range_of_its_rounds(made):
    first, second, third = table.read(made / "some.csv")
    assert (first["value"], first["low"], first["high"], first["rounds"]) == ("3.5", "3", "4", "3")
    assert (first["bar"], first["better"], second["better"], second["at"]) == (">= 3", "higher", "lower", "8")
    assert third["unit"] == "ms" and all(first[key] for key in ("device", "threads", "commit", "command"))


def test_the_reason_stands_beside_a_bar_only_where_it_is_missed(tmp_path):
    one = table.Table("some", folder=tmp_path)
    one.add("met", [2.0], bar=">= 2", why="the reason")
    one.add("missed", [1.9], bar=">= 2", note="a note", why="the reason")
    assert [row["note"] for row in one.rows] == ["", "a note; the reason"]


@pytest.mark.parametrize(("value", "bar", "met"), [(3, ">= 3", 1), (2.9, ">= 3", 0), (1.05, "<= 1.05", 1)])
def test_a_bar_is_met_or_missed(value, bar, met):
    assert table.reached(value, bar) == bool(met)


def test_only_ratios_that_can_be_better_are_compared(made):
    found = baseline.measured(made)
    assert list(found) == ["some: ours over theirs", "some: theirs over ours at 8"]
    # Tolerance: the largest distance of a round from the median, 15 % at least.
    assert found["some: ours over theirs"] == {"ratio": 3.5, "tolerance": 0.15, "better": "higher"}
    assert found["some: theirs over ours at 8"]["tolerance"] == 0.2


@pytest.mark.parametrize(
    ("better", "now", "fell"),
    [
        ("higher", 2.65, False),
        ("higher", 2.5, True),
        ("higher", 9, False),
        ("lower", 3.5, True),
        ("lower", 1, False),
    ],
)
def test_a_ratio_falls_when_it_is_worse_than_its_tolerance_allows(better, now, fell):
    assert baseline.Comparison("x", now, 3.0, 0.15, better).fell is fell


def test_a_ratio_that_is_not_a_number_or_gone_has_fallen_and_a_new_one_has_not():
    assert baseline.Comparison("x", float("nan"), 3.0, 0.15, "higher").fell
    assert baseline.Comparison("x", None, 3.0, 0.15, "higher").fell
    assert not baseline.Comparison("x", 3.0, None, 0.15, "higher").fell


def test_the_report_names_what_fell_and_counts_it(made, capsys):
    file = made / "baseline.json"
    baseline.write(made, file)
    assert baseline.report(made, file) == 0
    then = json.loads(file.read_text())
    then["some: ours over theirs"]["ratio"] = 5.0
    file.write_text(json.dumps(then))
    assert baseline.report(made, file) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "some: ours over theirs" in last and "3.5" in last and "5.0" in last


def test_works_take_turns_and_every_other_round_goes_backwards():
    order = []
    times = rounds.alternate({name: (lambda n=name: order.append(n)) for name in "ab"}, rounds=3, block=0)
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert order[-6:] == ["a", "b", "b", "a", "a", "b"]


def test_a_ratio_is_taken_within_a_round():
    assert rounds.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_the_baseline_in_the_repository_is_that_of_the_tables_in_it():
    committed = json.loads(baseline.FILE.read_text(encoding="utf-8"))
    assert committed and committed.keys() == baseline.measured().keys()
    assert all(entry["tolerance"] > 0 and entry["ratio"] > 0 for entry in committed.values())
