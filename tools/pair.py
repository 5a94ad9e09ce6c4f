"""Notebooks as text: read ``NN_name.py`` (py:percent) as a notebook, and write its ``.ipynb`` twin.

The twin has no outputs and cell ids that depend on nothing but the position, so the same text
always gives the same file: ``python tools/pair.py notebooks/*.py`` changes only what changed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from mstl.system.errors import InputError

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(path: Path) -> NotebookNode:
    """The notebook in a ``.py`` or ``.ipynb`` file, without outputs, for the kernel ``python3``."""
    notebook = jupytext.read(path)
    notebook.metadata = NotebookNode(kernelspec=dict(KERNEL), language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:03d}"
        cell.metadata.pop("lines_to_next_cell", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def cells(path: Path) -> list[list[Any]]:
    """Kind, source and metadata of each cell: what decides the outcome of executing it."""
    return [[cell.cell_type, cell.source, cell.metadata] for cell in read(path).cells]


def defaults(path: Path) -> dict[str, Any]:
    """The parameters that a notebook declares, with their values."""
    tagged = next((c for c in read(path).cells if "parameters" in c.metadata.get("tags", [])), None)
    statements = ast.parse(tagged.source).body if tagged else ()
    return {s.target.id: ast.literal_eval(s.value) for s in statements if isinstance(s, ast.AnnAssign)}


def check(path: Path, parameters: Iterable[str]) -> None:
    """An InputError for a parameter that the notebook does not declare: papermill itself only warns."""
    declared = defaults(path)
    unknown = ", ".join(sorted(set(parameters) - set(declared)))
    if unknown:
        known = ", ".join(declared) or "none (no cell is tagged `parameters`)"
        raise InputError(f"{path.stem} has no parameter {unknown}; it has: {known}")


def text(path: Path) -> str:
    """What ``path``'s ``.ipynb`` twin has to contain."""
    return nbformat.writes(read(path)) + "\n"


def main(paths: list[str]) -> None:
    """Write the twin of every given ``.py`` file, if it differs."""
    for source in map(Path, paths):
        twin = source.with_suffix(".ipynb")
        wanted = text(source)
        if not twin.exists() or twin.read_text(encoding="utf-8") != wanted:
            twin.write_text(wanted, encoding="utf-8")
            print(f"wrote {twin}")


if __name__ == "__main__":
    main(sys.argv[1:])
