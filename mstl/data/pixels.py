"""From files to uint8 pixels at working size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mstl.errors import InputError

Size = tuple[int, int]  # (height, width), as tensors have it


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}); replace or remove it") from error


def _load(image: Image.Image, path: Path) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for damaged files
        raise InputError(f"{path} is damaged or truncated ({error}); replace or remove it") from error
    return image


def _shrinks(source: tuple[int, int], size: Size) -> bool:
    return source[0] >= size[1] and source[1] >= size[0]


def read_image(path: Path, size: Size) -> tuple[np.ndarray, tuple[int, int]]:
    """RGB uint8 (h, w, 3) at ``size`` and the (width, height) it has on disk.

    Shrinking averages over each pixel's area; a JPEG much larger than ``size`` is decoded at
    the smallest of its built-in scales that is not below it.

    Raises:
        InputError: the file is missing, damaged or no image.
    """
    with _open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: lying on its side
        full = image.size[::-1] if turned else image.size
        height, width = size
        # Two pixels for one leave the area average something to average.
        image.draft("RGB", (2 * height, 2 * width) if turned else (2 * width, 2 * height))
        upright = ImageOps.exif_transpose(_load(image, path)).convert("RGB")
    resample = Image.Resampling.BOX if _shrinks(upright.size, size) else Image.Resampling.BILINEAR
    return np.asarray(upright.resize((width, height), resample)), full


def read_mask(path: Path, expected: tuple[int, int], image: Path) -> np.ndarray:
    """Mask uint8 (h, w) in {0, 1}, full size; any value but 0 is the object.

    Palette images count by index (Carvana's GIFs hold 0 and 1), others by their grey value.

    Raises:
        InputError: another size than the image, more than two values, or no background value 0.
    """
    with _open(path) as file:
        indices = _load(file, path) if file.mode in ("1", "L", "P") else _load(file, path).convert("L")
        if indices.size != expected:
            raise InputError(
                f"{path} is {indices.size[0]}×{indices.size[1]} but its image {image.name} is "
                f"{expected[0]}×{expected[1]}; a mask has the size of its image"
            )
        values = [value for value, count in enumerate(indices.histogram()) if count]
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise InputError(
                f"{path} holds {len(values)} values (from {values[0]} to {values[-1]}); a mask holds two, "
                "0 for the background and one other for the object: threshold it and save it as PNG"
            )
        return (np.asarray(indices) != 0).astype(np.uint8)


def read_indices(path: Path, expected: tuple[int, int], image: Path, largest: int) -> np.ndarray:
    """Part index map uint8 (h, w), full size.

    Raises:
        InputError: another size than the image, or an index above ``largest``.
    """
    with _open(path) as file:
        indices = np.asarray(_load(file, path))
    if indices.ndim != 2 or indices.shape[::-1] != expected:
        raise InputError(
            f"{path} must be a one-channel map of the size of {image.name}, {expected[0]}×{expected[1]}; "
            f"it has shape {indices.shape}"
        )
    if indices.size and int(indices.max()) > largest:
        raise InputError(f"{path} holds part {int(indices.max())}; the highest known is {largest}")
    return indices.astype(np.uint8)


def _share(where: np.ndarray, size: Size) -> np.ndarray:
    """How much of each output pixel's area ``where`` covers, 0..255."""
    source = Image.fromarray(where.astype(np.uint8) * 255)
    resample = Image.Resampling.BOX if _shrinks(source.size, size) else Image.Resampling.BILINEAR
    return np.asarray(source.resize((size[1], size[0]), resample))


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Mask (h, w) in {0, 1} at ``size``: 1 where at least half of the pixel's area is object."""
    return (_share(mask != 0, size) >= 128).astype(np.uint8)


def resize_parts(parts: np.ndarray, mask: np.ndarray, size: Size) -> np.ndarray:
    """Part indices at ``size``: inside the resized mask the part that covers most of the pixel's object area.

    Where the full-size mask equals ``parts > 0``, the resized ones are equal, too.
    """
    whole = resize_mask(mask, size)
    best = _share((mask != 0) & (parts == 0), size)
    winner = np.zeros(size, dtype=np.uint8)
    for index in np.unique(parts[parts > 0]):
        share = _share(parts == index, size)
        better = share > best
        winner[better], best = index, np.where(better, share, best)
    return winner * whole
