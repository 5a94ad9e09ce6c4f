"""Oracle: the upper reference, every target training image labelled."""

from __future__ import annotations

from mstl.methods.target_only import TargetOnly


class Oracle(TargetOnly):
    """`TargetOnly` on the masks of *all* target training images, which no transfer method may see."""

    all_labels = True
