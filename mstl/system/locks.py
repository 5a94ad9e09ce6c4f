"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mstl.system.errors import InputError
from mstl.system.files import explained


@contextlib.contextmanager
def only_one(path: Path, wait: bool = True) -> Iterator[IO[str]]:
    """An open file that one process holds at a time; a child that inherits it holds it, too.

    Where nothing can be locked (Windows, some network file systems) everybody holds it, and a line says so.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except (ImportError, OSError) as error:
            print(
                f"warning: {path} cannot be locked here ({error}); start nothing else that writes there",
                file=sys.stderr,
                flush=True,
            )
        yield file


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else trains in ``folder`` meanwhile.

    Raises:
        InputError: another process does, or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            with explained(folder):
                stack.enter_context(only_one(folder / ".training.lock", wait=False))
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process is training this run; wait for it, or choose another out"
            ) from None
        yield
