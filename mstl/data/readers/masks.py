"""Masks: the object is what a file shows in another colour than black."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mstl.data.readers.pixels import PHOTOMETRIC, grey_levels, opened, orientation_of, sixteen_bits, upright
from mstl.system.errors import InputError

_HELP = "a mask shows two colours, black for the background and one other for the object"


def read_mask(path: Path, expected: tuple[int, int], image: Path) -> np.ndarray:
    """Mask uint8 (h, w) in {0, 1}, full size and upright: what is not black is the object.

    It counts what a viewer shows, not how that is stored: colours of a palette in any order, however dark an
    RGB colour, 16 bits, EXIF orientation, and TIFFs whose white is 0. Pixels that are black and transparent
    are background, too.

    Args:
        path: the mask's file.
        expected: (width, height) of its image, upright.
        image: the image's file.

    Raises:
        InputError: another size than the image, several pictures, or it cannot be told what is object: more
            than two colours, two of which none is black, transparent pixels, a palette that draws both values
            alike, numbers that are negative or none (NaN), or as `read_image`.
    """
    with opened(path) as file:
        alone(file, path)
        if (deep := sixteen_bits(file)) and not file.mode.startswith("I"):
            raise InputError(f"{path} has 16 bits a channel, of which half would be lost; save it with 8")
        pixels = upright(file)
        _check_size(path, pixels.size, expected, image)
        numbers = deep or pixels.mode == "F" or pixels.mode.startswith("I")
        return (_by_number if numbers else _by_colour)(file, pixels, path).astype(np.uint8)


def _by_number(file: Image.Image, pixels: Image.Image, path: Path) -> np.ndarray:
    """Object, bool (h, w), of an image with 16 or 32 bits a pixel: what is above 0."""
    white_is_zero = getattr(file, "tag_v2", {}).get(PHOTOMETRIC) == 0
    if white_is_zero and not pixels.mode.startswith("I;16"):
        raise InputError(f"{path} stores white as 0 in numbers without an end; {_HELP}: save it as PNG")
    values = grey_levels(pixels) if white_is_zero else np.asarray(pixels)
    if "transparency" in file.info or not np.isfinite(values).all():
        raise InputError(f"{path} holds pixels without a value (NaN or transparent); {_HELP}: fill them")
    low, high = values.min(), values.max()
    if ((values != low) & (values != high)).any() or low < 0 or (low > 0 and low != high):
        raise _unclear(path, np.unique(values).tolist())
    return values != 0


def _by_colour(file: Image.Image, pixels: Image.Image, path: Path) -> np.ndarray:
    """Object, bool (h, w), of an image with 8 bits a channel or a palette."""
    if pixels.mode in ("1", "L", "P"):  # at most 256 values: ask what each shows
        indices = pixels if pixels.mode == "P" else pixels.convert("L")
        used = np.flatnonzero(indices.histogram())
        ramp = indices.crop((0, 0, 1, 1)).resize((256, 1))
        ramp.frombytes(bytes(range(256)))
        colours = np.asarray(ramp.convert("RGBA"))[0][used]
        found = used.tolist() if pixels.mode != "P" else colours[:, :3].tolist()
        if len(used) > 1 and (colours == colours[0]).all():
            raise InputError(f"{path}: its palette draws the values {used[0]} and {used[1]} alike; {_HELP}")
        shows = np.zeros(256, bool)
        shows[used] = _objects(path, colours, found)
        return shows[np.asarray(indices)]
    colours = np.ascontiguousarray(pixels.convert("RGBA")).view(np.uint32)[..., 0]
    low, high = colours.min(), colours.max()
    if ((colours != low) & (colours != high)).any():
        ends = np.unique(colours)
    else:
        ends = np.array([low, high], np.uint32)
    four = ends.view(np.uint8).reshape(-1, 4)
    first, last = _objects(path, four, four[:, :3].tolist())[[0, -1]]
    return np.where(colours == low, first, last)


def _objects(path: Path, colours: np.ndarray, found: list) -> np.ndarray:
    """Which of the RGBA ``colours`` (k, 4) that a mask shows are the object, bool (k,)."""
    black, clear = ~colours[:, :3].any(1), colours[:, 3] == 0
    half = (colours[:, 3] > 0) & (colours[:, 3] < 255)
    if half.any() or (clear & ~black).any() or (clear.any() and (black & ~clear).any()):
        raise InputError(f"{path} is transparent in part; {_HELP}, both opaque: flatten it")
    distinct = np.unique(colours, axis=0)
    if len(distinct) > 2 or (len(distinct) == 2 and not black.any()):
        raise _unclear(path, found)
    return ~black


def _unclear(path: Path, found: list) -> InputError:
    shown = [_hex(value) if isinstance(value, list) else str(value) for value in found]
    few = ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
    return InputError(f"{path} holds {len(found)} values ({few}); {_HELP}: threshold it and save it as PNG")


def _hex(colour: np.ndarray | list[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour[:3])


def read_indices(path: Path, expected: tuple[int, int], image: Path, largest: int) -> np.ndarray:
    """Part index map uint8 (h, w), full size and upright; a palette does not count.

    Raises:
        InputError: another size than the image, no 8-bit map, an index above ``largest``, or as `read_image`.
    """
    with opened(path) as file:
        alone(file, path)
        pixels = upright(file)
        if file.mode not in ("1", "L", "P") or pixels.size != expected:
            raise InputError(
                f"{path} must be a map of one channel and 8 bits of the size of {image.name}, "
                f"{expected[0]}×{expected[1]}; it is {file.mode}, {pixels.size[0]}×{pixels.size[1]}"
            )
        indices = np.array(pixels, dtype=np.uint8)
    if indices.size and int(indices.max()) > largest:
        raise InputError(f"{path} holds part {int(indices.max())}; the highest known is {largest}")
    return indices


def alone(image: Image.Image, path: Path) -> None:
    """An InputError for a film: which of its pictures is the mask?"""
    if getattr(image, "is_animated", False):
        raise InputError(f"{path} holds several pictures; a mask is one: save the one that counts")


def _check_size(path: Path, size: tuple[int, int], expected: tuple[int, int], image: Path) -> None:
    if size == expected:
        return
    why = ""
    if size == expected[::-1] and (tag := orientation_of(image)) in range(5, 9):
        why = (
            f" (the image is stored lying, EXIF orientation {tag}: its mask is drawn on the upright image, "
            "or stored lying with the same orientation)"
        )
    raise InputError(
        f"{path} is {size[0]}×{size[1]} but its image {image.name} is {expected[0]}×{expected[1]}{why}; "
        "a mask has the size of its image"
    )
