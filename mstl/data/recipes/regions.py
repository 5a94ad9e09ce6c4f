"""Regions: which pixels of a car belong to front, cabin, rear, to a half or to a quarter."""

from __future__ import annotations

import numpy as np

from mstl.data.domain import Domain
from mstl.system.errors import InputError

LAYOUTS = {
    2: ("left", "right"),
    3: ("front", "cabin", "rear"),
    4: ("upper left", "upper right", "lower left", "lower right"),
}

# Parts of both data sets that have part maps. What no region names (wheels, lights of the studio) is neutral.
_PARTS = {
    "front": ("front", "front_bumper", "hood", "front_left_light", "front_right_light"),
    "cabin": (
        "cabin", "glass", "mirrors", "front_glass", "back_glass", "front_left_door", "front_right_door",
        "back_left_door", "back_right_door", "left_mirror", "right_mirror",
    ),
    "rear": ("rear", "back_bumper", "trunk", "tailgate", "back_left_light", "back_right_light"),
}  # fmt: skip


def regions(domain: Domain, layout: tuple[str, ...]) -> np.ndarray:
    """Where each region of ``layout`` lies: bool (regions, n, h, w), disjoint.

    Front, cabin and rear come from the part maps, or where there are none from view and bounding box
    (`front_cabin_rear`). Halves and quarters are those of the mask's bounding box.

    Raises:
        InputError: front, cabin, rear of images without part maps or view numbers.
    """
    if layout == LAYOUTS[3]:
        if domain.parts is not None:
            return by_parts(domain)
        return front_cabin_rear(domain.masks[:, 0].numpy() > 0, domain.views, domain.name)
    u, v = box_coordinates(domain.masks[:, 0].numpy() > 0)
    mask = domain.masks[:, 0].numpy() > 0
    if layout == LAYOUTS[2]:
        return np.stack([mask & (u < 0), mask & (u >= 0)])
    return np.stack(
        [
            mask & (v < 0) & (u < 0),
            mask & (v < 0) & (u >= 0),
            mask & (v >= 0) & (u < 0),
            mask & (v >= 0) & (u >= 0),
        ]
    )


def by_parts(domain: Domain) -> np.ndarray:
    """Front, cabin and rear (3, n, h, w) of a domain that has part maps."""
    parts = domain.parts[:, 0].numpy()
    index = {name: k + 1 for k, name in enumerate(domain.part_names)}
    return np.stack(
        [np.isin(parts, [index[name] for name in _PARTS[region] if name in index]) for region in LAYOUTS[3]]
    )


def box_coordinates(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates −1..1 in each mask's bounding box: rightwards (n, 1, w) and downwards (n, h, 1)."""

    def along(profile: np.ndarray) -> np.ndarray:
        length = profile.shape[1]
        first = profile.argmax(1)
        last = length - 1 - profile[:, ::-1].argmax(1)
        return (2.0 * np.arange(length) - (first + last)[:, None]) / np.maximum(last - first, 1)[:, None]

    return along(masks.any(1))[:, None, :], along(masks.any(2))[:, :, None]


def front_cabin_rear(masks: np.ndarray, views: np.ndarray, name: str = "") -> np.ndarray:
    """Front, cabin and rear (3, n, h, w) without part maps, from view k and the mask's bounding box.

    A car of length ℓ and width b, turned by θ = (k − 1)·22.5°, shows an end (the front where cos θ > 0, else
    the rear) on the share e = b |cos θ| / (ℓ |sin θ| + b |cos θ|) of its box and a side on the rest, its
    front at image left for 0 < θ < 180°. The end that is seen and the nearest quarter of the side, both below
    the windows, are front or rear; the other end is the last quarter of the side; the rest is cabin.
    ℓ/b = 2.4.

    Raises:
        InputError: a view is not in 1..16.
    """
    views = np.asarray(views)
    if ((views < 1) | (views > 16)).any():
        raise InputError(
            f"data {name!r} has neither part maps nor view numbers 1..16 for all images, so front, cabin "
            "and rear cannot be told apart; use 2 (left, right) or 4 (quadrants) sources"
        )
    u, v = box_coordinates(masks)
    angle = np.deg2rad((views - 1) * 22.5)[:, None, None]
    cos, sin = np.cos(angle).round(9), np.sin(angle).round(9)  # exactly 0 where no end, or no side, is seen
    share = abs(cos) / (abs(cos) + 2.4 * abs(sin))
    from_front = np.where(sin >= 0, 1 + u, 1 - u) / 2  # 0 at the box's edge by the front, 1 by the rear
    quarter = (1 - share) / 4
    low = v > -0.1
    is_front = np.where(cos > 0, (from_front < share + quarter) & low, from_front < quarter)
    is_rear = np.where(cos < 0, (1 - from_front < share + quarter) & low, 1 - from_front < quarter)
    return np.stack([masks & is_front, masks & ~is_front & ~is_rear, masks & is_rear & ~is_front])
