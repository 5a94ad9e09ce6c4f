"""From files to uint8 pixels at working size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from mstl.system.errors import InputError

Size = tuple[int, int]  # (height, width), as tensors have it

# Only these are decoded, whatever a file is called: Pillow hands PostScript, for one, to another program.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
MOST_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb; 268 MB as RGB
ORIENTATION = 0x0112  # EXIF's and TIFF's tag
# Its value -> how to stand the picture up; from 5 on that exchanges width and height.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PHOTOMETRIC, BITS = 262, 258  # TIFF's tags: which end of the scale is white (0: the lower), bits a channel
DIM = 16  # of 256: what 12 bits reach in a file of 16


class Picture(NamedTuple):
    """A photograph as `read_picture` gives it.

    Attributes:
        pixels: RGB uint8 (h, w, 3), upright.
        full: (width, height) of the upright photograph on disk.
        orientation: the EXIF tag, 1 where there is none.
        dim: it has 16 bits a channel and uses the lowest sixteenth of their range only.
    """

    pixels: np.ndarray
    full: tuple[int, int]
    orientation: int
    dim: bool


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image at ``path``, undecoded; what is wrong with it, now or while decoding, is an InputError."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
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


def orientation(image: Image.Image) -> int | None:
    """The EXIF tag of an image, 1 to 8, or None; the image must not be decoded yet.

    Pillow stands a TIFF up itself while it decodes, and forgets the tag.
    """
    tag = image.getexif().get(ORIENTATION)
    return int(tag) if isinstance(tag, int | float) and tag in range(1, 9) else None


def orientation_of(path: Path) -> int | None:
    """The EXIF orientation that a file declares, or None.

    Raises:
        InputError: as `read_image`.
    """
    with opened(path) as image:
        return orientation(image)


def upright(image: Image.Image) -> Image.Image:
    """The image decoded and stood up as its tag says, once, whatever its format."""
    tag = orientation(image)
    image.load()
    return image.transpose(TURNS[tag]) if tag in TURNS and image.format != "TIFF" else image


def lying(image: Image.Image, tag: int) -> tuple[Image.Image, Image.Exif]:
    """An upright image as it is stored with an EXIF orientation ``tag``, and the EXIF to store with it."""
    exif = Image.Exif()
    if tag not in TURNS:
        return image, exif
    exif[ORIENTATION] = tag
    back = {6: 8, 8: 6}.get(tag, tag)  # the other turns undo themselves
    return image.transpose(TURNS[back]), exif


def sixteen_bits(image: Image.Image) -> bool:
    """Whether a PNG or TIFF that is not decoded yet holds 16 bits a channel."""
    if image.format not in ("PNG", "TIFF"):
        return False
    raw = (tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in image.tile)
    return any(";16" in mode for mode in raw)


def grey_levels(image: Image.Image) -> np.ndarray:
    """Grey values of a decoded image of more than 8 bits: int64 (h, w), 0 to 65535, white the largest."""
    values, tags = np.asarray(image).astype(np.int64), getattr(image, "tag_v2", {})
    most = 2 ** tags.get(BITS, (16,))[0] - 1  # of 12 bits, which TIFF knows, 4095
    values = values * 65536 // (most + 1)
    return 65535 - values if tags.get(PHOTOMETRIC) == 0 else values


def _eight_bit(image: Image.Image, path: Path, deep: bool) -> tuple[Image.Image, bool]:
    """A decoded image with 8 bits a channel, the high byte of 16, and whether that leaves it nearly black."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise InputError(f"{path} has 32 bits a pixel; save it with 8 or 16")
    if image.mode == "I" or image.mode.startswith("I;16"):
        image, deep = Image.fromarray((grey_levels(image) >> 8).astype(np.uint8)), True
    return image, deep and 0 < max(image.convert("L").getextrema()) < DIM


def _shrinks(source: tuple[int, int], size: Size) -> bool:
    return source[0] >= size[1] and source[1] >= size[0]


def read_image(path: Path, size: Size) -> tuple[np.ndarray, tuple[int, int]]:
    """RGB uint8 (h, w, 3) at ``size`` and the (width, height) on disk: the first two of `read_picture`."""
    return read_picture(path, size)[:2]


def read_picture(path: Path, size: Size, cut: bool = False) -> Picture:
    """A photograph at ``size``: squeezed into it, or ``cut`` about its centre to that shape.

    Shrinking averages over each pixel's area; a JPEG much larger than ``size`` is decoded at
    the smallest of its built-in scales that is not below it. EXIF orientation is undone, transparency is
    ignored, 16 bits become 8, and of a film the first picture counts.

    Raises:
        InputError: the file is missing, damaged, of no kind in `FORMATS` or larger than `MOST_PIXELS`.
    """
    with opened(path) as image:
        deep, tag, full = sixteen_bits(image), orientation(image) or 1, image.size
        height, width = size
        # Two pixels for one leave the area average something to average.
        image.draft("RGB", (2 * height, 2 * width) if tag > 4 else (2 * width, 2 * height))
        image.load()
        if image.format == "TIFF":
            full = image.size  # upright already
        elif tag > 4:
            full = full[::-1]
        eight, dim = _eight_bit(image, path, deep)
        # Without this Pillow warns of every palette that has transparent entries.
        eight.info.pop("transparency", None)
        turned = eight.transpose(TURNS[tag]) if tag in TURNS and image.format != "TIFF" else eight
        rgb = turned.convert("RGB")
    box = _central(rgb.size, size) if cut else (0, 0, *rgb.size)
    shown = (int(box[2] - box[0]), int(box[3] - box[1]))
    resample = Image.Resampling.BOX if _shrinks(shown, size) else Image.Resampling.BILINEAR
    return Picture(np.asarray(rgb.resize((width, height), resample, box)), full, tag, dim)


def _central(full: tuple[int, int], size: Size) -> tuple[float, float, float, float]:
    """Left, upper, right and lower edge of the largest central part shaped like ``size``."""
    scale = min(full[0] / size[1], full[1] / size[0])
    width, height = scale * size[1], scale * size[0]
    left, upper = (full[0] - width) / 2, (full[1] - height) / 2
    return left, upper, left + width, upper + height


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
