"""`make gpu-merge FROM=folder`: take what `make gpu` wrote into ``results/gpu``.

    python workflow/gpu/merge.py FOLDER [COMMIT]

Tables of a step replace those of an earlier start; runs are collected as those of a sweep are. COMMIT is what
the checkout was, where the machine had another history and could not know.
"""

from __future__ import annotations

import csv
import io
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
        if len(sys.argv) < 2 or not sys.argv[1]:
            raise InputError("FROM is missing: make gpu-merge FROM=folder, the folder that make gpu wrote")
        stated = sys.argv[2] if len(sys.argv) > 2 else ""
        for path in merge(Path(sys.argv[1]).expanduser(), ROOT / "results" / "gpu", stated):
            print(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def merge(source: Path, results: Path, stated: str = "") -> list[Path]:
    """Check and copy; nothing is written if something is wrong.

    Args:
        source: the folder that `make gpu` wrote.
        results: where its tables belong.
        stated: the commit, in place of the one that the tables name.

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
    commit = stated or commits[0]
    if commit.endswith("+") or not known(commit):
        raise InputError(
            f"{steps} is of commit {commit}, which this history does not have; "
            "run make gpu on a clean checkout of a commit that stays"
        )
    written = []
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if (source / "runs.zip").exists():
            with zipfile.ZipFile(source / "runs.zip") as archive:
                archive.extractall(folder)
            for manifest in Path(folder).rglob("manifest.json"):
                text = manifest.read_text(encoding="utf-8")
                manifest.write_text(text.replace(commits[0], commit), encoding="utf-8")
            written += collect_compact(folder, str(results))
    for name in TABLES:
        if (source / name).exists():
            text = (source / name).read_text(encoding="utf-8").replace(commits[0], commit)
            if name not in ("steps.csv", "tests.csv"):
                text = stamped(text, rows[0]["device"], f"make gpu STEPS={Path(name).stem}")
            if name == "steps.csv" and (results / name).exists():
                text = updated((results / name).read_text(encoding="utf-8"), text)
            (results / name).write_text(text, encoding="utf-8")
            written.append(results / name)
    return written


def stamped(text: str, device: str, command: str) -> str:
    """A table whose rows name the GPU and the command that anybody can repeat."""
    rows = [row | {"device": device, "command": command} for row in csv.DictReader(io.StringIO(text))]
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def updated(old: str, new: str) -> str:
    """The rows of steps.csv with those of another start in their place."""
    rows = {line.partition(",")[0]: line for line in old.splitlines()}
    rows |= {line.partition(",")[0]: line for line in new.splitlines()}
    return "".join(line + "\n" for line in rows.values())


def known(commit: str) -> bool:
    """Whether the commit is one that the checkout descends from."""
    command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"]
    return subprocess.run(command, capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
