"""What a reader meets first: the answer and one picture; code that only prepares or draws is folded.

A notebook computes before it can answer, and a reader wants the answer before the computation. So the output
of its cell that is tagged ``answer`` is shown twice: where it was computed, and in a box under the title.
Likewise its best picture, from the cell that is tagged ``picture``. A chart, which is ink on white, is told
from a picture: the style sheet turns it over where a reader has chosen dark.
"""

from __future__ import annotations

import ast
import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Cell = dict[str, Any]

ANSWER, PICTURE, CHART = "answer", "picture", "chart"
WHITE = 0.7  # share of a chart's pixels; photographs and heat maps have less
# What the bar above a folded cell says, by the cell's tag.
TAGGED = {
    "colab": "Install, on Colab",
    "parameters": "Parameters",
    "injected-parameters": "Parameters of this run",
    ANSWER: "How this is computed",
}
IMPORTS, DRAWING = "Imports", "How this is drawn"
CONTENTS = "\n| | |\n"  # begins the table of what a page shows


def write(executed: Path, target: Path) -> None:
    """Write the page of an executed notebook, its picture beside it as ``first/<name>.png``.

    A notebook that was not executed has no answer yet: of it only the code is folded.
    """
    page = json.loads(executed.read_text(encoding="utf-8"))
    cells = page["cells"]
    under_title = [answer for answer in map(_answer, cells) if answer]
    for cell in cells:
        if _is_chart(cell):
            cell["metadata"]["tags"] = [*_tags(cell), CHART]
        picture = _picture(cell)
        if picture:
            place = target.parent / "first" / f"{target.stem}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture)
            under_title.append(_shown(cell, f"first/{place.name}"))
        _fold(cell)
    _insert(cells, under_title)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def prompt(cell: Cell) -> str | None:
    """What stands above a code cell that is folded, or None where its code is what the page is about."""
    if cell["cell_type"] != "code":
        return None
    for tag, words in TAGGED.items():
        if tag in _tags(cell):
            return words
    source = _source(cell)
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic
        return None
    if statements and all(map(_prepares, statements)):
        return IMPORTS
    draws = "figure" in cell["metadata"].get("mystnb", {}) or "plt.show()" in source or "widgets." in source
    return DRAWING if draws else None


def _prepares(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom) or ast.unparse(statement) == "plots.style()"


def _fold(cell: Cell) -> None:
    words = prompt(cell)
    if words:
        cell["metadata"]["tags"] = [*_tags(cell), "hide-input"]
        cell["metadata"].setdefault("mystnb", {}).update(code_prompt_show=words, code_prompt_hide=words)


def _answer(cell: Cell) -> str | None:
    """The box with what a cell tagged as the answer has put out."""
    if ANSWER not in _tags(cell):
        return None
    words = [_text(output["data"]["text/markdown"]) for output in _outputs(cell, "text/markdown")]
    return (
        ":::{admonition} What came out\n:class: tip answer\n" + "\n\n".join(words) + "\n:::"
        if words
        else None
    )


def _picture(cell: Cell) -> bytes | None:
    return next(iter(_pngs(cell)), None) if PICTURE in _tags(cell) else None


def _is_chart(cell: Cell) -> bool:
    """Whether all pictures of a cell, one at least, are mostly white."""
    pixels = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in _pngs(cell)]
    return bool(pixels) and all((p.min(-1) >= 250).mean() >= WHITE for p in pixels)


def _pngs(cell: Cell) -> list[bytes]:
    return [base64.b64decode(_text(o["data"]["image/png"])) for o in _outputs(cell, "image/png")]


def _shown(cell: Cell, place: str) -> str:
    described = cell["metadata"]["mystnb"]
    image = f"```{{image}} {place}\n:alt: {described['image']['alt']}\n```"
    said = f"*{{numref}}`{described['figure']['name']}`, below, says what this is.*"
    kind = f" {CHART}" if CHART in _tags(cell) else ""
    return f":::{{container}} first-picture{kind}\n{image}\n:::\n\n{said}"


def _insert(cells: list[Cell], under_title: list[str]) -> None:
    title = next(cell for cell in cells if cell["cell_type"] == "markdown")
    text = _source(title)
    before, contents, after = text.partition(CONTENTS)
    title["source"] = "\n\n".join([before.rstrip(), *under_title]) + (
        "\n" + contents + after if contents else "\n"
    )


def _tags(cell: Cell) -> list[str]:
    return cell["metadata"].get("tags", [])


def _outputs(cell: Cell, kind: str) -> list[dict[str, Any]]:
    return [output for output in cell.get("outputs", []) if kind in output.get("data", {})]


def _source(cell: Cell) -> str:
    return _text(cell["source"])


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
