"""The systems of the reading list, side by side: what each of them needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mstl.methods.catalogue import described
from mstl.system.errors import InputError

NO, CAN, MUST = range(3)
COLUMNS = (
    "source\nimages",
    "source\nlabels",
    "trained\nsource network",
    "generator\nof the source",
    "several sources,\nkept apart",
    "target\nlabels",
    "unlabelled\ntarget images",
    "other classes\nin the target",
)
NAMES = tuple(column.replace("\n", " ") for column in COLUMNS)


@dataclass(frozen=True)
class System:
    """One system, as it stands in this book.

    Attributes:
        title: what its paper calls it.
        methods: in the catalogue, the paper's own first.
        needs: of every one of `COLUMNS`, `NO`, `CAN` (it uses them, or allows for them) or `MUST`.
    """

    title: str
    methods: tuple[str, ...]
    needs: tuple[int, ...]


SYSTEMS = (
    System("MSTL", ("mstl", "mstl_plus"), (MUST, MUST, NO, NO, CAN, CAN, MUST, NO)),
    System("SAN", ("san",), (MUST, MUST, NO, NO, NO, CAN, MUST, NO)),
    System("IWAN", ("iwan",), (MUST, MUST, NO, NO, NO, CAN, MUST, NO)),
    System("JAN", ("jan",), (MUST, MUST, NO, NO, NO, CAN, MUST, NO)),
    System("DDTL", ("ddtl",), (MUST, MUST, NO, NO, NO, MUST, NO, CAN)),
    System("GLoMo", ("glomo",), (CAN, NO, NO, NO, NO, MUST, CAN, CAN)),
    System("AFA", ("afa",), (NO, NO, MUST, NO, NO, MUST, NO, CAN)),
    System("AMCF", ("amcf",), (NO, NO, MUST, NO, CAN, MUST, NO, CAN)),
    System("PP + P-SSL", ("pp_pssl",), (NO, NO, MUST, MUST, NO, MUST, NO, CAN)),
)


def possible(have: Collection[str]) -> list[str]:
    """Titles of the systems that need nothing else than ``have``, some of `NAMES`.

    Raises:
        InputError: something that is no need.
    """
    if unknown := sorted(set(have) - set(NAMES)):
        raise InputError(f"have: {', '.join(unknown)} is unknown; choose from {', '.join(NAMES)}")
    given = [name in have for name in NAMES]
    return [
        system.title
        for system in SYSTEMS
        if all(there or need != MUST for there, need in zip(given, system.needs, strict=True))
    ]


def needs() -> Figure:
    """A row for each system, a column for what it needs: full, must be there; open, may be there."""
    figure, ax = plt.subplots(figsize=(10, 0.42 * len(SYSTEMS) + 1.6))
    for y, system in enumerate(SYSTEMS):
        colour = described(system.methods[0]).colour
        for x, need in enumerate(system.needs):
            face = colour if need == MUST else "none"
            if need != NO:
                ax.plot(x, y, "o", ms=13, mec=colour, mfc=face, mew=1.8)
    ax.set_xticks(range(len(COLUMNS)), COLUMNS)
    ax.set_yticks(range(len(SYSTEMS)), [system.title for system in SYSTEMS])
    ax.set(xlim=(-0.5, len(COLUMNS) - 0.5), ylim=(len(SYSTEMS) - 0.5, -0.5))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(axis="x", visible=False)
    return figure
