"""What a job of a cluster is to be granted: time, memory and devices, from what finished runs really took."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mstl.run.config import TrainConfig
from mstl.run.names import Variant
from mstl.system.errors import InputError
from plan import Task

UNKNOWN = 600.0, 2.0  # seconds and GiB of a run of which nothing is known
PAGE = 600.0, 2.0  # of a page of the book
START = 120.0  # seconds of a task before its first run: programs and data are read
NOTEBOOK = 60.0  # seconds that a notebook takes beside its run
TIMES = 2.0  # a node may be slower, or busy
MORE_GIB = 1.0  # beside 1.5 times what was measured: libraries of another build


@dataclass(frozen=True)
class Need:
    """Of one job: seconds expected, minutes asked for, MiB, threads and GPUs; what may not be asked for.

    ``known`` says whether the seconds rest on finished runs.
    """

    seconds: float
    minutes: int
    mem_mb: int
    threads: int = 1
    gpus: int = 0
    known: bool = True
    most_minutes: int | None = None
    most_mem_mb: int | None = None


class Measured:
    """Seconds a step and GiB of finished runs, by what they have in common with the one that asks.

    Args:
        runs: folder of runs, whose manifests know; they come first.
        tables: folder of tables with a column each.
    """

    def __init__(self, runs: Path, tables: Path) -> None:
        self._known: dict[tuple[str, ...], tuple[float, float]] = {}
        for (gpu, profile, data, method), seconds, gib in (*_of_manifests(runs), *_of_tables(tables)):
            for key in ((gpu, profile, data, method), (gpu, profile, "", method), (gpu, profile, data, "")):
                most = self._known.get(key, (0.0, 0.0))
                self._known[key] = max(most[0], seconds), max(most[1], gib)

    def of(self, config: TrainConfig) -> tuple[float, float] | None:
        """Seconds and GiB of the dearest run of this profile, data and method, or of the nearest."""
        asked = config.settings()
        gpu, profile = str(config.device == "cuda"), config.profile
        for data, method in ((config.data, config.method), ("", config.method), (config.data, "")):
            if found := self._known.get((gpu, profile, data, method)):
                return found[0] * asked["steps"], found[1]
        return None

    def need(self, task: Task, threads: int = 1) -> Need:
        """Of a task, whose runs come one after another."""
        todo = [job for job in task.jobs if not job.config or not job.finished()]
        found = [self.of(job.config) if job.config else PAGE for job in todo]
        taken = [each or UNKNOWN for each in found]
        configs = [job.config for job in todo if job.config]
        seconds = START + sum(s for s, _ in taken) + NOTEBOOK * sum(job.notebook is not None for job in todo)
        devices = max((config.devices for config in configs), default=1)
        return Need(
            seconds,
            math.ceil(TIMES * seconds / 60),
            500
            * math.ceil(1024 * devices * (1.5 * max((gib for _, gib in taken), default=0) + MORE_GIB) / 500),
            threads * devices,
            devices if any(config.device == "cuda" for config in configs) else 0,
            known=None not in found,
        )


def here(threads: int) -> Need:
    """On one machine nothing is asked for."""
    return Need(0, 0, 0, threads)


def bundles(
    tasks: Sequence[Task], needs: dict[str, Need], minutes: float, jobs: int
) -> Iterator[tuple[list[Task], Need]]:
    """Tasks in order, several to a job where there are more than ``jobs``, of up to ``minutes`` expected.

    A queue is not to be flooded with jobs that are over before they are scheduled.
    """
    bundle: list[Task] = []
    for task in tasks:
        together = [*bundle, task]
        expected = sum(needs[t.stem].seconds for t in together)
        if bundle and (len(tasks) <= jobs or expected > 60 * minutes):
            yield bundle, _together(needs[t.stem] for t in bundle)
            together = [task]
        bundle = together
    if bundle:
        yield bundle, _together(needs[t.stem] for t in bundle)


def _together(needs: Iterable[Need]) -> Need:
    needs = list(needs)
    most = {name: max(getattr(need, name) for need in needs) for name in ("mem_mb", "threads", "gpus")}
    together = {"seconds": sum(n.seconds for n in needs), "minutes": sum(n.minutes for n in needs)}
    return replace(needs[0], **together, **most, known=all(n.known for n in needs))


def _of_manifests(runs: Path) -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    for path in runs.glob("*/*/*/*/*/manifest.json"):
        with suppress(OSError, ValueError, LookupError, TypeError):
            m = json.loads(path.read_text(encoding="utf-8"))
            s, gpu = m["settings"], not str(m["device"]).startswith("CPU")
            seconds = (m["seconds_training"] + m["seconds_evaluation"]) / s["steps"]
            yield (str(gpu), s["profile"], s["data"], s["method"]), seconds, m["peak_memory_gib"]["host"]


def _of_tables(tables: Path) -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    for path in tables.glob("*/*/runs.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                with suppress(
                    ValueError, LookupError, ZeroDivisionError, AttributeError, TypeError, InputError
                ):
                    method, gpu = Variant.parse(row["method"]).method, not row["device"].startswith("CPU")
                    seconds = float(row["seconds"]) / float(row["steps"])
                    kind = (str(gpu), row["profile"], row["data"], method)
                    yield kind, seconds, float(row["peak_memory_gib"])
