"""``python -m mstl.report.family``: which words of our sentences a run of GLoMo links."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from mstl.report.family.sentences import links
from mstl.system.errors import InputError


def main(run: Path, out: Path = Path("results/relations/sentiment")) -> None:
    """Write OUT/sentences.csv from a finished run of glomo on texts.

    Args:
        run: folder of the run.
        out: folder of the table.
    """
    try:
        table = links(run)
    except InputError as error:
        sys.exit(f"error: {error}")
    out.mkdir(parents=True, exist_ok=True)
    table.round({"weight": 4}).to_csv(out / "sentences.csv", index=False, lineterminator="\n")
    print(out / "sentences.csv")


if __name__ == "__main__":
    tyro.cli(main)
