"""A process that has children of its own: asked to stop, it stops with all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

PATIENCE = 60.0  # seconds for the processes of a group to stop before they are killed


def obey_signals() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt, so that what is at work can be stopped in order.

    Started in the background by a shell, a process ignores SIGINT unless it says otherwise.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def stop(process: subprocess.Popen) -> None:
    """Ask a process and its whole group, which it leads, to stop, and wait until the last of them has."""
    until = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while True:
            process.poll()  # lets the system forget it, so that the group can become empty
            time.sleep(0.1)
            late = time.monotonic() > until
            os.killpg(process.pid, signal.SIGKILL if late else 0)
