"""Do the jobs of a task, or of several, one after another in one process: `workflow/Snakefile` starts it.

    python workflow/task.py runs-grid/.tasks/studio/parts/labels-4/seed-0.json

A job that fails is written down and the next begins. Started again by the same command, as where a cluster
killed it, it goes on from the last checkpoint and does not try again what failed by itself.
Exit status 1 if another attempt may end otherwise, 130 if interrupted, else 0.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError
from mstl.system.files import replacing
from mstl.system.interrupt import obey_signals
from mstl.system.locks import only_one
from plan import Job, Task, entries

# A process of a run in several, and the kernel of a notebook: most often for want of memory.
KILLED = ("ProcessExitedException", "KernelDied")


def work(task: Task) -> int:
    """Do every job of the task; returns how many failed.

    ``.done`` says what the task was done with, or that some failed by themselves: another attempt of the same
    command would change nothing. It is missing where a child process was killed.
    """
    data: dict[str, Any] = {}  # read once; the other tasks go on, whatever is wrong with this one's
    before = _failed_before(task)
    with task.file(".jsonl").open("a", encoding="utf-8", buffering=1) as record:
        failed = len(before)
        failed += sum(not _do(job, task, data, record) for job in task.jobs if job.name not in before)
    if failed == len(_failed_before(task)):
        with replacing(task.file(".done")) as temporary:
            temporary.write_text(("failed" if failed else task.key) + "\n")
    return failed


def _failed_before(task: Task) -> set[str]:
    """Jobs that failed by themselves when the same command had this task done before."""
    try:
        text = task.file(".jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return set()
    return {e["job"] for e in entries(text) if e["status"] == "failed" and not e.get("killed")}


def _do(job: Job, task: Task, data: dict[str, Any], record) -> bool:
    """Do one job, and write down what became of it; returns whether it is whole."""
    start, entry = time.monotonic(), {"job": job.name, "status": "begun"}
    record.write(json.dumps(entry) + "\n")
    try:
        entry["status"] = "kept" if not job.notebook and job.finished() else "done"
        if job.config:
            discard_other_settings(job.config)
        if job.notebook:
            from execute import execute  # papermill, which a run without a notebook does not need

            execute(Path(job.notebook), Path(job.target), job.parameters, task.timeout)
        else:
            _train(job.config, data)
        if not job.finished():
            raise InputError(f"{job.notebook} ended without the run {job.config.folder}")
    except Exception as error:
        traceback.print_exception(error)
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        if type(error).__name__ in KILLED:
            entry["killed"] = True
        entry |= {"status": "failed", "error": kind + (str(error).strip() or "no message").splitlines()[0]}
        print(f"FAILED {job.name}: {entry['error']}", flush=True)
    record.write(json.dumps(entry | {"seconds": round(time.monotonic() - start, 2)}) + "\n")
    return entry["status"] != "failed"


def _train(config: TrainConfig, data: dict[str, Any]) -> None:
    """Train a run in this process."""
    import torch

    from mstl.run.train import train

    if "task" not in data:
        try:
            data["task"] = config.task()
        except Exception as error:
            data["task"] = error
    if isinstance(data["task"], Exception):
        raise data["task"]
    # Each run measures its own peak of memory, not that of the runs before it (Linux and CUDA).
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    train(config, task=data["task"])


def discard_other_settings(config: TrainConfig) -> None:
    """Remove a run of this name that was made with other settings: the profile has changed since."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((config.folder / "config.json").read_text(encoding="utf-8"))
        if found.get("settings") != config.settings():
            print(f"{config.folder}: made with other settings; training anew", flush=True)
            shutil.rmtree(config.folder)


def main() -> int:
    """Command line; returns the exit status."""
    obey_signals()
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("papermill").setLevel(logging.INFO)
    paths = [Path(word) for word in sys.argv[1:]]
    try:
        for path in paths:
            if len(paths) > 1:
                _speak_into(path.with_suffix(".log"))
            with only_one(path.with_suffix(".lock")):
                work(Task.read(path))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", flush=True)
        return 130
    return 0 if all(path.with_suffix(".done").exists() for path in paths) else 1


def _speak_into(path: Path) -> None:
    """Let what this process prints, and what its children print, follow in a file."""
    with path.open("a", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
