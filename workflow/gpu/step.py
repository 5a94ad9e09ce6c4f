"""What every step of `make gpu` shares: its command line, its clock and its archive of runs."""

from __future__ import annotations

import argparse
import os
import time
import zipfile
from pathlib import Path

KEPT = ("manifest.json", "config.json", "images.csv", "metrics.jsonl")  # all that tables are made from


class Clock:
    """Seconds left of a step's own limit."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.end - time.monotonic())


def arguments() -> tuple[argparse.Namespace, Clock]:
    """What `__main__` hands to a step, and its clock, which has started."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--carparts", default="")
    parser.add_argument("--sweep", default="main")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    return options, Clock(options.seconds)


def archive(runs: Path, out: Path) -> int:
    """Put the tables of every finished run below ``runs`` into ``<out>/runs.zip``, with those there before.

    Returns:
        How many finished runs the archive holds.
    """
    file, temporary = out / "runs.zip", out / "runs.tmp"
    content: dict[str, bytes] = {}
    if file.exists():
        with zipfile.ZipFile(file) as old:
            content = {name: old.read(name) for name in old.namelist()}
    for manifest in runs.rglob("manifest.json"):
        for name in KEPT:
            path = manifest.parent / name
            if path.exists():
                content[path.relative_to(runs).as_posix()] = path.read_bytes()
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(content):
            new.writestr(name, content[name])
    os.replace(temporary, file)
    return sum(name.endswith("manifest.json") for name in content)
