"""The comparison's tables, on small grids whose truth is known."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.markers import MarkerStyle

from mstl.methods.catalogue import METHODS as CATALOGUE
from mstl.report.grid import comparison, text
from mstl.report.grid import figures as draw
from mstl.report.grid.bars import bar_lines, bars
from mstl.report.results import RUN_KEYS
from mstl.report.scores import scores_of
from mstl.system.errors import InputError

# Dice in points above target only; what a harmful source costs; seconds; all invented.
METHODS = {
    "target_only": (0, 0, 40),
    "source_only+source=0": (-9, 0, 40),
    "source_only+source=1": (-6, 0, 40),
    "source_combine": (4, -8, 60),
    "source_combine+steps=800": (5, -8, 120),
    "source_combine+mean_teacher=1": (5, -7, 90),
    "pooled_ensemble": (5.5, -7, 120),
    "dann": (4.5, -8, 80),
    "mfsan": (4, -3, 110),
    "mstl": (3, -2, 110),
    "mstl_plus": (9, -0.4, 120),
    "mstl_plus+attention=none": (9, -0.4, 110),
    "mstl_plus+adversarial=false": (8.2, -0.5, 90),
    "mstl_plus+synchronised=false": (7, -2, 120),
    "oracle": (12, 0, 40),
}
SETTINGS = [
    ("studio", "parts", 3, 0),
    ("studio", "parts", 3, 4),
    ("studio", "parts", 3, 8),
    ("studio", "parts", 3, 16),
    ("studio", "parts-1", 1, 4),
    ("studio", "parts-2", 2, 4),
    ("studio", "chimeras", 3, 4),
    ("studio", "chimeras", 3, 8),
    ("studio", "parts+harmful", 4, 4),
    ("studio", "parts+useless", 4, 4),
    ("studio", "views-styled", 3, 0),
    ("carparts", "parts", 3, 4),
    ("carparts", "parts", 3, 8),
]
CURVE = ("loss", "discriminator_accuracy", "gradient_ratio", "attention_entropy", "auc_front")


def grid(settings=SETTINGS, methods=METHODS, seeds=range(5), cars=14, noise=1.0) -> dict[str, pd.DataFrame]:
    """Tables ``runs``, ``cars`` and ``curves`` with their keys, as `mstl.report.results.load` returns them.

    A car's Dice is a level of its data, seed and car, shared by all settings, plus the method's own gain.
    """
    generator = np.random.default_rng(0)
    runs, scores, curves = [], [], []
    for data, recipe, sources, labels in settings:
        for seed in seeds:
            own = np.random.default_rng([len(data), seed])
            level = 72 + 2 * np.log1p(labels) + own.normal(0, 1) + own.normal(0, 4, cars)
            for method, (gain, harm, seconds) in methods.items():
                if labels == 0 and comparison.family(method) in ("target_only", "oracle"):
                    continue
                gain += harm * ("harmful" in recipe)
                dice = (level + gain + generator.normal(0, noise, cars)) / 100
                key = dict(zip(RUN_KEYS, (data, recipe, sources, method, labels, seed, "grid"), strict=True))
                runs.append(key | _run(dice, seconds * generator.uniform(0.9, 1.1), method, seed))
                names = [f"{seed}{car:03x}" for car in range(cars)]
                own = {"car": names, "images": 16, "dice": dice, "iou": dice / (2 - dice)}
                scores.append(pd.DataFrame({**key, **own}))
                curves.append(pd.DataFrame({**key, **_curve(method, generator)}))
    tables = {"runs": pd.DataFrame(runs), "cars": pd.concat(scores), "curves": pd.concat(curves)}
    return {name: table.reset_index(drop=True) for name, table in tables.items()}


def _run(dice: np.ndarray, seconds: float, method: str, seed: int) -> dict[str, object]:
    probe = 0.62 if "mstl" in method else 0.85
    values = dict(dice=dice.mean(), iou=(dice / (2 - dice)).mean(), validation_dice=dice.mean())
    values |= dict(images=224, cars=len(dice), domain_probe=probe, domain_probe_attended=probe + 0.05)
    values |= dict(parameters=450000 if "mstl" in method else 120000, seconds=seconds)
    values |= dict(steps=800 if "steps" in method else 400, peak_memory_gib=0.6, device="CPU (x86_64)")
    provenance = dict(precision="32-true", commit="0123456789ab", data_fingerprint="ab")
    return values | provenance | {"command": f"python -m mstl train --method {method} --seed {seed}"}


def _curve(method: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    step = np.arange(50, 401, 50)
    curve = {"step": step, "progress": step / 400, "seconds": step / 5, "loss": 2 * np.exp(-step / 200)}
    plays = "mstl" in method or "dann" in method
    for name in CURVE[1:]:
        values = 0.5 + 0.4 * np.exp(-step / 250) + generator.normal(0, 0.02, len(step))
        curve[name] = values if plays else np.full(len(step), np.nan)
    return curve


def write(folder: Path, data: str, tables: dict[str, pd.DataFrame]) -> None:
    """The tables of one data set as the sweep's files: keys in ``runs.csv`` only, joined by ``run``."""
    (folder / data).mkdir(parents=True, exist_ok=True)
    runs = tables["runs"][tables["runs"]["data"] == data].reset_index(drop=True)
    runs.insert(0, "run", runs.index)
    runs.to_csv(folder / data / "runs.csv", index=False, float_format="%.5g")
    for name in ("cars", "curves"):
        table = tables[name].merge(runs[["run", *RUN_KEYS]], on=RUN_KEYS).drop(columns=RUN_KEYS)
        table.insert(0, "run", table.pop("run"))
        table.to_csv(folder / data / f"{name}.csv", index=False, float_format="%.5g")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return grid()


def parts(cars: pd.DataFrame, labels: int = 4) -> pd.DataFrame:
    return comparison.choose(cars, "parts", labels, data="studio")


def test_accuracies_beside_dice_are_numbers_like_any_other(tables):
    """What the score of some of the data is called changes its name alone, in every table and figure."""
    tables = {name: t.query("labels == 4 & sources >= 3 & seed < 2") for name, t in tables.items()}
    mixed = {}
    for name in ("runs", "cars"):
        there = tables[name]["data"] == "carparts"
        scored = [c for c in tables[name] if c.endswith(("dice", "iou"))]
        classes = tables[name][there].rename(columns=lambda c: c.replace("dice", "accuracy"))
        mixed[name] = pd.concat([tables[name][~there], classes.drop(columns="iou")]).sort_index()
        assert mixed[name].loc[there, scored].isna().all(axis=None)
    summaries = [comparison.summarise(t["cars"], draws=50) for t in (tables, mixed)]
    assert scores_of(summaries[1]).tolist() == scores_of(summaries[0]).tolist()
    for function in (comparison.against_best, comparison.ablation, comparison.robustness):
        pd.testing.assert_frame_equal(*(function(t["cars"], draws=50) for t in (tables, mixed)))
    sides = (comparison.per_car_differences(t["cars"], "mstl_plus", "dann") for t in (tables, mixed))
    pd.testing.assert_frame_equal(*sides)
    axes = draw.score_dots(summaries[1]).axes
    assert {ax.get_xlabel() for ax in axes} == {"Dice (%)", "accuracy (%)"}
    one = comparison.choose(mixed["cars"], "parts", 4, data="carparts")
    runs = comparison.choose(mixed["runs"], "parts", 4, data="carparts")
    assert draw.time_against_score(comparison.summarise(one, 50), runs).get_ylabel() == "accuracy (%)"
    assert "accuracy %" in comparison.setting_table(one, runs, "parts", 4)
    plt.close("all")


def test_a_setting_s_table_has_every_variant_sorted_with_its_cost(tables):
    table = comparison.setting_table(tables["cars"], tables["runs"], "parts", 4, data="studio")
    assert len(table) == len(METHODS) and table["Dice %"].is_monotonic_increasing
    assert table.index[-1] == "oracle" and (table["seeds"] == 5).all()
    expected = tables["cars"].query("data == 'studio' & recipe == 'parts' & labels == 4")
    mean = 100 * expected[expected["method"] == "oracle"]["dice"].mean()
    assert table.loc["oracle", "Dice %"] == pytest.approx(mean, abs=0.051)
    assert table["seconds"].between(30, 140).all()
    spent = table[comparison.TIME] * table.loc["MSTL-plus", "seconds"]
    assert spent.to_numpy() == pytest.approx(table["seconds"].to_numpy(dtype=float), abs=1.5)


def test_several_settings_at_once_and_empty_tables_are_one_clear_error(tables):
    with pytest.raises(InputError, match=r"several data: \['carparts', 'studio'\]; choose one"):
        comparison.setting_table(tables["cars"], tables["runs"], "parts", 4)
    empty = tables["cars"].iloc[:0]
    for function in (comparison.summarise, comparison.ablation, comparison.robustness):
        with pytest.raises(InputError, match="make sweep"):
            function(empty)
    with pytest.raises(InputError, match="make sweep"):
        bars(empty, tables["runs"])


def test_a_setting_that_was_not_run_says_so(tables):
    table = comparison.setting_table(tables["cars"], tables["runs"], "parts", 32)
    assert list(table.index) == ["not run"]
    assert len(comparison.label_budget(tables["cars"], "nowhere")) == 0
    assert len(comparison.source_numbers(tables["cars"], "nowhere", 4)) == 0
    assert comparison.best_rival(tables["cars"].iloc[:0]) is None
    missing = comparison.paired(tables["cars"], "mstl_plus", "dctn")
    assert (missing["note"] == "not run").all() and missing["difference"].isna().all()


def test_seeds_of_the_tuning_are_never_reported():
    tables = grid(SETTINGS[:2], seeds=[0, 100, 101])
    assert comparison.summarise(tables["cars"])["seeds"].eq(1).all()
    only = tables["cars"][tables["cars"]["seed"] > 99]
    with pytest.raises(InputError, match="tuning only"):
        comparison.summarise(only)


def test_the_best_rival_is_no_variant_of_ours_and_may_have_had_more_time(tables):
    assert comparison.best_rival(parts(tables["cars"])) == "pooled_ensemble"
    assert comparison.best_rival(parts(tables["cars"]), among=["source_combine"]) != "source_combine"
    assert comparison.best_single_source(parts(tables["cars"])) == "source_only+source=1"


def test_a_rival_does_not_become_the_best_by_missing_the_hard_seed():
    cars = grid(SETTINGS[1:2], seeds=range(3))["cars"]
    cars.loc[cars["seed"] == 0, "dice"] -= 0.2
    cars = cars[~((cars["method"] == "dann") & (cars["seed"] == 0))]
    means = cars.groupby("method")["dice"].mean()
    assert means["dann"] > means["pooled_ensemble"] + 0.04
    assert comparison.best_rival(cars) == "pooled_ensemble"


def test_the_gap_is_a_share_between_the_references(tables):
    assert comparison.gap_closed(85, 80, 90) == 50
    assert comparison.gap_closed(80, 80, 90) == 0 and comparison.gap_closed(90, 80, 90) == 100
    assert np.isnan(comparison.gap_closed(80, 90, 90))
    assert comparison.gap_of(parts(tables["cars"])) == pytest.approx(75, abs=5)
    assert np.isnan(comparison.gap_of(comparison.choose(tables["cars"], "views-styled", 0)))


def test_pairing_finds_the_true_difference_in_every_setting_and_changes_sign_with_its_sides(tables):
    forth = comparison.paired(tables["cars"], "mstl_plus", "source_combine")
    back = comparison.paired(tables["cars"], "source_combine", "mstl_plus")
    assert len(forth) == len(SETTINGS)
    truth = np.where(forth["recipe"].str.contains("harmful"), 12.6, 5)
    np.testing.assert_allclose(forth["difference"], truth, atol=0.7)
    np.testing.assert_allclose(forth["difference"], -back["difference"])
    assert (forth["low"] < forth["difference"]).all() and (forth["difference"] < forth["high"]).all()
    assert ((forth["high"] - forth["low"]) < 2.5).all(), "what cars share cancels: their own spread is 4"


def test_seeds_of_one_side_only_are_dropped_and_counted(tables):
    cars = parts(tables["cars"])
    cars = cars[~((cars["method"] == "dann") & (cars["seed"] == 2))]
    row = comparison.paired(cars, "mstl_plus", "dann").iloc[0]
    assert (row["seeds"], row["dropped"]) == (4, 1) and "1 seed" in row["note"]


def test_other_cars_under_the_same_seed_are_one_clear_error(tables):
    cars = parts(tables["cars"])
    cars = cars[~((cars["method"] == "dann") & cars["car"].str.endswith("1"))]
    with pytest.raises(InputError, match=r"dann and mstl_plus on parts.*run both again"):
        comparison.paired(cars, "mstl_plus", "dann")


def test_differences_per_car_average_to_the_paired_difference(tables):
    cars = parts(tables["cars"])
    each = comparison.per_car_differences(cars, "mstl_plus", "dann")
    assert len(each) == 5 * 14
    whole = comparison.paired(cars, "mstl_plus", "dann")["difference"].iloc[0]
    assert each["difference"].mean() == pytest.approx(whole)


def test_the_ablation_has_each_change_once_and_no_change_of_steps(tables):
    table = comparison.ablation(
        parts(tables["cars"]).replace("source_combine+steps=800", "mstl_plus+steps=800")
    )
    assert list(table["change"]) == ["adversarial=false", "attention=none", "synchronised=false"]
    np.testing.assert_allclose(table["difference"], [-0.8, 0, -2], atol=0.6)


def test_robustness_is_the_change_by_the_added_source(tables):
    table = comparison.robustness(tables["cars"], ["mstl_plus", "source_combine"])
    change = table.set_index(["extra", "method"])["difference"]
    assert change["harmful", "source_combine"] == pytest.approx(-8, abs=0.7)
    assert set(table["recipe"]) == {"parts"} and len(table) == 4


def test_curves_over_labels_and_sources_hold_what_was_run(tables):
    budget = comparison.label_budget(tables["cars"].query("data == 'studio'"), "parts", ["mstl_plus"])
    assert list(budget["labels"]) == [0, 4, 8, 16]
    numbers = comparison.source_numbers(tables["cars"].query("data == 'studio'"), "parts", 4, ["mstl_plus"])
    assert list(numbers["sources"]) == [1, 2, 3]
    twice = tables["cars"].query("data == 'studio' & recipe == 'parts' & labels == 4")
    both = pd.concat([twice, twice.assign(recipe="parts-3")])
    assert list(comparison.source_numbers(both, "parts", 4, ["dann"])["seeds"]) == [5]


def test_every_bar_has_its_verdict(tables):
    table = bars(tables["cars"], tables["runs"])
    first = table[table["bar"] == "E1"]
    assert len(first) == 6 and (first["reached"] == "yes").all()
    assert (first["gap_closed"] > 50).all() and first["time"].between(0.7, 1.4).all()
    second = table[table["bar"] == "E2"].set_index(["claim", "recipe"])["reached"]
    reached = dict(zip(second.index, second, strict=True))
    assert reached["≥ 4 points over source combine with a harmful source", "parts+harmful"] == "yes"
    cost = "a bad source costs ≤ 1 point where source combine loses ≥ 3"
    assert reached[cost, "parts+harmful"] == "yes"
    assert reached[cost, "parts+useless"] == "untested", (
        "the useless source costs source combine nothing here"
    )
    assert len(table[table["bar"] == "E3"]) == 2 and (table[table["bar"] == "E3"]["reached"] == "yes").all()
    assert (table[table["bar"] == "E4"]["reached"] == "yes").all()


def test_a_missed_bar_says_by_how_much():
    gains = {**METHODS, "dann": (8.5, -8, 80)}
    tables = grid([("studio", "parts", 3, 4)], gains)
    row = bars(tables["cars"], tables["runs"]).iloc[0]
    assert row["reached"] == "no" and row["against"] == "DANN"
    assert f"{2 - row['difference']:.1f} points short" in row["note"]
    assert "**missed**" in bar_lines(bars(tables["cars"], tables["runs"]))


def test_bars_without_their_conditions_are_untested():
    few = grid([("studio", "parts", 3, 4)], seeds=range(3))
    assert bars(few["cars"], few["runs"]).iloc[0]["note"].endswith("3 of 5 seeds")
    faster = {name: value for name, value in METHODS.items() if "steps" not in name}
    tables = grid([("studio", "parts", 3, 4)], faster)
    row = bars(tables["cars"], tables["runs"]).iloc[0]
    assert (row["reached"], row["note"]) == ("untested", "no rival at equal time")


def test_bars_of_a_partial_grid_say_not_run():
    tables = grid([("studio", "views", 3, 8)])
    table = bars(tables["cars"], tables["runs"])
    assert (table[table["bar"] != "E4"]["reached"] == "not run").all()
    assert set(table["bar"]) == {"E1", "E2", "E3", "E4"} and "**not run**" in bar_lines(table)


def test_the_files_of_a_sweep_give_the_same_tables(tables, tmp_path):
    for data in ("studio", "carparts"):
        write(tmp_path, data, tables)
    read = comparison.everything(str(tmp_path), "cars")
    assert len(read) == len(tables["cars"]) and set(tables["cars"]) <= set(read)
    sides = (
        comparison.against_best(cars)[["data", "rival", "difference"]] for cars in (read, tables["cars"])
    )
    pd.testing.assert_frame_equal(*sides, rtol=1e-2)
    with pytest.raises(InputError, match="make sweep"):
        comparison.everything(str(tmp_path / "nowhere"), "cars")


def test_words_agree_with_the_signs_of_the_intervals(tables):
    changes = comparison.ablation(parts(tables["cars"]))
    line = text.ablation_lines(changes)
    assert line.startswith(
        "* studio/parts, 4 labels: **costs points**: each sub-network has its own target images (-"
    )
    assert "**not distinguishable**: no attention" in line and "wins" not in line
    best = comparison.against_best(tables["cars"])
    said = text.difference_lines(best, "MSTL-plus", "{rival}")
    assert said.count("**better than**") == len(SETTINGS)
    assert "MSTL-plus is **better than** pooled ensemble: +" in said
    assert text.difference_lines(best.iloc[:0], "a", "b") == "* not run"


def test_dead_runs_are_counted_where_there_are_any(tables):
    setting = (tables["cars"], tables["runs"], "parts", 4)
    assert "dead runs" not in comparison.setting_table(*setting, data="studio")
    dead = (tables["runs"]["method"] == "dann") & (tables["runs"]["seed"] < 2)
    runs = tables["runs"].assign(constant=dead.map({True: "nothing", False: ""}))
    cells = comparison.setting_table(tables["cars"], runs, "parts", 4, data="studio")["dead runs"]
    assert cells["DANN"] == "2 (nothing)" and (cells.drop("DANN") == "").all()


def test_missing_seeds_are_listed(tables):
    runs = tables["runs"]
    assert len(text.missing(runs)) == 0
    fewer = text.missing(runs.drop(runs.query("method == 'dann' & recipe == 'chimeras'").index[:1]))
    assert list(fewer["method"]) == ["DANN"] and list(fewer["of"]) == [5]


def test_every_method_has_a_name_a_colour_and_a_marker_of_its_own():
    for look in ("title", "colour", "marker"):
        assert len({getattr(entry, look) for entry in CATALOGUE.values()}) == len(CATALOGUE)
    shapes = {name: MarkerStyle(entry.marker) for name, entry in CATALOGUE.items()}
    drawn = {m.get_path().transformed(m.get_transform()).vertices.round(3).tobytes() for m in shapes.values()}
    assert len(drawn) == len(CATALOGUE), "two spellings of one shape"
    assert not [name for name, entry in CATALOGUE.items() if "$" in str(entry.marker)], (
        "a letter is no marker"
    )
    changed = [draw.marker(f"dann{change}") for change in ("", "+steps=9", "+mean_teacher=1")]
    assert all(
        a != b for a, b in ((changed[0], changed[1]), (changed[0], changed[2]), (changed[1], changed[2]))
    )


def figures(tables: dict[str, pd.DataFrame]) -> list[plt.Axes]:
    """Every figure of the comparison, one axes each."""
    cars, runs, curves = (tables[name] for name in ("cars", "runs", "curves"))
    cars = cars[cars["data"] == "studio"]
    one, summary = parts(cars) if len(cars) else cars, pd.DataFrame()
    one_runs, one_curves = (parts(table) if len(table) else table for table in (runs, curves))
    if len(cars):
        summary = comparison.summarise(one)
        budget, changes, bad = (
            comparison.label_budget(cars, "parts"),
            comparison.ablation(cars),
            comparison.robustness(cars),
        )
    else:
        budget = summary
        changes = bad = pd.DataFrame(
            columns=["difference", "change", "method", "extra", "data", "recipe", "labels"]
        )
    rivals = comparison.top_rivals(one, 2) if len(one) else []
    each = {rival: comparison.per_car_differences(one, "mstl_plus", rival) for rival in rivals}
    intervals = {rival: comparison.paired(one, "mstl_plus", rival).iloc[0] for rival in rivals}
    return [
        draw.score_dots(summary).axes[0],
        draw.ranking(summary).axes[0],
        draw.interval_curves(budget, "labels", plt.subplots()[1], "labels"),
        draw.per_car_strip(each, intervals),
        draw.ablation_forest(changes),
        draw.robustness_dots(bad),
        draw.time_against_score(summary, one_runs),
        draw.curves_over_progress(one_curves, "gradient_ratio", plt.subplots()[1], "gradient ratio"),
        draw.probe_dots(one_runs),
    ]


def test_figures_show_what_was_run_and_say_so_when_nothing_was(tables):
    for ax in figures(tables):
        assert len(ax.lines) > 3 and "not run" not in [text.get_text() for text in ax.texts]
    plt.close("all")
    for ax in figures({name: table.iloc[:0] for name, table in tables.items()}):
        assert "not run" in [text.get_text() for text in ax.texts]
    plt.close("all")
