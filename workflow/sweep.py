"""`make sweep`: a grid of runs, task by task, with progress, time left, and the failures at the end.

    python workflow/sweep.py --sweep=main --data-dir-carparts=path/to/photographs --jobs=2 --seeds=0,1

Interrupt it whenever you like: finished runs are kept, a begun one resumes from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

import sweep_file
import sweep_results
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError
from mstl.system.locks import only_one
from processes import obey_signals, stop
from sweep_plan import TASKS, is_finished, prepare, selected, task_plans, words
from sweep_progress import SweepProgress

ROOT = Path(__file__).resolve().parent.parent
POLL = 1.0  # seconds between looks at what the workers have written


def main() -> int:
    """Command line; returns the exit status."""
    os.chdir(ROOT)
    obey_signals()
    options = parse_arguments()
    try:
        sweeps, configs = selected(options)
        for sweep in sweeps:
            for data, count in sweep.skipped.items():
                folder = f"DATA_DIR_{data.upper()}"
                print(f"{sweep.name}: {count} runs on {data} are left out; name its folder with {folder}")
        if options["dry_run"]:
            print(overview(configs))
            return 0
        if not configs:
            return 0
        print(f"Checking {len(configs)} runs ...", flush=True)
        for sweep in sweeps:
            sweep_file.check(sweep)
        return run(options, configs)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Finished runs are kept; the same command goes on from here.", file=sys.stderr)
        return 130


def parse_arguments() -> dict[str, Any]:
    """The command line as the entries that `sweep_plan.selected` takes, ``jobs`` and ``dry_run``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", default="main", help="names in workflow/sweeps, or .yaml files")
    for data in ("studio", "carparts", "carvana", "folder"):
        parser.add_argument(f"--data-dir-{data}", help=f"folder of {data}")
    parser.add_argument("--seeds", help="only these seeds, for instance 0,1")
    parser.add_argument("--methods", help="only these methods, for instance mstl,oracle")
    parser.add_argument("--runs", help="folder of all runs; default runs-<profile>")
    parser.add_argument("--results", default="results", help="folder of the tables of all sweeps")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="tasks at the same time")
    parser.add_argument("--profile", default="workflow/profiles/default", help="Snakemake profile")
    parser.add_argument("--dry-run", action="store_true", help="only say how many runs there are")
    # Make hands over every variable, set or not: an empty one means the default.
    return vars(parser.parse_args([a for a in sys.argv[1:] if not a.startswith("--") or not a.endswith("=")]))


def overview(configs: list[TrainConfig]) -> str:
    """One line a setting: its runs and how many of them are finished."""
    runs, finished = Counter(), Counter()
    variants: dict[str, set[str]] = {}
    for c in configs:
        setting = f"{c.data}/{c.setting} labels {c.labels}"
        runs[setting] += 1
        finished[setting] += is_finished(c)
        variants.setdefault(setting, set()).add(c.variant)
    width = max(map(len, runs), default=0)
    lines = [
        f"{setting:<{width}}  {n:4} runs of {len(variants[setting])} methods, {finished[setting]} finished"
        for setting, n in runs.items()
    ]
    return "\n".join([*lines, f"{'together':<{width}}  {runs.total():4} runs, {finished.total()} finished"])


def run(options: dict[str, Any], configs: list[TrainConfig]) -> int:
    """Let Snakemake train what is not finished, and say how far it is; returns the exit status."""
    folder = tasks_folder(configs)
    try:
        with only_one(folder / "lock", wait=False) as lock:
            pending = prepare(task_plans(configs))
            progress = SweepProgress(configs, pending, options["jobs"])
            status = train(options, folder, lock, progress) if pending else 0
            status = report(progress, status, folder / "snakemake.log")
            if progress.done > len(progress.failures):
                files = [sweep_file.find(name) for name in words(options["sweep"])]
                for path in sweep_results.collect(files, Path(options["results"]), options["runs"]):
                    print(path)
            return status
    except BlockingIOError:
        holder = (folder / "lock").read_text().strip()
        raise InputError(
            f"another `make sweep` is at work in {folder.parent}; wait for it, or stop it: kill -- -{holder}"
        ) from None


def train(options: dict[str, Any], folder: Path, lock: IO[str], progress: SweepProgress) -> int:
    """Start Snakemake and report while it works; returns its exit status."""
    process = start(options, folder, lock)
    try:
        while process.poll() is None:
            time.sleep(POLL)
            progress.update()
    except KeyboardInterrupt:
        stop(process)
        raise
    finally:
        progress.close()
    return process.returncode


def tasks_folder(configs: list[TrainConfig]) -> Path:
    """The folder of all tasks' files.

    Raises:
        InputError: the runs lie in several folders.
    """
    folders = sorted({config.out for config in configs})
    if len(folders) > 1:
        raise InputError(f"sweeps of several profiles ({', '.join(folders)}); start one after the other")
    return Path(folders[0]) / TASKS


def start(options: dict[str, Any], folder: Path, lock: IO[str]) -> subprocess.Popen:
    """Snakemake in a process group of its own, so that a signal can reach it and all its workers."""
    settings = folder / "settings.json"
    settings.write_text(json.dumps({n: v for n, v in options.items() if v} | {"prepared": True}) + "\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/sweep.smk"]
    command += ["--workflow-profile", options["profile"], "--scheduler", "greedy", "--nolock"]
    command += ["--cores", str(max(1, options["jobs"])), "--configfile", str(settings), "--", "sweep"]
    with (folder / "snakemake.log").open("w", encoding="utf-8") as log:
        # The lock is handed down: it lives as long as Snakemake does, even if this process is killed.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, process_group=0, pass_fds=(lock.fileno(),)
        )
    lock.seek(0)
    lock.truncate()
    lock.write(f"{process.pid}\n")
    lock.flush()
    return process


def report(progress: SweepProgress, status: int, log: Path) -> int:
    """Say how many runs are finished, which failed and why; returns the exit status."""
    failures = progress.failures
    print(f"{progress.done - len(failures)} of {progress.total} runs are finished.")
    for failure in failures:
        print(f"  {failure.run}: FAILED: {failure.error}\n    log: {failure.log}")
    if failures:
        print("The same command tries these again and keeps the others.")
        return 1
    if status or progress.done < progress.total:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        print(f"Snakemake ended with status {status} (log: {log}):", *tail, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
