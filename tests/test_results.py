"""Tables and intervals."""

import numpy as np
import pandas as pd
import pytest
from conftest import toy_classes, toy_task

import mstl.run.train as training
from mstl.report import results
from mstl.report.bootstrap import paired_difference, two_way_bootstrap
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError


def scores(generator, *, seeds=3, cars=20, views=2, shift=0.0) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [range(seeds), range(cars), range(views)], names=["seed", "car", "view"]
    )
    values = 0.7 + shift + generator.normal(0, 0.1, len(index))
    return pd.DataFrame({"dice": values}, index=index).reset_index()


def test_scores_without_spread_have_an_interval_without_width():
    table = scores(np.random.default_rng(0)).assign(dice=0.625)
    interval = two_way_bootstrap(table)
    assert (interval.mean, interval.low, interval.high) == (0.625, 0.625, 0.625)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for trial in range(200):
        interval = two_way_bootstrap(scores(np.random.default_rng(trial), seeds=5), draws=300)
        covered += interval.low <= 0.7 <= interval.high
    assert 0.86 <= covered / 200 <= 1.0


def test_more_cars_narrow_the_interval():
    few, many = (two_way_bootstrap(scores(np.random.default_rng(1), cars=n)) for n in (5, 200))
    assert many.high - many.low < few.high - few.low


def test_cars_weigh_alike_however_many_images_they_have():
    table = pd.DataFrame({"seed": 0, "car": ["a"] * 9 + ["b"], "view": range(10), "dice": [1.0] * 9 + [0.0]})
    assert two_way_bootstrap(table).mean == 0.5


def test_pairing_removes_what_both_methods_share():
    generator = np.random.default_rng(0)
    first = scores(generator)
    second = first.assign(dice=first["dice"] - 0.01)
    interval = paired_difference(first, second)
    assert interval.low == pytest.approx(0.01)
    assert interval.high == pytest.approx(0.01)
    same = paired_difference(first, first)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_a_paired_difference_changes_sign_with_its_sides():
    generator = np.random.default_rng(0)
    first, second = scores(generator), scores(generator)
    forth, back = paired_difference(first, second), paired_difference(second, first)
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.low == pytest.approx(-back.high)


def test_other_images_on_one_side_are_refused():
    table = scores(np.random.default_rng(0))
    with pytest.raises(ValueError, match="the same images"):
        paired_difference(table, table[table["car"] > 0])


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))
    for method, seed in (("mstl", 0), ("mstl", 1), ("target_only", 0)):
        out = str(tmp_path / "runs")
        training.train(TrainConfig(method=method, seed=seed, profile="tiny", steps=5, labels=4, out=out))
    return tmp_path


def test_collect_writes_one_row_a_run_an_image_and_a_log_point(runs):
    written = results.collect(str(runs / "runs"), str(runs / "results"))
    assert [path.name for path in written] == ["runs.csv", "images.csv", "curves.csv"]
    table = results.load(runs / "results", "studio", "runs")
    assert len(table) == 3
    assert {"commit", "command", "device", "seconds", "seed", "data_fingerprint"} <= set(table)
    images = results.load(runs / "results", "studio", "images")
    assert len(images) == 30
    means = images.groupby(["method", "seed"])["dice"].mean()
    for row in table.itertuples():
        assert means[row.method, row.seed] == pytest.approx(row.dice, abs=1e-4)


def test_unfinished_runs_are_left_out_and_counted(runs, capsys):
    (runs / "runs/studio/parts/mstl+steps=5/labels-4/seed-1/manifest.json").unlink()
    results.collect(str(runs / "runs"), str(runs / "results"))
    assert "2 finished runs, 1 unfinished left out" in capsys.readouterr().out


def test_missing_and_half_written_results_are_one_clear_error(runs):
    with pytest.raises(InputError, match="no finished run below"):
        results.collect(str(runs / "nowhere"))
    with pytest.raises(InputError, match="make reproduce DATA=studio"):
        results.load(runs / "nowhere", "studio", "runs")
    (runs / "runs/studio/parts/mstl+steps=5/labels-4/seed-1/images.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"seed-1 cannot be read"):
        results.collect(str(runs / "runs"), str(runs / "results"))


@pytest.fixture
def compact(runs):
    results.collect_compact(str(runs / "runs"), str(runs / "grid"))
    return runs


def test_compact_tables_hold_the_means_over_a_cars_images(compact):
    cars = results.load(compact / "grid", "studio", "cars")
    table = results.load(compact / "grid", "studio", "runs")
    assert [*cars.columns[:9]] == [*results.RUN_KEYS, "car", "images"]
    assert sorted(table["run"]) == [0, 1, 2]
    for row in table.itertuples():
        folder = compact / f"runs/studio/parts/{row.method}/labels-4/seed-{row.seed}"
        images = pd.read_csv(folder / "images.csv", dtype={"car": str}).query("split == 'test'")
        own = cars[(cars["method"] == row.method) & (cars["seed"] == row.seed)].set_index("car")
        means = images.groupby("car")[["dice", "iou", "recall_left", "recall_right"]].mean()
        np.testing.assert_allclose(own[list(means)], means, atol=1e-4)
        assert own["images"].sum() == row.images
    curves = results.load(compact / "grid", "studio", "curves")
    assert curves.groupby(["method", "seed"])["step"].max().eq(5).all()


@pytest.fixture(scope="module")
def class_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    for method in ("mstl", "source_combine"):
        known = {"data": "amazon", "recipe": "to-books", "out": str(folder / "runs")}
        training.train(
            TrainConfig(**known, method=method, profile="tiny", steps=5), task=toy_classes((12, 1, 1))
        )
    return folder


def test_runs_on_classes_have_accuracies_that_are_those_of_their_images(class_runs):
    results.collect(str(class_runs / "runs"), str(class_runs / "results"))
    results.collect_compact(str(class_runs / "runs"), str(class_runs / "grid"))
    table, images = (results.load(class_runs / "results", "amazon", name) for name in ("runs", "images"))
    assert not {"dice", "iou", "validation_dice"} & {*table, *images}
    assert {*images["class"]} == {"NA", "b", "c"}
    for row in table.itertuples():
        folder = class_runs / f"runs/amazon/to-books/{row.method}/labels-8/seed-0"
        scored = pd.read_csv(folder / "images.csv", keep_default_na=False)
        right = scored["class"] == scored["predicted"]
        test, validation = scored["split"] == "test", scored["split"] == "validation"
        assert row.accuracy == pytest.approx(right[test].mean(), abs=1e-4)
        assert row.validation_accuracy == pytest.approx(right[validation].mean(), abs=1e-4)
        recalls = [right[test & (scored["class"] == name)].mean() for name in ("NA", "b", "c")]
        assert row.macro_accuracy == pytest.approx(np.mean(recalls), abs=1e-4)
        assert images[images["method"] == row.method]["accuracy"].mean() == pytest.approx(
            row.accuracy, abs=1e-4
        )
    cars = results.load(class_runs / "grid", "amazon", "cars")
    pd.testing.assert_series_equal(
        cars.groupby("method")["accuracy"].mean(), table.groupby("method")["accuracy"].mean(), atol=1e-3
    )


def test_runs_of_no_current_sweep_are_left_out_and_counted(runs, capsys):
    wanted = {"studio/parts/mstl+steps=5/labels-4/seed-0"}
    results.collect_compact(str(runs / "runs"), str(runs / "grid"), wanted)
    assert len(results.load(runs / "grid", "studio", "runs")) == 1
    assert "1 finished runs, 2 of no current sweep left out" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"none of the 3 finished runs below .* belongs to the sweep"):
        results.collect_compact(str(runs / "runs"), str(runs / "grid"), {"elsewhere"})


def test_changed_recipes_have_the_name_of_their_setting(runs):
    config = TrainConfig(
        method="mstl", extra="harmful", profile="tiny", steps=5, labels=4, out=str(runs / "runs")
    )
    training.train(config)
    results.collect_compact(str(runs / "runs"), str(runs / "grid"))
    assert set(results.load(runs / "grid", "studio", "runs")["recipe"]) == {"parts", "parts+harmful"}


def cut_off(text: str) -> str:
    return text[:-9]


def without_a_column(text: str) -> str:
    lines = [line.split(",") for line in text.splitlines()]
    return "".join(",".join([first, *rest]) + "\n" for first, _, *rest in lines)


def conflicted(text: str) -> str:
    head, rest = text.split("\n", 1)
    return f"{head}\n<<<<<<< ours\n{rest}"


def longer_line(text: str) -> str:
    return text.rstrip("\n") + ",1,2,3\n"


@pytest.mark.parametrize("damage", [cut_off, without_a_column, conflicted, longer_line, lambda text: ""])
@pytest.mark.parametrize("table", ["runs", "cars", "curves"])
def test_a_damaged_table_is_one_clear_error_that_names_it(tmp_path, table, damage):
    folder = tmp_path / "grid" / "studio"
    folder.mkdir(parents=True)
    key = "studio,parts,3,mstl,4,0,grid"
    columns = ",".join(results.RUN_KEYS)
    texts = {
        "runs": f"run,{columns},dice,iou,seconds\n0,{key},0.9,0.8,10.5\n1,{key},0.9,0.8,10.5\n",
        "cars": "run,car,images,dice,iou\n0,0e3,16,0.9,0.8\n1,0e4,16,0.9,0.8\n",
        "curves": "run,step,progress,seconds,loss\n0,50,0.5,2.5,1.25\n0,100,1,5.5,1.125\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(damage(text) if name == table else text)
    with pytest.raises(InputError) as caught:
        results.load(tmp_path / "grid", "studio", table)
    message = str(caught.value)
    assert "\n" not in message and str(folder / f"{table}.csv") in message and "make sweep" in message


def test_tables_of_different_collections_are_refused(tmp_path, compact):
    path = compact / "grid" / "studio" / "cars.csv"
    path.write_text(path.read_text() + "77," + path.read_text().splitlines()[-1].split(",", 1)[1] + "\n")
    with pytest.raises(InputError, match=r"cars.csv has runs that runs.csv beside it has not; make it with"):
        results.load(compact / "grid", "studio", "cars")


def test_headroom_is_the_share_of_the_gap_between_the_references():
    table = pd.concat(
        scores(np.random.default_rng(0)).assign(dice=dice, method=method)
        for method, dice in (("target_only", 0.8), ("mstl", 0.85), ("oracle", 0.9))
    )
    assert "**10.0 Dice points**; MSTL closes 50 %" in results.headroom(table)
    # A seed that the oracle alone has, with easier cars, opens no room.
    easy = table[table["method"] == "oracle"].assign(seed=7, dice=1.0)
    assert "MSTL closes 50 %" in results.headroom(pd.concat([table, easy]))
    alone = pd.concat([table[table["method"] != "oracle"], easy])
    assert "it shares no seed with the references" in results.headroom(alone)
