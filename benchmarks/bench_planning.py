"""How long it takes to plan a sweep, by the number of runs, and what a cluster's queue adds to each.

    python benchmarks/bench_planning.py [--quick] [--submit 100]

Three times for each number of runs, ten methods to a task: the workflow says what there is to do
(``make sweep DRY_RUN=1``); it does so where everything is finished, which reads a manifest for each run; and
Snakemake plans one job a task. With ``--submit`` so many empty jobs go through the SLURM queue of this
machine, by themselves and as one array.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tools")]
METHODS = [
    "target_only",
    "source_combine",
    "dann",
    "mstl",
    "mstl_plus",
    "mfsan",
    "m3sda",
    "mdan_soft",
    "dctn",
    "oracle",
]


def main() -> None:
    """Measure, print, write ``results/bench/planning.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 runs only")
    parser.add_argument("--submit", type=int, default=0, help="empty jobs for the queue; nothing else")
    given = parser.parse_args()
    table = Table("queue" if given.submit else "planning")
    if given.submit:
        (ROOT / "_build").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT / "_build") as folder:  # which jobs can see
            for how, value in submitted(Path(folder), given.submit).items():
                table.add(how, [value / given.submit], "s a job", at=given.submit, better="lower")
    else:
        for runs in (100,) if given.quick else (100, 1_000, 10_000):
            with tempfile.TemporaryDirectory() as folder:
                for what, value in planned(Path(folder), runs // len(METHODS)).items():
                    table.add(what, [value], "s", at=runs, better="lower")
    if not given.quick:
        table.write()


def planned(folder: Path, tasks: int) -> dict[str, float]:
    """Seconds of the three."""
    import plan
    import sweep_file

    block = {"data": "studio", "recipe": "parts", "labels": 4, "methods": METHODS}
    text = json.dumps({"profile": "tiny", "seeds": list(range(tasks)), "blocks": [block]})
    (folder / "sweep.yaml").write_text(text)
    line = [sys.executable, "workflow/run.py", "sweep", f"SWEEP={folder / 'sweep.yaml'}", "DRY_RUN=1"]
    line += [f"RUNS={folder / 'runs'}"]
    nothing = seconds(line)
    for config in sweep_file.read(folder / "sweep.yaml", out=str(folder / "runs")).configs:
        config.folder.mkdir(parents=True)
        manifest = {"settings": config.settings(), "source_fingerprint": plan.code(config.method)}
        (config.folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"{len(METHODS) * tasks} finished" in said, said
    return {
        "planning, nothing finished": nothing,
        "planning, all finished": seconds(line),
        "Snakemake, a job for ten runs": seconds(
            snakemake(folder / "jobs", tasks, "--dry-run", "--quiet", "all")
        ),
    }


def submitted(folder: Path, jobs: int) -> dict[str, float]:
    """Seconds of so many empty jobs through the queue, by themselves and as an array."""
    queue = ("--executor", "slurm", "--jobs", str(jobs), "--slurm-status-command", "squeue")
    queue += ("--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "30")
    return {
        "jobs by themselves": seconds(snakemake(folder / "each", jobs, *queue)),
        "jobs of one array": seconds(snakemake(folder / "array", jobs, *queue, "--slurm-array-jobs", "all")),
    }


def snakemake(folder: Path, jobs: int, *options: str) -> list[str]:
    """A command that plans so many jobs of the workflow's own rule, of which each only writes its file."""
    folder.mkdir(parents=True)
    rule = (ROOT / "workflow/Snakefile").read_text()
    start = rule.index("    shell:")
    (folder / "Snakefile").write_text(rule[:start] + '    shell:\n        "touch {output:q}"\n')
    job = {"threads": 1, "mem_mb": 500, "minutes": 5, "gpus": 0, "most_mem_mb": None, "most_minutes": None}
    stems = [str(folder / f"task-{number}") for number in range(jobs)]
    for stem in stems:
        Path(f"{stem}.json").touch()
    settings = {"jobs": {stem: {"tasks": [stem], **job} for stem in stems}}
    (folder / "settings.json").write_text(json.dumps(settings))
    line = [sys.executable, "-m", "snakemake", "--snakefile", str(folder / "Snakefile"), "--nolock"]
    line += ["--scheduler", "greedy", "--directory", str(folder), "--rerun-triggers", "mtime"]
    line += [] if "--executor" in options else ["--cores", "1"]
    return [*line, *options, "--configfile", str(folder / "settings.json"), "--", "everything"]


def seconds(line: list[str]) -> float:
    """Of a command, which has to end well."""
    start = time.perf_counter()
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return round(time.perf_counter() - start, 2)


if __name__ == "__main__":
    main()
