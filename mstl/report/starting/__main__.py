"""``python -m mstl.report.starting``: what frozen features tell, of photographs in folders of classes."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from mstl.report.starting.features import ENCODER, frozen_features
from mstl.system.errors import InputError


def main(
    data_dir: Path,
    out: Path = Path("results/starting/classes"),
    encoder: str = ENCODER,
    weights: str = "imagenet",
    weights_dir: str = ".",
) -> None:
    """Write OUT/features.csv: a logistic regression on frozen features, from every domain to every other.

    Args:
        data_dir: folders of classes by domain, such as Office-Caltech10's.
        out: folder of the table.
        encoder: of timm's; auto is that of the weights.
        weights: imagenet, or a folder.
        weights_dir: where that folder lies.
    """
    try:
        print(frozen_features(data_dir, out, encoder, weights, weights_dir))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    tyro.cli(main)
