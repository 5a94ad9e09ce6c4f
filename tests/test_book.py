"""The book's build: our configuration makes a book that needs no network, and any warning stops it."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml
from test_finishing import console

import book

ROOT = Path(__file__).resolve().parent.parent

WIDGET = {
    "application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2, "version_minor": 0}
}
STATE = {
    "a": {"model_name": "IntSliderModel", "model_module": "@jupyter-widgets/controls", "state": {"value": 1}}
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book of one page and one executed notebook, with the real configuration."""
    (tmp_path / "book").mkdir()
    shutil.copytree(ROOT / "book/_static", tmp_path / "book/_static")
    (tmp_path / "book/references.bib").write_text("@misc{x, title={X}, author={A. Person}, year={2023}}\n")
    (tmp_path / "book/intro.md").write_text(
        "# Introduction\n\nInline $a^2$, a number {eq}`eq-sum`, {doc}`../notebooks/01_toy`, {cite:t}`x`.\n\n"
        "$$\na + b\n$$ (eq-sum)\n\n```{autofunction} mstl.run.train._sum\n```\n\n"
        "```{include} _generated/status.md\n```\n\n```{bibliography}\n```\n"
    )
    shutil.copy(ROOT / "_config.yml", tmp_path)
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": "notebooks/01_toy"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Toy\n\nAn equation: $x^2$."),
            nbformat.v4.new_code_cell("slider", outputs=[nbformat.v4.new_output("display_data", WIDGET)]),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    state = {"state": STATE, "version_major": 2, "version_minor": 0}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    nbformat.write(notebook, tmp_path / "01_toy.ipynb")
    return tmp_path


def test_the_book_is_built_and_needs_no_network(root):
    assert book.build({"01_toy": root / "01_toy.ipynb"}, root) == 0
    html = root / "_build/html"
    door = (html / "index.html").read_text()
    assert "book/intro.html" in door and "og:image" in door and '<meta name="description"' in door
    page = (html / "notebooks/01_toy.html").read_text()
    loaded = re.findall(r'<(?:script[^>]* src|link[^>]*rel="stylesheet"[^>]* href)="([^"]+)"', page)
    assert loaded and not [address for address in loaded if "//" in address]
    assert any("mathjax/tex-chtml.js" in address for address in loaded)
    assert any("widgets.js" in address for address in loaded) and "widget-state+json" in page
    assert "colab.research.google.com/github/" in page and "/blob/main/notebooks/01_toy.ipynb" in page
    mathjax = html / "_static/mathjax"
    assert (mathjax / "tex-chtml.js").exists() and list(mathjax.glob("output/chtml/fonts/woff-v2/*.woff"))
    assert sum(file.stat().st_size for file in mathjax.rglob("*") if file.is_file()) < 4e6
    for address in loaded:
        assert (html / "notebooks" / address.split("?")[0]).exists(), address
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"]
    for name in ("book/intro.html", "notebooks/01_toy.html"):
        page = (html / name).read_text()
        assert "THEBE" not in page and "unpkg" not in page and "Built from commit " in page
        (said,) = re.findall(r'<meta name="description" content="([^"]+)"', page)
        assert f'<meta property="og:description" content="{said}"' in page and len(said) > 15
        assert re.search(r'<meta property="og:image" content="https://[^"]+/_static/card.png"', page)
        assert f'<link rel="canonical" href="{address}{name}"' in page
        assert console(html / name) == []
    assert (html / "_static/card.png").exists()


def test_a_broken_reference_stops_the_build_and_is_listed(root, capsys):
    with (root / "book/intro.md").open("a") as page:
        page.write("\nSee {doc}`nowhere` and {numref}`fig-absent`.\n")
    assert book.build({"01_toy": root / "01_toy.ipynb"}, root) == 1
    said = capsys.readouterr().err
    assert "2 warnings" in said and "nowhere" in said and "fig-absent" in said
    assert book.build({"01_toy": root / "01_toy.ipynb"}, root) == 1, "and again, when everything is warm"


def test_missing_pages_are_named(root, capsys):
    assert book.build({"01_toy": root / "absent.ipynb"}, root) == 2
    assert "absent.ipynb" in capsys.readouterr().err
    (root / "book/intro.md").unlink()
    assert book.build({"01_toy": root / "01_toy.ipynb"}, root) == 2
    assert "book/intro" in capsys.readouterr().err


def test_every_page_is_in_the_table_of_contents_and_none_is_skipped():
    pages = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "book").rglob("*.md")}
    pages |= {f"notebooks/{p.stem}" for p in (ROOT / "notebooks").glob("*.py")}
    listed = list(book.chapters(ROOT / "_toc.yml"))
    assert pages == set(listed) and len(listed) == len(set(listed))
    numbered = [name for name in listed if name.startswith("notebooks/")]
    for page, follows in pairwise(numbered):
        said = re.findall(r"\*\*Next:\*\* \{doc\}`(\w+)`", (ROOT / f"{page}.py").read_text(encoding="utf-8"))
        assert said in ([], [Path(follows).name]), page


def test_the_configuration_keeps_what_others_lost_days_over():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["sphinx"]["recursive_update"] is True
    assert config["sphinx"]["config"]["html_theme_options"]["navbar_persistent"] == []
    assert {".*", "**/.*"} <= set(config["exclude_patterns"])


@pytest.mark.parametrize("name", ["logo.svg", "logo-dark.svg", "favicon.svg", "custom.css", "widgets.js"])
def test_the_theme_s_files_are_there(name):
    text = (ROOT / "book/_static" / name).read_text(encoding="utf-8")
    assert text.strip() and (not name.endswith(".svg") or text.startswith("<svg"))
