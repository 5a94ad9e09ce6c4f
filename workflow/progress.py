"""How far the tasks are and how long they will take: one line, written anew, or in a log now and then."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from statistics import mean

from plan import Job, Task, entries

EVERY = 30.0  # seconds between lines in a log


class Progress:
    """Reads what the workers of ``pending`` tasks write down and reports it; ``what``: the jobs are."""

    def __init__(self, tasks: Iterable[Task], pending: Iterable[Task], workers: int, what: str) -> None:
        self.workers, self.what = max(1, workers), what
        self.failures: list[tuple[str, str, Path]] = []  # name, error and log of a job
        self.pending = list(pending)
        self.logs = {task.file(".jsonl"): task.file(".log") for task in self.pending}
        self.offsets = dict.fromkeys(self.logs, 0)
        self.jobs = {job.name: job for task in tasks for job in task.jobs}
        # Neither finished nor failed; a pending task may have runs that are kept, a page is made anew.
        self.open = {
            job.name for task in self.pending for job in task.jobs if job.notebook or not job.finished()
        }
        self.begun: dict[str, Job] = {}
        self.seconds: list[float] = []
        self.started = self.spoke = time.monotonic()
        self.rewrites = sys.stdout.isatty()
        print(self.line(), flush=True)

    @property
    def done(self) -> int:
        """Jobs that are finished or have failed."""
        return len(self.jobs) - len(self.open)

    def update(self, last: bool = False) -> None:
        """Read what is new; report it now and then, and at last."""
        for path in self.logs:
            self._read(path)
        steps = {name: _last_step(job) for name, job in self.begun.items()}
        line = self.line() + "".join(f"; {name}{f' at step {s}' if s else ''}" for name, s in steps.items())
        if self.rewrites:
            print(f"\r\033[K{line[:200]}", end="\n" if last else "", flush=True)
        elif last or time.monotonic() - self.spoke >= EVERY:
            self.spoke = time.monotonic()
            print(line, flush=True)

    def line(self) -> str:
        """Jobs done, failed, time elapsed and left."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        elapsed, left = timedelta(seconds=round(time.monotonic() - self.started)), self.left()
        after, clock = f", about {left} left" if left else "", time.strftime("[%H:%M:%S]")
        return f"{clock} {self.done} of {len(self.jobs)} {self.what}{failed}, {elapsed}{after}"

    def left(self) -> timedelta | None:
        """The mean of what was done so far, for every open job, shared by the workers; None at first."""
        rounds = len(self.open) / min(self.workers, max(1, len(self.open)))
        return timedelta(seconds=round(mean(self.seconds) * rounds)) if self.seconds else None

    def _read(self, path: Path) -> None:
        text = ""
        with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
            file.seek(self.offsets[path])
            text = file.read()
        whole = text[: text.rfind("\n") + 1]  # a line may be half written
        self.offsets[path] += len(whole.encode())
        for entry in entries(whole):
            name, status = entry["job"], entry["status"]
            if status == "begun":
                self.begun[name] = self.jobs[name]
                if any(name == failed for failed, *_ in self.failures):  # killed, and tried again
                    self.failures = [failure for failure in self.failures if failure[0] != name]
                    self.open.add(name)
                continue
            self.begun.pop(name, None)
            self.open.discard(name)
            if status == "done":
                self.seconds.append(entry["seconds"])
            elif status == "failed":
                self.failures.append((name, entry["error"], self.logs[path]))
                print(f"{name}: FAILED: {entry['error']}", file=sys.stderr, flush=True)


def _last_step(job: Job) -> int | None:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        lines = (job.config.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["step"])
    return None
