"""What stands in the box under a title is counted from the tables below it."""

from __future__ import annotations

import pandas as pd
import pytest

from mstl.report.bootstrap import Interval
from mstl.report.family.bars import common_answer
from mstl.report.grid.bars import bar_answer
from mstl.report.grid.rule import rule_answer
from mstl.report.grid.text import asked_lines
from mstl.report.local.diagnosis import puzzle

NUMBERS = {"low": -1.0, "high": 1.0, "labels": 4}


def bar(name, claim, reached, difference=0.0):
    return {"bar": name, "claim": claim, "reached": reached, "difference": difference} | NUMBERS


def test_bars_are_counted_and_each_claim_has_its_settings():
    rows = [
        bar("F1", "A over B", "yes", 2.0),
        bar("F1", "A over B", "no", -3.0),
        bar("F2", "A over C", "no", -0.5),
    ]
    rows += [bar("F3", "A over D", "untested"), bar("F4", "A over E", "not run"), bar("E4", "effect", "yes")]
    said = bar_answer(pd.DataFrame(rows))
    assert "1 of 3 bars" in said and "2 more are untested" in said
    assert "A over B: reached in **1 of 2** settings, 0 of them clear of zero, -3.0 to +2.0" in said
    assert "A over C: **missed**, -0.5 points [-1.0, +1.0]" in said
    assert "A over D" not in said and "effect" not in said


def test_bars_of_which_none_was_judged_are_none_of_none():
    assert "**0 of 0 bars" in bar_answer(pd.DataFrame([bar("F1", "A over B", "not run")]))


def test_a_claim_holds_where_it_is_reached_in_as_many_settings_as_were_asked():
    rows = [bar("F2", claim, reached, 6.0) for claim in ("A", "B") for reached in ("yes", "no")]
    rows += [bar("F2", "C", "yes", 6.0), bar("F2", "C", "yes", 7.0)]
    said = bar_answer(pd.DataFrame(rows), {"F2": 2})
    assert "**1 of 3 claims" in said and "A: reached in **1 of 2** settings (2 were asked)" in said


def test_bars_that_zero_may_reach_say_how_many_are_clear_of_it():
    rows = [
        bar("S2", "not below", "yes", 1.0),
        bar("S2", "not below", "yes", 3.0) | {"low": 0.5, "high": 5.0},
    ]
    assert "2 of 2** settings, 1 of them clear of zero" in bar_answer(pd.DataFrame(rows))


def test_the_rule_is_counted_by_line():
    said = rule_answer(pd.DataFrame({"holds": ["yes", "yes", "open", "no"]}))
    assert "2 of 4" in said and "1 are open" in said and "1 do not hold" in said


def scores(**by_method):
    """Ten cars, three seeds; a method's score is its number, and 0.01 more for each car."""
    rows = [
        {
            "data": "d",
            "recipe": "r",
            "sources": 2,
            "labels": 4,
            "profile": "grid",
            "method": method,
            "seed": seed,
        }
        | {"car": f"c{car}", "dice": score + 0.01 * car, "images": 1}
        for method, score in by_method.items()
        for seed in range(3)
        for car in range(10)
    ]
    return pd.DataFrame(rows)


def test_systems_above_target_only_are_named_with_the_least_and_the_most():
    said = common_answer(scores(target_only=0.5, dann=0.53, jan=0.58, san=0.5))
    assert (
        "2 of 3 methods" in said and "by 3.0 to 8.0 points" in said and said.index("JAN") < said.index("DANN")
    )
    assert "None of 1 methods" in common_answer(scores(target_only=0.5, dann=0.4))


def test_chosen_comparisons_are_those_that_were_run():
    cars = scores(mstl=0.5, source_combine=0.52)
    asked = [("r", 4, "mstl", "source_combine"), ("r", 8, "mstl", "source_combine"), ("r", 4, "mstl", "dann")]
    (line,) = asked_lines(cars, asked).splitlines()
    assert "MSTL is **worse than** source combine: -2.0 points [-2.0, -2.0]" in line
    assert asked_lines(cars, asked[1:]) == "* not run"


@pytest.mark.parametrize("own, held", [((0.6, 0.6), "yes"), ((0.6, 0.4), "no")])
def test_a_consequence_of_the_puzzle_holds_where_every_seed_says_so(own, held):
    attention = pd.DataFrame(
        [
            {"seed": seed, "source": source, "region": region, "auc": auc if source == region else 0.5}
            for seed, auc in enumerate(own)
            for source in ("front", "rear")
            for region in ("front", "rear", "object")
        ]
    )
    heads = pd.DataFrame(
        {"seed": [0, 0, 0], "predictor": ["together", "front", "rear"]}
        | {"recall_front": [1.0, 0.9, 0.2], "recall_rear": [1.0, 0.3, 0.8]}
    )
    domains = pd.DataFrame(
        {"seed": [0, 0], "source": ["front"] * 2, "place": ["before", "after"], "a_distance": [1.5, 1.6]}
    )
    said = puzzle(attention, heads, Interval(-0.1, -0.2, -0.05), domains)
    assert f"**{3 if held == 'yes' else 2} of 4 consequences" in said
    assert f"attention prefers the part that its source shows: **{held}**" in said
    assert "finds a part best: **yes** (2 of 2 cases)" in said and "lost, more than others: **yes**" in said
    assert "nearer: **no**" in said
