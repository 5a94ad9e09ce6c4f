"""What has to be done: jobs (a run, by itself or as a notebook, or a page of the book) and tasks of them.

A *task* is what one worker does: runs that share data, setting, labels and seed, so that the data is read
once for all methods, or one notebook. Its files are

    .json     key and jobs, for the worker
    .jsonl    what became of each job, line by line
    .log      what the worker prints
    .done     the key it was begun with, once every job is finished

The *key* is a hash of the data's content and of the notebook's cells. With settings and code, which
`is_finished` compares, it keeps a finished run exactly as long as it would come out the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pair
from mstl import methods
from mstl.run import provenance
from mstl.run.config import TrainConfig
from mstl.run.names import Variant
from mstl.system.errors import InputError

NOTEBOOKS = Path("notebooks")
TASKS = ".tasks"


@dataclass(frozen=True)
class Job:
    """A run or a page."""

    name: str  # for messages, and of a run its folder below that of all runs
    target: str  # the file that is there once it is finished
    config: TrainConfig | None = None  # of a run
    notebook: str | None = None  # to execute; None trains without one
    parameters: dict[str, Any] = field(default_factory=dict)  # of the notebook

    def finished(self) -> bool:
        """Whether its result is there, and made by this code."""
        return Path(self.target).exists() and (self.config is None or is_finished(self.config))


@dataclass(frozen=True)
class Task:
    """What one worker does."""

    stem: str  # its files without their ending
    key: str  # what its result depends on
    jobs: tuple[Job, ...]  # in order
    timeout: int = 21600  # seconds for one cell of a notebook

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
        for suffix in (".done", ".jsonl", ".log"):
            self.file(suffix).unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> Task:
        """The task that `write` wrote to ``path``."""
        task = json.loads(path.read_text(encoding="utf-8"))
        jobs = [j | {"config": j["config"] and TrainConfig(**j["config"])} for j in task.pop("jobs")]
        return Task(**task, jobs=tuple(Job(**job) for job in jobs))


def entries(text: str) -> list[dict[str, Any]]:
    """Lines of a ``.jsonl``; one that is no JSON was cut off when its writer was killed."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


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
            given = _for_notebook(c, declared)
            pair.check(source, given)
            job = Job(name, str(c.folder / "notebook.ipynb"), c, str(source), given)
        together.setdefault((f"{c.out}/{TASKS}/{name}", content(c.data, c.data_dir, c.out)), []).append(job)
    return [Task(stem, digest(key, cells), tuple(jobs), timeout) for (stem, key), jobs in together.items()]


def is_finished(config: TrainConfig) -> bool:
    """Whether the run is there with these settings, made by this code."""
    try:
        manifest = json.loads((config.folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"settings": config.settings(), "source_fingerprint": code(config.method)}
    wanted |= {"weights_fingerprint": weights(config.method, config.overrides, config.weights_dir)}
    return all(manifest.get(name, "") == value for name, value in wanted.items())


def run_name(config: TrainConfig) -> str:
    """The run's folder below the folder of all runs."""
    return config.folder.relative_to(config.out).as_posix()


@cache
def code(method: str) -> str:
    """Fingerprint of the code that decides a method's numbers."""
    return provenance.source_fingerprint(methods.find(method))


@cache
def weights(method: str, overrides: str, place: str) -> str:
    """Fingerprint of the weights that a run starts from."""
    if not Variant.of(method, overrides, None, None).folders:
        return ""
    return methods.configured(method, overrides, weights_dir=place).weights_fingerprint()


@cache
def content(data: str, data_dir: str | None, out: str | None = None) -> str:
    """Fingerprint of the data's files and of the code that reads them; computed once a process."""
    from mstl.data.files import files_fingerprint  # and torch, which the worker of a notebook does not need

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
    for name in ("data_dir", "weights_dir", "out"):
        path = given[name]
        given[name] = (
            path
            if path in (None, default["weights_dir"]) or Path(path).is_absolute()
            else os.path.relpath(path, NOTEBOOKS)
        )
    return {name: value for name, value in given.items() if name in declared or value != default[name]}
