"""Where a number came from: code, versions, machine."""

from __future__ import annotations

import ast
import hashlib
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).parent
# Files (by the beginning of their names) that draw, read or describe results: no run depends on them.
OUTSIDE_TRAINING = (
    "plots.py",
    "explore.py",
    "inference.py",
    "progress.py",
    "toys.py",
    "results.py",
    "bootstrap.py",
    "bars.py",
    "__main__.py",
    "project.py",
    "render/",
    "comparison",
    "diagnos",
    "snapshots",
)


# Of the code that reads data only this can change a run: the rest shows in the fingerprint of the task.
DATA_IN_TRAINING = ("data/augment.py", "data/batches.py")


@cache
def source_fingerprint(method: type | None = None) -> str:
    """16 hexadecimal digits of the package's own source, as far as it decides the result of a run.

    Of the methods only ``method``'s own module counts, and those it builds on: a new method makes no finished
    run stale. Without ``method`` all count.
    """
    digest = hashlib.blake2b(digest_size=8)
    methods = None if method is None else _method_files(method)
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if name.startswith(OUTSIDE_TRAINING) or (name.startswith("data/") and name not in DATA_IN_TRAINING):
            continue
        if methods is not None and name.startswith("methods/") and name not in methods:
            continue
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _method_files(method: type) -> set[str]:
    """Files of ``mstl/methods`` that a method's module is made from, itself included."""
    wanted, found = [method.__module__.rpartition(".")[2]], set()
    while wanted:
        name = wanted.pop()
        file = PACKAGE / "methods" / f"{name}.py"
        if name in found or not file.exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "mstl.methods":
                wanted += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mstl.methods."):
                wanted.append(node.module.rpartition(".")[2])
    return {f"methods/{name}.py" for name in found}


@cache
def commit() -> str:
    """Commit of the checkout; ``+`` where tracked files differ from it, ``unknown`` outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "mstl", "notebooks", "workflow")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a number can depend on."""
    names = ("torch", "torchvision", "lightning-fabric", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def device_name(device: torch.device) -> str:
    """What computed: the GPU's name, or the processor's architecture and thread count."""
    import torch  # here, so that the workflow can ask for OUTSIDE_TRAINING in no time

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory(device: torch.device) -> dict[str, float]:
    """Largest memory so far in GiB: ``host`` of this process, ``device`` of the GPU if one is used."""
    import torch

    # ru_maxrss counts KiB on Linux and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak: dict[str, Any] = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device) / 2**30
    return {key: round(value, 3) for key, value in peak.items()}
