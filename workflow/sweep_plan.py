"""The tasks of a sweep: what one worker process trains, what of it is finished, and where it is written down.

A *task* is the data, setting, labels and seed that its runs share, so that it is read once for all methods.
Beside the runs, ``<runs>/.tasks/<data>/<setting>/labels-<n>/seed-<s>`` holds

    .json     parameters of the runs, for the worker
    .jsonl    what became of each run, line by line
    .log      what the worker and the training loop print
    .done     the data's fingerprint, once every run is finished
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sweep_file
from mstl.run import provenance
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError
from plan import data_fingerprint
from sweep_file import Sweep

TASKS = ".tasks"


@dataclass(frozen=True)
class TaskPlan:
    """The runs of one task.

    Attributes:
        name: ``<data>/<setting>/labels-<n>/seed-<s>``.
        configs: its runs, in order.
    """

    name: str
    configs: tuple[TrainConfig, ...]

    def file(self, suffix: str) -> Path:
        """One of the task's files."""
        return Path(self.configs[0].out) / TASKS / f"{self.name}{suffix}"

    def content(self) -> str:
        """Fingerprint of the data."""
        return content(self.configs[0].data, self.configs[0].data_dir)

    def finished(self) -> bool:
        """Whether nothing is left to do: every run is finished, on the data as it is now."""
        done = self.file(".done")
        return (
            done.exists()
            and done.read_text().strip() == self.content()
            and all(map(is_finished, self.configs))
        )


def selected(options: Mapping[str, Any]) -> tuple[list[Sweep], list[TrainConfig]]:
    """The sweeps and the runs that the command line asks for.

    Args:
        options: ``sweep`` (names or files), and where given ``data_dir_<data>``, ``seeds``, ``methods``
            and ``runs`` (the folder of all runs); lists may be text with commas or spaces.

    Raises:
        InputError: as `sweep_file.read` and `sweep_file.select`, or a data_dir that is no folder.
    """
    data_dirs = {
        name.removeprefix("data_dir_"): str(value)
        for name, value in options.items()
        if name.startswith("data_dir_") and value
    }
    for data, folder in data_dirs.items():
        if not Path(folder).is_dir():
            raise InputError(
                f"DATA_DIR_{data.upper()} {folder} is not a folder; name the one that holds the data"
            )
    names = words(options.get("sweep")) or ["main"]
    sweeps = [
        sweep_file.read(sweep_file.find(name), data_dirs, options.get("runs") or None) for name in names
    ]
    seeds = [int(seed) for seed in words(options.get("seeds"))] or None
    runs: dict[Path, TrainConfig] = {}  # sweeps may share runs
    for sweep in sweeps:
        for config in sweep_file.select(sweep, seeds, words(options.get("methods")) or None):
            runs.setdefault(config.folder, config)
    return sweeps, sorted(runs.values(), key=lambda config: config.seed)


def words(value: Any) -> list[str]:
    """``"0,1 2"``, a number or a list as words."""
    text = (
        " ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    )
    return text.replace(",", " ").split()


def task_plans(configs: Iterable[TrainConfig]) -> list[TaskPlan]:
    """Runs put together by task, in the order of each task's first run."""
    together: dict[str, list[TrainConfig]] = {}
    for c in configs:
        together.setdefault(f"{c.data}/{c.setting}/labels-{c.labels}/seed-{c.seed}", []).append(c)
    return [TaskPlan(name, tuple(runs)) for name, runs in together.items()]


def prepare(plans: Iterable[TaskPlan]) -> list[TaskPlan]:
    """Write what the workers of unfinished tasks read, and return those tasks."""
    pending = [plan for plan in plans if not plan.finished()]
    for plan in pending:
        plan.file(".json").parent.mkdir(parents=True, exist_ok=True)
        plan.file(".json").write_text(json.dumps([asdict(c) for c in plan.configs], indent=1) + "\n")
        plan.file(".done").unlink(missing_ok=True)
        plan.file(".jsonl").unlink(missing_ok=True)
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
def content(data: str, data_dir: str | None) -> str:
    """Fingerprint of the data's files and of the code that reads them; computed once a process."""
    digest = hashlib.blake2b(data_fingerprint(data, data_dir).encode(), digest_size=16)
    for file in sorted((provenance.PACKAGE / "data").rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
