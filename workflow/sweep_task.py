"""Train the runs of one task one after another in one process: `workflow/sweep.smk` starts it.

    python workflow/sweep_task.py runs-grid/.tasks/studio/parts/labels-4/seed-0.json

The package and the data are read once; a run that is finished is skipped; one that fails is written down
and the next begins. Exit status 0 if every run is finished, 1 if one failed, 130 if it was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import traceback
from pathlib import Path

import torch

from mstl.data.task import Task
from mstl.run.config import TrainConfig
from mstl.run.train import train
from mstl.system.errors import InputError
from mstl.system.files import replacing
from mstl.system.locks import only_one
from processes import obey_signals
from sweep_plan import TaskPlan, run_name, task_plans


def work(plan: TaskPlan) -> int:
    """Train every run of the task; returns how many failed."""
    with plan.file(".jsonl").open("w", encoding="utf-8", buffering=1) as record:
        try:
            task = plan.configs[0].task()
        except Exception as error:  # the other tasks go on, whatever is wrong with this one
            task = error
        failed = sum(not _run(config, task, record) for config in plan.configs)
    if not failed:
        with replacing(plan.file(".done")) as temporary:
            temporary.write_text(plan.content() + "\n")
    return failed


def _run(config: TrainConfig, task: Task | Exception, record) -> bool:
    """Train one run unless it is finished, and write down what became of it; returns whether it is whole."""
    name, start = run_name(config), time.monotonic()
    manifest = config.folder / "manifest.json"
    before = manifest.stat().st_mtime_ns if manifest.exists() else None
    entry = {"run": name, "variant": config.variant}
    try:
        if isinstance(task, Exception):
            raise task
        discard_other_settings(config)
        reset_peak_memory()
        train(config, task=task)
        kept = manifest.stat().st_mtime_ns == before
        entry |= {"status": "kept" if kept else "trained"}
    except Exception as error:
        traceback.print_exception(error)
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        entry |= {"status": "failed", "error": kind + (str(error).strip() or "no message").splitlines()[0]}
        print(f"FAILED {name}: {entry['error']}", flush=True)
    record.write(json.dumps(entry | {"seconds": round(time.monotonic() - start, 2)}) + "\n")
    return entry["status"] != "failed"


def discard_other_settings(config: TrainConfig) -> None:
    """Remove a run of the same name that was made with other settings: the profile has changed since."""
    path = config.folder / "config.json"
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("settings") != config.settings():
            print(f"{config.folder}: made with other settings; training anew", flush=True)
            shutil.rmtree(config.folder)


def reset_peak_memory() -> None:
    """Let the next run measure its own peak, not that of the runs before it (Linux and CUDA)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def main() -> int:
    """Command line; returns the exit status."""
    obey_signals()
    path = Path(sys.argv[1])
    (plan,) = task_plans(TrainConfig(**parameters) for parameters in json.loads(path.read_text()))
    try:
        with only_one(path.with_suffix(".lock")):
            return 1 if work(plan) else 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", flush=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())
