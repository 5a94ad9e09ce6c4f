"""Notes: what a reader did that its user may not expect, in one line on standard error."""

from __future__ import annotations

import sys

from mstl.system.errors import one_line


def note(text: str) -> None:
    """Say ``text`` in one line."""
    print(one_line(f"note: {text}"), file=sys.stderr, flush=True)
