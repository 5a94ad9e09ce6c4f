"""Partial transfer: the target keeps some of the classes, and the sources have all.

Recipe ``partial-<recipe>`` keeps half of them, ``partial4-<recipe>`` four, drawn by the seed; ``keep`` names
them. What a method predicts are all classes of the sources: which of them the target has it is not told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mstl.data.chance import shuffled
from mstl.data.domain import Domain
from mstl.system.errors import InputError

PARTIAL = re.compile(r"partial(?P<number>[0-9]*)-(?P<recipe>.+)")


def plain(recipe: str) -> str:
    """The recipe of which that one is partial, or itself."""
    found = PARTIAL.fullmatch(recipe)
    return found["recipe"] if found else recipe


def kept(target: Domain, recipe: str, keep: str | Sequence[str], seed: int) -> tuple[str, ...] | None:
    """Names of the classes that the target keeps, in order; None where it keeps what it has.

    Args:
        target: all of it.
        recipe: whether it is partial, and of how many classes.
        keep: names, one or several; none leaves the choice to recipe and seed.
        seed: of the choice.

    Raises:
        InputError: the target has no classes, not one that is named, images whose class nobody knows, or it
            would keep none or all; classes are named and counted.
    """
    names = (keep,) if isinstance(keep, str) and keep else tuple(keep)
    found = PARTIAL.fullmatch(recipe)
    if not found and not names:
        return None
    if not target.classes:
        raise InputError(
            f"recipe {recipe!r}{' with keep' if names else ''}: images of {target.name!r} have masks and no "
            "classes of which the target could keep some; choose data with classes"
        )
    if target.known is not None:
        raise InputError(
            f"recipe {recipe!r}{' with keep' if names else ''}: nobody knows the class of "
            f"{int((target.known == 0).sum())} images of the target, which may be one that it does not keep; "
            "move these images out"
        )
    has = [target.classes[k] for k in sorted(set(target.labels.tolist()))]
    if names:
        if found and found["number"]:
            raise InputError(
                f"recipe {recipe!r} and keep={','.join(names)!r} both say what the target keeps; give one"
            )
        for name in names:
            if name not in has or names.count(name) > 1:
                raise InputError(
                    f"keep={','.join(names)!r}: name each class of the target at most once, separated by "
                    f"commas; it has {', '.join(has)}"
                )
    else:
        number = int(found["number"] or len(has) // 2)
        names = shuffled(has, seed, "keep")[:number]
    if not 0 < len(names) < len(has):
        share = "all" if names else "none"
        raise InputError(
            f"recipe {recipe!r}: the target would keep {share} of its {len(has)} classes; it must keep 1 to "
            f"{len(has) - 1}" + (f", else choose recipe {plain(recipe)!r} without keep" if names else "")
        )
    return tuple(name for name in has if name in names)


def rows_of(domain: Domain, classes: Sequence[str] | None) -> np.ndarray:
    """Which rows of a domain show one of ``classes``, bool (n,); all where that is None."""
    if classes is None:
        return np.ones(len(domain), bool)
    return np.isin(domain.labels.numpy(), [domain.classes.index(name) for name in classes])
