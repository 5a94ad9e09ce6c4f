"""The strip of masks is what the runs predict, each at the place of its method and number of labels."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import toy_task
from matplotlib.colors import to_rgb

from mstl.data.augment import to_float
from mstl.problems.segmentation import counts, dice
from mstl.report import plots, results
from mstl.report.grid import strip
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.snapshots import load_arrays
from mstl.run.train import train
from mstl.system.errors import InputError

COMMITTED = Path(__file__).parents[1] / "results/strip"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))
    monkeypatch.setattr(strip, "PROFILE", "tiny")
    monkeypatch.setattr(strip, "METHODS", ("target_only", "source_combine", "oracle"))
    monkeypatch.setattr(strip, "LABELS", (0, 4))
    for method, labels in strip.places("parts"):
        train(strip.config("parts", method, labels, str(tmp_path / "runs")))
    return tmp_path / "runs"


def test_every_place_holds_what_its_run_predicts(runs, tmp_path):
    places = list(strip.places("parts"))
    assert places == [("target_only", 4), ("source_combine", 0), ("source_combine", 4), ("oracle", 4)]
    test, held = toy_task(labels=4).test, strip.collect("parts", str(runs))
    cars, scores = test.select(held["cars"]), []
    for method, labels in places:
        network = load_method(strip.config("parts", method, labels, str(runs)).folder)
        with torch.no_grad():
            said, all_said = (network.predict(to_float(part.images)) for part in (cars, test))
        mask = np.unpackbits(held[f"{method} {labels}"], axis=-1, count=said.shape[-1])
        assert np.array_equal(mask.astype(bool), (said > 0).numpy())
        scores.append(dice(counts(all_said, test.masks)).numpy())
    worst, median, best = np.mean(scores, axis=0)[held["cars"]]
    every = np.sort(np.mean(scores, axis=0))
    assert (worst, best) == pytest.approx((every[0], every[-1])) and median == pytest.approx(
        every[len(every) // 2]
    )

    results.collect(str(runs), str(tmp_path / "tables"))
    strip.write(str(runs), tmp_path / "tables", recipes=("parts",))
    without, four = strip.frames("parts", tmp_path / "tables")
    titles = [ax.get_title() for ax in without.axes[:4]]
    assert titles[0] == "test car" and titles[1].endswith("needs labels") and "Dice" in titles[2]
    assert titles[3] == four.axes[3].get_title(), "the oracle has every label in every frame"
    assert sum(bool(ax.images) for ax in without.axes) == 9 and sum(bool(ax.images) for ax in four.axes) == 12
    plt.close("all")


def test_a_run_that_is_missing_is_named(runs, tmp_path):
    folder = strip.config("parts", "source_combine", 4, str(runs)).folder
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=f"{folder}.*make sweep SWEEP=strip"):
        strip.write(str(runs), tmp_path / "tables", recipes=("parts",))
    with pytest.raises(InputError, match=r"python -m mstl\.report\.grid"):
        strip.frames("parts", tmp_path / "tables")


def test_a_colour_says_what_was_found_missed_and_taken_for_a_car():
    image, true = torch.zeros(3, 1, 4, dtype=torch.uint8), torch.tensor([[[1, 1, 0, 0]]])
    picture = strip.judged(image, true, np.array([[[1, 0, 1, 0]]]), strength=1)
    expected = [to_rgb(strip.FOUND), to_rgb(strip.MISSED), to_rgb(strip.WRONG), (0, 0, 0)]
    assert np.allclose(picture[0], expected)
    assert np.allclose(strip.judged(image, true, true.numpy(), strength=0), plots.to_picture(image))


@pytest.mark.parametrize("recipe", ["masks", "parts"])
def test_the_masks_in_the_repository_are_of_the_cars_that_are_rendered_here(recipe):
    held = load_arrays(COMMITTED / strip.DATA / f"{recipe}.npz")
    task = strip.config(recipe, strip.OURS, 32).task()
    runs = results.load(COMMITTED, strip.DATA, "runs")
    chosen = runs[(runs["recipe"] == recipe) & (runs["labels"] == 32) & (runs["method"] == strip.OURS)]
    assert chosen["data_fingerprint"].tolist() == [task.fingerprint()]
    cars = task.test.select(held.pop("cars"))
    assert list(held) == [f"{method} {labels}" for method, labels in strip.places(recipe)]
    width = cars.masks.shape[-1]
    masks = torch.from_numpy(np.stack([np.unpackbits(bits, axis=-1, count=width) for bits in held.values()]))
    worst, median, best = np.mean([dice(counts(mask - 0.5, cars.masks)).numpy() for mask in masks], axis=0)
    assert worst < median < best
