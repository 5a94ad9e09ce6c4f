"""Where a number came from: code, versions, machine."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).parents[1]
# What can change a run's numbers; everything else draws, reads or describes them.
DECIDES = ("data/", "measures/", "methods/", "nn/", "problems/", "run/")
# Of the code that reads data only this can change a run: the rest shows in the fingerprint of the task.
DATA_IN_TRAINING = ("data/appearance.py", "data/augment.py", "data/batches.py", "data/task.py")


@cache
def source_fingerprint(method: type) -> str:
    """16 hexadecimal digits of the package's own source, as far as it decides the result of a run.

    Comments and docstrings do not count, and of the methods only those of `training_code`. A method of the
    user's own counts with its file, where it has one.
    """
    digest = hashlib.blake2b(digest_size=8)
    own = getattr(sys.modules.get(method.__module__), "__file__", None)
    if own and not method.__module__.startswith("mstl."):
        digest.update(code_of(Path(own)).encode())
    for name, text in training_code(method.__module__).items():
        if not name.startswith("data/") or name in DATA_IN_TRAINING:
            digest.update(name.encode() + b"\0" + text.encode())
    return digest.hexdigest()


def training_code(module: str, package: Path = PACKAGE) -> dict[str, str]:
    """The package's files, by name, that a run may depend on, without comments and docstrings.

    Of the methods only ``module``, which holds the run's method, is among them, and what it builds on: a new
    method makes no finished run stale.
    """
    methods = _method_files(module, package)
    names = (file.relative_to(package).as_posix() for file in sorted(package.rglob("*.py")))
    return {
        name: code_of(package / name)
        for name in names
        if name.startswith(DECIDES) and (name in methods or not name.startswith("methods/"))
    }


def code_of(file: Path) -> str:
    """A Python file as its parser sees it: no comments, no docstrings, no layout."""
    return _parsed(file.read_text(encoding="utf-8"))


@cache  # a plan asks for the same files for every method
def _parsed(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _method_files(module: str, package: Path) -> set[str]:
    """Files of ``mstl/methods`` that a module is made from, itself included; all of them for another's."""
    if not module.startswith("mstl.methods."):
        return {f"methods/{file.name}" for file in (package / "methods").glob("*.py")}
    wanted, found = [module.rpartition(".")[2]], set()
    while wanted:
        name = wanted.pop()
        file = package / "methods" / f"{name}.py"
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
    """Commit of the checkout; ``+`` where tracked files differ from it.

    What the environment's MSTL_COMMIT says, where a checkout travels without its history; else ``unknown``
    outside a checkout.
    """
    if stated := os.environ.get("MSTL_COMMIT"):
        return stated
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
    """What computed: the GPU's name, or the processor's and its number of threads."""
    import torch  # here, so that the workflow can ask for `training_code` in no time

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({processor()}, {torch.get_num_threads()} threads)"


def processor() -> str:
    """The processor by name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Largest memory so far in GiB: ``host`` of this process, ``device`` of the GPU if one is used.

    ``host`` is None where the system does not say (Windows).
    """
    import torch

    peak: dict[str, float | None] = {"host": None}
    with contextlib.suppress(ImportError):
        import resource

        # ru_maxrss counts KiB on Linux and bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        peak["host"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)
    if device.type == "cuda":
        peak["device"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return peak
