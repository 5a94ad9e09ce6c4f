"""What a variant is called beside the others of its method: a protocol's own settings need no mention."""

from __future__ import annotations

from collections.abc import Collection

from mstl.methods.catalogue import described
from mstl.report.results import method_label
from mstl.run.names import Variant


def plain(variants: Collection[str]) -> dict[str, str]:
    """By method the variant with the fewest changes, whose settings are those of the protocol.

    A method of which two have the fewest has none.
    """
    found: dict[str, list[Variant]] = {}
    for variant in map(Variant.parse, sorted(set(variants))):
        found.setdefault(variant.method, []).append(variant)
    fewest = {
        method: [v for v in every if len(v.changes) == min(len(o.changes) for o in every)]
        for method, every in found.items()
    }
    return {method: str(few[0]) for method, few in fewest.items() if len(few) == 1}


def labels(variants: Collection[str]) -> dict[str, str]:
    """What tables call each variant: its method, and what it changes about the plain variant of it."""
    base = {method: set(Variant.parse(name).changes) for method, name in plain(variants).items()}
    return {name: _label(Variant.parse(name), base) for name in variants}


def _label(variant: Variant, base: dict[str, set[str]]) -> str:
    common = base.get(variant.method, set())
    if not common <= set(variant.changes):
        return method_label(str(variant))
    return " + ".join([described(variant.method).title, *(c for c in variant.changes if c not in common)])
