"""Benchmarks in processes of their own that take turns, so that memory and threads are each one's own.

The parent asks by a line on standard input, the child answers with a line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ANSWER = "answer: "
MIB = 2**20


class Child:
    """A script in a process of its own that does one block of work each time it is asked.

    Args:
        arguments: the script and its arguments.
        cores: number of cores that the child and its own children may use together, of those we have.
    """

    def __init__(self, arguments: list[str], cores: int) -> None:
        chosen = sorted(os.sched_getaffinity(0))[:cores] if hasattr(os, "sched_getaffinity") else []
        before = ["-c", _BEGIN, json.dumps(chosen)] if chosen else []
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *before, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)},
        )

    def ask(self, question: str = "go") -> dict[str, Any]:
        """What the child answers; it works until then, and only then."""
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise RuntimeError(f"the child ended with status {self.process.wait()} before it answered")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


def serve(work: Callable[[str], dict[str, Any]]) -> None:
    """The child's side: answer every line with what ``work`` returns, until the parent has no more."""
    for line in sys.stdin:
        print(ANSWER + json.dumps(work(line.strip())), flush=True)


def peak_memory() -> dict[str, float]:
    """MiB: the largest that this process ever held, and what its workers hold now for themselves alone."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB, "workers": 0.0}
    return {
        "process": _kib(status, "VmHWM:") / 1024,
        "workers": sum(
            (_kib(f, "Private_Clean:") + _kib(f, "Private_Dirty:")) / 1024
            for f in (Path(f"/proc/{pid}/smaps_rollup") for pid in _descendants(os.getpid()))
        ),
    }


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _kib(file: Path, name: str) -> float:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)


# Cores are chosen before torch is imported, which asks for them once.
_BEGIN = (
    "import json, os, runpy, sys\n"
    "os.sched_setaffinity(0, json.loads(sys.argv[1]))\n"
    "del sys.argv[:2]\n"
    "sys.path.insert(0, os.path.dirname(sys.argv[0]))\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)
