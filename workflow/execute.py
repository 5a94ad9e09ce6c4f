"""Execute one notebook: check the names of its parameters, run it, and show the result only when it is whole.

While it runs, the notebook lies beside its target as ``<name>.partial.ipynb``; it is renamed when the last
cell has ended, and to ``<name>.failed.ipynb`` when one has failed. So a target that exists is complete.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

# The kernel is the python3 of this environment, whatever kernels the user has registered elsewhere.
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

import pair
import private
from mstl.system.errors import InputError
from mstl.system.locks import only_one


class KernelDied(InputError):
    """Not the notebook's fault: another attempt, with more memory, may end well."""


def execute(source: Path, target: Path, parameters: dict[str, Any], timeout: int = 21600) -> None:
    """Execute ``source`` (``.py`` or ``.ipynb``) with ``parameters`` and leave the result at ``target``.

    The kernel works in the notebook's own folder, as in Jupyter. What cells print goes to standard error.

    Raises:
        InputError: unknown parameter, failing cell (which is named), dead kernel, over ``timeout`` seconds.
    """
    pair.check(source, parameters)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = target.with_suffix(".partial.ipynb"), target.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory() as folder, only_one(target.parent / ".lock"):
        notebook = Path(folder) / f"{source.stem}.ipynb"
        nbformat.write(pair.read(source), notebook)
        try:
            papermill.execute_notebook(
                str(notebook),
                str(partial),
                parameters=parameters,
                kernel_name="python3",
                cwd=str(source.parent),
                progress_bar=False,
                log_output=True,
                execution_timeout=timeout,
            )
        except (PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
            reason = _reason(error, partial, source.name, timeout)
            if partial.exists():
                partial.replace(failed)
            kind = KernelDied if isinstance(error, DeadKernelError) else InputError
            raise kind(f"{reason} (see {failed})") from None
        _tidy(partial, source.name, target.name)
        failed.unlink(missing_ok=True)
        partial.replace(target)


def _reason(error: Exception, partial: Path, name: str, timeout: int) -> str:
    """One line: which cell of which notebook failed, and why."""
    if isinstance(error, PapermillExecutionError):
        text = str(error.evalue).strip()
        return f"{name}, cell {error.exec_count}: {error.ename}: {text.splitlines()[0] if text else ''}"
    count = 0
    if partial.exists():
        cells = nbformat.read(partial, as_version=4).cells
        count = sum(cell.cell_type == "code" and bool(cell.execution_count) for cell in cells)
    if isinstance(error, CellTimeoutError):
        return f"{name}, cell {count}: not finished after {timeout} s"
    return f"{name}, cell {count}: the kernel died; most often the machine had no memory left"


def _tidy(path: Path, source: str, target: str) -> None:
    """Keep this machine's folders and its user's credentials out of the result."""
    notebook = private.cleaned(nbformat.read(path, as_version=4))
    notebook.metadata.papermill |= {"input_path": source, "output_path": target}
    with path.open("w", encoding="utf-8") as file:
        nbformat.write(notebook, file)
        file.flush()
        os.fsync(file.fileno())
