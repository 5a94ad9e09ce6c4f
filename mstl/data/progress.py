"""Progress that suits where it is read: a bar on a terminal, a few plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str, every: float = 5.0) -> Iterator[T]:
    """``items``, reported to standard error while they pass; in a log one line each ``every`` seconds."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    spoke = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - spoke >= every:
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)
            spoke = time.monotonic()
        yield item
