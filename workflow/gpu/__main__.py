"""`make gpu`: everything that one GPU can tell in a few minutes, most valuable first.

    python workflow/gpu --out gpu-results [--steps tests full ...] [--minutes 8] [--carparts FOLDER]

Each step is a process of its own with a clock of its own, and its tables are written when it ends, so that
nothing finished is lost when a step fails, hangs or the machine goes away:

    steps.csv   what ran, for how long, and what failed and why
    tests.csv   every test marked ``gpu``, with what it measured
    runs.zip    scores, curves and manifest of every finished training run
    speed.csv   step times and their ratios
    rivals.csv  our loop beside a plain one, and torch.compile
    t4.csv      a T4's settings imitated: float16, 16 GB
    log.txt     what the steps printed

A second start goes on with what is missing. ``--small`` runs the same steps in miniature, also without a GPU.
`make gpu-merge FROM=folder` takes the tables into ``results/gpu``.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = {  # share of the minutes, in the order of their value
    "tests": 0.15,
    "full": 0.38,
    "speed": 0.25,
    "rivals": 0.15,
    "t4": 0.07,
    "sweep": 1.0,
}
DEFAULT = ("tests", "full", "speed", "rivals", "t4")
NEEDED = 16.0  # GiB of free memory: what a T4 has
GRACE = 10.0  # seconds a step gets beyond its own clock to write what it has


@dataclass
class Row:
    """A line of steps.csv."""

    step: str
    status: str  # finished, failed, or cut short by its clock
    seconds: float
    limit: float
    error: str
    device: str
    torch: str
    commit: str
    small: bool


def main() -> int:
    """Command line; status 0 if every step finished, 1 if one did not, 2 if none could begin."""
    options = parse()
    out = Path(options.out).expanduser().resolve()
    try:
        device, version = machine(options.small)
        commit = origin()
        rows = before(out, commit, options.small)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    wanted = [name for name in options.steps if rows.get(name, {}).get("status") != "finished"]
    for kept in set(options.steps) - set(wanted):
        print(f"{kept}: finished before, kept", flush=True)
    for position, name in enumerate(wanted):
        left = end - time.monotonic()
        limit = left * STEPS[name] / sum(STEPS[other] for other in wanted[position:])
        print(f"{name}: at most {limit:.0f} s of {left:.0f} s", flush=True)
        status, seconds, error = run(name, limit, out, options)
        print(f"{name}: {status} after {seconds:.0f} s {error}", flush=True)
        row = Row(
            name, status, round(seconds, 1), round(limit, 1), error, device, version, commit, options.small
        )
        rows[name] = asdict(row)
        write(out / "steps.csv", list(rows.values()))
    failed = [name for name in options.steps if rows[name]["status"] != "finished"]
    print(f"tables in {out}" + (f"; not finished: {', '.join(failed)}" if failed else ""), flush=True)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="workflow/gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="gpu-results", help="folder of the tables")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(DEFAULT))
    parser.add_argument("--minutes", type=float, default=8, help="of all steps together")
    parser.add_argument("--carparts", default="", help="folder of the car photographs, where there is one")
    parser.add_argument("--sweep", default="main", help="what the step sweep trains")
    parser.add_argument("--small", action="store_true", help="the same steps in miniature, also on a CPU")
    options = parser.parse_args()
    if options.carparts and not Path(options.carparts).expanduser().is_dir():
        parser.error(f"--carparts {options.carparts} is not a folder; name the one with annotations.json")
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes:g}: expected a number above 0")
    return options


def machine(small: bool) -> tuple[str, str]:
    """Name of the GPU and torch's version.

    Raises:
        ValueError: no GPU, or too little free memory on it, and not ``small``.
    """
    import torch

    if not torch.cuda.is_available():
        if small:
            return "CPU", torch.__version__
        raise ValueError(
            f"torch {torch.__version__} finds no usable GPU here; "
            "the same steps in miniature: make gpu SMALL=1"
        )
    free = torch.cuda.mem_get_info()[0] / 2**30
    if free < NEEDED and not small:
        raise ValueError(
            f"{free:.1f} GiB of the GPU's memory are free and {NEEDED:g} are needed; end what else uses it"
        )
    return torch.cuda.get_device_name(), torch.__version__


def origin() -> str:
    """Commit of the code; where it travelled without its history, as `pack` wrote it down."""
    note = ROOT / ".gpu" / "commit"
    if note.exists():
        found = note.read_text().strip()
    else:
        sys.path.insert(0, str(ROOT))
        from mstl.run import provenance

        found = provenance.commit()
    os.environ["MSTL_COMMIT"] = found
    return found


def before(out: Path, commit: str, small: bool) -> dict[str, dict]:
    """What an earlier start wrote into ``out``, by step.

    Raises:
        ValueError: it was another commit's, or of the other size.
    """
    try:
        with (out / "steps.csv").open(newline="", encoding="utf-8") as file:
            rows = {row["step"]: row for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    for row in rows.values():
        if (row["commit"], row["small"]) != (commit, str(small)):
            raise ValueError(
                f"{out} holds tables of commit {row['commit']} (small: {row['small']}), this is {commit} "
                f"(small: {small}); name another folder with OUT="
            )
    return rows


def run(name: str, limit: float, out: Path, options: argparse.Namespace) -> tuple[str, float, str]:
    """One step: its status, its seconds, and the last line of a failure."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / f"{name}.py"), "--out", str(out)]
    command += ["--seconds", f"{limit:.0f}", "--sweep", options.sweep]
    command += ["--carparts", str(Path(options.carparts).expanduser().resolve())] if options.carparts else []
    command += ["--small"] if options.small else []
    paths = [ROOT, ROOT / "workflow", ROOT / "benchmarks", ROOT / "tests", os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(str, paths)))}
    environment["PYTHONUNBUFFERED"] = "1"
    start = time.monotonic()
    with (out / "log.txt").open("a+", encoding="utf-8") as log:
        log.write(f"\n=== {name}, at most {limit:.0f} s\n")
        log.flush()
        begun = log.tell()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env=environment, process_group=0
        )
        try:
            status = process.wait(limit + GRACE)
            result = ("finished", "") if status == 0 else ("failed", f"status {status}")
        except subprocess.TimeoutExpired:
            result = ("cut short", f"still at work after {limit + GRACE:.0f} s")
        finally:
            end(process)
        log.seek(begun)
        lines = [line for line in log.read().splitlines() if line.strip()]
    if result[0] == "failed" and lines:
        result = (result[0], f"{result[1]}: {lines[-1][:200]}")
    return result[0], time.monotonic() - start, result[1]


def end(process: subprocess.Popen) -> None:
    """End a step and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def write(path: Path, rows: list[dict]) -> None:
    """A table, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
