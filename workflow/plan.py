"""What has to be done: jobs (a run, by itself or as a notebook, or a page of the book) and tasks of them.

A *task* is what one worker does. The runs of a sweep that share data, setting, labels and seed are one task,
so that the data is read once for all methods; a notebook is a task of its own. Its files are

    .json     key and jobs, for the worker
    .jsonl    what became of each job, line by line
    .log      what the worker prints
    .done     the key it was begun with, once every job is finished

The *key* is a hash of what its result depends on besides the code of a run, which `is_finished` compares:
the content of the data, and the cells of the notebook. So a finished task is kept exactly as long as it would
come out the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pair
from mstl.data.files import files_fingerprint
from mstl.run import provenance
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

NOTEBOOKS = Path("notebooks")
TASKS = ".tasks"


@dataclass(frozen=True)
class Job:
    """A run or a page.

    Attributes:
        name: for messages, and of a run its folder below that of all runs.
        target: the file that is there once it is finished.
        config: of a run.
        notebook: to execute; None trains without one.
        parameters: of the notebook.
    """

    name: str
    target: str
    config: TrainConfig | None = None
    notebook: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Jobs of one kind take about equally long."""
        return self.config.variant if self.config else self.name

    def finished(self) -> bool:
        """Whether its result is there, and made by this code."""
        return Path(self.target).exists() and (self.config is None or is_finished(self.config))


@dataclass(frozen=True)
class Task:
    """What one worker does.

    Attributes:
        stem: its files without their ending.
        key: what its result depends on.
        jobs: in order.
        timeout: seconds for one cell of a notebook.
    """

    stem: str
    key: str
    jobs: tuple[Job, ...]
    timeout: int = 21600

    def file(self, suffix: str) -> Path:
        """One of the task's files."""
        return Path(f"{self.stem}{suffix}")

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        done = self.file(".done")
        return done.exists() and done.read_text().strip() == self.key and all(j.finished() for j in self.jobs)

    def write(self) -> None:
        """Write what the worker reads; what an earlier one wrote goes."""
        self.file(".json").parent.mkdir(parents=True, exist_ok=True)
        self.file(".json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        self.file(".done").unlink(missing_ok=True)
        self.file(".jsonl").unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> Task:
        """The task that `write` wrote to ``path``."""
        task = json.loads(path.read_text(encoding="utf-8"))
        jobs = [j | {"config": j["config"] and TrainConfig(**j["config"])} for j in task.pop("jobs")]
        return Task(**task, jobs=tuple(Job(**job) for job in jobs))


def tasks_of(configs: Iterable[TrainConfig], notebook: str | None = None, timeout: int = 21600) -> list[Task]:
    """The tasks of some runs, in the order of each one's first run."""
    together: dict[tuple[str, str], list[Job]] = {}
    source = notebook and NOTEBOOKS / f"{notebook}.py"
    if source and not source.exists():
        raise InputError(f"{source} is missing; a sweep names a notebook by its name without .py")
    declared, cells = (pair.defaults(source), digest(pair.cells(source))) if source else ({}, "")
    for c in configs:
        name = f"{c.data}/{c.setting}/labels-{c.labels}/seed-{c.seed}"
        job = Job(run_name(c), str(c.folder / "manifest.json"), c)
        if source:
            name = run_name(c)
            job = Job(name, str(c.folder / "notebook.ipynb"), c, str(source), _for_notebook(c, declared))
        together.setdefault((f"{c.out}/{TASKS}/{name}", content(c.data, c.data_dir, c.out)), []).append(job)
    return [Task(stem, digest(key, cells), tuple(jobs), timeout) for (stem, key), jobs in together.items()]


def prepare(tasks: Iterable[Task]) -> list[Task]:
    """Write what the workers of unfinished tasks read, and return those tasks."""
    pending = [task for task in tasks if not task.finished()]
    for task in pending:
        task.write()
    return pending


def is_finished(config: TrainConfig) -> bool:
    """Whether the run is there with these settings, made by this code."""
    try:
        manifest = json.loads((config.folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return manifest.get("settings") == config.settings() and manifest.get("source_fingerprint") == code(
        config.method
    )


def run_name(config: TrainConfig) -> str:
    """The run's folder below the folder of all runs."""
    return config.folder.relative_to(config.out).as_posix()


@cache
def code(method: str) -> str:
    """Fingerprint of the code that decides a method's numbers."""
    from mstl import methods  # torch: two seconds that reading a sweep file does not need

    return provenance.source_fingerprint(methods.find(method))


@cache
def content(data: str, data_dir: str | None, out: str | None = None) -> str:
    """Fingerprint of the data's files and of the code that reads them; computed once a process."""
    readers = [file.read_bytes() for file in sorted((provenance.PACKAGE / "data").rglob("*.py"))]
    return digest(files_fingerprint(data, data_dir, out), *map(digest, readers))


def digest(*parts: Any) -> str:
    """32 hexadecimal digits of bytes or of whatever JSON can hold."""
    text = b"\0".join(p if isinstance(p, bytes) else json.dumps(p, sort_keys=True).encode() for p in parts)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _for_notebook(config: TrainConfig, declared: Collection[str]) -> dict[str, Any]:
    """The run's parameters that the notebook declares, and whatever else is not the default.

    Paths are as the kernel sees them, which works in notebooks/.
    """
    given, default = asdict(config), asdict(TrainConfig())
    for name in ("data_dir", "out"):
        path = given[name]
        given[name] = path if path is None or Path(path).is_absolute() else os.path.relpath(path, NOTEBOOKS)
    return {name: value for name, value in given.items() if name in declared or value != default[name]}
