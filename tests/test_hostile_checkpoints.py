"""Checkpoints of others: nothing in them runs, and only the weights of this very network are taken."""

from __future__ import annotations

import builtins
import io
import json
import pickle  # to build what must not be read
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import toy_task
from drawn_cars import carvana_folder
from PIL import Image

from mstl.__main__ import main
from mstl.data import load, store
from mstl.run.checkpoint import load_checkpoint, save_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method, predict_folder
from mstl.run.snapshots import load_arrays
from mstl.run.train import train
from mstl.system.errors import InputError


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return builtins.open, (str(self.marker), "w")


def bomb(path: Path, marker: Path, state: object = None) -> None:
    """A checkpoint of today's format with the bomb in it."""
    torch.save({"method": Bomb(marker)} if state is None else state, path)


def plain_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"method": Bomb(marker)}))


def old_format(path: Path, marker: Path) -> None:
    torch.save({"method": Bomb(marker)}, path, _use_new_zipfile_serialization=False)


FOREIGN = {
    "bomb": bomb,
    "plain pickle": plain_pickle,
    "old format": old_format,
    "empty": lambda path, marker: path.write_bytes(b""),
    "text": lambda path, marker: path.write_text("no checkpoint"),
    "folder": lambda path, marker: path.mkdir(),
    "list": lambda path, marker: torch.save([1, 2], path),
}


@pytest.mark.trust(
    "hostile input", "a checkpoint never runs code, and one of another kind is one clear error"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_checkpoint_is_one_clear_error_and_runs_nothing(tmp_path, kind):
    path, marker = tmp_path / "checkpoint.pt", tmp_path / "ran"
    FOREIGN[kind](path, marker)
    with pytest.raises(InputError, match=r"checkpoint\.pt is not a checkpoint of this package") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and not marker.exists()


def test_the_bomb_would_go_off(tmp_path):
    bomb(tmp_path / "checkpoint.pt", tmp_path / "ran")
    torch.load(tmp_path / "checkpoint.pt", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.trust("hostile input", "half a checkpoint is one clear error, wherever it was cut")
def test_a_checkpoint_cut_anywhere_is_one_clear_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 3, "method": {"weight": torch.arange(100.0)}})
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_checkpoint(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, TrainConfig]:
    """A run that another process would resume from its last checkpoint: the manifest is set aside."""
    config = TrainConfig(
        method="dann", profile="tiny", steps=4, labels=4, width=2, out=str(tmp_path_factory.mktemp("runs"))
    )
    return train(config, task=toy_task(labels=4)), config


@pytest.fixture
def run(finished, tmp_path) -> tuple[Path, TrainConfig]:
    folder, config = finished
    copy = TrainConfig(**{**vars(config), "out": str(tmp_path / "runs")})
    shutil.copytree(folder, copy.folder)
    return copy.folder, copy


def change(folder: Path, edit) -> None:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    edit(state)
    torch.save(state, folder / "checkpoint.pt")


def each(function):
    """The same change to the weights and to their averages."""

    def edit(state: dict) -> None:
        for part in ("method", "averaged"):
            if state.get(part) is not None:
                name = next(k for k, v in state[part].items() if v.is_floating_point() and v.ndim > 1)
                function(state[part], name)

    return edit


def grown(weights: dict, name: str) -> None:
    weights[name] = torch.zeros(*weights[name].shape, 2)


def first_nan(weights: dict, name: str) -> None:
    weights[name].view(-1)[0] = float("nan")


TAMPERED = {
    "another shape": each(grown),
    "not a number": each(first_nan),
    "a weight less": each(lambda w, k: w.pop(k)),
    "no weights": lambda state: state.update(method=None, averaged=None),
    "other settings": lambda state: state["settings"].update(width=8),
}


@pytest.mark.trust("hostile input", "a checkpoint with other names, shapes or values is refused")
@pytest.mark.parametrize("kind", TAMPERED)
def test_a_tampered_checkpoint_is_refused_by_predict(run, kind):
    folder, _ = run
    load_method(folder)
    change(folder, TAMPERED[kind])
    with pytest.raises(InputError, match=r"checkpoint\.pt (does not|holds no|is not a check)") as error:
        load_method(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"{"])
def test_metrics_that_are_none_end_where_they_begin_when_a_run_goes_on(run, line):
    folder, config = run
    (folder / "manifest.json").unlink()
    whole = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(whole + line + b"\n")
    train(config, task=toy_task(labels=4))
    assert (folder / "metrics.jsonl").read_bytes() == whole


def test_a_foreign_checkpoint_runs_nothing_in_a_run(run, tmp_path):
    folder, config = run
    FOREIGN["bomb"](folder / "checkpoint.pt", tmp_path / "ran")
    with pytest.raises(InputError, match="not a checkpoint of this package"):
        load_method(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="not a checkpoint of this package"):
        train(config, task=toy_task(labels=4))
    assert not (tmp_path / "ran").exists()


@pytest.mark.trust("hostile input", "a manifest cannot ask for a network that the checkpoint does not hold")
@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["settings"].update(width=10**9),
        lambda m: m["settings"].update(method="mfsan"),
        lambda m: m["settings"].update(size=[10**6, 10**6]),
        lambda m: m.update(sources=[]),
        lambda m: m.clear(),
    ],
)
def test_a_tampered_manifest_is_one_clear_error(run, edit):
    folder, _ = run
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    change(folder, lambda state: state.update(settings=manifest.get("settings")))
    with pytest.raises(InputError):
        load_method(folder)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"null"])
def test_a_damaged_manifest_is_one_clear_error(run, content):
    (run[0] / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        load_method(run[0])


def test_masks_cannot_replace_the_photographs(run, tmp_path):
    place = tmp_path / "photographs"
    place.mkdir()
    Image.new("RGB", (30, 20)).save(place / "a.png")
    before = (place / "a.png").read_bytes()
    (tmp_path / "link").symlink_to(place)
    for out in (place, place / ".." / "photographs", tmp_path / "link"):
        with pytest.raises(InputError, match="is the folder of the images"):
            predict_folder(str(run[0]), str(place), str(out))
    assert (place / "a.png").read_bytes() == before


def test_predict_writes_masks_under_every_name(run, tmp_path):
    names = ["-rf", "a\nb", "=1+1", "%s {0}", "x" * 251, "e\u0301 🚗"]
    for name in names:
        (tmp_path / "photographs").mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(tmp_path / "photographs" / f"{name}.png")
    predict_folder(str(run[0]), str(tmp_path / "photographs"), str(tmp_path / "a 'b' \"c\""))
    assert {file.name for file in (tmp_path / "a 'b' \"c\"").iterdir()} == {f"{name}.png" for name in names}


def test_the_command_line_says_it_in_one_line(run, tmp_path, monkeypatch, capsys):
    bomb(run[0] / "checkpoint.pt", tmp_path / "ran")
    place = tmp_path / "a\nb"
    place.mkdir()
    Image.new("RGB", (30, 20)).save(place / "a.png")
    command = ["mstl", "predict", "--run", str(run[0]), "--images", str(place), "--out", str(tmp_path / "o")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1 and said.startswith("mstl: ")
    assert not (tmp_path / "ran").exists()


# Other files that a run or a reader leaves and finds again


def edited(file: Path, edit) -> None:
    saved = torch.load(file, weights_only=True)
    pixels = {name: value.clone() for name, value in saved["pixels"].items()}
    edit(pixels)
    checksum = store._checksum(pixels, file.name)  # a forger knows how it is made
    file.unlink()
    torch.save({"pixels": pixels, "checksum": checksum}, file)


@pytest.mark.trust("hostile input", "a cache file that is damaged, forged or of other data is made anew")
@pytest.mark.parametrize(
    "tamper",
    [
        lambda file, other: bomb(file, file.parent / "ran"),
        lambda file, other: shutil.copyfile(other, file),
        lambda file, other: edited(file, lambda p: p["masks"].fill_(7)),
        lambda file, other: edited(file, lambda p: p["parts"].fill_(9)),
        lambda file, other: edited(file, lambda p: p.pop("parts")),
        lambda file, other: edited(file, lambda p: p.update(images=p["images"][:1])),
        lambda file, other: edited(file, lambda p: p.update(images=p["images"].float())),
        lambda file, other: edited(file, lambda p: p.update(extra=p["images"])),
    ],
    ids=["bomb", "other data", "masks", "parts", "no parts", "fewer", "float", "more"],
)
def test_a_foreign_cache_file_is_made_anew(tmp_path, tamper):
    cache = tmp_path / "cache"
    for name, views in (("a", (1, 2)), ("b", (3, 4))):
        carvana_folder(tmp_path / name, cars=1, views=views)
    whole = load("studio", (16, 24), tmp_path / "a", cache).fingerprint()
    (file,) = cache.rglob("*.pt")
    load("studio", (16, 24), tmp_path / "b", cache)
    (other,) = set(cache.rglob("*.pt")) - {file}
    tamper(file, other)
    assert load("studio", (16, 24), tmp_path / "a", cache).fingerprint() == whole
    assert not list(tmp_path.rglob("ran"))
    assert store.read(file) is not None


@pytest.mark.parametrize("kind", ["pickle", "cut"])
def test_stored_arrays_are_never_unpickled(tmp_path, kind):
    path, whole = tmp_path / "snapshots.npz", io.BytesIO()
    np.savez(whole, steps=np.array([Bomb(tmp_path / "ran")], dtype=object))
    path.write_bytes(whole.getvalue()[: 50 if kind == "cut" else None])
    with pytest.raises(InputError, match=r"snapshots\.npz is damaged"):
        load_arrays(path)
    assert not (tmp_path / "ran").exists()
