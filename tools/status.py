"""The book's status page: versions, machine, and how long each notebook took, as Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path

import nbformat

VERSIONS = (
    "mstl",
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "pandas",
    "matplotlib",
    "papermill",
    "snakemake",
    "jupyter-book",
)


def page(notebooks: dict[str, Path]) -> str:
    """Markdown with two tables: the environment, and the executed notebooks (name -> file)."""
    environment = [("commit", commit()), ("processor", processor()), ("GPU", graphics()), *versions()]
    return "\n".join(
        [
            *_table(("What", "Which"), environment),
            "",
            *_table(("Notebook", "Executed", "Seconds"), [_execution(n, p) for n, p in notebooks.items()]),
            "",
        ]
    )


def versions() -> list[tuple[str, str]]:
    """Name and version of Python and of the packages that matter."""
    return [("Python", platform.python_version()), *((name, metadata.version(name)) for name in VERSIONS)]


def commit() -> str:
    """Commit of the checkout, with a note where files differ from it."""
    try:
        head = _output("git", "rev-parse", "--short=12", "HEAD")
        return head + (
            " with changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """Architecture, operating system and number of cores."""
    return f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores"


def graphics() -> str:
    """Name of the first GPU, or ``none``."""
    try:
        return _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "none"


def _execution(name: str, path: Path) -> tuple[str, str, str]:
    record = nbformat.read(path, as_version=4).metadata.get("papermill", {})
    if not record.get("end_time"):
        return name, "unknown", "unknown"
    ended = datetime.fromisoformat(record["end_time"])
    return f"{{doc}}`../notebooks/{name}`", f"{ended:%Y-%m-%d %H:%M} UTC", f"{record['duration']:.0f}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
