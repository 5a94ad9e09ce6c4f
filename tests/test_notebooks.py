"""The notebooks' form: text is the source, twins carry no outputs, cells are short, figures are citable."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

import book
import pair

ROOT = Path(__file__).resolve().parent.parent

SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
EACH = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def code(source: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in pair.read(source).cells if cell.cell_type == "code"]


def lines(cell: nbformat.NotebookNode) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def test_the_book_has_all_notebooks():
    in_book = [Path(name).name for name in book.chapters(ROOT / "_toc.yml") if name.startswith("notebooks/")]
    assert in_book == [source.stem for source in SOURCES]


@EACH
def test_the_twin_says_the_same_without_outputs(source):
    twin = source.with_suffix(".ipynb")
    assert twin.exists() and twin.read_text(encoding="utf-8") == pair.text(source), "run `make notebooks`"


@EACH
def test_parameters_are_typed_explained_and_small_in_tests(source):
    tagged = [cell for cell in code(source) if "parameters" in tags(cell)]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.AnnAssign), f"{ast.unparse(statement)}: write `name: type = value`"
        line = tagged[0].source.splitlines()[statement.end_lineno - 1]
        assert "#" in line, f"{line}: say what it is after a #"
    names = {statement.target.id for statement in ast.parse(tagged[0].source).body}
    assert set(tagged[0].metadata.get("nbmake", {}).get("mock", {})) <= names


@EACH
def test_papermill_sees_every_parameter_and_its_default(source):
    """Its own reader takes a line apart by signs, so that a second ``=``, in a comment, hides a parameter."""
    seen = papermill.inspect_notebook(str(source.with_suffix(".ipynb")))
    own = pair.defaults(source)
    assert {name: ast.literal_eval(about["default"]) for name, about in seen.items()} == own != {}


@EACH
def test_cells_are_short(source):
    lengths = [lines(cell) for cell in code(source)]
    assert statistics.median(lengths) <= 6 and max(lengths) <= 40
    assert not any(isinstance(node, ast.ClassDef) for cell in code(source) for node in ast.walk(_tree(cell)))
    imports = sum(
        isinstance(n, ast.Import | ast.ImportFrom) for cell in code(source)[:4] for n in ast.walk(_tree(cell))
    )
    assert imports <= 15


@EACH
def test_every_figure_has_number_caption_and_alternative_text(source):
    names = []
    for cell in code(source):
        about = cell.metadata.get("mystnb", {})
        if "figure" in about:
            names.append(about["figure"]["name"])
            assert about["figure"]["caption"].strip() and about["image"]["alt"].strip()
        draws = re.search(r"plt\.show\(\)|^\s*plots\.(?!style)\w+\(", cell.source, re.MULTILINE)
        assert not draws or "figure" in about or "no-figure" in tags(cell), (
            f"a figure without a name: {cell.source}"
        )
    assert len(names) == len(set(names)) and all(name.startswith("fig-") for name in names)


@EACH
def test_nothing_that_hangs_or_breaks_in_a_rendered_page(source):
    text = source.read_text(encoding="utf-8")
    for unwanted in (
        "interact(",
        "interactive(",
        "tqdm.notebook",
        "tqdm.auto",
        "%pip",
        "drive.mount",
        "/home/",
    ):
        assert unwanted not in text, unwanted


@EACH
def test_it_starts_by_itself_on_colab(source):
    first = code(source)[0].source
    assert "find_spec" in first and "git+https://github.com/" in first and "subprocess" in first
    assert "--editable" not in first and "==" not in first


def _tree(cell: nbformat.NotebookNode) -> ast.Module:
    return ast.parse(re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE))
