"""Carvana's layout: the Kaggle challenge's photographs, and the studio data that copies it.

| place                               | content                                                     |
|-------------------------------------|-------------------------------------------------------------|
| ``train/<car>_<view 01..16>.jpg``   | photographs                                                 |
| ``train_masks/<car>_<view>_mask.gif`` | masks, palette index 0 or 1 ...                           |
| ``train_masks.csv``                 | ... or run lengths: columns ``img``, ``rle_mask``           |
| ``parts/<car>_<view>.png``          | part index maps (studio only)                               |
| ``metadata.csv``                    | optional: ``id``, ``year``, ``make``, ``model``, ...        |

View 01 shows the front, 05 the side with the front at image left, 09 the rear, 13 the side with the front at
image right (Shaler et al., Carvana Image Masking Challenge, kaggle.com, 2017).
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

from mstl.data.readers.listing import (
    Listing,
    Record,
    check_pairs,
    existing_folder,
    files_by_stem,
    view_number,
)
from mstl.data.readers.masks import read_indices, read_mask
from mstl.data.readers.packed import Packed
from mstl.data.readers.rle import decode_rle
from mstl.data.readers.tables import read_rows
from mstl.system.errors import InputError

_EXPECTED = "train/ with <car>_<view>.jpg, and train_masks/ or train_masks.csv (Carvana's layout)"


def listing(path: str | Path | Packed, name: str = "carvana", part_names: tuple[str, ...] = ()) -> Listing:
    """The photographs and masks under ``path``; with ``part_names`` the part maps, too.

    Raises:
        InputError: a folder is missing, an image has no mask or a mask no image, a name is
            used twice or does not end in ``_<view>``.
    """
    path = existing_folder(path, _EXPECTED)
    images = files_by_stem(existing_folder(path / "train", _EXPECTED))
    if (path / "train_masks").is_dir():
        masks: dict = files_by_stem(path / "train_masks", ending="_mask", known=images)
        place = path / "train_masks"
    elif (path / "train_masks.csv").is_file():
        place = path / "train_masks.csv"
        masks = read_rle_table(place)
    else:
        raise InputError(f"{path} holds neither train_masks/ nor train_masks.csv; expected {_EXPECTED}")
    check_pairs(images, masks, path / "train", place)
    parts: dict = {}
    if part_names:
        parts = files_by_stem(existing_folder(path / "parts", "part index maps, <car>_<view>.png"))
        check_pairs(images, parts, path / "train", path / "parts")

    def read_masks(record: Record, full: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        if isinstance(record.mask, str):
            mask = decode_rle(record.mask, full[1], full[0], f"{place}, {record.name}")
        else:
            mask = read_mask(record.mask, full, record.image)
        if record.parts is None:
            return mask, None
        return mask, read_indices(record.parts, full, record.image, len(part_names))

    records = tuple(
        Record(stem, *_car_and_view(stem, file), file, masks[stem], parts.get(stem))
        for stem, file in images.items()
    )
    return Listing(name, records, read_masks, version="carvana 2", part_names=part_names)


def _car_and_view(stem: str, file: Path) -> tuple[str, int]:
    car, _, view = stem.rpartition("_")
    if not car or not view_number(view):
        raise InputError(f"{file} must be named <car>_<view>.jpg with a view from 01 to 16")
    return car, view_number(view)


def read_rle_table(path: Path) -> dict[str, str]:
    """Run-length masks of ``train_masks.csv`` by the image's stem.

    Raises:
        InputError: not such a table (`read_rows`), or an image is listed twice.
    """
    masks: dict[str, str] = {}
    for _, (image, runs) in read_rows(path, ("img", "rle_mask")):
        stem = unicodedata.normalize("NFC", Path(image.strip()).stem)
        if stem in masks:
            raise InputError(f"duplicate name {stem!r} in {path}; an image is listed once")
        masks[stem] = runs
    return masks
