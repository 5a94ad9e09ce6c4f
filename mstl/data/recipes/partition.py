"""Partition: every pixel of an object belongs to one part, so that the union of all parts is the object."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from mstl.data.domain import Domain
from mstl.data.readers.listing import enumerated
from mstl.data.splits import image_names
from mstl.system.errors import InputError
from mstl.system.notes import note


def partition(regions: np.ndarray, masks: np.ndarray) -> np.ndarray:
    r"""The parts of each object M: its regions R, and what no region names goes to the nearest.

    .. math:: P_j = \{u \in M : j = \arg\min_k d(u, R_k \cap M)\}, \qquad
        P_j \cap P_k = \emptyset, \quad \textstyle\bigcup_j P_j = M

    d is the Euclidean distance in pixels; of equally near regions the first one gets the pixel. An object
    that shows no region at all has no nearest one, and no part.

    Args:
        regions: bool (k, n, h, w), disjoint.
        masks: bool (n, h, w), the objects.

    Returns:
        bool (k, n, h, w), disjoint and inside the objects.
    """
    parts = regions & masks
    unnamed = masks & ~parts.any(0)
    for i in np.flatnonzero(unnamed.any((1, 2))):
        seen = [k for k in range(len(parts)) if parts[k, i].any()]
        if not seen:
            continue
        box = _box(masks[i])
        # Distances rather than scipy's index of the nearest pixel, whose ties its versions may break anew.
        nearest = np.argmin([distance_transform_edt(~parts[k, i][box]) for k in seen], axis=0)
        for place, k in enumerate(seen):
            parts[k, i][box] |= unnamed[i][box] & (nearest == place)
    return parts


def grown(part: np.ndarray, masks: np.ndarray, pixels: float) -> np.ndarray:
    r"""A part with what of its object lies within ``pixels`` of it, so that neighbours share their border.

    .. math:: \{u \in M : d(u, P) \le r\}

    Args:
        part: bool (n, h, w), inside the objects.
        masks: bool (n, h, w), the objects.
        pixels: the radius r.

    Returns:
        bool (n, h, w).
    """
    result = part.copy()
    for i in np.flatnonzero(part.any((1, 2))):
        box = _box(masks[i])
        result[i][box] = masks[i][box] & (distance_transform_edt(~part[i][box]) <= pixels)
    return result


def divisible(domain: Domain, regions: np.ndarray, layout: tuple[str, ...]) -> np.ndarray:
    """Which images `partition` can divide, bool (n,): all but objects without any region, which are noted.

    Args:
        domain: n images.
        regions: bool (k, n, h, w).
        layout: names of the k regions.

    Raises:
        InputError: there is no object, or none shows any of the regions.
    """
    objects = domain.masks[:, 0].numpy() > 0
    shown = objects.any((1, 2))
    nameless = shown & ~(regions & objects).any((0, 2, 3))
    wanted, count = ", ".join(layout), int(nameless.sum())
    if not shown.any():
        height, width = domain.size
        raise InputError(
            f"data {domain.name!r}: the mask is empty in every one of its {len(domain)} images at "
            f"{height}×{width}; mark objects, or larger ones"
        )
    if count == shown.sum():
        named = ", ".join(domain.part_names) or "without names"
        raise InputError(
            f"data {domain.name!r}: no part map shows {wanted}, or what they consist of; its parts are "
            f"{named}: rename them, or take 2 or 4 sources, which need none"
        )
    if nameless.any():
        names = image_names(domain)
        note(
            f"{domain.name}: {count} of {shown.sum()} objects show nothing of {wanted}; left out of the "
            f"sources: {enumerated(names[row] for row in np.flatnonzero(nameless))}"
        )
    return ~nameless


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of a mask that is not empty; nothing of an object is nearer outside it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
