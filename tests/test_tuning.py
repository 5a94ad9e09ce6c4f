"""The tuned value is the one with the best mean on validation cars, and only that is looked at."""

import pandas as pd
import pytest

from mstl.report.grid.tuning import tuned, tuning_table

RUNS = pd.DataFrame(
    [
        ("dann+strength=0.1", 100, 0.70, 0.99),
        ("dann+strength=0.1", 101, 0.72, 0.99),
        ("dann+strength=0.5", 100, 0.80, 0.10),
        ("dann+strength=0.5", 101, 0.66, 0.10),
        ("mfsan+weight=1", 100, 0.60, 0.60),
        ("source_combine", 100, 0.90, 0.90),
    ],
    columns=["method", "seed", "validation_dice", "dice"],
)


def test_the_best_mean_over_seeds_wins_whatever_the_test_says():
    table = tuned(RUNS).set_index(["method", "value"])
    assert table.loc[("dann", "strength=0.1"), "validation"] == pytest.approx(0.71)
    assert table.loc[("dann", "strength=0.5"), "best"]
    assert not table.loc[("dann", "strength=0.1"), "best"]
    assert table.loc[("mfsan", "weight=1"), "best"]
    assert table.loc[("dann", "strength=0.5"), "seeds"] == 2


def test_a_value_that_was_tried_where_others_were_not_is_compared_where_all_were():
    """0.5 is better in the seeds that both have; a third seed, an easy one, must not speak for 0.1."""
    easy = pd.DataFrame([("dann+strength=0.1", 102, 0.99, 0.5)], columns=RUNS.columns)
    table = tuned(pd.concat([RUNS, easy])).set_index(["method", "value"])
    assert table.loc[("dann", "strength=0.1"), "validation"] == pytest.approx(0.71)
    assert table.loc[("dann", "strength=0.5"), "best"]
    nowhere = tuning_table(pd.concat([RUNS[:1], RUNS[3:4]]))
    assert nowhere.loc["dann", "taken"] == "none: no setting has all values"


def test_a_run_without_a_value_is_no_value():
    assert "source_combine" not in set(tuned(RUNS)["method"])


def test_readers_see_what_was_tried_and_what_was_taken():
    assert tuning_table(RUNS).loc["dann"].tolist() == [
        "strength=0.1 (71.0), strength=0.5 (73.0)",
        "strength=0.5",
    ]
