"""The page "What it costs" shows what was measured, and does not hide what was missed."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from mstl.report import cost as speed
from mstl.system.errors import InputError

RESULTS = Path(__file__).resolve().parent.parent / "results" / "bench"


def rows(*entries: dict) -> pd.DataFrame:
    common = {"table": "step", "at": "", "low": 1.0, "high": 9.0, "unit": "×", "bar": "", "note": ""}
    return pd.DataFrame([common | {"device": "CPU, 2 cores", "commit": "abc"} | entry for entry in entries])


MET = {"quantity": "ours over theirs", "value": 4.0, "bar": ">= 3"}
MISSED = {"quantity": "step over bare", "at": "mstl", "value": 1.26, "bar": "<= 1.05", "note": "averaging"}
WITHOUT = {"quantity": "a time", "value": 7.0, "unit": "ms"}


def test_a_missed_bar_says_by_how_much_and_why_and_a_met_one_does_not():
    lines = speed.bars_table(rows(MET, MISSED, WITHOUT)).splitlines()[2:]
    assert len(lines) == 2
    assert "| 4× (1 to 9) | ≥ 3 | met |" in lines[0]
    assert "step over bare, mstl" in lines[1] and "**missed by 20 %**: averaging" in lines[1]


@pytest.mark.parametrize(
    ("value", "bar", "by"), [(2.0, ">= 4", 0.5), (8.0, ">= 4", -1.0), (1.5, "<= 1", 0.5)]
)
def test_the_shortfall_is_a_share_of_what_was_asked(value, bar, by):
    assert speed.shortfall({"value": value, "bar": bar}) == pytest.approx(by)


def test_the_summary_counts_bars_and_names_the_machine():
    assert speed.summary(rows(MET, MISSED, WITHOUT)).startswith("**1 of 2 bars are met**, on CPU, 2 cores")


def test_right_of_the_line_is_better_for_ratios_that_should_be_small_too():
    ax = speed.bar_dots(rows(MET, MISSED))
    middles = [
        line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "X") and len(line.get_xdata())
    ]
    assert middles == pytest.approx([4 / 3, 1.05 / 1.26])
    plt.close("all")


def test_what_takes_long_is_shown_where_it_was_measured_and_missed_where_not():
    assert "bench_dice.py" in speed.time_to_dice(rows(MET))
    measured = {"table": "dice", "quantity": "seconds to Dice 0.9, ours", "value": 30.0, "unit": "s"}
    assert "| seconds to Dice 0.9, ours | 30 s (1 to 9) |" in speed.time_to_dice(rows(MET, measured))


def test_without_tables_the_message_says_how_to_make_them(tmp_path):
    with pytest.raises(InputError, match=r"train\.csv does not exist; make it with `make bench`"):
        speed.load(tmp_path)
    (tmp_path / "train.csv").write_text("quantity,value\nx,1\n")
    with pytest.raises(InputError, match=r"train\.csv is damaged: it has no column at, unit"):
        speed.load(tmp_path)


def test_the_committed_tables_have_every_number_the_page_draws():
    loaded = speed.load(RESULTS)
    assert set(speed.NAMES) <= set(loaded["table"]) <= {*speed.NAMES, *speed.LONG}
    for draw in (speed.bar_dots, speed.peers, speed.growth, speed.store, speed.lever_dots, speed.minutes):
        draw(loaded)
        plt.close("all")
    asked = loaded[loaded["bar"] != ""].to_dict("records")
    assert asked and all(row["note"] for row in asked if speed.shortfall(row) > 0), "say why it is missed"
    assert (loaded.loc[loaded["bar"] != "", "command"].str.startswith("python benchmarks/")).all()
