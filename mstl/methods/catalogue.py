"""The one catalogue of methods: what each is called, how it is drawn, what it can do. It needs no torch.

A new method is a file and a line here. A method of one's own, outside the package, is entered by `register`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mstl.system.errors import InputError

ROLES = ("reference", "rival", "ours")
MASKS, CLASSES = ("segmentation",), ("classification",)


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        name: on the command line, in folders and in tables.
        kind: name of its class.
        title: in tables and figures.
        colour: in every figure, ``#rrggbb``.
        marker: of matplotlib, in every figure; for many-cornered ones (corners, style, angle).
        role: ``reference`` (no transfer, or none that is more than pooling), ``rival`` or ``ours``.
        module: that holds the class; empty is the file of this folder that is called like the method.
        needs_labels: whether it learns nothing without labelled target images.
        problems: what it can be trained for.
        reads: of images, feature vectors and words those that it can be fed.
    """

    name: str
    kind: str
    title: str
    colour: str = "#CC79A7"
    marker: str | tuple[int, int, int] = "o"
    role: str = "rival"
    module: str = ""
    needs_labels: bool = False
    problems: tuple[str, ...] = ("segmentation", "classification")
    reads: tuple[str, ...] = ("images", "vectors")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]\w*", self.name):
            raise InputError(f"method {self.name!r}: a name is lower-case letters, digits and underscores")
        if self.role not in ROLES:
            raise InputError(f"role {self.role!r} of method {self.name}: choose from {', '.join(ROLES)}")

    @property
    def location(self) -> str:
        """The module to import."""
        return self.module or f"mstl.methods.{self.name}"


# In the order of tables and legends: references from below, rivals, ours, and the reference from above.
# References are grey and amber, rivals amber to brown, fine-tuning green, ours blue (Okabe and Ito).
METHODS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("target_only", "TargetOnly", "target only", "#555555", "s", "reference", needs_labels=True),
        Entry("source_only", "SourceOnly", "source only", "#9a9a9a", "x", "reference"),
        Entry("source_combine", "SourceCombine", "source combine", "#E69F00", "o", "reference"),
        Entry("pooled_ensemble", "PooledEnsemble", "pooled ensemble", "#a87900", "P", "reference"),
        Entry("multi_head", "MultiHead", "multi-head", "#FFC20A", "+", "reference", problems=MASKS),
        Entry(
            "positive_unlabelled", "PositiveUnlabelled", "nnPU", "#b39b7d", "1", "reference", problems=MASKS
        ),
        Entry("dann", "DANN", "DANN", "#D55E00", "^"),
        Entry("dann_per_source", "DANNPerSource", "DANN per source", "#f2a26b", "v"),
        Entry("mdan_hard", "MDANHard", "MDAN hard", "#8c2d04", "<", module="mstl.methods.mdan"),
        Entry("mdan_soft", "MDANSoft", "MDAN soft", "#c98b6b", ">", module="mstl.methods.mdan"),
        Entry("m3sda", "M3SDA", "M3SDA", "#7a5c00", "8"),
        Entry("mfsan", "MFSAN", "MFSAN", "#e8743b", "p"),
        Entry("dctn", "DCTN", "DCTN", "#5c3317", "d"),
        Entry("dan", "DAN", "DAN", "#b8860b", "h", problems=CLASSES),
        Entry("jan", "JAN", "JAN", "#cd6600", (4, 1, 0), problems=CLASSES),
        Entry("jan_a", "JANA", "JAN-A", "#8b4513", (4, 1, 45), module="mstl.methods.jan", problems=CLASSES),
        Entry("san", "SAN", "SAN", "#c1440e", (6, 1, 0), problems=CLASSES),
        Entry("pada", "PADA", "PADA", "#ff8c69", (3, 1, 0), problems=CLASSES),
        Entry("iwan", "IWAN", "IWAN", "#a0522d", (3, 1, 180), problems=CLASSES),
        Entry("fine_tuning", "FineTuning", "L2", "#7fa37f", "2", needs_labels=True, problems=CLASSES),
        Entry("l2_sp", "L2SP", "L2-SP", "#5b8c5a", "3", needs_labels=True, problems=CLASSES),
        Entry("feature_map", "FeatureMap", "fea-map", "#3f7f5f", "4", needs_labels=True, problems=CLASSES),
        Entry("delta", "DELTA", "DELTA", "#2e6e4e", (5, 0, 180), needs_labels=True, problems=CLASSES),
        Entry("afa", "AFA", "AFA", "#0b5d3b", (8, 1, 0), needs_labels=True, problems=CLASSES),
        Entry("amcf", "AMCF", "AMCF", "#009E73", (7, 0, 0), needs_labels=True, problems=CLASSES),
        Entry("cvae", "CVAE", "CVAE", "#7d7d7d", (5, 2, 0), "reference", problems=CLASSES, reads=("images",)),
        Entry(
            "distillation",
            "Distillation",
            "distillation",
            "#9467bd",
            "|",
            needs_labels=True,
            problems=CLASSES,
            reads=("images",),
        ),
        Entry(
            "pp_pssl",
            "PPPSSL",
            "PP + P-SSL",
            "#6a3d9a",
            (7, 1, 0),
            needs_labels=True,
            problems=CLASSES,
            reads=("images",),
        ),
        Entry(
            "glomo",
            "GLoMo",
            "GLoMo",
            "#17becf",
            (6, 2, 0),
            needs_labels=True,
            problems=CLASSES,
            reads=("images", "words"),
        ),
        Entry("ddtl", "DDTL", "DDTL", "#e377c2", (10, 1, 0), needs_labels=True, problems=CLASSES),
        Entry("consistency", "Consistency", "model consistency", "#d4b25e", "H"),
        Entry("mstl", "MSTL", "MSTL", "#56B4E9", "X", "ours"),
        Entry("mstl_plus", "MSTLPlus", "MSTL-plus", "#0072B2", "*", "ours"),
        Entry("oracle", "Oracle", "oracle", "#111111", "D", "reference"),
    )
}


def register(entry: Entry) -> None:
    """Enter a method of one's own, for as long as this process lives; before the oracle, which ends tables.

    Raises:
        InputError: another method has that name.
    """
    known = METHODS.get(entry.name, entry)
    if (known.location, known.kind) != (entry.location, entry.kind):
        raise InputError(
            f"method {entry.name} exists already ({known.location}.{known.kind}); choose another name"
        )
    last = METHODS.pop("oracle")
    METHODS.update({entry.name: entry, last.name: last})


def entry(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        InputError: no such method; the message lists those there are.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise InputError(f"method {name!r} is unknown; choose from {', '.join(METHODS)}")
    return METHODS[name]


def described(name: str) -> Entry:
    """The entry called ``name``, or a plain one: a table may hold methods that are not registered here."""
    return METHODS.get(name) or Entry("unknown", "", name.replace("_", " "))


def check(name: str, labelled: bool = True, problem: str = "segmentation", reads: str = "") -> Entry:
    """The entry called ``name``, of which that is asked which it can do.

    Raises:
        InputError: no such method, no labels where it needs them, a problem it does not have, or inputs that
            it does not read.
    """
    found = entry(name)
    if problem not in found.problems:
        can = ", ".join(found.problems)
        raise InputError(f"method {name} does no {problem}; it does {can}, so choose another method")
    if found.needs_labels and not labelled:
        raise InputError(f"method {name} learns from labelled target images alone: labels must be ≥ 1")
    if reads and reads not in found.reads:
        raise InputError(
            f"method {name} reads {' and '.join(found.reads)}, and these are {reads}; choose another method"
        )
    return found
