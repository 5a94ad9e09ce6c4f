"""Sources that help nobody: noise, and labels that are wrong. What a trustworthy method must survive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.data.domain import Domain
from mstl.data.recipes.styles import STYLES
from mstl.system.errors import InputError


def useless(like: Domain, seed: int) -> Domain:
    """As many noise textures as ``like`` has images, with blobs that have nothing to do with them as masks.

    Texture and blob are smooth noise of different random draws: nothing can be learnt that helps anywhere. Of
    classes they bear those of ``like``, shuffled.
    """
    generator = torch.Generator().manual_seed(seed)
    n, (height, width) = len(like), like.size
    return Domain(
        name="useless",
        images=(255 * _smooth_noise(n, 3, height, width, 3, generator)).to(torch.uint8),
        masks=(_smooth_noise(n, 1, height, width, 5, generator) > 0.5).to(torch.uint8),
        groups=np.array([f"noise-{i}" for i in range(n)]),
        views=np.ones(n, dtype=like.views.dtype),
        labels=None if like.labels is None else like.labels[torch.randperm(n, generator=generator)],
        classes=like.classes,
        partial=like.partial,
    )


def harmful(like: Domain, seed: int) -> Domain:
    """The images of ``like`` mirrored, in a style of their own, with inverted masks: object is background.

    Each class is called as the next one is, and the last as the first. Every label is wrong, in the same way
    each time, so the source is learnable and says the opposite of the others. ``seed`` is not used: nothing
    is random here.
    """
    images = STYLES[-1](like.images, like.masks)
    labels = None if like.labels is None else ((like.labels.int() + 1) % len(like.classes)).to(torch.uint8)
    changed = {"images": images.flip(-1), "masks": 1 - like.masks.flip(-1), "parts": None, "labels": labels}
    return replace(like, name="harmful", **changed)


def shifted(like: Domain, seed: int) -> Domain:
    """The images of ``like`` with masks moved to the right by a quarter of the width, as by a wrong scale.

    Learnable, and beside the object. ``seed`` is not used.

    Raises:
        InputError: ``like`` has classes, which have no place.
    """
    if like.classes:
        raise InputError("extra: shifted moves masks, and this data has classes; use shuffled or harmful")
    step = max(1, like.size[1] // 4)
    masks = F.pad(like.masks, (step, 0))[..., :-step]
    return replace(like, name="shifted", masks=masks, parts=None)


def shuffled(like: Domain, seed: int) -> Domain:
    """The images of ``like``, each with mask and class of another of its images, as after a wrong sort.

    The images are put into a random circle, and each takes what belongs to the next.

    Raises:
        InputError: there is no other image.
    """
    if len(like) < 2:
        raise InputError(f"extra: shuffled needs two images; source {like.name!r} has {len(like)}")
    circle = torch.randperm(len(like), generator=torch.Generator().manual_seed(seed))
    following = torch.empty_like(circle)
    following[circle] = circle.roll(-1)
    labels = None if like.labels is None else like.labels[following]
    return replace(like, name="shuffled", masks=like.masks[following], labels=labels, parts=None)


EXTRA = {"useless": useless, "harmful": harmful, "shifted": shifted, "shuffled": shuffled}


def spoiled(sources: tuple[Domain, ...], extra: str, seed: int) -> tuple[Domain, ...]:
    """``sources`` and after them the extra ones named in ``extra``, made from the first source.

    Raises:
        InputError: an unknown name, or one that is named twice.
    """
    names = extra.split()
    for name in names:
        if name not in EXTRA or names.count(name) > 1:
            raise InputError(
                f"extra={extra!r}: name each of {', '.join(EXTRA)} at most once, separated by spaces"
            )
    return (*sources, *(EXTRA[name](sources[0], seed) for name in names))


def left_out(sources: tuple, without: str | Sequence[str]) -> tuple:
    """``sources``, domains or their names, less those that ``without`` names, one or several.

    Raises:
        InputError: a name that no source has, or no source left.
    """
    names = (without,) if isinstance(without, str) and without else tuple(without)
    known = [getattr(source, "name", source) for source in sources]
    for name in names:
        if name not in known:
            raise InputError(
                f"without: no source is called {name!r}; there are {', '.join(known)} "
                "(commas separate several names)"
            )
    kept = tuple(source for source, name in zip(sources, known, strict=True) if name not in names)
    if known and not kept:
        raise InputError(f"without={','.join(names)!r} leaves no source; leave one in at least")
    return kept


def _smooth_noise(
    n: int, channels: int, height: int, width: int, cells: int, generator: torch.Generator
) -> Tensor:
    """Bilinear interpolation of ``cells``² random values, float (n, channels, height, width) in [0, 1]."""
    coarse = torch.rand(n, channels, cells, cells, generator=generator)
    return F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
