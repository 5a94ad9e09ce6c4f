"""The store decodes once, finds by content, and never leaves half a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_cars import carvana_folder
from PIL import Image
from test_carparts import SIDE, carparts_folder
from test_own_data import save_own

from mstl.data import load, local_task, store, task_of
from mstl.data.readers.pixels import read_image
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError


@pytest.fixture()
def small(tmp_path: Path) -> Path:
    return carvana_folder(tmp_path / "cars", cars=2, views=(1, 2))


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.pt"))


def test_the_second_load_reads_the_cache(small, tmp_path):
    first = load("studio", (32, 48), small, tmp_path / "cache")
    (file,) = cached(tmp_path)
    written = file.stat().st_mtime_ns
    second = load("studio", (32, 48), small, tmp_path / "cache")
    assert file.stat().st_mtime_ns == written
    assert first.fingerprint() == second.fingerprint()


def test_a_moved_folder_finds_its_cache_and_a_changed_file_does_not(small, tmp_path):
    load("studio", (32, 48), small, tmp_path / "cache")
    moved = small.rename(tmp_path / "elsewhere")
    load("studio", (32, 48), moved, tmp_path / "cache")
    assert len(cached(tmp_path)) == 1
    image = moved / "train" / "car00_01.jpg"
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    load("studio", (32, 48), moved, tmp_path / "cache")
    assert len(cached(tmp_path)) == 2


def test_each_size_and_reader_has_its_own_cache(small, tmp_path):
    load("studio", (32, 48), small, tmp_path / "cache")
    load("studio", (16, 32), small, tmp_path / "cache")
    load("carvana", (32, 48), small, tmp_path / "cache")
    assert len(cached(tmp_path)) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-3000] + bytes(b ^ 1 for b in content[-3000:-2900]) + content[-2900:],
        lambda content: content.replace(b"\x01\x01\x01\x01", b"\x01\x00\x01\x01"),
    ],
)
def test_a_damaged_cache_file_is_rebuilt(small, tmp_path, damage):
    whole = load("studio", (32, 48), small, tmp_path / "cache").fingerprint()
    (file,) = cached(tmp_path)
    content = file.read_bytes()
    assert damage(content) != content
    file.unlink()
    file.write_bytes(damage(content))
    assert load("studio", (32, 48), small, tmp_path / "cache").fingerprint() == whole
    assert store.read(file) is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path):
    file = tmp_path / "cache" / "cars.pt"
    file.parent.mkdir()
    (file.parent / f".cars.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    pixels = {"images": torch.zeros(100, 3, 32, 48, dtype=torch.uint8)}
    with pytest.raises(InputError, match=f"disk full: caching .*{file.parent} needs 460,800 bytes"):
        store.write(file, pixels)
    assert not list(file.parent.iterdir())


def test_a_disk_too_small_is_refused_before_decoding(tmp_path):
    with pytest.raises(InputError, match=r"needs 1,000,000,000,000,000,000 bytes; make room.*MSTL_CACHE"):
        store.check_room(tmp_path / "not" / "yet", 10**18)


def test_the_cache_folder_follows_argument_then_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "environment"))
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache_folder() == tmp_path / "environment"
    monkeypatch.delenv("MSTL_CACHE")
    assert "mstl" in str(cache_folder())


def test_shrinking_averages_areas(tmp_path):
    fine = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    Image.fromarray(fine).save(tmp_path / "a.png")
    coarse, full = read_image(tmp_path / "a.png", (16, 32))
    expected = fine.reshape(16, 4, 32, 3, 3).mean((1, 3))
    assert full == (96, 64)
    assert np.abs(coarse - expected).max() <= 1


def test_a_large_jpeg_decoded_small_stays_near_the_full_decode(tmp_path):
    y, x = np.mgrid[0:512, 0:768]
    smooth = np.stack([x / 3, y / 2, (x + y) / 5], -1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    small, full = read_image(tmp_path / "a.jpg", (32, 48))
    exact, _ = read_image(tmp_path / "a.png", (32, 48))
    assert full == (768, 512)
    assert np.abs(small.astype(int) - exact).max() <= 4


def test_progress_speaks_in_a_log_and_passes_everything_on(capsys):
    from mstl.system.progress import progress

    assert list(progress(range(3), 3, "decoding", every=0.0)) == [0, 1, 2]
    assert "decoding: 1 of 3" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["studio", "carvana", "carparts", "folder", "own", "MSTL_STUDIO"])
def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(tmp_path, monkeypatch, data):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = "~/data"
    if data == "carparts":
        carparts_folder(tmp_path / "data", {"a": SIDE})
    elif data in ("folder", "own"):
        save_own(tmp_path / "data")
    else:
        carvana_folder(tmp_path / "data", cars=2, views=(1, 2))
    if data == "own":
        task_of({"s": "~/data/sources/place 0"}, "~/data/target", 1, 0, (32, 48), "~/cache")
        local_task("folder", "own", size=(32, 48), labels=1, data_dir=place, cache_dir="~/cache")
    elif data == "MSTL_STUDIO":
        monkeypatch.setenv("MSTL_STUDIO", place)
        assert len(load("studio", (32, 48), cache_dir="~/cache")) == 4
    else:
        load(data, (32, 48), place + "/target" * (data == "folder"), "~/cache")
    assert (tmp_path / "cache" / "decoded").is_dir() and not (tmp_path / "~").exists()
