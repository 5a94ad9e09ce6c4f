"""From files to uint8 pixels at working size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mstl.system.errors import InputError

Size = tuple[int, int]  # (height, width), as tensors have it

# Only these are decoded, whatever a file is called: Pillow hands PostScript, for one, to another program.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
MOST_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb; 268 MB as RGB
# EXIF orientation -> how to stand the picture up, and whether that exchanges width and height.
ORIENTATIONS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, False),
    3: (Image.Transpose.ROTATE_180, False),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, False),
    5: (Image.Transpose.TRANSPOSE, True),
    6: (Image.Transpose.ROTATE_270, True),
    7: (Image.Transpose.TRANSVERSE, True),
    8: (Image.Transpose.ROTATE_90, True),
}


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image at ``path``, undecoded; what is wrong with it, now or while decoding, is an InputError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise _too_many(path, f"{width}×{height} pixels")
            yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many(path, "far more pixels") from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise InputError(f"{path} cannot be read as an image ({kinds}); replace or remove it") from error
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise InputError(f"{path} is damaged or truncated ({error}); replace or remove it") from error


def _too_many(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} declares {found}; expected {MOST_PIXELS:,} at most, so that a small file cannot fill the "
        "memory: shrink it"
    )


def _alone(image: Image.Image, path: Path) -> None:
    """An InputError for a film: which of its pictures is the mask?"""
    if getattr(image, "is_animated", False):
        raise InputError(f"{path} holds several pictures; a mask is one: save the one that counts")


def _eight_bit(image: Image.Image, path: Path) -> Image.Image:
    """Grey values of 16 bits as those of 8, the high byte; other images as they are."""
    image.load()
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise InputError(f"{path} has 32 bits a pixel; save it with 8 or 16")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    return image


def _shrinks(source: tuple[int, int], size: Size) -> bool:
    return source[0] >= size[1] and source[1] >= size[0]


def read_image(path: Path, size: Size) -> tuple[np.ndarray, tuple[int, int]]:
    """RGB uint8 (h, w, 3) at ``size`` and the (width, height) it has on disk.

    Shrinking averages over each pixel's area; a JPEG much larger than ``size`` is decoded at
    the smallest of its built-in scales that is not below it. EXIF orientation is undone, transparency is
    ignored, 16 bits become 8, and of a film the first picture counts.

    Raises:
        InputError: the file is missing, damaged, of no kind in `FORMATS` or larger than `MOST_PIXELS`.
    """
    with _opened(path) as image:
        turn, turned = ORIENTATIONS.get(image.getexif().get(0x0112), (None, False))
        full = image.size[::-1] if turned else image.size
        height, width = size
        # Two pixels for one leave the area average something to average.
        image.draft("RGB", (2 * height, 2 * width) if turned else (2 * width, 2 * height))
        pixels = _eight_bit(image, path)
        # Without this Pillow warns of every palette that has transparent entries.
        pixels.info.pop("transparency", None)
        upright = (pixels if turn is None else pixels.transpose(turn)).convert("RGB")
    resample = Image.Resampling.BOX if _shrinks(upright.size, size) else Image.Resampling.BILINEAR
    return np.asarray(upright.resize((width, height), resample)), full


def read_mask(path: Path, expected: tuple[int, int], image: Path) -> np.ndarray:
    """Mask uint8 (h, w) in {0, 1}, full size; any value but 0 is the object.

    Palette images count by index (Carvana's GIFs hold 0 and 1), others by their grey value.

    Raises:
        InputError: another size than the image, several pictures, transparent pixels, more than two values,
            no background value 0, or as `read_image`.
    """
    with _opened(path) as file:
        _alone(file, path)
        if file.size != expected:
            raise InputError(
                f"{path} is {file.size[0]}×{file.size[1]} but its image {image.name} is "
                f"{expected[0]}×{expected[1]}; a mask has the size of its image"
            )
        file.load()
        if "A" in file.getbands() and file.getchannel("A").getextrema() != (255, 255):
            raise InputError(f"{path} is transparent in part; a mask holds two opaque values: flatten it")
        wide = file.mode == "F" or file.mode.startswith("I")  # 16 or 32 bits: no histogram
        indices = file if wide or file.mode in ("1", "L", "P") else file.convert("L")
        pixels = np.asarray(indices)
        values = np.unique(pixels).tolist() if wide else np.flatnonzero(indices.histogram()).tolist()
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise InputError(
                f"{path} holds {len(values)} values (from {values[0]} to {values[-1]}); a mask holds two, "
                "0 for the background and one other for the object: threshold it and save it as PNG"
            )
        return (pixels != 0).astype(np.uint8)


def read_indices(path: Path, expected: tuple[int, int], image: Path, largest: int) -> np.ndarray:
    """Part index map uint8 (h, w), full size.

    Raises:
        InputError: another size than the image, no 8-bit map, an index above ``largest``, or as `read_image`.
    """
    with _opened(path) as file:
        _alone(file, path)
        if file.mode not in ("1", "L", "P") or file.size != expected:
            raise InputError(
                f"{path} must be a map of one channel and 8 bits of the size of {image.name}, "
                f"{expected[0]}×{expected[1]}; it is {file.mode}, {file.size[0]}×{file.size[1]}"
            )
        indices = np.array(file, dtype=np.uint8)
    if indices.size and int(indices.max()) > largest:
        raise InputError(f"{path} holds part {int(indices.max())}; the highest known is {largest}")
    return indices


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
