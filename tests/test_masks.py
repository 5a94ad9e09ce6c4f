"""Masks are read by what they show, however that is stored; what does not show its object is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mstl.data.readers.masks import read_indices, read_mask
from mstl.data.readers.pixels import read_picture
from mstl.system.errors import InputError

OBJECT = np.zeros((40, 60), bool)
OBJECT[10:30, 15:45] = True  # a quarter
OBJECT[12, 20] = False
SHAPES = {"a quarter": OBJECT, "nothing": np.zeros_like(OBJECT), "everything": np.ones_like(OBJECT)}
WHITE_IS_ZERO = {262: 0}
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def read(path: Path) -> np.ndarray:
    return read_mask(path, OBJECT.shape[::-1], Path("a.jpg"))


def painted(mask: np.ndarray, colour: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(mask[..., None] * np.uint8(colour))


def palette(mask: np.ndarray, colours: list[int], values: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(np.where(mask, *map(np.uint8, values[::-1]))).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return image


def png16(mask: np.ndarray, path: Path, value: int) -> None:
    """An RGB PNG of 16 bits a channel, which Pillow cannot write."""
    rows = (mask[..., None] * np.array([value, 0, 0], ">u2")).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
        )
    )


def black_and_clear(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.where(mask[..., None], np.uint8(255), np.uint8([0, 0, 0, 0])))


FORMS: dict[str, tuple[str, Callable[[np.ndarray], Image.Image], dict]] = {
    "palette, 0 black": ("png", lambda m: palette(m, [0, 0, 0, 255, 255, 255], (0, 1)), {}),
    "palette, 0 white": ("png", lambda m: palette(m, [255, 255, 255, 0, 0, 0], (1, 0)), {}),
    "palette, black last": ("gif", lambda m: palette(m, [9, 9, 9, 255, 0, 0, 0, 0, 0], (2, 1)), {}),
    "palette of VOC": ("png", lambda m: palette(m, VOC, (0, 3)), {}),
    "gif from RGB": ("gif", lambda m: painted(m, (255, 255, 255)), {}),
    "quantised": ("png", lambda m: painted(m, (255, 255, 255)).quantize(2), {}),
    "adaptive": (
        "png",
        lambda m: painted(m, (255, 255, 255)).convert("P", palette=Image.Palette.ADAPTIVE, colors=2),
        {},
    ),
    "palette, clear black": (
        "png",
        lambda m: palette(m, [0, 0, 0, 255, 255, 255], (0, 1)),
        {"transparency": 0},
    ),
    "clear black": ("png", black_and_clear, {}),
    "grey of 1": ("png", lambda m: Image.fromarray(m.astype(np.uint8)), {}),
    "red of 1": ("png", lambda m: painted(m, (1, 0, 0)), {}),
    "blue of 4": ("bmp", lambda m: painted(m, (0, 0, 4)), {}),
    "webp of 1": ("webp", lambda m: painted(m, (0, 0, 1)), {"lossless": True}),
    "CMYK": ("tif", lambda m: painted(m, (255, 255, 255)).convert("CMYK"), {}),
    "16 bits of 1": ("png", lambda m: Image.fromarray(m.astype(np.uint16)), {}),
    "float": ("tif", lambda m: Image.fromarray(m.astype(np.float32)), {}),
    "white is 0, 1 bit": ("tif", lambda m: Image.fromarray(m), {"tiffinfo": WHITE_IS_ZERO}),
    "white is 0, 8 bits": (
        "tif",
        lambda m: Image.fromarray(m * np.uint8(255)),
        {"tiffinfo": WHITE_IS_ZERO},
    ),
    # Pillow writes 16 bits as they are, whatever is said of them.
    "white is 0, 16 bits": (
        "tif",
        lambda m: Image.fromarray(~(m * np.uint16(65535))),
        {"tiffinfo": WHITE_IS_ZERO},
    ),
}


@pytest.mark.trust(
    "hostile input", "a mask means what it shows, in every form that two colours are stored in"
)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_same_mask(tmp_path, form):
    ending, make, options = FORMS[form]
    for name, mask in SHAPES.items():
        path = tmp_path / f"m.{ending}"
        make(mask).save(path, **options)
        assert np.array_equal(read(path), mask), name


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, 255)] * 3).filter(any), st.sampled_from(["png", "bmp", "tif", "webp"]))
def test_any_colour_on_black_is_the_object(colour, ending):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m.{ending}"
        painted(OBJECT, colour).save(path, **({"lossless": True} if ending == "webp" else {}))
        assert np.array_equal(read(path), OBJECT)


@pytest.mark.trust("hostile input", "a mask that does not show what is object is refused by name")
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda m, p: palette(m, [255, 255, 255, 255, 0, 0], (0, 1)).save(p), "2 values .#ffffff, #ff0000."),
        (lambda m, p: palette(m, [9, 9, 9, 255, 0, 0], (0, 1)).save(p), "2 values .#090909, #ff0000."),
        (lambda m, p: palette(m, [9, 9, 9, 9, 9, 9], (0, 1)).save(p), "draws the values 0 and 1 alike"),
        (
            lambda m, p: palette(m, [0, 0, 0, 9, 9, 9], (0, 1)).save(p, transparency=1),
            "transparent in part",
        ),
        (lambda m, p: painted(m, (255, 255, 255, 7)).save(p), "transparent in part"),
        (lambda m, p: painted(m, (0, 0, 0, 255)).save(p), "transparent in part"),
        (lambda m, p: Image.fromarray(m.astype(np.int32) - 1).save(p, "TIFF"), "holds 2 values .-1, 0."),
        (
            lambda m, p: Image.fromarray(np.where(m, 1, np.nan).astype("f4")).save(p, "TIFF"),
            "without a value",
        ),
        (
            lambda m, p: Image.fromarray(m.astype("f4")).save(p, "TIFF", tiffinfo=WHITE_IS_ZERO),
            "stores white as 0",
        ),
        (lambda m, p: png16(m, p, 1), "16 bits a channel"),
        (lambda m, p: Image.fromarray(np.where(m, 255, 7).astype(np.uint8)).save(p), "2 values .7, 255."),
    ],
)
def test_a_mask_that_does_not_show_what_is_object_is_refused(tmp_path, make, message):
    make(OBJECT, tmp_path / "m.png")
    with pytest.raises(InputError, match=rf"m\.png.* {message}|m\.png:? {message}") as error:
        read(tmp_path / "m.png")
    assert "\n" not in str(error.value)


def test_a_part_map_counts_by_index_whatever_its_palette_draws(tmp_path):
    palette(OBJECT, [255, 255, 255, 0, 0, 0], (0, 1)).save(tmp_path / "p.png")
    assert np.array_equal(read_indices(tmp_path / "p.png", (60, 40), Path("a.jpg"), 1), OBJECT)


def twelve_bits(path: Path, values: np.ndarray) -> None:
    """A TIFF of 12 bits a pixel, which Pillow cannot write; ``values`` (h, w) with an even w."""
    pairs = values.reshape(-1, 2).astype(int)
    data = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    (height, width), size = values.shape, data.size
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, size)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + size) + data.astype(np.uint8).tobytes() + directory)


def test_a_photograph_shows_the_same_in_every_depth_and_with_white_as_0(tmp_path):
    ramp = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)
    deep = ramp.astype(np.uint16) * 257
    Image.fromarray(ramp).save(tmp_path / "plain.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(ramp).save(tmp_path / "white.tif", tiffinfo=WHITE_IS_ZERO)
    Image.fromarray(65535 - deep).save(tmp_path / "deep-white.tif", tiffinfo=WHITE_IS_ZERO)
    twelve_bits(tmp_path / "twelve.tif", deep >> 4)
    for file in sorted(tmp_path.iterdir()):
        picture = read_picture(file, (40, 60))
        assert np.array_equal(picture.pixels, np.repeat(ramp[..., None], 3, 2)), file.name
        assert not picture.dim
    png16(OBJECT, tmp_path / "dim.png", 4095)
    assert read_picture(tmp_path / "dim.png", (40, 60)).dim
