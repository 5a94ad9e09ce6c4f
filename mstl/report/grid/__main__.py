"""``python -m mstl.report.grid``: the masks of the strip, from the runs of ``make sweep SWEEP=strip``."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from mstl.report.grid.strip import FOLDER, write
from mstl.system.errors import InputError


def main(runs: str = "runs-grid", out: Path = Path(FOLDER)) -> None:
    """Write OUT/studio/masks.npz and parts.npz.

    Args:
        runs: folder of the runs.
        out: folder of the sweep's tables.
    """
    try:
        print(*write(runs, out), sep="\n")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    tyro.cli(main)
