"""SIGINT and SIGTERM while training: the step ends and a checkpoint is written before the process leaves."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

RESUMES = "came; the same command goes on from the last checkpoint"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to leave.

    Args:
        number: of the signal.
        message: what became of the run, for one line that begins with the signal's name.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"{signal.Signals(number).name} {message}")
        self.number, self.message = number, message

    @property
    def status(self) -> int:
        """Exit status by the shell's convention, 130 for SIGINT and 143 for SIGTERM."""
        return 128 + self.number


@contextlib.contextmanager
def postponed() -> Iterator[Callable[[], int]]:
    """Note the first SIGINT or SIGTERM instead of obeying it; the function given says which came, 0 for none.

    The second one does what it would have done without us, and so does every one after the block. A signal
    that the process ignores stays ignored. Outside the main thread, which alone may do so, nothing changes.
    """
    came: list[int] = []
    before: dict[int, Callable[[int, FrameType | None], object] | int] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        # None is a handler that Python did not install and could not put back.
        before = {n: handler for n, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
        for number in before:
            signal.signal(number, note)
    try:
        yield lambda: came[0] if came else 0
    finally:
        restore()


def leave_cleanly_on_sigterm() -> None:
    """Let SIGTERM end the process as an exception does, with its temporary files removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, RESUMES)

    signal.signal(signal.SIGTERM, leave)


def obey_signals() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt, so that a process with children can stop them in order.

    Started in the background by a shell, a process ignores SIGINT unless it says otherwise.
    """
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
