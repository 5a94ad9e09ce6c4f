"""Where a number came from: code, versions, machine."""

from __future__ import annotations

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
# Files that draw, read or describe results cannot change what a run computes.
OUTSIDE_TRAINING = (
    "plots.py",
    "explore.py",
    "inference.py",
    "progress.py",
    "toys.py",
    "results.py",
    "bootstrap.py",
    "__main__.py",
    "project.py",
    "render/",
)


@cache
def source_fingerprint() -> str:
    """16 hexadecimal digits of the package's own source, as far as it decides the result of a run."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith(OUTSIDE_TRAINING):
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


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
