"""Trained networks of a release: made from finished runs, fetched as they were made, or not at all."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import toy_classes, toy_task

from mstl.__main__ import main
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.release import INDEX, fetch_run, make_release, released, run_folder
from mstl.run.train import train
from mstl.system import project
from mstl.system.errors import InputError
from mstl.system.files import sha256_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run on masks, and one on classes."""
    out = tmp_path_factory.mktemp("release") / "runs"
    tiny = {"profile": "tiny", "steps": 2, "device": "cpu", "out": str(out), "method": "source_combine"}
    train(TrainConfig(labels=4, mean_teacher=0.5, **tiny), task=toy_task())
    train(TrainConfig(data="digits", recipe="to-handwritten", labels=6, **tiny), task=toy_classes())
    (out / "unfinished").mkdir()
    return out


@pytest.fixture()
def release(runs, served, tmp_path, monkeypatch) -> Path:
    """The release of ``runs`` where the package looks for it, and an empty cache."""
    folder, address = served
    monkeypatch.setattr(project, "address", lambda: address)
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    place = folder / "releases/download" / project.release()
    place.parent.mkdir(parents=True)
    make_release(runs, place)
    return place


def name_of(runs: Path, data: str = "studio") -> str:
    return next(entry.name for entry in released() if entry.name.startswith(data))


@pytest.mark.parametrize("data", ["studio", "digits"])
def test_a_fetched_run_is_the_network_that_was_trained(runs, release, data):
    folder = fetch_run(name_of(runs, data))
    (own,) = (path.parent for path in (runs / data).glob("**/manifest.json"))
    one, other = load_method(own), load_method(folder)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    for kept in ("manifest.json", "images.csv", "metrics.jsonl"):
        assert (folder / kept).read_bytes() == (own / kept).read_bytes()
    assert (folder / "checkpoint.pt").stat().st_size < 0.5 * (own / "checkpoint.pt").stat().st_size
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["manifest.json", "images.csv", "metrics.jsonl", "checkpoint.pt"]
    )


def test_the_index_says_what_trained_each_and_how_it_did(runs, release):
    entries = {entry.name.split("-")[0]: entry for entry in released()}
    assert set(entries) == {"studio", "digits"}
    for entry in entries.values():
        file = release / entry.file
        assert (entry.bytes, entry.sha256) == (file.stat().st_size, sha256_of(file))
        assert entry.command.startswith("python -m mstl train --") and "runs" not in entry.command
    assert "--mean-teacher 0.5" in entries["studio"].command
    assert entries["studio"].says.endswith("of 10 test images") and "dice 0." in entries["studio"].says
    assert entries["digits"].says.startswith("accuracy 0.")


def test_the_same_runs_give_the_same_files(runs, release, tmp_path):
    for path in make_release(runs, tmp_path / "again"):
        assert path.read_bytes() == (release / path.name).read_bytes()


def test_what_was_fetched_once_needs_no_network(runs, release):
    name = name_of(runs)
    first = fetch_run(name)
    shutil.rmtree(release)
    assert fetch_run(name) == run_folder(f"release:{name}") == first
    assert load_method(f"release:{name}").sources == 3


def test_without_a_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "address", lambda: "https://127.0.0.1:9/someone/mstl")
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        InputError, match=r"cannot download https://127.0.0.1:9/.*runs.json .*of your own"
    ) as said:
        fetch_run("any")
    assert "\n" not in str(said.value) and not (tmp_path / "cache/any").exists()
    monkeypatch.setattr(project, "address", lambda: "http://127.0.0.1:9/someone/mstl")
    with pytest.raises(InputError, match="over https only"):
        released()


def damaged(release: Path, name: str, kind: str) -> None:
    path, index = release / f"{name}.zip", json.loads((release / INDEX).read_text())
    (entry,) = (e for e in index["runs"] if e["name"] == name)
    content = bytearray(path.read_bytes())
    if kind == "byte":
        content[len(content) // 2] ^= 1
    elif kind == "short":
        del content[-1]
    elif kind == "gone":
        path.unlink()
        return
    else:
        entry["sha256"] = "0" * 64
        (release / INDEX).write_text(json.dumps(index))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("byte", "is not what runs.json of its release says"),
        ("short", "is not what runs.json of its release says"),
        ("sum", "is not what runs.json of its release says"),
        ("gone", "cannot download .*; connect to the network, or train the run"),
    ],
)
def test_what_is_not_as_it_was_made_is_never_kept(runs, release, tmp_path, kind, message):
    name = name_of(runs)
    damaged(release, name, kind)
    with pytest.raises(InputError, match=message):
        fetch_run(name)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("name", ["../studio", "a/b", "", ".", "x" * 300, "a\0"])
def test_a_name_that_is_none_touches_no_file(release, name):
    with pytest.raises(InputError, match="names no released run; `python -m mstl fetch` lists"):
        fetch_run(name)


def test_an_unknown_name_lists_what_there_is(runs, release):
    with pytest.raises(InputError, match=f"no released run is called 'other'; there are .*{name_of(runs)}"):
        fetch_run("other")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../x"},
        {"sha256": "abc"},
        {"bytes": 2**40},
        {"bytes": "1"},
        {"command": 3},
        {"says": "a\x1b[2J"},
        {"more": 1},
    ],
)
def test_a_hostile_index_is_one_clear_error(release, change):
    index = json.loads((release / INDEX).read_text())
    index["runs"][0] |= change
    (release / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="is no index of a release"):
        released()


def test_a_hostile_archive_writes_nothing_outside(runs, release, tmp_path):
    name = name_of(runs)
    with zipfile.ZipFile(release / f"{name}.zip", "w") as archive:
        archive.writestr("../../outside", "x")
    index = json.loads((release / INDEX).read_text())
    for entry in index["runs"]:
        file = release / f"{entry['name']}.zip"
        entry |= {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (release / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="may lead out of the folder"):
        fetch_run(name)
    assert not list(tmp_path.rglob("outside"))


def test_what_cannot_be_released_is_one_clear_error(runs, tmp_path):
    with pytest.raises(InputError, match="no finished run below"):
        make_release(tmp_path, tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        make_release(runs, tmp_path / "there")
    for name in ("a+b", "a-b"):
        shutil.copytree(runs / "studio", tmp_path / "twice" / name)
    with pytest.raises(InputError, match=r"two runs below .* would be called a-b-parts"):
        make_release(tmp_path / "twice", tmp_path / "out")
    (manifest,) = (tmp_path / "twice/a+b").glob("**/manifest.json")
    manifest.write_text("{}")
    shutil.rmtree(tmp_path / "twice/a-b")
    with pytest.raises(InputError, match="is damaged"):
        make_release(tmp_path / "twice", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line(runs, release, monkeypatch, capsys, tmp_path):
    def mstl(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mstl", *words])
        main()
        return capsys.readouterr().out

    listed = mstl("fetch").splitlines()
    assert len(listed) == 2 and any("--mean-teacher 0.5" in line for line in listed)
    name = name_of(runs)
    assert Path(mstl("fetch", "--name", name).strip()).name == name
    written = mstl("release", "--runs", str(runs), "--out", str(tmp_path / "mine")).splitlines()
    assert [Path(line).name for line in written][-1] == INDEX and len(written) == 3
