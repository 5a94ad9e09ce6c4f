"""Run-length encoded masks, as in Carvana's ``train_masks.csv``."""

from __future__ import annotations

import re

import numpy as np

from mstl.system.errors import InputError

# Eighteen digits fit into 64 bits; `int` alone would read "1_000" and other scripts' digits, too.
INTEGER = re.compile("-?[0-9]{1,18}")


def encode_rle(mask: np.ndarray) -> str:
    """The runs of foreground of ``mask`` (h, w) as ``"start length start length ..."``.

    Pixels are numbered row by row from 1; an empty mask gives an empty string.
    """
    flat = np.concatenate([[0], (np.asarray(mask) != 0).ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts, ends = edges[::2], edges[1::2]
    return " ".join(f"{start} {end - start}" for start, end in zip(starts, ends, strict=True))


def decode_rle(text: str, height: int, width: int, name: str = "rle_mask") -> np.ndarray:
    """The mask, uint8 (height, width) in {0, 1}, whose runs are ``text``: `encode_rle` undone.

    Raises:
        InputError: numbers that are not integers, an odd count, a run that is empty, leaves the
            image or overlaps another; the message starts with ``name``.
    """
    words = text.split()
    wrong = next((word for word in words if not INTEGER.fullmatch(word)), None)
    if wrong is not None:
        raise InputError(
            f"{name}: a run-length mask holds integers only, of 18 digits at most; found {wrong[:20]!r}"
        )
    numbers = np.array([int(word) for word in words], dtype=np.int64)
    if len(numbers) % 2:
        raise InputError(
            f"{name}: a run-length mask holds pairs of start and length; found {len(numbers)} numbers"
        )
    order = np.argsort(numbers[::2], kind="stable")
    starts, lengths = numbers[::2][order] - 1, numbers[1::2][order]
    pixels = height * width
    # Each number is bounded before any are added: a sum could overflow.
    bad = (starts < 0) | (starts >= pixels) | (lengths < 1) | (lengths > pixels)
    if bad.any() or (starts + lengths > pixels).any():
        first = int(np.argmax(bad if bad.any() else starts + lengths > pixels))
        raise InputError(
            f"{name}: run {starts[first] + 1} {lengths[first]} leaves the image; starts count from 1 to "
            f"{pixels} = {width} × {height} and lengths are at least 1"
        )
    ends = starts + lengths
    if (starts[1:] < ends[:-1]).any():
        first = int(np.argmax(starts[1:] < ends[:-1]))
        raise InputError(f"{name}: the runs at {starts[first] + 1} and {starts[first + 1] + 1} overlap")
    steps = np.zeros(pixels + 1, dtype=np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8).reshape(height, width)
