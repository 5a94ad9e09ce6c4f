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
    own, others = integral(regions[j]), integral(np.delete(regions, j, axis=0).any(0))
    corners = place(own, others, window)
    pixels = own[:, -1, -1] + others[:, -1, -1]
    shown = own[:, -1, -1] >= VISIBLE * np.maximum(pixels, 1)
    filled = held(own, corners, window) >= FILLED * window[0] * window[1]
    return corners, shown & filled & (purity(own, others, corners, window) >= PURE)


def integral(region: np.ndarray) -> np.ndarray:
    """Integral images, int32 (n, h + 1, w + 1), of bool (n, h, w).

    .. math:: I_{ik} = \\sum_{y < i} \\sum_{x < k} r_{yx}

    Four of its values are the sum over any window (Crow, SIGGRAPH 1984).
    """
    n, height, width = region.shape
    total = np.zeros((n, height + 1, width + 1), np.int32)
    np.cumsum(region, axis=2, dtype=np.int32, out=total[:, 1:, 1:])
    for row in range(1, height + 1):  # three times as fast as a cumulative sum along the middle axis
        total[:, row] += total[:, row - 1]
    return total


def place(own: np.ndarray, others: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Top left corners int64 (n, 2) of the windows that come nearest to half own region, half background.

    The best window has the least |own − area/2| + others in pixels; of equally good ones the nearest to the
    own region's centre is taken. A window filled by its region would leave nothing to segment.

    Args:
        own: `integral` of the region.
        others: `integral` of the car's other regions.
        window: height and width.
    """
    n, height, width = own.shape[0], own.shape[1] - 1, own.shape[2] - 1
    half = window[0] * window[1] // 2
    loss = (np.abs(window_sums(own, window) - half) + window_sums(others, window)).astype(np.float64)
    pixels = np.maximum(own[:, -1, -1], 1)
    of_rows, of_columns = np.diff(own[:, :, -1]), np.diff(own[:, -1, :])
    centre_y, centre_x = of_rows @ np.arange(height) / pixels, of_columns @ np.arange(width) / pixels
    rows, columns = np.arange(loss.shape[1]), np.arange(loss.shape[2])
    down = (rows + (window[0] - 1) / 2 - centre_y[:, None]) ** 2
    across = (columns + (window[1] - 1) / 2 - centre_x[:, None]) ** 2
    loss += (down[:, :, None] + across[:, None, :]) / (height**2 + width**2)
    return np.stack(np.unravel_index(loss.reshape(n, -1).argmin(1), loss.shape[1:]), axis=1)


def window_sums(total: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Pixels in each window that fits, (n, h − height + 1, w − width + 1), from an `integral`."""
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


def held(total: np.ndarray, corners: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Pixels of a region inside window i of image i, (n,), from its `integral`."""
    i, (y, x), (a, b) = np.arange(len(total)), corners.T, window
    return total[i, y + a, x + b] - total[i, y, x + b] - total[i, y + a, x] + total[i, y, x]
