"""Any folder: ``images/`` and ``masks/`` with files of equal names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from mstl.data.readers.listing import (
    Listing,
    Record,
    check_pairs,
    enumerated,
    existing_folder,
    files_by_stem,
    view_number,
)
from mstl.data.readers.masks import read_mask
from mstl.data.readers.tables import read_rows
from mstl.system.errors import InputError
from mstl.system.notes import note
from mstl.system.tables import check_name

# What cameras and telephones call their pictures: a number or a moment, and nothing of what they show.
_CAMERA = re.compile(r"_?(IMG|DSC[A-Z]?|PXL|CIMG|SAM|MVI|GOPR|DJI|PICT|PHOTO)([-_]\d+)*", re.IGNORECASE)
_EXPECTED = "images/ and masks/ with files of equal names (endings may differ)"


def listing(
    path: str | Path, name: str = "folder", unlabelled: bool = False, grouped: bool = True
) -> Listing:
    """The images and masks under ``path``.

    Splits never cut through a group. Groups are read from ``groups.csv`` (columns ``name``,
    ``group``) if it exists; otherwise ``car_01`` and ``car_02`` belong to ``car``, and a name
    that shares its beginning with no other, or is a camera's (``IMG_0001``), is its own group.
    ``car_05`` is view 5 of ``car``.

    Args:
        path: the folder.
        name: of the domain to come.
        unlabelled: whether images may lack a mask; one line says how many have one.
        grouped: False takes each image for a group of its own.

    Raises:
        InputError: a folder is missing, a mask has no image or an image, even if it may, as no other has one
            either, no mask; or a name is used twice.
    """
    path = existing_folder(path, _EXPECTED)
    images = files_by_stem(existing_folder(path / "images", _EXPECTED))
    masks = files_by_stem(existing_folder(path / "masks", _EXPECTED), ending="_mask", known=images)
    check_pairs(images, masks, path / "images", path / "masks", unlabelled)
    if len(masks) < len(images):
        alone = [stem for stem in images if stem not in masks]
        note(
            f"{path}: {len(masks)} of {len(images)} images have a mask; the other {len(alone)} train without "
            f"one ({enumerated(alone)})"
        )
    table = groups_table(path)
    if not grouped:
        groups = {stem: stem for stem in images}
    else:
        groups = groups_from_names(images) if table is None else read_groups(table, images)
        if table is None and (counted := [stem for stem in images if _of_camera(stem)]):
            note(
                f"{path}: {len(counted)} names are a camera's ({enumerated(counted)}), so each of these "
                "images counts as an object of its own; where several show one object, groups.csv must say so"
            )

    def read_masks(record: Record, full: tuple[int, int]) -> tuple[np.ndarray, None]:
        return read_mask(Path(record.mask), full, record.image), None

    records = tuple(
        Record(stem, groups[stem], view_number(stem.removeprefix(f"{groups[stem]}_")), file, masks.get(stem))
        for stem, file in images.items()
    )
    return Listing(name, records, read_masks, version="folder 2")


def groups_table(path: Path) -> Path | None:
    """``groups.csv`` of a folder, in capitals or not (some systems tell them apart), or None.

    Raises:
        InputError: there are two.
    """
    found = sorted(f for f in path.iterdir() if f.name.casefold() == "groups.csv" and f.is_file())
    if len(found) > 1:
        raise InputError(f"{path} holds {found[0].name} and {found[1].name}; keep one of them")
    return found[0] if found else None


def groups_from_names(stems: dict[str, Path] | list[str]) -> dict[str, str]:
    """Group of each stem: what precedes the last ``_`` where at least two share it, else the stem.

    A camera's number is no object: such a stem is its own group.
    """
    prefixes = {stem: "" if _of_camera(stem) else stem.rpartition("_")[0] for stem in stems}
    shared = Counter(prefixes.values())
    return {stem: prefix if prefix and shared[prefix] > 1 else stem for stem, prefix in prefixes.items()}


def _of_camera(stem: str) -> bool:
    return bool(_CAMERA.fullmatch(stem.rpartition("_")[0]))


def read_groups(table: Path, images: dict[str, Path]) -> dict[str, str]:
    """Group of each image from ``groups.csv``; blanks around and within a group's name count as one blank.

    Raises:
        InputError: not such a table (`read_rows`), a group without a name, groups whose names differ in
            capitals only, an image that is listed twice or not at all.
    """
    groups: dict[str, str] = {}
    written: dict[str, str] = {}  # by the name in small letters
    for line, (name, group) in read_rows(table, ("name", "group")):
        name, group = (
            unicodedata.normalize("NFC", name),
            " ".join(unicodedata.normalize("NFC", group).split()),
        )
        stem = next((s for s in (name, Path(name).stem, Path(name.strip()).stem) if s in images), name)
        if stem in groups:
            raise InputError(f"duplicate name {stem!r} in {table}; an image has one group")
        groups[stem] = check_name(group, f"{table}, line {line}")
        if written.setdefault(group.casefold(), group) != group:
            raise InputError(
                f"{table}: groups {written[group.casefold()]!r} and {group!r} differ in capitals only; write "
                "one object's name in one way"
            )
    if set(groups) != set(images):
        alone = sorted(set(groups) ^ set(images))
        raise InputError(f"{table} must list each image once; {enumerated(alone)} is in one place only")
    return groups
