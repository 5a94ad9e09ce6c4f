"""Rounded polylines and the scalar fields that outline windows, lamps and panels."""

from __future__ import annotations

import numpy as np
from numpy import ndarray


def rounded(corners: ndarray, radii: ndarray, straight: int = 4, bend: int = 8) -> ndarray:
    """Polylines whose inner corners are replaced by quadratic Bézier arcs.

    Args:
        corners: (..., k, d).
        radii: (..., k - 2), how far each arc reaches along its two legs; shortened
            where a leg is too short for it.
        straight, bend: samples per leg and per arc.

    Returns:
        (..., (k - 1) · straight + (k - 2) · bend, d): the same number of samples for
        every polyline, so that neighbouring sections of a loft correspond.
    """
    legs = np.linalg.norm(np.diff(corners, axis=-2), axis=-1)
    reach = np.minimum(radii, 0.48 * np.minimum(legs[..., :-1], legs[..., 1:]))[..., None]
    step = np.diff(corners, axis=-2) / np.maximum(legs, 1e-9)[..., None]
    inner = corners[..., 1:-1, :]
    into, out = inner - reach * step[..., :-1, :], inner + reach * step[..., 1:, :]
    starts = np.concatenate([corners[..., :1, :], out], axis=-2)
    ends = np.concatenate([into, corners[..., -1:, :]], axis=-2)
    t = np.linspace(0, 1, straight)[:, None]
    b = np.linspace(0, 1, bend + 2)[1:-1, None]
    pieces = []
    for k in range(corners.shape[-2] - 1):
        pieces.append(starts[..., k, None, :] * (1 - t) + ends[..., k, None, :] * t)
        if k < corners.shape[-2] - 2:
            p, c, q = into[..., k, None, :], inner[..., k, None, :], out[..., k, None, :]
            pieces.append((1 - b) ** 2 * p + 2 * b * (1 - b) * c + b**2 * q)
    return np.concatenate(pieces, axis=-2)


def smooth_step(x: ndarray | float, low: float, high: float) -> ndarray:
    """0 below ``low``, 1 above ``high`` (or reversed), with flat ends."""
    t = np.clip((np.asarray(x, float) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def both(*fields: ndarray, radius: float = 0.03) -> ndarray:
    """Intersection of regions f > 0 with corners rounded at about ``radius`` metres."""
    result = fields[0]
    for other in fields[1:]:
        h = np.maximum(radius - np.abs(result - other), 0) / radius
        result = np.minimum(result, other) - h * h * radius / 4
    return result


def rounded_box(x: ndarray, y: ndarray, low: tuple, high: tuple, radius: float) -> ndarray:
    """Signed distance, positive inside, of a rectangle with rounded corners."""
    cx, cy = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    dx = np.abs(x - cx) - (high[0] - low[0]) / 2 + radius
    dy = np.abs(y - cy) - (high[1] - low[1]) / 2 + radius
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return radius - outside - np.minimum(np.maximum(dx, dy), 0)


def blob(
    x: ndarray, y: ndarray, centre: tuple, half: tuple, tilt: float = 0.0, power: float = 2.6
) -> ndarray:
    """A tilted superellipse, positive inside, about in metres near its outline."""
    c, s = np.cos(tilt), np.sin(tilt)
    u = (c * (x - centre[0]) + s * (y - centre[1])) / half[0]
    v = (-s * (x - centre[0]) + c * (y - centre[1])) / half[1]
    return (1 - (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)) * min(half)
