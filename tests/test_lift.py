"""A page begins with its answer and its picture, as computed; folded is what only prepares or draws."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

import lift

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
RESULTS = re.compile(r"^(06|07|08|09|1\d|2[0-4])_")  # pages of which a reader asks what came out


def drawn(draw) -> str:
    """What `draw` makes of an axis, as a PNG in base64."""
    figure, ax = plt.subplots(figsize=(2, 1.5), dpi=60)
    draw(ax)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


DOTS = drawn(lambda ax: ax.plot([1, 2, 3], "o"))
CARS = drawn(lambda ax: ax.imshow([[0.2, 0.5], [0.4, 0.3]], cmap="gray", vmin=0, vmax=1, aspect="auto"))


def output(**data):
    kinds = {name.replace("_", "/"): value for name, value in data.items()}
    return nbformat.v4.new_output("display_data", kinds)


def code(source, tags=(), outputs=(), **mystnb):
    metadata = {"tags": list(tags)} | ({"mystnb": mystnb} if mystnb else {})
    return nbformat.v4.new_code_cell(source, metadata=metadata, outputs=list(outputs))


def page(tmp_path, *cells):
    title = nbformat.v4.new_markdown_cell(
        "# Title\n\nWhat it asks.\n\n| | |\n|---|---|\n| You will see | dots |"
    )
    notebook = nbformat.v4.new_notebook(cells=[title, *cells])
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    lift.write(tmp_path / "executed.ipynb", tmp_path / "staging/07_page.ipynb")
    return json.loads((tmp_path / "staging/07_page.ipynb").read_text())["cells"]


def test_the_answer_and_the_picture_stand_between_question_and_contents(tmp_path):
    figure = {"name": "fig-dots", "caption": "Dots."}
    title, *rest = page(
        tmp_path,
        code("draw()", ["picture"], [output(image_png=DOTS)], figure=figure, image={"alt": "three dots"}),
        code("Markdown(lines)", ["answer"], [output(text_markdown="* **better**: +1.0")]),
    )
    order = [
        "What it asks.",
        "* **better**: +1.0",
        "first/07_page.png",
        "three dots",
        "fig-dots",
        "| You will see",
    ]
    places = [title["source"].index(words) for words in order]
    assert places == sorted(places)
    assert (tmp_path / "staging/first/07_page.png").read_bytes() == base64.b64decode(DOTS)
    assert rest[1]["outputs"][0]["data"]["text/markdown"], "and it stays where it was computed"


def test_a_chart_is_told_from_a_picture(tmp_path):
    cells = [code("a()", ["picture"], [output(image_png=DOTS)], figure={"name": "f"}, image={"alt": "dots"})]
    cells += [
        code("b()", [], [output(image_png=CARS)]),
        code("c()", [], [output(image_png=i) for i in (DOTS, CARS)]),
    ]
    title, *rest = page(tmp_path, *cells, code("d()"))
    assert ["chart" in cell["metadata"]["tags"] for cell in rest] == [True, False, False, False]
    assert "{container} first-picture chart" in title["source"]
    (title, *_) = page(
        tmp_path,
        code("e()", ["picture"], [output(image_png=CARS)], figure={"name": "f"}, image={"alt": "cars"}),
    )
    assert "{container} first-picture\n" in title["source"]


def test_of_a_page_that_was_not_executed_only_the_code_is_folded(tmp_path):
    title, cell = page(tmp_path, code("Markdown(lines)", ["answer"]))
    assert "admonition" not in title["source"] and "hide-input" in cell["metadata"]["tags"]


@pytest.mark.parametrize(
    "cell, words",
    [
        (code("import os", ["colab"]), lift.TAGGED["colab"]),
        (code("seed: int = 0", ["parameters"]), lift.TAGGED["parameters"]),
        (code("import numpy as np\nfrom mstl.report import plots\n\nplots.style()"), lift.IMPORTS),
        (code("ax.plot(x)\nplt.show()"), lift.DRAWING),
        (code("draw()", figure={"name": "fig-a"}), lift.DRAWING),
        (code("import os\nx = 1"), None),
        (code("loss = f(x)"), None),
        (code("%time f(x)"), None),
        (code(""), None),
        (nbformat.v4.new_markdown_cell("import os"), None),
    ],
)
def test_folded_is_what_prepares_or_draws(cell, words):
    assert lift.prompt(cell) == words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_one_picture_with_a_description_and_a_page_of_results_one_answer(path):
    cells = json.loads(path.read_text())["cells"]
    tagged = {
        tag: [c for c in cells if tag in c["metadata"].get("tags", [])] for tag in (lift.ANSWER, lift.PICTURE)
    }
    assert len(tagged[lift.ANSWER]) == bool(RESULTS.match(path.stem)), "cells tagged answer"
    assert len(tagged[lift.PICTURE]) <= 1
    for cell in tagged[lift.PICTURE]:
        assert cell["metadata"]["mystnb"]["image"]["alt"] and cell["metadata"]["mystnb"]["figure"]["name"]
