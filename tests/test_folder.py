"""Any folder with images/ and masks/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_cars import draw
from PIL import Image

from mstl.data import load, local_task
from mstl.data.readers.folder import groups_from_names, listing
from mstl.system.errors import InputError


def save_pair(path: Path, stem: str, image: str = ".jpg", mask: str = ".png", car: int = 0) -> None:
    photograph, whole, _ = draw(5, car)
    for place, pixels, suffix in (("images", photograph, image), ("masks", whole * 255, mask)):
        (path / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path / place / f"{stem}{suffix}")


@pytest.fixture()
def small(tmp_path: Path) -> Path:
    for car, stem in enumerate(["red_01", "red_02", "blue_01", "odd"]):
        save_pair(tmp_path / "own", stem, car=car)
    return tmp_path / "own"


def test_groups_are_shared_beginnings(small, tmp_path):
    domain = load("folder", (32, 48), small, tmp_path / "cache")
    assert dict(zip(["blue_01", "odd", "red_01", "red_02"], domain.groups, strict=True)) == {
        "blue_01": "blue_01",
        "odd": "odd",
        "red_01": "red",
        "red_02": "red",
    }
    assert domain.views.tolist() == [0, 0, 1, 2]


def _pairs(path: Path, *stems: str) -> Path:
    for stem in stems:
        save_pair(path, stem)
    return path


def test_a_number_of_a_camera_is_no_object(tmp_path, capsys):
    stems = [
        "IMG_0001",
        "IMG_0002",
        "PXL_20240101_1",
        "PXL_20240101_2",
        "_DSC_17",
        "_DSC_18",
        "car_01",
        "car_02",
    ]
    groups = groups_from_names(stems)
    assert [groups[stem] for stem in stems[:6]] == stems[:6] and set(groups.values()) == {*stems[:6], "car"}
    place = _pairs(tmp_path, "IMG_1", "IMG_2", "IMG_3")
    assert [record.group for record in listing(place).records] == ["IMG_1", "IMG_2", "IMG_3"]
    assert "3 names are a camera's" in capsys.readouterr().err
    (place / "groups.csv").write_text("name,group\nIMG_1,a\nIMG_2,a\nIMG_3,b\n")
    assert [record.group for record in listing(place).records] == ["a", "a", "b"]
    assert "camera" not in capsys.readouterr().err


def test_a_beginning_counts_up_to_the_last_underscore():
    groups = groups_from_names(["a_b_1", "a_b_2", "a_c_1", "_1", "_2"])
    assert groups == {"a_b_1": "a_b", "a_b_2": "a_b", "a_c_1": "a_c_1", "_1": "_1", "_2": "_2"}


def test_groups_csv_overrides_names(small, tmp_path):
    (small / "groups.csv").write_text("name,group\nred_01.jpg,x\nred_02,y\nblue_01,x\nodd,z\n")
    assert load("folder", (32, 48), small, tmp_path / "cache").groups.tolist() == ["x", "z", "x", "y"]


@pytest.mark.parametrize(
    "table, message",
    [
        ("name,group\nred_01,x\n", "blue_01, odd, red_02 is in one place only"),
        ("name,group\nred_01,x\nred_01,y\n", "duplicate name 'red_01'"),
        ("image,car\n", "columns name and group"),
    ],
)
def test_bad_groups_are_one_clear_error(small, tmp_path, table, message):
    (small / "groups.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        load("folder", (32, 48), small, tmp_path / "cache")


def test_endings_may_differ_and_masks_may_end_in_mask(tmp_path):
    save_pair(tmp_path / "own", "a", ".png", ".gif")
    save_pair(tmp_path / "own", "b", ".bmp", ".png")
    (tmp_path / "own" / "masks" / "b.png").rename(tmp_path / "own" / "masks" / "b_mask.png")
    assert len(load("folder", (32, 48), tmp_path / "own", tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda p: (p / "masks" / "odd.png").unlink(), "image without mask: odd; expected a mask"),
        (lambda p: (p / "images" / "odd.jpg").unlink(), "mask without image: odd; expected an image"),
        (lambda p: save_pair(p, "odd", ".png"), "duplicate name 'odd'.*odd.jpg and odd.png"),
        (lambda p: [f.unlink() for f in (p / "images").iterdir()], "holds no images"),
        (lambda p: Image.new("L", (9, 9)).save(p / "masks" / "odd.png"), "odd.png is 9×9"),
        (lambda p: Image.effect_noise((60, 40), 50).save(p / "masks" / "odd.png"), "odd.png holds .* values"),
    ],
)
def test_bad_folders_are_one_clear_error(small, tmp_path, damage, message):
    damage(small)
    with pytest.raises(InputError, match=message):
        load("folder", (32, 48), small, tmp_path / "cache")


def test_without_data_dir_the_error_says_what_it_is(tmp_path):
    with pytest.raises(InputError, match="data 'folder' needs data_dir"):
        load("folder", cache_dir=tmp_path)


def test_what_is_left_out_is_said_in_one_line(small, tmp_path, capsys):
    for name in ("a.heic", "b.npy", "Thumbs.db", ".DS_Store"):
        (small / "images" / name).write_bytes(b"x")
    (small / "images" / "more").mkdir()
    (small / "images" / "red_01.jpg").rename(small / "images" / "red_01.jfif")
    assert len(load("folder", (32, 48), small, tmp_path / "cache")) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {small}/images: left out a.heic, b.npy, more/; images are read from .jpg,")


def test_an_image_may_be_called_mask(small, tmp_path):
    save_pair(small, "z_mask")
    assert "z_mask" in load("folder", (32, 48), small, tmp_path / "cache").groups


def test_a_recipe_that_finds_no_object_says_so(small, tmp_path):
    for file in (small / "masks").iterdir():
        Image.new("L", (60, 40)).save(file)
    with pytest.raises(InputError, match=r"'left' to cut a window over it; 4 of 4 masks are empty at 32×48"):
        local_task("folder", "parts", size=(32, 48), data_dir=small, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("high, said", [(4095, True), (65535, False)])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_twelve_bits_in_a_file_of_sixteen_are_said(small, tmp_path, capsys, high, said, ending):
    (small / "images" / "odd.jpg").unlink()
    grey = np.linspace(0, high, 60 * 40).reshape(40, 60).astype(np.uint16)
    Image.fromarray(grey).save(small / "images" / f"odd.{ending}")
    load("folder", (32, 48), small, tmp_path / "cache")
    assert ("1 of 4 images have 16 bits a channel but use the lowest" in capsys.readouterr().err) == said
