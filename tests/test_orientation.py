"""EXIF orientation is obeyed once, in picture and mask, in every format that can carry it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mstl.data import load
from mstl.data.readers.masks import read_indices
from mstl.data.readers.pixels import read_image
from mstl.system.errors import InputError

SIZE = (40, 56)
TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: np.rot90,
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a, 3),
}
FORMATS = {
    "png": {},
    "tif": {},
    "jpg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
}


def corner(width: int = 60) -> np.ndarray:
    """A bright upper left quarter, (40, width)."""
    pixels = np.zeros((40, width), np.uint8)
    pixels[:20, : width // 2] = 255
    return pixels


def save(path: Path, upright: np.ndarray, tag: int | None, stored: int | None = None) -> Path:
    """``upright`` stored as orientation ``stored`` would have it, and the tag that is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if tag is not None:
        exif[0x0112] = tag
    pixels = np.ascontiguousarray(TURNS[stored or tag or 1](upright))
    Image.fromarray(pixels).save(path, exif=exif, **FORMATS[path.suffix[1:]])
    return path


def pair(folder: Path, ending: str, tag: int | None, mask: np.ndarray, mask_tag: int | None, **how) -> None:
    save(folder / f"images/a.{ending}", np.repeat(mask[..., None], 3, 2), tag)
    save(folder / "masks/a.png", mask, mask_tag, **how)


def overlaps(folder: Path) -> bool:
    """Whether the picture is bright exactly where its mask is, in the upper left quarter."""
    domain = load("folder", SIZE, folder, folder / "cache")
    bright = domain.images[0, 0] > 128
    return bool((bright == (domain.masks[0, 0] > 0)).all()) and bool(bright[2, 2]) and not bright[-2, -2]


@pytest.mark.trust("hostile input", "a photograph and its mask stand upright, whatever orientation they have")
@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("tag", TURNS)
def test_picture_and_mask_are_turned_once(tmp_path, ending, tag):
    pair(tmp_path / "both", ending, tag, corner(), tag)
    assert overlaps(tmp_path / "both")
    pair(tmp_path / "one", ending, tag, corner(), None)
    assert overlaps(tmp_path / "one")
    pair(tmp_path / "other", ending, None, corner(), tag)
    assert overlaps(tmp_path / "other")


@pytest.mark.parametrize("tag", TURNS)
def test_a_part_map_is_turned_like_its_mask(tmp_path, tag):
    path = save(tmp_path / "p.png", corner() // 255, tag)
    assert np.array_equal(read_indices(path, (60, 40), Path("a.jpg"), 1), corner() // 255)


@pytest.mark.parametrize(
    "tag, width, mask_tag, said",
    [
        *((3, 60, None, True), (4, 60, None, True), (6, 40, None, True), (6, 60, None, False)),
        *((3, 60, 3, False), (3, 60, 1, False), (1, 60, None, False), (None, 40, None, False)),
    ],
)
def test_where_sizes_cannot_tell_it_is_said_each_time(tmp_path, capsys, tag, width, mask_tag, said):
    pair(tmp_path / "own", "jpg", tag, corner(width), mask_tag)
    for _ in "cold", "warm":
        assert overlaps(tmp_path / "own")
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("note: ")]
        assert len(lines) == said
        assert not said or "1 of 1 images were stood up as their EXIF orientation says" in lines[0]


def test_a_mask_of_the_stored_picture_is_refused_with_the_reason(tmp_path):
    pair(tmp_path / "own", "jpg", 6, corner(), None, stored=6)
    with pytest.raises(InputError, match=r"a\.png is 40×60 but .* 60×40 .*stored lying, EXIF orientation 6"):
        load("folder", SIZE, tmp_path / "own", tmp_path / "cache")


@pytest.mark.parametrize("ending", FORMATS)
def test_a_large_picture_is_shrunk_upright(tmp_path, ending):
    fine = np.kron(corner(), np.ones((8, 8), np.uint8))
    for tag in (1, 6, 7):
        path = save(tmp_path / f"a.{ending}", np.repeat(fine[..., None], 3, 2), tag)
        pixels, full = read_image(path, (16, 24))
        assert full == (480, 320) and np.abs(pixels[:8, :12].astype(int) - 255).max() <= 3
