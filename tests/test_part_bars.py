"""The bars of sources that label parts, on tables whose truth is known."""

import pytest
from test_comparison import grid

from mstl.report.grid.bars import bar_lines
from mstl.report.grid.part_bars import CONTROLS, WITHOUT_ADVERSARY, best_control, part_bars, rivals

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
