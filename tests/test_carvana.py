"""Carvana's layout: GIF masks, run lengths, part maps, and what can be wrong with them."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawn_cars import SIZE, carvana_folder, draw, save_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from mstl.data import decode_rle, encode_rle, load, store
from mstl.data.readers import carvana, download, studio
from mstl.data.readers.masks import read_mask
from mstl.data.readers.packed import Archive, Packed
from mstl.data.readers.pixels import resize_mask, resize_parts
from mstl.render.pack import pack
from mstl.system import project
from mstl.system.errors import InputError


@pytest.fixture()
def small(tmp_path: Path) -> Path:
    return carvana_folder(tmp_path / "cars", cars=2, views=(1, 5, 9))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1)))
def test_run_lengths_decode_to_what_was_encoded(mask):
    assert np.array_equal(decode_rle(encode_rle(mask), *mask.shape), mask)


def test_run_lengths_count_from_one_and_row_by_row():
    assert decode_rle("2 3 12 1", 3, 4).tolist() == [[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert encode_rle(np.array([[0, 1, 1, 1], [1, 0, 0, 0]])) == "2 4"


def test_an_empty_run_length_mask_is_empty():
    assert decode_rle("", 2, 3).sum() == 0


@pytest.mark.parametrize(
    "text, message",
    [
        ("1", "pairs"),
        ("1 2 3", "pairs"),
        ("1 x", "integers"),
        ("1.5 2", "integers"),
        ("0 2", "leaves the image"),
        ("11 3", "leaves the image"),
        ("13 1", "leaves the image"),
        ("1 0", "leaves the image"),
        ("3 -1", "leaves the image"),
        ("1 99999999999999999999999", "integers"),
        ("2 9223372036854775807", "integers"),
        ("1 4 4 2", "overlap"),
        ("4 2 1 4", "overlap"),
    ],
)
def test_bad_run_lengths_are_one_clear_error(text, message):
    with pytest.raises(InputError, match=rf"car_01.*{message}"):
        decode_rle(text, 3, 4, "car_01")


def test_touching_runs_do_not_overlap():
    assert decode_rle("1 2 3 1", 1, 4).tolist() == [[1, 1, 1, 0]]


def test_images_masks_groups_and_views_arrive(small, tmp_path):
    domain = load("carvana", (32, 48), small, tmp_path / "cache")
    assert domain.images.shape == (6, 3, 32, 48) and domain.masks.shape == (6, 1, 32, 48)
    assert domain.groups.tolist() == ["car00"] * 3 + ["car01"] * 3
    assert domain.views.tolist() == [1, 5, 9] * 2
    assert domain.parts is None
    _, mask, _ = draw(5, 1)
    assert np.array_equal(domain.masks[4, 0].numpy(), resize_mask(mask, (32, 48)))


def test_gif_masks_and_run_lengths_give_the_same_masks(small, tmp_path):
    table = carvana_folder(tmp_path / "table", cars=2, views=(1, 5, 9), table=True)
    gif, rle = (load("carvana", (32, 48), place, tmp_path / "cache") for place in (small, table))
    assert gif.masks.equal(rle.masks) and gif.images.equal(rle.images)


@pytest.mark.parametrize("form", ["palette 0 and 1", "grey 0 and 255", "grey 0 and 1", "bits", "rgb"])
def test_every_form_of_two_values_is_the_same_mask(form, tmp_path):
    mask = draw(3, 0)[1]
    path = tmp_path / ("mask.gif" if form.startswith("palette") else "mask.png")
    grey = Image.fromarray(mask * (1 if form == "grey 0 and 1" else 255))
    if form.startswith("palette"):
        save_mask(mask, path)
    else:
        grey.convert({"bits": "1", "rgb": "RGB"}.get(form, "L")).save(path)
    assert np.array_equal(read_mask(path, SIZE, Path("a.jpg")), mask)


def test_studio_reads_part_maps_and_mask_equals_any_part(small, tmp_path):
    domain = load("studio", (16, 32), small, tmp_path / "cache")
    assert domain.part_names == studio.PART_NAMES
    assert ((domain.parts > 0) == (domain.masks > 0)).all()
    assert set(domain.parts.unique().tolist()) == {0, 1, 2, 3}


@given(
    arrays(np.uint8, (24, 36), elements=st.integers(0, 4)),
    st.sampled_from([(16, 16), (24, 36), (7, 11), (48, 72), (8, 40)]),
)
def test_resized_parts_stay_equal_to_the_resized_mask(parts, size):
    mask = (parts > 0).astype(np.uint8)
    assert np.array_equal(resize_parts(parts, mask, size) > 0, resize_mask(mask, size) > 0)


def test_resizing_a_mask_keeps_pixels_that_are_half_covered():
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], dtype=np.uint8)
    assert resize_mask(mask, (1, 2)).tolist() == [[1, 0]]


def break_mask_size(path: Path) -> None:
    save_mask(np.ones((20, 30), np.uint8), path / "train_masks" / "car00_01_mask.gif")


def break_mask_values(path: Path) -> None:
    (path / "train_masks" / "car00_01_mask.gif").unlink()
    ramp = np.tile(np.arange(SIZE[0], dtype=np.uint8), (SIZE[1], 1))
    Image.fromarray(ramp).save(path / "train_masks" / "car00_01_mask.png")


def break_jpeg(path: Path) -> None:
    file = path / "train" / "car00_01.jpg"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])


def break_kind(path: Path) -> None:
    (path / "train" / "car00_01.jpg").write_text("no image")


def break_view(path: Path) -> None:
    for file in [path / "train" / "car00_01.jpg", path / "train_masks" / "car00_01_mask.gif"]:
        file.rename(file.with_name(file.name.replace("_01", "_17")))


def duplicate(path: Path) -> None:
    Image.new("RGB", SIZE).save(path / "train" / "car00_01.png")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda p: shutil.rmtree(p), "does not exist"),
        (lambda p: shutil.rmtree(p / "train"), "train does not exist"),
        (lambda p: shutil.rmtree(p / "train_masks"), "neither train_masks/ nor train_masks.csv"),
        (lambda p: (p / "train" / "car01_09.jpg").unlink(), "mask without image: car01_09"),
        (lambda p: (p / "train_masks" / "car01_09_mask.gif").unlink(), "image without mask: car01_09"),
        (break_jpeg, "car00_01.jpg is damaged or truncated"),
        (break_kind, "car00_01.jpg cannot be read as an image"),
        (break_mask_size, "car00_01_mask.gif is 30×20 but its image car00_01.jpg is 60×40"),
        (break_mask_values, "car00_01_mask.png holds 60 values"),
        (break_view, "car00_17.jpg must be named <car>_<view>.jpg"),
        (duplicate, "duplicate name 'car00_01'"),
    ],
)
def test_bad_folders_are_one_clear_error(small, tmp_path, damage, message):
    damage(small)
    with pytest.raises(InputError, match=message):
        load("carvana", (32, 48), small, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.pt"))


@pytest.mark.parametrize(
    "table, message",
    [
        ("img,rle_mask\ncar00_01.jpg,1 2\ncar00_01.jpg,1 2\n", "duplicate name 'car00_01'"),
        ("img,mask\ncar00_01.jpg,1 2\n", "columns img and rle_mask"),
        ("img,rle_mask\ncar00_01.jpg,1 9999999\n", "car00_01.*leaves the image"),
    ],
)
def test_bad_tables_are_one_clear_error(tmp_path, table, message):
    path = carvana_folder(tmp_path / "cars", cars=1, views=(1,), table=True)
    (path / "train_masks.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        load("carvana", (32, 48), path, tmp_path / "cache")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="file permissions do not bind this user")
def test_an_unreadable_folder_is_one_clear_error(small, tmp_path):
    (small / "train").chmod(0)
    try:
        with pytest.raises(InputError, match="cannot be read"):
            load("carvana", (32, 48), small, tmp_path / "cache")
    finally:
        (small / "train").chmod(0o755)


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, not a folder"):
        load("carvana", (32, 48), tmp_path / "file", tmp_path / "cache")


def test_parts_above_the_known_ones_are_one_clear_error(small, tmp_path):
    Image.fromarray(np.full(SIZE[::-1], 9, np.uint8)).save(small / "parts" / "car00_01.png")
    with pytest.raises(InputError, match=r"car00_01.png holds part 9; the highest known is 7"):
        load("studio", (32, 48), small, tmp_path / "cache")


def test_without_kaggle_credentials_the_error_says_what_to_do(tmp_path, monkeypatch):
    pytest.importorskip("kagglehub", reason="kagglehub is an extra: mstl[carvana]")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    # A closed port on this machine: whatever the client tries, nothing leaves it.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="accept the competition's rules at https://www"):
        download.carvana(tmp_path / "cache")
    assert not (tmp_path / "cache" / "carvana").exists()


def test_zip_members_become_the_layout(tmp_path):
    source = carvana_folder(tmp_path / "source", cars=1, views=(1, 2))
    place = tmp_path / "carvana"
    place.mkdir()
    for member in ("train", "train_masks"):
        with zipfile.ZipFile(tmp_path / f"{member}.zip", "w") as archive:
            for file in sorted((source / member).iterdir()):
                archive.write(file, f"{member}/{file.name}")
        download.unpack_member(tmp_path / f"{member}.zip", place)
    assert [r.name for r in carvana.listing(place).records] == ["car00_01", "car00_02"]


def packed(folder: Path, archive: Path) -> Path:
    pack(folder, archive)
    return archive


def test_a_packed_folder_is_read_as_the_folder_is(small, tmp_path):
    archive = packed(small, tmp_path / "cars.zip")
    loaded = [
        store.domain(studio.listing(place), (32, 48), tmp_path / str(number))
        for number, place in enumerate((small, Packed(Archive(archive), "cars")))
    ]
    assert loaded[0].fingerprint() == loaded[1].fingerprint()
    keys = {file.name for file in tmp_path.glob("[01]/decoded/*.pt")}
    assert len(keys) == 1  # by content: what was decoded of the one serves the other


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda content: content[:-30], r"cars\.zip cannot be read .*get it again"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1", r"cars\.zip cannot be read"),
        (
            lambda content: content.replace(b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", 1),
            r"cars/train/car00_01\.jpg",
        ),
    ],
)
def test_a_damaged_archive_is_one_clear_error(small, tmp_path, damage, message):
    archive = packed(small, tmp_path / "cars.zip")
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(InputError, match=message):
        store.domain(studio.listing(Packed(Archive(archive), "cars")), (32, 48), tmp_path / "cache")


def test_a_compressed_archive_is_refused(small, tmp_path):
    with zipfile.ZipFile(tmp_path / "cars.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("studio/a", b"a")
    with pytest.raises(InputError, match="holds compressed members"):
        Archive(tmp_path / "cars.zip")


def test_studio_is_fetched_once_and_checked_each_time(small, tmp_path, served):
    folder, address = served
    known = download.sha256_of(packed(small, folder / "good.zip"))
    file = download.studio(tmp_path / "cache", f"{address}/good.zip", known)
    assert len(studio.listing(Packed(Archive(file), "cars")).records) == 6
    written = file.stat().st_mtime_ns
    assert download.studio(tmp_path / "cache", "https://nobody.asks", known).stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:-1])
    download.studio(tmp_path / "cache", f"{address}/good.zip", known)
    assert download.sha256_of(file) == known
    with pytest.raises(InputError, match="cannot download"):
        download.studio(tmp_path / "other", f"{address}/absent.zip")
    assert not list((tmp_path / "other").iterdir())


def test_without_a_clone_the_data_of_the_installed_revision_are_asked_for(tmp_path, monkeypatch):
    asked = []

    def fetch(address: str, file: Path) -> None:
        asked.append(address)
        file.write_bytes(b"another version")

    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(InputError, match="not the studio data of this version"):
        download.studio(tmp_path)
    assert asked == [f"{project.address()}/raw/{project.revision()}/data/studio.zip"]
    assert not list(tmp_path.iterdir())


def test_a_named_studio_folder_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("MSTL_STUDIO", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere does not exist"):
        studio.locate(None, tmp_path)


def test_the_repository_is_named_by_the_package_metadata():
    assert re.fullmatch(r"https://github.com/[\w.-]+/mstl", project.address())


def test_unknown_data_names_the_known(tmp_path):
    with pytest.raises(InputError, match="unknown data 'boats'; choose from studio, studio-styles,"):
        load("boats", cache_dir=tmp_path)


@pytest.mark.parametrize("size", [(60, 96), (64, 90), (0, 16), (-16, 16), 64, (64,), ("a", 16)])
def test_a_size_networks_cannot_halve_is_one_clear_error(size, tmp_path):
    with pytest.raises(InputError, match="size"):
        store.check_working_size(size)
