"""How far the tasks are and how long they will take: one line, written anew, or in a log now and then."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from plan import Job, Task

EVERY = 30.0  # seconds between lines in a log


class Failure(NamedTuple):
    """A job that did not finish, what its exception says, and where the rest is written."""

    name: str
    error: str
    log: Path


class Progress:
    """Reads what the workers write down and reports it.

    Args:
        tasks: all of them.
        pending: those that are not finished.
        workers: tasks at the same time.
        what: the jobs are.
    """

    def __init__(self, tasks: Iterable[Task], pending: Iterable[Task], workers: int, what: str) -> None:
        self.workers, self.what, self.failures = max(1, workers), what, []
        self.records = {task.file(".jsonl"): task.file(".log") for task in pending}
        self.offsets = dict.fromkeys(self.records, 0)
        self.jobs = {job.name: job for task in tasks for job in task.jobs}
        self.open, self.begun = {job.name for task in pending for job in task.jobs}, dict[str, Job]()
        self.seconds: dict[str, list[float]] = {}
        for job in self.jobs.values():
            if job.config and job.finished():
                manifest = json.loads((job.config.folder / "manifest.json").read_text(encoding="utf-8"))
                self._took(job.kind, manifest["seconds_training"] + manifest["seconds_evaluation"])
        self.started = self.spoke = time.monotonic()
        self.rewrites = sys.stdout.isatty()
        print(self.line(), flush=True)

    @property
    def done(self) -> int:
        """Jobs that are finished or have failed."""
        return len(self.jobs) - len(self.open)

    def update(self) -> None:
        """Read what is new; report it now and then."""
        for path in self.records:
            self._read(path)
        steps = {name: _last_step(job) for name, job in self.begun.items()}
        line = self.line() + "".join(
            f"; {name}" + (f" at step {s}" if s else "") for name, s in steps.items()
        )
        if self.rewrites:
            print(f"\r\033[K{line[:200]}", end="", flush=True)
        elif time.monotonic() - self.spoke >= EVERY:
            self.spoke = time.monotonic()
            print(line, flush=True)

    def close(self) -> None:
        """Read and say the last state."""
        for path in self.records:
            self._read(path)
        print(("\r\033[K" if self.rewrites else "") + self.line(), flush=True)

    def line(self) -> str:
        """Jobs done, failed, time elapsed and left."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        elapsed, left = duration(time.monotonic() - self.started), self.seconds_left()
        after = "" if left is None or not self.open else f", about {duration(left)} left"
        clock = time.strftime("%H:%M:%S")
        return f"[{clock}] {self.done} of {len(self.jobs)} {self.what}{failed}, {elapsed}{after}"

    def seconds_left(self) -> float | None:
        """Sum over open jobs of the median seconds of their kind, or of all jobs, shared by the workers."""
        if not self.seconds:
            return None
        medians = {kind: statistics.median(taken) for kind, taken in self.seconds.items()}
        overall = statistics.median(s for taken in self.seconds.values() for s in taken)
        left = sum(medians.get(self.jobs[name].kind, overall) for name in self.open)
        return left / min(self.workers, max(1, len(self.open)))

    def _took(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)

    def _read(self, path: Path) -> None:
        text = ""
        with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
            file.seek(self.offsets[path])
            text = file.read()
        whole = text[: text.rfind("\n") + 1]  # a line may be half written
        self.offsets[path] += len(whole.encode())
        for entry in map(json.loads, whole.splitlines()):
            name, status = entry["job"], entry["status"]
            if status == "begun":
                self.begun[name] = self.jobs[name]
                continue
            self.begun.pop(name, None)
            self.open.discard(name)
            if status == "done":
                self._took(entry["kind"], entry["seconds"])
            elif status == "failed":
                self.failures.append(Failure(name, entry["error"], self.records[path]))
                print(f"{name}: FAILED: {entry['error']}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``"2 h 05 min"``, ``"12 min"`` or ``"40 s"``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def _last_step(job: Job) -> int | None:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        lines = (job.config.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["step"])
    return None
