"""Data that come as several domains of the same classes, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mstl.data.augment import Augment
from mstl.data.domain import Domain
from mstl.data.readers import class_folders, digits, features, texts


class Parts(NamedTuple):
    """One domain as it is brought.

    Attributes:
        train: what may be trained on, or all there is.
        test: where the data bring a split of their own; else None.
    """

    train: Domain
    test: Domain | None = None


@dataclass(frozen=True)
class Collection:
    """A set of domains.

    Attributes:
        names: the domains there are in a folder, in order.
        read: a domain from its name, the folder, the cache folder and the working size.
        size: height and width of all images, whatever size is asked for; None where they are as asked for.
        augment: how far images may be varied and keep their class.
        embedded: the domains that are at hand and need no folder; where there are any, they are the sources
            that a recipe does not name.
        alone: whether targets have no source: each is learned from by itself, and from what has no labels.
        own: whether a user brings the domains, so that nothing is known of leaks between them.
        unlabelled: what has no labels, from the folder: bridges of every task.
    """

    names: Callable[[Path | None], tuple[str, ...]]
    read: Callable[[str, Path | None, Path, tuple[int, int]], Parts]
    size: tuple[int, int] | None = None
    augment: Augment = field(default_factory=Augment.none)
    embedded: tuple[str, ...] = ()
    alone: bool = False
    own: bool = False
    unlabelled: Callable[[Path | None], Domain | None] = lambda place: None


COLLECTIONS: dict[str, Collection] = {
    "amazon": Collection(
        features.amazon_names, lambda name, place, *_: Parts(*features.amazon(name, place)), (1, 1)
    ),
    "surf": Collection(
        features.surf_names, lambda name, place, *_: Parts(features.surf(name, place)), (1, 1)
    ),
    "sentiment": Collection(
        texts.names,
        lambda name, place, *_: Parts(*texts.read(name, place)),
        (1, 1),
        unlabelled=texts.unlabelled,
    ),
    "questions": Collection(
        texts.question_names,
        lambda name, place, *_: Parts(*texts.questions(place)),
        (1, 1),
        alone=True,
        unlabelled=lambda place: texts.unlabelled(place, texts.ASKED),
    ),
    "digits": Collection(
        digits.names,
        lambda name, place, cache, _: Parts(*digits.read(name, place, cache)),
        (digits.SIDE, digits.SIDE),
        embedded=digits.EMBEDDED,
    ),
    **{
        f"digits-{name}": Collection(
            digits.names,
            lambda name, place, cache, _, digits_kept=kept: Parts(
                *digits.some(digits.read(name, place, cache), digits_kept)
            ),
            (digits.SIDE, digits.SIDE),
            embedded=digits.EMBEDDED,
        )
        for name, kept in digits.HALVES.items()
    },
    "classes": Collection(
        class_folders.names,
        lambda *asked: Parts(class_folders.read(*asked)),
        augment=Augment(),
        own=True,
    ),
}
