"""Chance from hashes: the same on every machine and with every version of every library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def chance(*key: object) -> float:
    """A number in [0, 1) that depends on ``key`` alone, uniform over keys."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def shuffled(names: Iterable[str], *key: object) -> list[str]:
    """``names`` in an order that depends on ``key`` alone; removing one leaves the order of the others."""
    return sorted(names, key=lambda name: (chance(*key, name), name))
