"""`make gpu-merge FROM=folder`: take what `make gpu` wrote into ``results/gpu``.

    python workflow/gpu/merge.py FOLDER

Tables of a step replace those of an earlier start; runs are collected as those of a sweep are.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mstl.report.results import collect_compact  # noqa: E402
from mstl.system.errors import InputError  # noqa: E402

TABLES = ("steps.csv", "tests.csv", "full.csv", "speed.csv", "rivals.csv", "t4.csv")


def main() -> int:
    """Command line; returns the exit status."""
    try:
        if len(sys.argv) != 2 or not sys.argv[1]:
            raise InputError("FROM is missing: make gpu-merge FROM=folder, the folder that make gpu wrote")
        for path in merge(Path(sys.argv[1]).expanduser(), ROOT / "results" / "gpu"):
            print(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def merge(source: Path, results: Path) -> list[Path]:
    """Check and copy; nothing is written if something is wrong.

    Args:
        source: the folder that `make gpu` wrote.
        results: where its tables belong.

    Raises:
        InputError: not such a folder, a miniature, several commits, or a commit that this history lacks.
    """
    steps = source / "steps.csv"
    if not steps.is_file():
        raise InputError(f"FROM {source} holds no steps.csv; name the folder that make gpu wrote")
    with steps.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    commits = sorted({row["commit"] for row in rows})
    if any(row["small"] == "True" for row in rows):
        raise InputError(f"{steps} is of a run in miniature (SMALL=1), which measures nothing")
    if len(commits) != 1:
        raise InputError(f"{steps} is of {len(commits)} commits ({', '.join(commits)}); merge one at a time")
    if commits[0].endswith("+") or not known(commits[0]):
        raise InputError(
            f"{steps} is of commit {commits[0]}, which this history does not have; "
            "run make gpu on a clean checkout of a commit that stays"
        )
    written = []
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if (source / "runs.zip").exists():
            with zipfile.ZipFile(source / "runs.zip") as archive:
                archive.extractall(folder)
            written += collect_compact(folder, str(results))
    for name in TABLES:
        if (source / name).exists():
            shutil.copyfile(source / name, results / name)
            written.append(results / name)
    return written


def known(commit: str) -> bool:
    """Whether the commit is one that the checkout descends from."""
    command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"]
    return subprocess.run(command, capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
