"""The methods, by name. A new one is a file in this folder and a line in ``METHODS``."""

from __future__ import annotations

from dataclasses import replace

from mstl.errors import InputError
from mstl.methods.base import Hyperparameters, Method, parse_overrides
from mstl.methods.mstl import MSTL
from mstl.methods.oracle import Oracle
from mstl.methods.source_combine import SourceCombine
from mstl.methods.target_only import TargetOnly

METHODS: dict[str, type[Method]] = {
    "mstl": MSTL,
    "target_only": TargetOnly,
    "source_combine": SourceCombine,
    "oracle": Oracle,
}


def find(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        InputError: no such method; the message lists those there are.
    """
    if name not in METHODS:
        raise InputError(f"method {name!r} is unknown; choose from {', '.join(METHODS)}")
    return METHODS[name]


def build(name: str, sources: int, labelled: bool, overrides: str = "", **defaults: object) -> Method:
    """A fresh method with its hyper-parameters: its own defaults, then ``defaults``, then ``overrides``."""
    kind = find(name)
    options = parse_overrides(overrides, kind.Hyperparameters)
    hyper = replace(kind.Hyperparameters(), **{**defaults, **options})
    return kind(hyper, sources, labelled)


__all__ = ["METHODS", "Hyperparameters", "Method", "build", "find", "parse_overrides"]
