"""Leaks: one picture under two names, which a split would put on both sides.

Images of equal pixels are one picture, and refused. Images that look alike may be copies in another size or
quality, or two objects of one kind on one spot: they are named, and the user decides. Alike are two whose
means over 8×8 fields differ by at most 10 of 255 levels, whose finer detail (up to 32×32) correlates by
0.985, and whose masks, if both have one and not both are empty, overlap by half of the smaller one.

Measured on 60 photographs of about 800×600 and 54 renderings of 240×160, read at 64×96: found are JPEGs
down to quality 30, double and third sizes, halves of the photographs but not of the renderings, and most
copies in 256 colours. Of 1,536 renderings of cars before one backdrop no two cars are alike (the nearest:
12 levels, 0.95), of 400 photographs only known repeats. Crops and mirrored or recoloured copies are not
found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mstl.data.domain import Domain
from mstl.data.readers.listing import enumerated
from mstl.system.errors import InputError
from mstl.system.notes import note

LEVELS, DETAIL, OVERLAP = 10.0, 0.985, 0.5
COARSE, FINE = 8, 32
_ROWS = 256  # images at a time


def check_groups(domain: Domain, place: object, turntable: bool = False) -> None:
    """Say how many groups there are, and that no picture is in two of them.

    Args:
        domain: all of it, before any split.
        place: what messages call it.
        turntable: groups are cars by their file names, and cars of one kind may look alike.

    Raises:
        InputError: two groups share a picture that has a label.
    """
    groups = domain.groups
    names = sorted(set(groups.tolist()))
    each = "; each image is a group of its own" if len(names) == len(domain) else ""
    table = "" if turntable else "; groups.csv can name them"
    note(
        f"{place}: {len(domain)} images of {len(names)} groups ({enumerated(names)}){each}. A group is never "
        f"split{table}"
    )
    labelled = domain.has_label

    def leaks(i: int, j: int) -> bool:  # of two unlabelled images none is ever in the test
        return groups[i] != groups[j] and bool(labelled[i] or labelled[j])

    for i, j in equal(domain, domain):
        if leaks(i, j):
            together = "" if turntable else ", or give both one group in groups.csv"
            raise InputError(
                f"{place}: groups {groups[i]} and {groups[j]} share an image; keep it once{together}"
            )
    if turntable:
        return
    pairs = [(i, j) for i, j in alike(domain, domain) if leaks(i, j)]
    if pairs:
        _say(pairs, f"{place}: images of groups {groups[pairs[0][0]]} and {groups[pairs[0][1]]}")


def check_apart(sources: tuple[Domain, ...], target: Domain) -> None:
    """No picture is in a source and in the target, where its mask would be known in the test.

    Raises:
        InputError: one is.
    """
    for source in sources:
        if shared := sorted(set(source.groups.tolist()) & set(target.groups.tolist())):
            note(
                f"source {source.name!r} and the target both have groups called {enumerated(shared)}; "
                "if those are the same objects, keep each in one of them"
            )
        for i, j in equal(source, target):
            raise InputError(
                f"source {source.name!r} and the target share an image (group "
                f"{source.groups[i]} there, {target.groups[j]} here); keep it in one"
            )
        pairs = list(alike(source, target))
        if pairs:
            here, there = source.groups[pairs[0][0]], target.groups[pairs[0][1]]
            _say(pairs, f"an image of source {source.name!r} (group {here}) and one of the target ({there})")


def without(domain: Domain, others: Iterable[Domain]) -> Domain:
    """A domain without the texts that stand in others, too; says how many.

    Raises:
        InputError: nothing is left.
    """
    seen = {i for other in others for i, _ in equal(domain, other)}
    if not seen:
        return domain
    if len(seen) == len(domain):
        raise InputError(f"domain {domain.name!r}: every text stands in the test, too; nothing is left")
    note(
        f"{domain.name}: {len(seen)} of {len(domain)} texts stand in what they are tested on and are left out"
    )
    return domain.select([i for i in range(len(domain)) if i not in seen])


def _say(pairs: list[tuple[int, int]], first: str) -> None:
    more = f" and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    note(f"{first}{more} look alike; if they are copies in another size or quality, keep one of them")


def equal(one: Domain, other: Domain) -> Iterator[tuple[int, int]]:
    """Rows whose images are equal to the last pixel, and not blank; within one domain each pair once."""
    known: dict[bytes, list[int]] = {}
    for j in range(len(other)):
        known.setdefault(_content(other, j), []).append(j)
    for i in range(len(one)):
        content = _content(one, i)
        if len(set(content)) > 1:
            yield from ((i, j) for j in known.get(content, ()) if one is not other or i < j)


def _content(domain: Domain, row: int) -> bytes:
    return domain.images[row].cpu().numpy().tobytes()


class _Look(NamedTuple):
    """What two images are compared by, each: means, normalised detail, share of object, if known."""

    coarse: Tensor
    detail: Tensor
    object: Tensor
    known: np.ndarray


def alike(one: Domain, other: Domain) -> Iterator[tuple[int, int]]:
    """Rows whose images look alike, as the module says; within one domain each pair once."""
    left, right = _look(one), _look(other)
    for start in range(0, len(one), _ROWS):
        candidates = (left.detail[start : start + _ROWS] @ right.detail.T >= DETAIL).nonzero()
        for i, j in (candidates + torch.tensor([start, 0])).tolist():
            if one is other and i >= j:
                continue
            a, b = left.object[i], right.object[j]
            overlap, smaller = torch.minimum(a, b).sum(), torch.minimum(a.sum(), b.sum())
            unknown = not (left.known[i] and right.known[j])
            masks = unknown or a.sum() + b.sum() == 0 or overlap >= OVERLAP * smaller > 0
            if masks and (left.coarse[i] - right.coarse[j]).abs().max() <= LEVELS:
                yield i, j


def _look(domain: Domain) -> _Look:
    rows = []
    objects = domain.images.new_zeros(len(domain), 1, 1, 1) if domain.masks is None else domain.masks
    for images, masks in zip(domain.images.split(_ROWS), objects.split(_ROWS), strict=True):
        fine = adaptive_avg_pool2d(images.float(), FINE)
        coarse = adaptive_avg_pool2d(fine, COARSE)
        times = FINE // COARSE
        detail = (fine - coarse.repeat_interleave(times, 2).repeat_interleave(times, 3)).mean(1).flatten(1)
        detail = detail / detail.norm(dim=1, keepdim=True).clamp_min(1e-6)
        rows.append((coarse.flatten(1), detail, adaptive_avg_pool2d(masks.float(), FINE).flatten(1)))
    return _Look(*(torch.cat(part).cpu() for part in zip(*rows, strict=True)), domain.has_label)
