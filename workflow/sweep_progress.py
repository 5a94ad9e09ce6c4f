"""How far a sweep is and how long it will take: a bar on a terminal, lines in a log."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mstl.run.config import TrainConfig
from sweep_plan import TaskPlan, is_finished, run_name

EVERY = 30.0  # seconds between lines in a log


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, what its exception says, and where the rest is written."""

    run: str
    error: str
    log: Path


class SweepProgress:
    """Reads what the workers write down and reports it.

    Args:
        configs: every run of the sweep.
        pending: the tasks that are not finished.
        jobs: tasks at the same time.
    """

    def __init__(self, configs: Iterable[TrainConfig], pending: Iterable[TaskPlan], jobs: int) -> None:
        self.jobs, self.failures = max(1, jobs), []
        self.records = {plan.file(".jsonl"): plan.file(".log") for plan in pending}
        self.offsets = dict.fromkeys(self.records, 0)
        self.variants, self.seconds, self.open = {}, {}, set()
        for config in configs:
            name = run_name(config)
            self.variants[name] = config.variant
            if is_finished(config):
                self._took(config.variant, _seconds(config))
            else:
                self.open.add(name)
        self.started = self.spoke = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            form = "{desc} {bar} {n_fmt}/{total_fmt} runs, {elapsed} elapsed{postfix}"
            self.bar = tqdm(total=self.total, initial=self.done, bar_format=form, leave=False)
        print(self.line(), flush=True)

    @property
    def total(self) -> int:
        """Runs altogether."""
        return len(self.variants)

    @property
    def done(self) -> int:
        """Runs that are finished or have failed."""
        return self.total - len(self.open)

    def update(self) -> None:
        """Read what is new; report it now and then."""
        before = self.done
        for path in self.records:
            self._read(path)
        if self.bar is not None:
            self.bar.set_postfix_str(self._left(), refresh=False)
            self.bar.update(self.done - self.bar.n)
            self.bar.refresh()
        elif self.done != before and time.monotonic() - self.spoke >= EVERY:
            self.spoke = time.monotonic()
            print(self.line(), flush=True)

    def line(self) -> str:
        """Runs done, failed, time elapsed and left."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        elapsed = duration(time.monotonic() - self.started)
        left = self._left()
        return f"[{time.strftime('%H:%M:%S')}] {self.done} of {self.total} runs{failed}, {elapsed}{left}"

    def close(self) -> None:
        """Read and say the last state."""
        for path in self.records:
            self._read(path)
        if self.bar is not None:
            self.bar.close()
        print(self.line(), flush=True)

    def seconds_left(self) -> float | None:
        """Sum over open runs of the median seconds of their variant, or of all runs, shared by the jobs."""
        if not self.seconds:
            return None
        medians = {variant: statistics.median(taken) for variant, taken in self.seconds.items()}
        overall = statistics.median(s for taken in self.seconds.values() for s in taken)
        left = sum(medians.get(self.variants[name], overall) for name in self.open)
        return left / min(self.jobs, max(1, len(self.open)))

    def _left(self) -> str:
        left = self.seconds_left()
        return "" if left is None or not self.open else f", about {duration(left)} left"

    def _took(self, variant: str, seconds: float) -> None:
        self.seconds.setdefault(variant, []).append(seconds)

    def _read(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8") as file:
                file.seek(self.offsets[path])
                text = file.read()
        except OSError:
            return
        whole = text[: text.rfind("\n") + 1]  # a line may be half written
        self.offsets[path] += len(whole.encode())
        for line in whole.splitlines():
            entry = json.loads(line)
            self.open.discard(entry["run"])
            if entry["status"] == "trained":
                self._took(entry["variant"], entry["seconds"])
            elif entry["status"] == "failed":
                self.failures.append(Failure(entry["run"], entry["error"], self.records[path]))
                print(f"{entry['run']}: FAILED: {entry['error']}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``"2 h 05 min"``, ``"12 min"`` or ``"40 s"``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def _seconds(config: TrainConfig) -> float:
    manifest = json.loads((config.folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest["seconds_training"] + manifest["seconds_evaluation"]
