"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
EVERY = 30.0  # seconds after which long work says in a log that it is alive


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


class Progress:
    """Context manager around ``total`` steps; in a log it prints about ten lines, and one every half minute.

    Args:
        label: what is being done.
        total: number of steps.
        done: steps already done by an earlier, interrupted call.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.bar = tqdm(total=total, initial=done, desc=label, leave=False) if sys.stderr.isatty() else None
        self.started, self.first, self.printed = time.perf_counter(), done, done
        self.spoke = self.started

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int, **values: float) -> None:
        """Say that ``done`` steps are done; ``values`` are shown beside."""
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
            self.bar.update(done - self.bar.n)
        elif done == self.total or done - self.printed >= self.total / 10 or self._silent():
            elapsed = time.perf_counter() - self.started
            left = elapsed / max(done - self.first, 1) * (self.total - done)
            shown = "".join(f"  {name} {value:.3f}" for name, value in values.items())
            print(f"{self.label}: {done}/{self.total}{shown}  {elapsed:.0f} s, {left:.0f} s left", flush=True)
            self.printed, self.spoke = done, time.perf_counter()
        self.done = done

    def due(self) -> bool:
        """Whether a log has heard nothing for half a minute; a terminal's bar is up to date by itself."""
        return self.bar is None and self._silent()

    def _silent(self) -> bool:
        return time.perf_counter() - self.spoke >= EVERY

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
