"""Execute one notebook: check the names of its parameters, run it, and show the result only when it is whole.

    python workflow/execute.py notebooks/05_training.py runs/x/notebook.ipynb --parameters '{"seed": 1}'

While it runs, the notebook lies beside its target as ``<name>.partial.ipynb``; it is renamed when the last
cell has ended, and to ``<name>.failed.ipynb`` when one has failed. So a target that exists is complete.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# The kernel is the python3 of this environment, whatever kernels the user has registered elsewhere.
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))  # pair, private

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

import pair
import private
from mstl.system.locks import only_one
from processes import obey_signals

TIMEOUT = 6 * 3600  # seconds for one cell; a full training run is one cell
HEARTBEAT = 20  # seconds between lines that show a run is alive


class NotebookError(RuntimeError):
    """A notebook that cannot be executed; the message is one line and names the cell."""


def check_parameters(notebook: Path, parameters: dict[str, Any]) -> None:
    """Raise NotebookError for a parameter the ``.ipynb`` does not declare (papermill itself only warns)."""
    declared = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(parameters) - set(declared))
    if unknown:
        known = ", ".join(declared) or "none (no cell is tagged `parameters`)"
        raise NotebookError(f"{notebook.stem} has no parameter {', '.join(unknown)}; it has: {known}")


def execute(
    source: Path, target: Path, parameters: dict[str, Any], *, key: str = "", timeout: int = TIMEOUT
) -> None:
    """Execute ``source`` (``.py`` or ``.ipynb``) with ``parameters`` and leave the result at ``target``.

    ``key`` stands for everything the result depends on. The target's folder remembers the key it was begun
    with: with another key its files are stale and are removed, with the same one they are kept, so that
    training resumes from its checkpoint. The kernel works in the notebook's own folder, as in Jupyter.

    Raises:
        NotebookError: unknown parameter, failing cell, dead kernel or a cell over ``timeout`` seconds.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = target.with_suffix(".partial.ipynb"), target.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory() as folder, only_one(target.parent / ".lock"):
        notebook = Path(folder) / f"{source.stem}.ipynb"
        nbformat.write(pair.read(source), notebook)
        check_parameters(notebook, parameters)
        if key:
            _discard_stale(target.parent, key)
            if target.exists():  # finished by the process that held the lock before
                return
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
            raise NotebookError(f"{reason} (see {failed})") from None
        _tidy(partial, source)
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


def _tidy(path: Path, source: Path) -> None:
    """Keep this machine's folders and its user's credentials out of the result."""
    notebook = private.cleaned(nbformat.read(path, as_version=4))
    notebook.metadata.papermill["input_path"] = source.name
    notebook.metadata.papermill["output_path"] = path.name
    with path.open("w", encoding="utf-8") as file:
        nbformat.write(notebook, file)
        file.flush()
        os.fsync(file.fileno())


def _discard_stale(folder: Path, key: str) -> None:
    begun = folder / "key.txt"
    if begun.exists() and begun.read_text().strip() != key:
        for item in folder.iterdir():
            if item.name not in (".lock", "log.txt"):
                shutil.rmtree(item) if item.is_dir() else item.unlink()
    begun.write_text(key + "\n")


@contextlib.contextmanager
def _heartbeat(label: str, metrics: Path, expected: int | None) -> Iterator[None]:
    """Say now and then how far the training has come, read from the lines it writes."""
    start, over = time.monotonic(), threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            step = _last_step(metrics)
            done = "" if step is None else f", step {step}" + (f" of {expected}" if expected else "")
            say(f"{label}: {time.monotonic() - start:.0f} s{done}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _last_step(metrics: Path) -> int | None:
    try:
        return int(json.loads(metrics.read_text().splitlines()[-1])["step"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _log_to(path: Path) -> None:
    """Send what cells print, and what libraries and the kernel write to standard error, to a file."""
    global terminal
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8")
    log = path.open("w", encoding="utf-8")
    os.dup2(log.fileno(), 2)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("papermill").setLevel(logging.INFO)


terminal: TextIO = sys.stderr


def say(line: str) -> None:
    """Print a line with the time of day on the terminal at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=terminal, flush=True)


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="notebook, .py or .ipynb")
    parser.add_argument("target", type=Path, help="executed notebook, .ipynb")
    parser.add_argument("--parameters", type=json.loads, default={}, help="JSON object of parameters")
    parser.add_argument("--key", type=Path, help="file with the key of everything the result depends on")
    parser.add_argument("--log", type=Path, help="file for what the cells print")
    parser.add_argument("--label", help="name in messages")
    parser.add_argument("--steps", type=int, help="steps expected, for messages")
    parser.add_argument("--timeout", type=int, default=TIMEOUT, help="seconds for one cell")
    options = parser.parse_args()
    label = options.label or options.source.stem
    if options.log:
        _log_to(options.log)
    key = options.key.read_text().strip() if options.key else ""
    start = time.monotonic()
    obey_signals()
    say(f"{label}: started")
    try:
        with _heartbeat(label, options.target.parent / "metrics.jsonl", options.steps):
            execute(options.source, options.target, options.parameters, key=key, timeout=options.timeout)
    except NotebookError as error:
        logging.getLogger("papermill").error("FAILED %s", error)
        say(f"{label}: FAILED: {error}")
        return 1
    except KeyboardInterrupt:  # papermill has stopped the kernel
        say(f"{label}: interrupted")
        return 130
    say(f"{label}: done in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
