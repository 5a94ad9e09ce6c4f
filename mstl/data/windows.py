"""Windows: cut the same rectangle out of image, mask and part map, over one region of the car."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mstl.data.chance import chance
from mstl.data.domain import Domain

VISIBLE = 0.08  # a region that holds less of the car's pixels counts as hidden
PURE = 0.6  # a window that holds relatively less of its own region shows the car, not the part
FILLED = 0.1  # a window that shows less of its own region leaves next to nothing to segment


def over(regions: np.ndarray, j: int, window: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Windows over region ``j`` of every image, and which images show that region.

    Args:
        regions: bool (k, n, h, w), disjoint.
        j: the region wanted.
        window: height and width.

    Returns:
        Corners int64 (n, 2) by `place`, and bool (n,): the region holds 8 % of the regions' pixels,
        60 % of those in its window, and fills a tenth of the window.
    """
    own, others = regions[j], np.delete(regions, j, axis=0).any(0)
    corners = place(own, others, window)
    shown = own.sum((1, 2)) >= VISIBLE * np.maximum(regions.sum((0, 2, 3)), 1)
    filled = held(own, corners, window) >= FILLED * window[0] * window[1]
    return corners, shown & filled & (purity(own, others, corners, window) >= PURE)


def place(own: np.ndarray, others: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Top left corners int64 (n, 2) of the windows that come nearest to half own region, half background.

    The best window has the least |own − area/2| + others in pixels; of equally good ones the nearest to the
    own region's centre is taken. A window filled by its region would leave nothing to segment.

    Args:
        own: bool (n, h, w), the region.
        others: bool (n, h, w), the car's other regions.
        window: height and width.
    """
    _, height, width = own.shape
    half = window[0] * window[1] // 2
    own_pixels = window_sums(own.astype(np.int64), window)
    loss = (np.abs(own_pixels - half) + window_sums(others.astype(np.int64), window)).astype(np.float64)
    y, x = np.arange(height)[:, None], np.arange(width)
    pixels = np.maximum(own.sum((1, 2)), 1)
    centre_y, centre_x = (own * y).sum((1, 2)) / pixels, (own * x).sum((1, 2)) / pixels
    rows, columns = np.arange(loss.shape[1])[:, None], np.arange(loss.shape[2])
    away = (rows + (window[0] - 1) / 2 - centre_y[:, None, None]) ** 2 + (
        columns + (window[1] - 1) / 2 - centre_x[:, None, None]
    ) ** 2
    best = (loss + away / (height**2 + width**2)).reshape(len(own), -1).argmin(1)
    return np.stack(np.unravel_index(best, loss.shape[1:]), axis=1)


def window_sums(values: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Sum of ``values`` (n, h, w) in each window that fits: (n, h − height + 1, w − width + 1)."""
    total = np.pad(values.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    a, b = window
    return total[:, a:, b:] - total[:, :-a, b:] - total[:, a:, :-b] + total[:, :-a, :-b]


def jittered(
    corners: np.ndarray, frame: tuple[int, int], window: tuple[int, int], most: int, keys: list[tuple]
) -> np.ndarray:
    """Corners moved by up to ``most`` pixels each way, inside the frame; ``keys`` decide how far."""
    moves = np.array([[chance(*key, axis) for axis in "yx"] for key in keys]).reshape(-1, 2)
    moved = corners + np.floor(moves * (2 * most + 1)).astype(np.int64) - most
    return np.clip(moved, 0, np.subtract(frame, window))


def cut(domain: Domain, corners: np.ndarray, window: tuple[int, int]) -> Domain:
    """Window i of image i, for image, mask and part map alike."""

    def windows(pixels: Tensor) -> Tensor:
        height, width = window
        return torch.stack(
            [p[:, y : y + height, x : x + width] for p, (y, x) in zip(pixels, corners.tolist(), strict=True)]
        )

    return replace(
        domain,
        images=windows(domain.images),
        masks=windows(domain.masks),
        parts=None if domain.parts is None else windows(domain.parts),
    )


def purity(own: np.ndarray, others: np.ndarray, corners: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Own / (own + other) pixels in each window, float (n,), 0 where there are neither; args as `place`."""
    inside, rest = held(own, corners, window), held(others, corners, window)
    return inside / np.maximum(inside + rest, 1)


def held(region: np.ndarray, corners: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Pixels of ``region``, bool (n, h, w), inside window i of image i: int64 (n,)."""
    return window_sums(region.astype(np.int64), window)[np.arange(len(region)), corners[:, 0], corners[:, 1]]
