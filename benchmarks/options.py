"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse


def options(
    doc: str, rounds: int | None = None, quick: str = "one round, to see that all works"
) -> argparse.ArgumentParser:
    """A parser with the script's own description, ``--quick``, and ``--rounds`` where turns are taken.

    Args:
        doc: the script's docstring.
        rounds: default number of turns of each work; None for a script without turns.
        quick: what ``--quick`` does.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="turns of each work")
    return parser
