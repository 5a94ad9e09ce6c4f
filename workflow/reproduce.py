"""`make reproduce` and `make book`: every run, the tables, the executed notebooks, the book.

Interrupt it whenever you like: finished runs are kept, a begun one resumes from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

import book
from mstl.run.config import PROFILES
from mstl.system.errors import InputError
from plan import Plan, make_plan
from processes import obey_signals, stop

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(".snakemake/reproduce.lock")
SETTINGS = Path("_build/workflow.json")  # the configuration as Snakemake gets it
# Reading the data once beforehand fills the cache the runs share and lets a bad folder fail in seconds.
READ_DATA = (
    "import json, sys\n"
    "from mstl.data import local_task\n"
    "from mstl.system.errors import InputError\n"
    "try:\n    local_task(**json.loads(sys.argv[1]))\n"
    "except InputError as error:\n    sys.exit(f'error: {error}')\n"
)


def main() -> int:
    """Command line; returns the exit status."""
    os.chdir(ROOT)
    obey_signals()
    options = parse_arguments()
    config = yaml.safe_load(Path("workflow/config.yaml").read_text())
    config |= {name: value for name, value in options.config.items() if value is not None}
    start = time.monotonic()
    try:
        if config["train"] and config["read_data"] and not options.dry_run and (status := read_data(config)):
            return status
        plan = make_plan(config)
        status = snakemake(config, options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Finished runs are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    if not options.dry_run:
        report(plan if config["train"] else replace(plan, runs={}), pages=options.target in ("pages", "book"))
    if status == 0 and options.target == "book" and not options.dry_run:
        status = book.build({name: job.target for name, job in plan.pages.items()})
    if status == 0:
        print(f"Done in {(time.monotonic() - start) / 60:.1f} minutes.")
    return status


def parse_arguments() -> argparse.Namespace:
    """The command line; ``config`` holds what replaces an entry of workflow/config.yaml."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", default="book", choices=("runs", "tables", "pages", "book"))
    parser.add_argument(
        "--no-train", action="store_true", help="draw the book from the results in the repository"
    )
    parser.add_argument("--data", help="studio, carparts, carvana or folder")
    parser.add_argument("--data-dir", help="folder of the data, where it is not embedded")
    parser.add_argument("--profile", help="quick or full")
    parser.add_argument("--seeds", type=numbers, help="seeds, for instance 0,1,2")
    parser.add_argument("--labels", type=numbers, help="labelled target images, for instance 4,8")
    parser.add_argument("--methods", type=words, help="methods, for instance mstl,oracle")
    parser.add_argument("--recipes", type=words, help="recipes, for instance parts,views")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="CPU cores to use")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be computed")
    # Make hands over every variable, set or not: an empty one means the default.
    options = parser.parse_args([a for a in sys.argv[1:] if not a.startswith("--") or not a.endswith("=")])
    names = ("data", "data_dir", "profile", "seeds", "labels", "methods", "recipes")
    options.config = {name: getattr(options, name) for name in names}
    if options.no_train:
        options.config["train"] = False
    return options


def numbers(text: str) -> list[int]:
    """``"0,1,2"`` as whole numbers."""
    return [int(part) for part in text.replace(",", " ").split()]


def words(text: str) -> list[str]:
    """``"mstl,oracle"`` as words."""
    return text.replace(",", " ").split()


def read_data(config: dict[str, Any]) -> int:
    """Read the data once; returns an exit status, after one line that says what is wrong with it."""
    if config["profile"] not in PROFILES:
        raise InputError(f"PROFILE {config['profile']!r} is unknown; choose from {', '.join(PROFILES)}")
    arguments = dict(
        data=config["data"],
        recipe=config["recipes"][0],
        sources=config["sources"][0],
        labels=config["labels"][0],
        seed=config["seeds"][0],
        size=PROFILES[config["profile"]].size,
        data_dir=config["data_dir"],
    )
    print(f"Reading {config['data']} ...", flush=True)
    ended = subprocess.run([sys.executable, "-c", READ_DATA, json.dumps(arguments)])
    return 2 if ended.returncode else 0


def snakemake(config: dict[str, Any], options: argparse.Namespace) -> int:
    """Run the workflow up to the wanted target; returns Snakemake's exit status."""
    target = "pages" if options.target == "book" else options.target
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text(json.dumps(config, indent=1) + "\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    command += ["--workflow-profile", "workflow/profiles/default", "--cores", str(max(1, options.jobs))]
    with single_instance() as lock:
        if any(
            Path(".snakemake/locks").glob("*")
        ):  # left by a run that was killed: we hold the lock that counts
            subprocess.run([*command, "--unlock", "--quiet", "all"], check=False, capture_output=True)
        command += ["--dry-run"] if options.dry_run else []
        command += ["--configfile", str(SETTINGS), "--", target]
        # The lock is handed down: it lives as long as Snakemake does, even if this process is killed.
        # In a group of its own, so that a signal can reach it and all its workers.
        process = subprocess.Popen(command, process_group=0, pass_fds=(lock.fileno(),))
        try:
            return process.wait()
        except KeyboardInterrupt:
            stop(process)
            raise


def single_instance():
    """An open file that only one `make reproduce` of this folder can hold."""
    LOCK.parent.mkdir(exist_ok=True)
    file = LOCK.open("w")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"another `make reproduce` is at work in {ROOT.name}/; wait for it or stop it"
        ) from None
    except (ImportError, OSError):
        pass
    return file


def report(plan: Plan, pages: bool) -> None:
    """How many runs are finished, and of each notebook that is not, why and where its log is."""
    runs = {name: job for name, job in plan.runs.items() if not job.finished()}
    if plan.runs:
        print(f"\n{len(plan.runs) - len(runs)} of {len(plan.runs)} training runs are finished.")
    # A page waits for the runs, so it is worth a word only when they are there.
    missing = runs or {name: job for name, job in plan.pages.items() if pages and not job.finished()}
    for name, job in missing.items():
        log = job.target.with_name("log.txt")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        reason = next((line for line in reversed(lines) if line.startswith("FAILED ")), "not finished")
        print(f"  {name}: {reason}\n    log: {log}")
    if missing:
        print("The same command tries these again and keeps the others.")


if __name__ == "__main__":
    sys.exit(main())
