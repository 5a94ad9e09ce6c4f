"""Distant pairs: two classes of the source, two others of the target, and all the rest as unlabelled bridges.

Recipe ``distant.<source>.<a>.<b>-to-<target>.<c>.<d>``, of the domains and classes of a collection. b and d
may be one class, what is neither a nor c, as the paper's negative images are for source and target. If they
are two, nothing says which class of the source goes with which of the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mstl.data.collections import Parts
from mstl.data.domain import Domain
from mstl.system.errors import InputError

DISTANT = re.compile(
    r"distant\.(?P<source>[^.]+)\.(?P<a>[^.]+)\.(?P<b>[^.]+)-to-"
    r"(?P<target>[^.]+)\.(?P<c>[^.]+)\.(?P<d>[^.]+)"
)
NAMES = ("first", "second")  # of the classes: what they are is another thing in source and target


def distant(recipe: str, read: Callable[[str], Parts]) -> tuple[Domain, Parts, Domain] | None:
    """Source, target and bridges of a distant recipe; None of another one.

    Args:
        recipe: as above.
        read: a domain by its name.

    Raises:
        InputError: a class that its domain does not have, one that stands on both sides, or no class left
            over for bridges.
    """
    found = DISTANT.fullmatch(recipe)
    if not found:
        return None
    source, target = read(found["source"]), read(found["target"])
    pairs = {"source": (source, found["a"], found["b"]), "target": (target, found["c"], found["d"])}
    for side, (parts, *names) in pairs.items():
        for name in names:
            if name not in parts.train.classes:
                raise InputError(
                    f"recipe {recipe!r}: the {side} has no class {name!r}; it has "
                    f"{', '.join(parts.train.classes)}"
                )
    named = [found[letter] for letter in "abcd"]
    if len(set(named)) < 4 - (found["b"] == found["d"]):
        raise InputError(
            f"recipe {recipe!r}: a distant pair has four classes, each named once, or three: the second of "
            "the source may be the second of the target"
        )
    if found["b"] == found["d"] and found["source"] == found["target"]:
        raise InputError(
            f"recipe {recipe!r}: source and target are one domain, whose images of {found['b']!r} "
            "would be in both; name a class of its own for each, or another source"
        )
    left = [name for name in source.train.classes if name not in named]
    if not left:
        raise InputError(f"recipe {recipe!r} leaves no class for bridges; choose data with more than four")
    pools = [source.train] if found["source"] == found["target"] else [source.train, target.train]
    bridges = [rows for pool in pools if (rows := _of(pool, left)) is not None]
    pool = bridges[0] if len(bridges) == 1 else bridges[0].join(bridges[1], "bridges")
    labels = pool.labels * 0  # of a class they have none: what stands here nobody reads
    pool = replace(pool, name="bridges", labels=labels, classes=NAMES)
    one, other = (Parts(*(part and _pair(part, names) for part in parts)) for parts, *names in pairs.values())
    return one.train, other, pool


def _of(domain: Domain, names: list[str]) -> Domain | None:
    rows = np.flatnonzero(np.isin(domain.labels.numpy(), [domain.classes.index(n) for n in names]))
    return domain.select(rows) if len(rows) else None


def _pair(domain: Domain, names: list[str]) -> Domain:
    """The two classes, called `NAMES`.

    Raises:
        InputError: the domain has no image of them.
    """
    made = _of(domain, names)
    if made is None:
        raise InputError(f"domain {domain.name!r} has no image of {' or '.join(names)}; choose other classes")
    second = made.labels == domain.classes.index(names[1])
    return replace(made, labels=second.to(made.labels.dtype), classes=NAMES)
