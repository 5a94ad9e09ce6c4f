"""Checkpoints of others: nothing in them runs, and only the weights of this very network are taken."""

from __future__ import annotations

import builtins
import io
import json
import pickle  # to build what must not be read
import shutil
import struct
import zipfile
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


def rewritten(path: Path, method: int, content: dict[str, bytes] | None = None) -> None:
    """The archive at ``path`` with members compressed, some replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in members.items():
            archive.writestr(name, (content or {}).get(name.partition("/")[2], value))


def torchscript(path: Path, marker: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def grows(path: Path, marker: Path) -> None:
    """20 MB of zeros in twenty kilobytes."""
    torch.save({"method": {"weight": torch.zeros(5_000_000)}}, path)
    rewritten(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5


def overlaps(path: Path, marker: Path) -> None:
    """An archive whose directory lists its members a hundred times over."""
    torch.save({"method": {"weight": torch.zeros(1000)}}, path)
    content = path.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    with zipfile.ZipFile(path) as archive:
        count = 100 * len(archive.infolist())
    directory = (
        content[start : content.index(b"PK\x06\x06")] if b"PK\x06\x06" in content else content[start:end]
    )
    tail = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, count, count, 100 * len(directory), start, 0)
    path.write_bytes(content[:start] + 100 * directory + tail)
    with zipfile.ZipFile(path) as archive:
        assert sum(info.file_size for info in archive.infolist()) > path.stat().st_size


FOREIGN = {
    "bomb": bomb,
    "plain pickle": plain_pickle,
    "old format": old_format,
    "torchscript": torchscript,
    "grows": grows,
    "overlaps": overlaps,
    "empty": lambda path, marker: path.write_bytes(b""),
    "nul": lambda path, marker: path.write_bytes(bytes(1000)),
    "text": lambda path, marker: path.write_text("no checkpoint"),
    "folder": lambda path, marker: path.mkdir(),
    "list": lambda path, marker: torch.save([1, 2], path),
    "module": lambda path, marker: torch.save(torch.nn.Linear(2, 2), path),
    "array": lambda path, marker: torch.save({"method": np.array([Bomb(marker)], dtype=object)}, path),
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
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
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
    "another type": each(lambda w, k: w.update({k: w[k].double()})),
    "integers": each(lambda w, k: w.update({k: w[k].int()})),
    "sparse": each(lambda w, k: w.update({k: w[k].to_sparse()})),
    "not a number": each(first_nan),
    "infinite": each(lambda w, k: w[k].fill_(float("inf"))),
    "a weight less": each(lambda w, k: w.pop(k)),
    "a weight more": each(lambda w, k: w.update({"module.extra": torch.zeros(1), "extra": torch.zeros(1)})),
    "no tensor": each(lambda w, k: w.update({k: "text"})),
    "numbers as names": each(lambda w, k: w.update({7: torch.zeros(1)})),
    "no weights": lambda state: state.update(method=None, averaged=None),
    "nothing": lambda state: state.clear(),
    "other settings": lambda state: state["settings"].update(width=8),
}


@pytest.mark.trust("hostile input", "a checkpoint with other names, shapes, types or values is refused")
@pytest.mark.parametrize("kind", TAMPERED)
def test_a_tampered_checkpoint_is_refused_by_predict(run, kind):
    folder, _ = run
    load_method(folder)
    change(folder, TAMPERED[kind])
    with pytest.raises(InputError, match=r"checkpoint\.pt (does not|holds no)") as error:
        load_method(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_tampered_checkpoint_is_refused_by_resuming(run, kind):
    folder, config = run
    (folder / "manifest.json").unlink()
    change(folder, TAMPERED[kind])
    with pytest.raises(
        InputError, match=r"checkpoint\.pt (is not a checkpoint of this run|belongs to)"
    ) as error:
        train(config, task=toy_task(labels=4))
    assert "\n" not in str(error.value)
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize("line", [b"", b"\xff\xfe", b"7", b"[]", b'{"loss": 1}', b'{"step": "x"}', b"{"])
def test_metrics_that_are_none_end_where_they_begin_when_a_run_goes_on(run, line):
    folder, config = run
    (folder / "manifest.json").unlink()
    whole = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(whole + line + b"\n")
    train(config, task=toy_task(labels=4))
    assert (folder / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize("kind", ["bomb", "plain pickle", "empty"])
def test_a_foreign_checkpoint_runs_nothing_in_a_run(run, kind, tmp_path):
    folder, config = run
    FOREIGN[kind](folder / "checkpoint.pt", tmp_path / "ran")
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
        lambda m: m["settings"].update(method="os.system"),
        lambda m: m["settings"].update(overrides="no_such=1"),
        lambda m: m["settings"].update(size=[10**6, 10**6]),
        lambda m: m["settings"].update(size=[True, "8"]),
        lambda m: m["settings"].update(labels="all"),
        lambda m: m.update(sources=["s"] * 10**5),
        lambda m: m.update(sources=[]),
        lambda m: m.update(sources="abc"),
        lambda m: m.update(settings=[]),
        lambda m: m.clear(),
    ],
)
@pytest.mark.parametrize("both", [False, True], ids=["manifest", "manifest and checkpoint"])
def test_a_tampered_manifest_is_one_clear_error(run, edit, both):
    folder, _ = run
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if both:
        change(folder, lambda state: state.update(settings=manifest.get("settings")))
    with pytest.raises(InputError):
        load_method(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null", b"7", b"[" * 10**5, b"9" * 10**5])
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


@pytest.mark.parametrize("kind", ["pickle", "empty", "cut", "text"])
def test_stored_arrays_are_never_unpickled(tmp_path, kind):
    path, whole = tmp_path / "snapshots.npz", io.BytesIO()
    np.savez(whole, steps=np.array([Bomb(tmp_path / "ran")], dtype=object))
    content = {"empty": b"", "cut": whole.getvalue()[:50], "text": b"no arrays"}
    path.write_bytes(content.get(kind, whole.getvalue()))
    with pytest.raises(InputError, match=r"snapshots\.npz is damaged"):
        load_arrays(path)
    assert not (tmp_path / "ran").exists()
