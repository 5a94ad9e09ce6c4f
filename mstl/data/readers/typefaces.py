"""Digits drawn from the typefaces that matplotlib ships: DejaVu, STIX, Computer Modern."""

from __future__ import annotations

from functools import cache
from math import cos, radians, sin
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mstl.data.chance import chance

SIDE = 28
SETS = 100
# File, and the character of its 0: STIX holds digits without serifs, and of one width, among its symbols.
FACES = {
    "sans": (
        ("DejaVuSans", "0"),
        ("DejaVuSans-Bold", "0"),
        ("DejaVuSans-Oblique", "0"),
        ("DejaVuSans-BoldOblique", "0"),
        ("STIXGeneral", "\U0001d7e2"),
        ("STIXGeneralBol", "\U0001d7ec"),
        ("cmss10", "0"),
    ),
    "serif": (
        ("DejaVuSerif", "0"),
        ("DejaVuSerif-Bold", "0"),
        ("DejaVuSerif-Italic", "0"),
        ("DejaVuSerif-BoldItalic", "0"),
        ("STIXGeneral", "0"),
        ("STIXGeneralBol", "0"),
        ("STIXGeneralItalic", "0"),
        ("STIXGeneralBolIta", "0"),
        ("cmr10", "0"),
        ("cmb10", "0"),
        ("cmti10", "0"),
    ),
    "mono": (
        ("DejaVuSansMono", "0"),
        ("DejaVuSansMono-Bold", "0"),
        ("DejaVuSansMono-Oblique", "0"),
        ("DejaVuSansMono-BoldOblique", "0"),
        ("STIXGeneral", "\U0001d7f6"),
        ("cmtt10", "0"),
    ),
}
_FINE = 4  # digits are drawn at so many times their size, then shrunk


def sets(kind: str) -> np.ndarray:
    """`SETS` sets of the ten digits, uint8 (sets, 10, 28, 28), white on black.

    A set has one face, turn, slant, size, boldness, blur and brightness; within it each digit is turned and
    moved a little more. All of it follows from the names alone.

    Args:
        kind: a key of `FACES`.
    """
    faces = FACES[kind]
    return np.array(
        [
            [_drawn((kind, number), digit, *faces[number % len(faces)]) for digit in range(10)]
            for number in range(SETS)
        ]
    )


def _drawn(key: tuple[str, int], digit: int, face: str, zero: str) -> np.ndarray:
    """One digit of the set ``key``, uint8 (28, 28)."""

    def shared(what: str, low: float, high: float) -> float:
        return low + (high - low) * chance(*key, what)

    def own(what: str, most: float) -> float:
        return most * (2 * chance(*key, digit, what) - 1)

    side = SIDE * _FINE
    font, text, bold = _font(face, side), chr(ord(zero) + digit), round(shared("bold", 0, 5))
    left, top, right, bottom = font.getbbox(text, stroke_width=bold)
    page = Image.new("L", (2 * side, 2 * side))
    corner = (side - (left + right) / 2, side - (top + bottom) / 2)
    ImageDraw.Draw(page).text(corner, text, fill=255, font=font, stroke_width=bold)

    # Before it is varied a digit fills 20 of 28 rows, as MNIST's do.
    fit = 20 * _FINE / (bottom - top)
    angle = radians(shared("turn", -12, 12) + own("turn", 3))
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    slant = np.array([[1, shared("slant", -0.25, 0.25)], [0, 1]])
    size = np.diag([fit * shared("width", 0.8, 1.15), fit * shared("height", 0.85, 1.1)])
    back = np.linalg.inv(turn @ slant @ size)  # from the image to the page
    middle = side / 2 + _FINE * np.array([own("x", 2), own("y", 2)])
    start = side - back @ middle
    affine = (*back[0], start[0], *back[1], start[1])
    image = page.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(_FINE * shared("blur", 0, 0.8)))
    grey = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return np.round(grey * shared("brightness", 0.6, 1)).astype(np.uint8)


@cache
def _font(face: str, points: int) -> ImageFont.FreeTypeFont:
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")
    return ImageFont.truetype(str(file), points, layout_engine=ImageFont.Layout.BASIC)
