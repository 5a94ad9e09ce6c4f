"""The methods, by name. A new one is a file in this folder and a line in ``METHODS``."""

from __future__ import annotations

from dataclasses import replace

from mstl.methods.base import Hyperparameters, Method
from mstl.methods.consistency import Consistency
from mstl.methods.dann import DANN
from mstl.methods.dann_per_source import DANNPerSource
from mstl.methods.dctn import DCTN
from mstl.methods.hyperparameters import parse_overrides
from mstl.methods.m3sda import M3SDA
from mstl.methods.mdan import MDANHard, MDANSoft
from mstl.methods.mfsan import MFSAN
from mstl.methods.mstl import MSTL
from mstl.methods.mstl_plus import MSTLPlus
from mstl.methods.oracle import Oracle
from mstl.methods.pooled_ensemble import PooledEnsemble
from mstl.methods.source_combine import SourceCombine
from mstl.methods.source_only import SourceOnly
from mstl.methods.target_only import TargetOnly
from mstl.system.errors import InputError

METHODS: dict[str, type[Method]] = {
    "mstl": MSTL,
    "mstl_plus": MSTLPlus,
    "target_only": TargetOnly,
    "source_combine": SourceCombine,
    "source_only": SourceOnly,
    "pooled_ensemble": PooledEnsemble,
    "m3sda": M3SDA,
    "mfsan": MFSAN,
    "consistency": Consistency,
    "oracle": Oracle,
    "dann": DANN,
    "dann_per_source": DANNPerSource,
    "mdan_hard": MDANHard,
    "mdan_soft": MDANSoft,
    "dctn": DCTN,
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
