"""The family's toys and bars: what they show is so, and what was not reached is not said to be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mstl.report.family import bars, joint

SEEDS, ITEMS = range(10, 15), 40
LEVELS = {
    "source_combine": 0.60,
    "dann+strength=1": 0.50,
    "dann": 0.59,
    "san": 0.70,
    "pada": 0.66,
    "iwan": 0.61,
}


def table(levels, recipes, data="digits", noise=0.0):
    """Scores of every item: each method right on that share of the same items, whatever the seed."""
    rows = []
    for recipe in recipes:
        for method, level in levels.items():
            for seed in SEEDS:
                chance = np.random.default_rng([seed, len(recipe)]).random(ITEMS)
                right = (np.argsort(np.argsort(chance)) + 0.5) / ITEMS < level
                rows.append(
                    pd.DataFrame(
                        {
                            "data": data, "recipe": recipe, "sources": 1, "method": method, "labels": 0,
                            "seed": seed, "profile": "digits", "car": [f"item {i}" for i in range(ITEMS)],
                            "accuracy": right.astype(float),
                        }
                    )
                )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def spent(cars):
    keys = ["data", "recipe", "sources", "method", "labels", "seed", "profile"]
    return cars[keys].drop_duplicates().assign(seconds=1.0)


def test_what_all_variants_of_a_method_share_is_no_part_of_a_name():
    cars = table({f"{name}+steps=300": level for name, level in LEVELS.items()}, ["partial-a-to-b"])
    plain = table(LEVELS, ["partial-a-to-b"])
    pd.testing.assert_frame_equal(bars.alike(cars), plain)
    pd.testing.assert_frame_equal(bars.alike(plain), plain)
    longer = table({"source_combine": 0.5, "san+steps=300": 0.6, "san+steps=900": 0.7}, ["partial-a-to-b"])
    pd.testing.assert_frame_equal(bars.alike(longer), longer)
    weights = ["dann+strength=1+updates=0", "dann+strength=2+updates=0", "san+strength=3", "source_combine"]
    short = ["dann+strength=1", "dann+strength=2", "san", "source_combine"]
    assert list(bars.alike(table(dict.fromkeys(weights, 0.5), ["a-to-b"]))["method"].unique()) == short
    # One weight here and another there: in each data set it is the method, tuned there.
    both = pd.concat([table({f"san+strength={k}": 0.5}, ["a-to-b"], data=k) for k in "12"])
    assert set(bars.alike(both)["method"]) == {"san"}
    # Nor does a name keep a bar from being judged.
    named, judged = (bars.partial_bars(rows, spent(rows)) for rows in (cars, plain))
    pd.testing.assert_series_equal(named["difference"], judged["difference"])


def test_partial_bars_judge_every_dann_and_hold_the_others_against_its_best():
    cars = table(LEVELS, ["partial-a-to-b", "partial-b-to-a", "partial2-a-to-b", "a-to-b"])
    found = bars.partial_bars(cars, spent(cars)).set_index("claim")
    assert len(found) == 5 and set(found["recipe"]) == {bars.POOLED}
    harm = found.loc["DANN does harm"].set_index("against")
    assert harm["difference"].round(1).to_dict() == pytest.approx(
        {"DANN": 1.0, "DANN, strength 1": 10.0}, abs=3
    )
    assert harm.loc["DANN, strength 1", "reached"] == "yes"
    over = found.loc[["SAN over DANN", "PADA over DANN", "IWAN over DANN"]]
    assert list(over["against"].unique()) == ["DANN"]
    assert list(over["reached"]) == ["yes", "yes", "no"]
    assert "points short" in over["note"].iloc[-1]
    assert list(found["seeds"].unique()) == [len(SEEDS)]


def test_items_of_two_pairs_are_two_items():
    cars = table(LEVELS, ["partial-a-to-b", "partial-b-to-a", "a-to-b"])
    pooled = bars.half_pairs(cars)
    assert len(pooled) == 2 * len(LEVELS) * len(SEEDS) * ITEMS
    assert not pooled.duplicated(["method", "seed", "car"]).any()
    assert set(bars.whole_pairs(cars)["recipe"]) == {"a-to-b"}


def test_what_was_not_run_is_not_reached():
    cars = table({"source_combine": 0.5, "san": 0.9}, ["partial-a-to-b"])
    found = bars.partial_bars(cars, spent(cars))
    assert set(found["reached"]) == {"not run"}
    assert not bars.reached(found).any()


def test_joint_bars_are_of_pairs_with_all_classes():
    levels = {"source_combine": 0.5, "dan": 0.6, "jan": 0.45}
    cars = table(levels, ["a-to-b", "partial-a-to-b"])
    found = bars.joint_bars(cars, spent(cars))
    assert list(found["recipe"].unique()) == ["a-to-b"]
    assert dict(zip(found["claim"], found["reached"], strict=True)) == {
        "DAN over source only": "yes",
        "JAN over source only": "no",
    }


def test_shares_of_outliers_are_read_from_recipes():
    recipes = ["a-to-b", "partial8-a-to-b", "partial-a-to-b", "partial2-a-to-b", "partial2-b-to-a"]
    found = bars.outlier_shares(table(LEVELS, recipes), "a-to-b", 10)
    assert sorted(found["outliers"].round(6).unique()) == [0, 20, 50, 80]
    assert len(found) == 4 * len(LEVELS)
    assert bars.outlier_shares(table(LEVELS, ["b-to-a"]), "a-to-b", 10).empty


def test_marginals_do_not_change_with_the_correlation():
    for rho in (-0.9, 0.0, 0.9):
        points = joint.correlated(20_000, rho, seed=3)
        assert torch.allclose(points.mean(0), torch.zeros(2, dtype=points.dtype), atol=0.03)
        assert torch.allclose(points.std(0), torch.ones(2, dtype=points.dtype), atol=0.03)
        assert np.corrcoef(points.T)[0, 1] == pytest.approx(rho, abs=0.02)


def test_dan_is_blind_to_the_correlation_and_jan_is_smallest_where_it_agrees():
    rhos = np.array([-0.9, -0.3, 0.3, 0.9])
    found = joint.over_correlations(rhos, 0.9, n=120, draws=6)
    blind, sees = found["DAN"].mean(0), found["JAN"].mean(0)
    assert np.ptp(blind) < 0.02 and blind.max() < 0.15
    assert (np.diff(sees) < 0).all() and sees[0] > 10 * sees[-1]


@pytest.mark.parametrize("name", joint.DISTANCES)
def test_points_that_may_move_go_down_and_only_jan_turns_them(name):
    source, target = joint.correlated(60, 0.9, 0), joint.correlated(60, -0.9, 1)
    walked = joint.walk(source, target, joint.DISTANCES[name], steps=80, moments=5)
    assert walked.points.shape == (5, 60, 2) and len(walked.values) == 81
    assert np.array_equal(walked.points[0], target.numpy())
    assert walked.values[-1] < 0.2 * walked.values[0] and (walked.values >= -1e-12).all()
    inner = np.abs(walked.points[-1]).max(1) < 3
    turned = np.corrcoef(walked.points[-1][inner].T)[0, 1]
    assert turned > 0.5 if name == "JAN" else turned < -0.5


def test_the_linear_estimate_falls_far_below_what_any_distance_is():
    source, target = joint.correlated(60, 0.9, 0), joint.correlated(60, -0.9, 1)
    ends = {
        estimator: joint.walk(source, target, joint.joint, estimator, steps=80).values[-1]
        for estimator in ("biased", "unbiased", "linear")
    }
    assert ends["biased"] >= 0 > ends["unbiased"] > ends["linear"]
    assert ends["unbiased"] > -2 * 25 / 60 and ends["linear"] < -1  # 25 kernels of 1 at most
