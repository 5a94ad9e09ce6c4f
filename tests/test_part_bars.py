"""The bars of sources that label parts, and the rule "pool, share or split?", on tables of known truth."""

import pandas as pd
import pytest
from test_comparison import grid

from mstl.report.grid.bars import bar_lines
from mstl.report.grid.part_bars import (
    CONTROLS,
    WITHOUT_ADVERSARY,
    attention_auc,
    best_control,
    part_bars,
    rivals,
)
from mstl.report.grid.rule import RULE, rule_table

GAINS = {
    "target_only": (0, 0, 40),
    "target_only+mean_teacher=10": (5, 0, 60),
    "source_combine": (3, 0, 60),
    "source_combine+steps=1350": (-4, 0, 120),
    "dann": (4, 0, 80),
    "multi_head": (11, 0, 60),
    "mstl": (2, 0, 110),
    "mstl_plus": (10, 0, 120),
    WITHOUT_ADVERSARY: (8, 0, 90),
    "oracle": (14, 0, 40),
}
SETTINGS = [("carparts", "masks", 3, 0), ("carparts", "masks", 3, 4), ("studio", "masks", 3, 0)]
SETTINGS += [("carparts", "masks-styled", 3, 0), ("carparts", "parts", 3, 4)]


def bars_of(gains, settings=SETTINGS, **options):
    tables = grid(settings, gains, noise=0.3, **options)
    table = part_bars(tables["cars"], tables["runs"])
    return table.set_index(["bar", "data", "labels"])


def test_every_bar_is_reached_where_the_gains_say_so():
    table = bars_of(GAINS)
    assert set(table["reached"]) == {"yes", "not run"}
    assert table.loc[("P1", "carparts", 0), "difference"] == pytest.approx(6, abs=0.5)
    assert table.loc[("P1", "carparts", 0), "against"] == "DANN"
    assert table.loc[("P2", "carparts", 4), "against"] == "target only, mean teacher 10"
    assert table.loc[("P2", "carparts", 4), "gap_closed"] == pytest.approx(71, abs=5)
    assert table.loc[("P3", "carparts", 0), "difference"] == pytest.approx(2, abs=0.5)
    assert table.loc[("P4", "carparts", 4), "reached"] == "yes"
    assert len(bar_lines(table.reset_index()).splitlines()) == len(table)


def test_a_control_that_knows_of_parts_is_no_rival():
    scores = grid(SETTINGS[:1], GAINS)["cars"]
    assert not set(rivals(scores)) & {*CONTROLS, "mstl", "mstl_plus", "oracle"}
    assert best_control(scores) == "multi_head"


@pytest.mark.parametrize(
    ("bar", "data", "labels", "method", "gain", "verdict", "why"),
    [
        ("P1", "carparts", 0, "dann", 6, "no", "points short"),
        ("P2", "carparts", 4, "oracle", 30, "no", "short of half the gap"),
        ("P3", "carparts", 0, WITHOUT_ADVERSARY, 10.5, "no", "points short"),
        ("P4", "carparts", 4, "dann", 11, "no", "points short"),
    ],
)
def test_a_missed_bar_says_by_how_much(bar, data, labels, method, gain, verdict, why):
    row = bars_of(GAINS | {method: (gain, *GAINS[method][1:])}).loc[(bar, data, labels)]
    assert row["reached"] == verdict and why in row["note"]


def test_windows_may_lose_half_a_point():
    row = bars_of(GAINS | {"dann": (10.3, 0, 80)}).loc[("P4", "carparts", 4)]
    assert row["difference"] < 0 and row["reached"] == "yes"


def test_without_its_conditions_a_bar_is_untested():
    without_time = {name: gain for name, gain in GAINS.items() if "steps" not in name}
    assert bars_of(without_time).loc[("P1", "carparts", 0), "note"] == "no rival at equal time"
    few = bars_of(GAINS, seeds=range(3))
    assert set(few["reached"]) == {"untested", "not run"}
    assert "3 of 5 seeds" in few.loc[("P1", "carparts", 0), "note"]
    nothing = bars_of(GAINS, settings=[("carparts", "views", 3, 4)])
    assert set(nothing["reached"]) == {"not run"}


def test_attention_is_judged_at_the_end_of_training_by_its_worst_source():
    told = {1: (0.9, 0.5), 2: (0.9, 0.7)}  # seed -> AUC of front and of rear in the last line
    rows = [
        {"data": "studio", "recipe": "masks", "labels": 0, "method": "mstl", "seed": seed, "step": step}
        | dict(zip(("auc_front", "auc_rear"), told[seed] if step == 20 else (0.0, 0.0), strict=True))
        for seed in told
        for step in (20, 10)
    ]
    without = {**rows[0], "method": "dann", "auc_front": None, "auc_rear": None}
    (row,) = attention_auc(pd.DataFrame([*rows, without])).itertuples()
    assert (row.lowest, row.mean, row.seeds, row.reached) == (
        pytest.approx(0.6),
        pytest.approx(0.75),
        2,
        "no",
    )
    assert attention_auc(pd.DataFrame(rows), needed=0.6)["reached"].tolist() == ["yes"]
    assert not len(attention_auc(pd.DataFrame(rows).drop(columns=["auc_front", "auc_rear"])))


RULE_GAINS = {
    "target_only": (0, 0, 40),
    "source_combine": (3, -6, 60),
    "source_combine+steps=820": (-4, -6, 120),
    "dann": (4, -6, 80),
    "multi_head": (7, 0, 60),
    "mstl_plus": (10, 0, 120),
    "mstl_plus+adversarial=false": (11, 0, 120),
}


def table_of(gains, settings):
    return rule_table(grid(settings, gains, noise=0.3)["cars"], draws=200)


def test_each_branch_compares_the_best_of_both_sides_and_ours_unchanged():
    table = table_of(RULE_GAINS, [("carparts", "masks", 3, 0)]).set_index("take")
    row = table.loc["at least sub-networks"]
    assert row["compared"] == "MSTL-plus − DANN" and row["holds"] == "yes"
    assert row["difference"] == pytest.approx(6, abs=0.5)
    assert table.loc["a head for each source, union", "compared"] == "multi-head − DANN"
    assert table.loc["these heads on one network", "holds"] == "no"


@pytest.mark.parametrize(("gain", "holds"), [(14, "yes"), (10, "open"), (5, "no")])
def test_a_line_says_whether_it_holds(gain, holds):
    gains = RULE_GAINS | {"source_combine": (gain, 0, 60)}
    row = table_of(gains, [("studio", "parts", 3, 4)]).iloc[0]
    assert row["take"] == "pool" and row["holds"] == holds


def test_what_was_not_run_has_no_line():
    assert table_of(RULE_GAINS, [("studio", "chimeras", 3, 4)]).empty
    alone = {name: gain for name, gain in RULE_GAINS.items() if "mstl" not in name}
    assert "at least sub-networks" not in set(table_of(alone, [("studio", "masks", 3, 0)])["take"])


def test_the_rule_names_methods_and_recipes_that_exist():
    from mstl.data.recipes.local import RECIPES
    from mstl.methods import METHODS
    from mstl.run.names import Setting

    for branch in RULE:
        assert {*branch.methods, *branch.instead} <= set(METHODS)
        assert Setting.parse(branch.recipe).recipe in RECIPES
