"""`make reproduce`, `make runs`, `make sweep`, `make book`: runs, tables, executed notebooks, the book.

    python workflow/run.py reproduce labels=4,8 seeds=0,1

Interrupt it whenever you like: finished runs are kept, a begun one resumes from its checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
import book
import cluster
import command_line
import ends
import needs
import pages
import plan
import sweep_file
from command_line import Options
from mstl.system.errors import InputError
from mstl.system.interrupt import obey_signals
from mstl.system.locks import only_one
from plan import Task
from progress import Progress
from sweep_file import Sweep

ROOT = Path(__file__).resolve().parent.parent
POLL = 1.0  # seconds between looks at what the workers have written


def main() -> int:
    """Command line; returns the exit status."""
    os.chdir(ROOT)
    obey_signals()
    start = time.monotonic()
    try:
        target, *words = sys.argv[1:] or [""]
        if target not in ("reproduce", "runs", "book", "sweep"):
            raise InputError(f"{target!r} is unknown; choose from reproduce, runs, book, sweep")
        options = command_line.parse(words)
        sweeps = chosen(target, options)
        wanted = options.axes if target == "sweep" else {}
        note_left_out(sweeps)
        sweep_file.check_selection(sweeps, wanted)
        for sweep in sweeps:
            sweep_file.check_names(sweep)
        groups = [(own, tasks_of(options, own, wanted)) for own in by_folder(sweeps)]
        tasks = [task for _, own in groups for task in own]
        if options.dry_run or not tasks:
            print(overview(tasks))
            return 0
        # One folder of runs after the other: a failure in one does not keep the others from their turn.
        status = 0 if target == "book" else max(train(options, *group) for group in groups if group[1])
        if status == 0 and target in ("reproduce", "book"):
            status = make_book(options, tasks)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Finished runs are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    if status == 0:
        print(f"Done in {(time.monotonic() - start) / 60:.1f} minutes.")
    return status


def chosen(target: str, options: Options) -> list[Sweep]:
    """The sweeps asked for: the default comparison takes the parameters given, others keep their own."""
    profile = {"profile": options.profile} if options.profile else {}
    if target == "sweep":
        names = options.sweep.replace(",", " ").split()
        paths = [path for name in names for path in sweep_file.find(name)]
        return [
            sweep_file.read(path, options.data_dirs, options.runs, profile, options.weights_dir)
            for path in paths
        ]
    data_dirs = dict.fromkeys(map(str, options.axes.get("data", ())), "") | options.data_dirs
    return [
        sweep_file.read(
            sweep_file.find("reproduce")[0],
            data_dirs,
            options.runs,
            options.axes | profile,
            options.weights_dir,
        )
    ]


def by_folder(sweeps: list[Sweep]) -> list[list[Sweep]]:
    """The sweeps by the folder of their runs, which is that of their profile."""
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.runs, []).append(sweep)
    return list(groups.values())


def note_left_out(sweeps: list[Sweep]) -> None:
    """Say which runs have no data."""
    for sweep in sweeps:
        for data, count in sweep.skipped.items():
            on, folder = (f"on {data}", f"its folder with DATA_DIR_{data.upper()}")
            if data == sweep_file.WEIGHTS:
                on, folder = f"from {data}", "the folder that holds it with WEIGHTS_DIR"
            print(f"{sweep.path.stem}: {count} runs {on} are left out; name {folder}")


def tasks_of(options: Options, sweeps: list[Sweep], wanted: dict[str, list]) -> list[Task]:
    """What there is to train, in one folder of runs; sweeps may share runs."""
    runs: dict[str | None, dict] = {}
    for sweep in sweeps:
        configs = sweep_file.select(sweep, wanted)
        runs.setdefault(sweep.notebook, {}).update({config.folder: config for config in configs})
    tasks: list[Task] = []
    for notebook, configs in runs.items():
        tasks += plan.tasks_of(sorted(configs.values(), key=lambda c: c.seed), notebook, options.timeout)
    return tasks


def overview(tasks: list[Task]) -> str:
    """One line a setting: its runs and how many of them are finished."""
    rows: dict[str, list] = {}
    for job in (job for task in tasks for job in task.jobs):
        setting = f"{job.config.data}/{job.config.setting} labels {job.config.labels}"
        rows.setdefault(setting, []).append((job.config.variant, job.finished()))
    rows["together"] = [run for runs in rows.values() for run in runs]
    lines = []
    for setting, runs in rows.items():
        variants, done = {variant for variant, _ in runs}, sum(finished for _, finished in runs)
        lines.append(f"{setting:<36} {len(runs):4} runs of {len(variants)} methods, {done} finished")
    return "\n".join(lines)


def train(options: Options, sweeps: list[Sweep], tasks: list[Task]) -> int:
    """Train what is not finished and write the tables; returns the exit status."""
    others = neighbours(options, sweeps)
    print(f"Checking {sum(len(task.jobs) for task in tasks)} runs ...", flush=True)
    asked = {job.config.folder for task in tasks for job in task.jobs}
    for sweep in sweeps:
        sweep_file.check(sweep, asked)
    folder = Path(sweeps[0].runs) / plan.TASKS
    with alone(folder) as lock:
        # One thread a notebook where there are as many notebooks as cores, more where there are fewer.
        threads = max(1, options.jobs // len(tasks)) if tasks[0].jobs[0].notebook else 1
        status, progress = work(options, tasks, folder, lock, threads, "runs")
        write_tables(options, sweeps, others, progress.open | {name for name, *_ in progress.failures})
    return status


def write_tables(options: Options, sweeps: list[Sweep], others: list[Sweep], missing: set[str]) -> None:
    """Write the tables of some sweeps: finished runs of all that share them, but those that are missing."""
    from mstl.report.results import collect, collect_compact  # pandas, which a wrong word need not wait for

    for name, runs in dict.fromkeys((sweep.results, sweep.runs) for sweep in sweeps):
        sharing = [s for s in (*sweeps, *others) if (s.results, s.runs) == (name, runs)]
        wanted = {plan.run_name(c) for s in sharing for c in s.configs} - missing
        if any((Path(runs) / run / "manifest.json").exists() for run in wanted):
            gather = collect if sharing[0].notebook else collect_compact
            if sharing[0].published:  # thousands of test rows a run, each right or wrong
                gather = partial(collect_compact, cars=False)
            print(*gather(runs, str(Path(options.results) / name), wanted), sep="\n")
    if any(sweep.published for sweep in sweeps):
        from mstl.report.published.table import write

        print(*write(Path(options.results) / "published", options.data_dirs), sep="\n")


def neighbours(options: Options, sweeps: list[Sweep]) -> list[Sweep]:
    """The other sweeps in the same folders, which may share tables; a fault in one stops nothing."""
    read, asked = [], {sweep.path for sweep in sweeps}
    for path in sorted({p for sweep in sweeps for p in sweep.path.parent.glob("*.yaml")} - asked):
        try:
            read.append(sweep_file.read(path, out=options.runs))
        except InputError as error:
            print(f"warning: {error}; tables that it shares will be without its runs", file=sys.stderr)
    return read


def work(
    options: Options, tasks: list[Task], folder: Path, lock: IO[str], threads: int, what: str
) -> tuple[int, Progress]:
    """Let Snakemake do what is not finished, and say how far it is; returns the exit status and that."""
    pending = [task for task in tasks if not task.finished()]
    profile = cluster.read(Path(options.cluster, "config.yaml"))
    cluster.cancel_those_of(folder / "snakemake.log")
    jobs, asking = jobs_of(options, pending, profile, folder, threads) if pending else ({}, [])
    for task in pending:
        task.write()
    progress = Progress(tasks, pending, profile.get("jobs", options.jobs), what)
    if not pending:
        return report(progress, 0, folder), progress
    settings, log = folder / "settings.json", folder / "snakemake.log"
    settings.write_text(json.dumps({"jobs": jobs}) + "\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--nolock"]
    command += ["--workflow-profile", options.cluster, "--scheduler", "greedy", *asking]
    # On a cluster the profile's number of jobs counts, not the cores of this machine.
    command += [] if "executor" in profile else ["--cores", str(options.jobs)]
    with log.open("w", encoding="utf-8") as file:
        # In a group of its own, so that a signal can reach it and all its workers. The lock is handed down:
        # it lives as long as Snakemake does, even if this process is killed.
        handed = {"process_group": 0, "pass_fds": (lock.fileno(),), "stdout": file, "stderr": file}
        process = subprocess.Popen([*command, "--configfile", str(settings), "--", "everything"], **handed)
    lock.truncate(0)  # it is open for appending
    print(process.pid, file=lock, flush=True)
    try:
        while process.poll() is None:
            time.sleep(POLL)
            progress.update()
    except KeyboardInterrupt:
        try:
            cluster.cancel_those_of(log)  # Snakemake would wait for what is at work
        finally:
            stop(process)
        cluster.cancel_those_of(log)  # what was being submitted meanwhile
        raise
    finally:
        progress.update(last=True)
    return report(progress, process.returncode, folder), progress


def jobs_of(
    options: Options, pending: list[Task], profile: dict, folder: Path, threads: int
) -> tuple[dict[str, dict], list[str]]:
    """What a job of Snakemake does and is to be granted, by its last task; and options that follow from it.

    Raises:
        InputError: the cluster cannot grant it.
    """
    measured = needs.Measured(folder.parent, Path(options.results)) if "executor" in profile else None
    threads = 1 if measured else threads  # how many cores are here says nothing of a node
    need = {task.stem: measured.need(task, threads) if measured else needs.here(threads) for task in pending}
    asking: list[str] = []
    if profile.get("executor") == "slurm":
        need = cluster.check(profile, need, str(Path(options.cluster, "config.yaml")))
        asking = ["--slurm-logdir", str((folder / "slurm").resolve())]
        asking += [] if "slurm-status-command" in profile else cluster.status_command()
    most = profile.get("jobs", len(pending)) if measured else len(pending)
    fixed = profile["set-resources"].get("runtime")
    limits = [n.most_minutes for n in need.values() if n.most_minutes] + [fixed] * isinstance(fixed, int)
    minutes = min([options.bundle, *limits])
    return {
        bundle[-1].stem: {"tasks": [task.stem for task in bundle], **asdict(granted)}
        for bundle, granted in needs.bundles(pending, need, minutes, most)
    }, asking


def stop(process: subprocess.Popen) -> None:
    """Ask a process and its whole group, which it leads, to stop, and wait until the last of them has."""
    until = time.monotonic() + 60  # then they are killed
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while True:
            process.poll()  # lets the system forget it, so that the group can become empty
            time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL if time.monotonic() > until else 0)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[IO[str]]:
    """The lock of a folder of tasks; an InputError where another process holds it."""
    try:
        with only_one(folder / "lock", wait=False) as lock:
            yield lock
    except BlockingIOError:
        raise InputError(
            f"another make is at work in {folder.parent}; wait for it, or stop it: "
            f"kill -- -{(folder / 'lock').read_text().strip()}"
        ) from None


def report(progress: Progress, status: int, folder: Path) -> int:
    """Say how many jobs are finished, which failed and why; returns the exit status."""
    failures, log = progress.failures, folder / "snakemake.log"
    print(f"{progress.done - len(failures)} of {len(progress.jobs)} {progress.what} are finished.")
    for name, error, where in failures:
        print(f"  {name}: FAILED: {error}\n    log: {where}")
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() and status else ""
    ended = ends.read(text)
    for line in ends.lines(ended, progress):
        print(line)
    if failures or ended:
        print("The same command tries these again and keeps the others.")
    elif status or progress.open:
        tail = text.splitlines()[-5:]
        print(f"Snakemake ended with status {status} (log: {log}):", *tail, sep="\n  ", file=sys.stderr)
    return 1 if failures or status or progress.open else 0


def make_book(options: Options, tasks: list[Task]) -> int:
    """Execute the pages that are stale and build the book; returns the exit status."""
    data = str(options.axes.get("data", [sweep_file.DATA])[0])
    shown = next((task.jobs[0] for task in tasks if task.finished()), None)
    todo = pages.tasks_of(data, shown, options.timeout)
    folder = pages.EXECUTED / data / plan.TASKS
    with alone(folder) as lock:
        pages.take(todo, shown)
        status, _ = work(options, todo, folder, lock, 1, "pages")
        return status or book.build({task.jobs[0].name: Path(task.jobs[0].target) for task in todo})


if __name__ == "__main__":
    sys.exit(main())
