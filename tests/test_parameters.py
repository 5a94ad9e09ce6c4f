"""Every parameter of train, predict and diagnose: what cannot be meant is one line that names it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from conftest import OF_MASKS, toy_task
from PIL import Image

from mstl.data.augment import to_float
from mstl.methods import METHODS, build, find
from mstl.problems import Classification, Segmentation
from mstl.report.local.diagnose import diagnose
from mstl.report.results import collect, collect_compact
from mstl.run import precision
from mstl.run.config import TrainConfig
from mstl.run.device import find_device
from mstl.run.inference import load_method, predict_folder
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of

# What papermill, YAML and a slip of the hand put there.
BAD = [None, ["a"], {"a": 1}, 10**400, 10**5000, -1, float("nan"), "no such", "a\0b", True, b"a"]
FREE = {"out": ("no such",), "data_dir": (None,)}  # any text is a folder's name


def config(place: Path | str, **options) -> TrainConfig:
    few = {"method": "target_only", "profile": "tiny", "labels": 4, "steps": 2, "device": "cpu"}
    return TrainConfig(**few | {"out": str(place)} | options)


def refused(message: str, work, *arguments) -> None:
    with pytest.raises(InputError, match=message) as error:
        work(*arguments)
    assert "\n" not in str(error.value) and len(str(error.value)) < 2100


@pytest.mark.parametrize("field", fields(TrainConfig), ids=lambda field: field.name)
def test_a_parameter_of_train_that_cannot_be_meant_is_named_before_anything_begins(tmp_path, field):
    allowed = (None,) if field.default is None else FREE.get(field.name, ())
    for bad in BAD:
        if bad in allowed:
            continue
        message = "no such|data_dir" if field.name == "data_dir" else field.name
        refused(message, lambda bad=bad: train(config(tmp_path, **{field.name: bad})))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_a_hyper_parameter_that_cannot_be_meant_is_named(method):
    problem = Segmentation() if method in OF_MASKS else Classification(("a", "b"))
    for field in fields(find(method).Hyperparameters):
        for bad in ("None", "[1]", "nan", "inf", "9" * 30, "1" * 5000, "-2"):
            refused(field.name, build, method, 3, True, f"{field.name}={bad}", problem)


def test_a_hyper_parameter_is_checked_before_the_data_is_read(tmp_path):
    refused("depth", train, config(tmp_path, overrides="depth=99", data="carvana", data_dir="nowhere"))


@pytest.mark.parametrize("name", ["run", "images", "out", "device"])
def test_a_parameter_of_predict_that_cannot_be_meant_is_named(run, photographs, tmp_path, name):
    good = {"run": str(run), "images": str(photographs), "out": str(tmp_path / "o"), "device": "cpu"}
    for bad in BAD:
        if name == "out" and bad == "no such":
            continue
        refused(f"{name}|no such", lambda bad=bad: predict_folder(**good | {name: bad}))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["run", "out", "data_dir"])
def test_a_parameter_of_diagnose_that_cannot_be_meant_is_named(run, tmp_path, name):
    good = {"run": str(run), "out": str(tmp_path / "o"), "data_dir": "no such"}
    for bad in BAD:
        if bad == "no such" or (name == "data_dir" and bad is None):
            continue
        values = good | {name: bad}
        refused(name, lambda v=values: diagnose(v["run"], v["out"], v["data_dir"]))


@pytest.mark.parametrize("gather", [collect, collect_compact])
@pytest.mark.parametrize("name", ["runs", "out"])
def test_a_parameter_of_collect_that_cannot_be_meant_is_named(run, tmp_path, gather, name):
    good = {"runs": str(run), "out": str(tmp_path / "o")}
    for bad in BAD:
        if (name, bad) != ("out", "no such"):
            refused(f"{name}|no such", lambda bad=bad: gather(**good | {name: bad}))
    assert not (tmp_path / "o").exists()


# Folders


def test_a_path_begins_at_home_where_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("out", "~/runs") == tmp_path / "runs"
    assert config("~/runs").folder.is_relative_to(tmp_path / "runs")
    refused("out=~no-such-user/x: there is no such home folder", path_of, "out", "~no-such-user/x")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(config(tmp_path_factory.mktemp("home") / "runs"), task=toy_task())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    Image.new("RGB", (48, 32), "grey").save(folder / "a.png")
    return folder


def test_training_and_predicting_read_and_write_below_home(monkeypatch, tmp_path, photographs):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").symlink_to(photographs)
    folder = train(config("~/runs"), task=toy_task())
    assert (tmp_path / "runs").is_dir() and (folder / "images.csv").exists()
    written = predict_folder(f"~/{folder.relative_to(tmp_path)}", "~/photographs", "~/masks")
    assert written == [tmp_path / "masks" / "a.png"] and written[0].exists()
    assert all(table.is_relative_to(tmp_path / "results") for table in collect("~/runs", "~/results"))
    assert not (tmp_path / "~").exists()


def test_a_folder_that_cannot_be_written_stops_the_work_before_it_begins(run, photographs, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (file, file / "below"):
        refused("out=.*file is no folder", train, config(out, data="carvana", data_dir="nowhere"))
        refused("out=.*file is no folder", predict_folder, str(run), str(photographs), str(out))
        refused("out=.*file is no folder", diagnose, str(run), out)
    assert file.read_text() == "kept"
    refused("is no folder", check_writable, "out", Path("/dev/null/x"))
    check_writable("out", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == [file]


# Device and precision


def test_an_apple_gpu_is_never_chosen(monkeypatch):
    """Lightning's own "auto" takes it; augmentation samples with border padding, which it lacks."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == "cpu"
    assert Trainer(config("runs", device="auto"), toy_task()).fabric.device.type == "cpu"


def test_a_gpu_is_chosen_where_torch_finds_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [find_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


def test_predict_takes_the_devices_of_train(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    images = to_float(toy_task().test.images)
    with torch.no_grad():
        assert torch.equal(load_method(run, "auto").predict(images), load_method(run, "cpu").predict(images))
    refused("device=cuda, but torch finds no usable GPU", load_method, run, "cuda")
    refused("device 'mps' is unknown; choose from auto, cpu, cuda", load_method, run, "mps")


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed", "16-mixed"])
def test_the_precision_that_is_written_down_is_the_one_that_computes(asked):
    trainer = Trainer(config("runs", precision=asked), toy_task())
    assert trainer.precision.precision == trainer.fabric.strategy.precision.precision
    assert precision.choose(trainer.config) == trainer.precision
