"""The rule "pool or split?", on tables whose truth is known."""

import pytest
from test_comparison import grid

from mstl.report.grid.rule import RULE, rule_table

GAINS = {
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
    table = table_of(GAINS, [("carparts", "masks", 3, 0)]).set_index("take")
    row = table.loc["at least sub-networks"]
    assert row["compared"] == "MSTL-plus − DANN" and row["holds"] == "yes"
    assert row["difference"] == pytest.approx(6, abs=0.5)
    assert table.loc["a head for each source, union", "compared"] == "multi-head − DANN"
    assert table.loc["these heads on one network", "holds"] == "no"


@pytest.mark.parametrize(("gain", "holds"), [(14, "yes"), (10, "open"), (5, "no")])
def test_a_line_says_whether_it_holds(gain, holds):
    gains = GAINS | {"source_combine": (gain, 0, 60)}
    row = table_of(gains, [("studio", "parts", 3, 4)]).iloc[0]
    assert row["take"] == "pool" and row["holds"] == holds


def test_what_was_not_run_has_no_line():
    assert table_of(GAINS, [("studio", "chimeras", 3, 4)]).empty
    alone = {name: gain for name, gain in GAINS.items() if "mstl" not in name}
    assert "at least sub-networks" not in set(table_of(alone, [("studio", "masks", 3, 0)])["take"])


def test_the_rule_names_methods_and_recipes_that_exist():
    from mstl.data.recipes.local import RECIPES
    from mstl.methods import METHODS
    from mstl.run.names import Setting

    for branch in RULE:
        assert {*branch.methods, *branch.instead} <= set(METHODS)
        assert Setting.parse(branch.recipe).recipe in RECIPES
