"""Tiles: large images with their masks cut into pieces of one size, at full resolution."""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mstl.data.readers.folder import listing
from mstl.data.readers.pixels import Size, opened, orientation, read_image
from mstl.data.store import check_working_size
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of
from mstl.system.progress import progress
from mstl.system.tables import to_cell


def cut_folder(folder: str | Path, out: str | Path, size: Size) -> int:
    """Cut the images of a folder, and what masks they have, into tiles of one size, for `folder` to read.

    An object of which a whole image would leave a pixel's width when it is stretched to a network's input,
    such as a vessel or a crack, keeps its size in a tile. Tiles cover each image; where a side is no multiple
    of theirs they overlap, evenly. The tiles of an image are of its group, which ``groups.csv`` records, so
    that no split cuts through an image.

    Args:
        folder: with ``images/`` and ``masks/``, and ``groups.csv`` where it has one.
        out: folder to write, as a whole or not at all; it must not exist.
        size: height and width of a tile in pixels.

    Returns:
        The number of tiles.

    Raises:
        InputError: as the reader of folders, sides that are no multiple of 8, a tile that is larger than an
            image, or a folder ``out`` that exists.
    """
    place, (height, width) = path_of("out", out), check_working_size(size)
    if place.exists():
        raise InputError(f"out: {place} exists already; name a folder that does not")
    check_writable("out", place)
    found = listing(folder, unlabelled=True)
    for record in found.records:
        full = full_size(record.image)
        if full[0] < height or full[1] < width:
            raise InputError(
                f"{record.image} has {full[0]}x{full[1]} pixels (height x width), too few for a tile of "
                f"{height}x{width}; choose a smaller size or leave the image out"
            )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as temporary:
        made = Path(temporary) / "made"
        for kind in ("images", "masks"):
            (made / kind).mkdir(parents=True)
        rows = []
        for record in progress(found.records, len(found.records), "cutting"):
            pixels, full = read_image(record.image, full_size(record.image))
            mask = None if record.mask is None else found.read_masks(record, full)[0]
            for i, j, rows_of, columns_of in tiles(pixels.shape[:2], size):
                name = f"{record.name}_r{i}c{j}"
                Image.fromarray(pixels[rows_of, columns_of]).save(made / "images" / f"{name}.png")
                if mask is not None:
                    marked = mask[rows_of, columns_of].astype(np.uint8) * 255
                    Image.fromarray(marked).save(made / "masks" / f"{name}.png")
                rows.append((to_cell(name), to_cell(record.group)))
        with (made / "groups.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("name", "group"), *rows])
        shutil.move(made, place)
    return len(rows)


def full_size(path: Path) -> Size:
    """Height and width of an image as it stands upright."""
    with opened(path) as image:
        (width, height), turned = image.size, (orientation(image) or 1) > 4
    return (width, height) if turned else (height, width)


def tiles(full: Size, size: Size) -> list[tuple[int, int, slice, slice]]:
    """Row, column and place of every tile: the fewest that cover an image, spread evenly over it."""
    starts = [
        np.linspace(0, whole - tile, -(-whole // tile)).round().astype(int)
        for whole, tile in zip(full, size, strict=True)
    ]
    return [
        (i, j, slice(y, y + size[0]), slice(x, x + size[1]))
        for i, y in enumerate(starts[0])
        for j, x in enumerate(starts[1])
    ]
