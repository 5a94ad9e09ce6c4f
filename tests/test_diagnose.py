"""Diagnosis of real tiny runs: what it writes agrees with the run, and its sentences with its numbers."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from ipywidgets.widgets import widget
from ipywidgets.widgets.widget_link import Link

from mstl.data.augment import to_float
from mstl.measures.attention import watched
from mstl.report import widgets
from mstl.report.local import diagnosis, figures
from mstl.report.local.diagnose import diagnose, load_run
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.snapshots import Snapshots
from mstl.run.train import train
from mstl.system.errors import InputError

matplotlib.use("agg")
# One run with steps of its own, one as the profile has them.
VARIANTS = {"mstl": "mstl+steps=15", "source_combine": "source_combine"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two finished runs and their diagnosis: MSTL with a film, and a method without sub-networks."""
    place = tmp_path_factory.mktemp("diagnose")
    for method, steps, film in (("mstl", 15, Snapshots(10)), ("source_combine", None, Snapshots())):
        config = TrainConfig(
            method=method, profile="tiny", steps=steps, out=str(place / "runs"), device="cpu"
        )
        diagnose(train(config, film), place / "results")
    return place


def run_folder(place: Path, method: str = "mstl") -> Path:
    return place / "runs/studio/parts" / VARIANTS[method] / "labels-8/seed-0"


def table(place: Path, name: str, method: str = "mstl") -> pd.DataFrame:
    return diagnosis.matching(diagnosis.load(place / "results", "studio", name), method=VARIANTS[method])


def shown(place: Path, name: str) -> dict[str, np.ndarray]:
    runs = diagnosis.load(place / "results", "studio", "runs")
    return diagnosis.pictures(place / "results", diagnosis.shown_run(runs, VARIANTS["mstl"]), name)


def test_the_whole_method_scores_as_in_the_run_and_each_sub_network_has_a_row(place):
    heads = table(place, "heads").set_index("predictor")
    scored = pd.read_csv(run_folder(place) / "images.csv").query("split == 'test'")
    assert list(heads.index) == ["together", "front", "cabin", "rear"]
    assert heads.loc["together", "dice"] == pytest.approx(scored["dice"].mean(), abs=1e-4)
    assert heads.loc["together", "recall_rear"] == pytest.approx(scored["recall_rear"].mean(), abs=1e-4)


def test_a_distance_is_that_of_the_probes_error_before_and_after(place):
    domains = table(place, "domains")
    assert domains["place"].tolist() == ["before", "after"] * 3
    np.testing.assert_allclose(domains["a_distance"], 4 * domains["probe_accuracy"] - 2, atol=1e-3)


def test_attention_has_every_pair_of_source_and_region_below_the_best_possible(place):
    attention = table(place, "attention")
    assert len(attention) == 3 * 4 and attention["auc"].between(0, 1).all()
    parts = attention[attention["region"] != "object"]
    assert (parts["auc"] <= parts["best"]).all() and (parts["best"] < 1).all()


def test_the_film_ends_with_the_attention_of_the_finished_run(place):
    run = load_run(run_folder(place))
    with np.load(run.folder / "snapshots.npz") as stored:
        steps, maps = stored["steps"], stored["maps"]
    assert steps.tolist() == [5, 15]  # logged at 5, 10 and 15; 10 is less than ten steps after 5
    with torch.no_grad():
        last = run.method.attention_maps(to_float(watched(run.task).domain.images))
    np.testing.assert_allclose(maps[-1], last[:, :, 0].numpy(), atol=2e-3)
    film = shown(place, "film")
    assert film["maps"].shape[:2] == (2, 3) and len(film["images"]) == film["maps"].shape[2]


def test_cases_are_the_best_and_worst_predictions_and_small(place):
    run, cases = load_run(run_folder(place)), shown(place, "cases")
    scored = pd.read_csv(run.folder / "images.csv").query("split == 'test'")["dice"].sort_values()
    np.testing.assert_allclose(np.sort(cases["dice"])[:4], scored.iloc[:4], atol=1e-6)
    assert all(a >= b for a, b in pairwise(cases["dice"]))
    width = cases["images"].shape[-1]
    truth, guess = (np.unpackbits(cases[k], axis=-1, count=width) for k in ("masks", "predicted"))
    both = (truth & guess).sum((1, 2))
    dice = 2 * both / (truth.sum((1, 2)) + guess.sum((1, 2)))
    np.testing.assert_allclose(dice, cases["dice"], atol=1e-6)
    assert all(path.stat().st_size < 100_000 for path in (place / "results").glob("**/*.npz"))


def test_regions_in_the_pictures_are_disjoint_and_carry_the_sources_names(place):
    scene = shown(place, "attention")
    assert scene["layout"].tolist() == scene["sources"].tolist() == ["front", "cabin", "rear"]
    assert set(np.unique(scene["regions"])) <= {0, 1, 2, 3}
    assert scene["maps"].shape[:2] == (3, len(scene["images"]))


def test_a_method_without_sub_networks_has_what_it_has(place):
    assert table(place, "heads", "source_combine")["predictor"].tolist() == ["together"]
    assert table(place, "attention", "source_combine").empty
    assert not (run_folder(place, "source_combine") / "snapshots.npz").exists()
    assert "no sub-networks" in diagnosis.heads_verdict(table(place, "heads", "source_combine"))


def test_diagnosing_again_replaces_rows_of_this_run_alone_and_photographs_leave_no_pictures(
    place, tmp_path, monkeypatch
):
    before = diagnosis.load(place / "results", "studio", "heads")
    (tmp_path / "studio").mkdir()
    shutil.copytree(place / "results/studio/diagnosis", tmp_path / "studio/diagnosis")
    monkeypatch.setattr("mstl.report.local.diagnose.PICTURED", ())
    written = diagnose(run_folder(place), tmp_path)
    assert len(written) == 5 and {path.suffix for path in written} == {".csv"}
    after = diagnosis.load(tmp_path, "studio", "heads")
    key = ["method", "predictor"]
    pd.testing.assert_frame_equal(
        before.sort_values(key, ignore_index=True), after.sort_values(key, ignore_index=True)
    )


def test_other_data_and_unfinished_runs_are_refused(place, tmp_path):
    with pytest.raises(InputError, match="not a finished run"):
        diagnose(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(run_folder(place), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"data_fingerprint": "0" * 16}))
    assert load_method(folder) is not None
    with pytest.raises(InputError, match="other data"):
        diagnose(folder, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"profile": "full", "labels": 0},
        {"steps": 7, "width": 6, "learning_rate": 0.1, "batch_size": 3, "ema": 0.5},
        {"mean_teacher": 2.5, "overrides": "strength=0.1 gain=1e+1"},
        {"recipe": "views", "sources": 2, "extra": "harmful", "without": "front, rear"},
        {"data": "folder", "recipe": "own", "precision": "32-true", "device": "cpu", "seed": 7},
    ],
)
def test_a_configuration_is_read_back_from_the_settings_it_wrote(options):
    """What the profile fills in is part of no name: `diagnose` must not take it for the run's own."""
    config = TrainConfig(**options)
    again = TrainConfig.of(json.loads(json.dumps(config.settings())))
    assert again.settings() == config.settings() and again.folder == config.folder
    for change in ({"variant": "dann"}, {"setting": "parts-5"}, {"size": [1, 1]}, {"seed": "one"}):
        with pytest.raises(InputError):
            TrainConfig.of(config.settings() | change)
    for damaged in ({}, {**config.settings(), "variant": 3}):
        with pytest.raises(InputError):
            TrainConfig.of(damaged)


def removal_cars(own: float, other: float) -> pd.DataFrame:
    """Two seeds, three cars: a source left out costs ``own`` of its part's recall and ``other`` elsewhere."""
    rows = []
    for seed in (0, 1):
        for car in "abc":
            for recipe in ("parts", "parts~front", "parts~rear", "views~front"):
                lost = {p: own if recipe.endswith(p) else other for p in ("front", "rear")}
                gone = "~" in recipe
                recall = {f"recall_{p}": 0.9 - gone * lost[p] + 0.01 * seed for p in lost}
                rows.append(
                    {"recipe": recipe, "method": "m", "labels": 4, "seed": seed, "car": car, **recall}
                )
    return pd.DataFrame(rows).assign(dice=0.9)


def test_removal_pairs_cars_and_finds_the_part_that_is_lost():
    losses = diagnosis.removal(removal_cars(0.2, 0.05), "parts", "m", 4)
    matrix = losses.pivot(index="removed", columns="part", values="mean")
    np.testing.assert_allclose(matrix.loc["front", ["dice", "front", "rear"]], [0, -0.2, -0.05], atol=1e-9)
    np.testing.assert_allclose(matrix.loc["rear", ["dice", "front", "rear"]], [0, -0.05, -0.2], atol=1e-9)
    contrast = diagnosis.own_loss(removal_cars(0.2, 0.05), "parts", "m", 4)
    assert contrast.mean == pytest.approx(-0.15)
    assert "is lost more" in diagnosis.removal_verdict(losses, contrast)


@pytest.mark.parametrize(("own", "words"), [(0.05, "holds 0"), (0.0, "is lost *less*")])
def test_the_verdict_on_removal_follows_the_interval(own, words):
    cars = removal_cars(own, 0.05)
    text = diagnosis.removal_verdict(
        diagnosis.removal(cars, "parts", "m", 4), diagnosis.own_loss(cars, "parts", "m", 4)
    )
    assert words in text


def test_removal_without_runs_is_empty_and_with_other_cars_an_error():
    assert diagnosis.removal(pd.DataFrame(), "parts", "m", 4).empty
    cars = removal_cars(0.1, 0.1)
    assert diagnosis.removal(cars, "chimeras", "m", 4).empty
    cars.loc[cars["recipe"] == "parts~front", "car"] += "x"
    with pytest.raises(InputError, match="same test cars"):
        diagnosis.removal(cars, "parts", "m", 4)


@pytest.mark.parametrize(
    ("own", "rank"), [(0.9, "in 2 of 2 seeds (by luck"), (0.1, "in 0 of 2 seeds (by luck")]
)
def test_the_verdict_on_attention_compares_within_columns(own, rank):
    rows = [
        {"method": "m", "seed": seed, "source": s, "region": r, "best": 0.95, "entropy": 1.0}
        | {"auc": own if s == r else 0.5}
        for seed in (0, 1)
        for s in ("front", "rear")
        for r in ("front", "rear", "object")
    ]
    text = diagnosis.attention_verdict(pd.DataFrame(rows))
    assert f"**{own:.3f}**" in text and f"**{own - 0.5:+.3f}**" in text and rank in text


def test_figures_are_drawn_from_what_is_there_and_say_what_is_not(place):
    losses = diagnosis.removal(removal_cars(0.2, 0.05), "parts", "m", 4)
    points = diagnosis.points(
        place / "results", diagnosis.shown_run(diagnosis.load(place / "results", "studio", "runs"), "")
    )
    inputs = {
        "attention_montage": shown(place, "attention"),
        "auc_matrix": table(place, "attention"),
        "head_recall": table(place, "heads"),
        "removal_matrix": losses,
        "distances": table(place, "domains"),
        "embeddings": points,
        "best_and_worst": shown(place, "cases"),
    }
    for name, value in inputs.items():
        draw = getattr(figures, name)
        assert len(draw(value).axes) >= 1
        empty = draw({} if isinstance(value, dict) else pd.DataFrame())
        assert "not measured yet" in empty.axes[0].texts[0].get_text()
    for draw in (figures.auc_over_training, figures.game):
        assert "not measured yet" in draw(pd.DataFrame()).axes[0].texts[0].get_text()
    assert figures.attention_films({}) == {}
    plt.close("all")


def test_one_slider_moves_every_film_and_the_menu_chooses_one(place):
    films = figures.attention_films(shown(place, "film"))
    assert list(films) == ["front", "cabin", "rear"]
    box = widgets.films(films, ["step 5", "step 15"], "sub-network", "step")
    choice, controls, stack = box.children
    play, position = controls.children
    assert position.value == stack.children[0].selected_index == 1, "a film begins at its end"
    assert choice.options == ("front", "cabin", "rear") and position.max == 1
    assert [len(film.children) for film in stack.children] == [2, 2, 2]
    links = [w for w in widget._instances.values() if isinstance(w, Link)]
    ends = {(link.source[0], link.target[0]) for link in links}
    assert {(position, film) for film in stack.children} | {(choice, stack), (play, position)} <= ends
    with pytest.raises(InputError, match="pictures"):
        widgets.films(films, ["one"], "sub-network", "step")
    with pytest.raises(InputError, match="at least one"):
        widgets.films({}, [], "sub-network", "step")
