"""Put prose and executed notebooks together and build the book, with every warning an error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import dead
import front
import lift
import status
from mstl.report.grid import explorer

ROOT = Path(__file__).resolve().parent.parent
STAGING, HTML = Path("_staging"), Path("_build/html")
PROSE, NOTEBOOKS = Path("book"), Path("notebooks")
RESULTS, KEPT = Path("results"), Path("results/explorer")
# Of MathJax (the wheel of sphinx-mathjax-offline holds all of it) the pages need one script and its fonts.
MATHJAX_KEPT = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions", "ui/menu.js")
# The command `jupyter-book` of this environment, wherever its scripts lie.
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
MARK = re.compile(r"\b(WARNING|ERROR|SEVERE|CRITICAL): ")
STAGED = {".md", ".bib", ".svg", ".png", ".jpg", ".gif", ".css", ".js", ".html", ".csv"}


def chapters(toc: Path) -> list[str]:
    """The documents a ``_toc.yml`` names, root first."""
    found: list[str] = []

    def walk(node) -> None:
        if isinstance(node, dict):
            found.extend(node[name] for name in ("root", "file") if name in node)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(yaml.safe_load(toc.read_text(encoding="utf-8")))
    return found


def stage(pages: dict[str, Path], root: Path, staging: Path) -> None:
    """Copy configuration, prose and executed notebooks into an empty ``staging``, laid out as ``root``."""
    shutil.rmtree(staging, ignore_errors=True)
    for source in sorted((root / PROSE).rglob("*")):
        if source.is_file() and source.suffix in STAGED and not source.name.startswith("."):
            _copy(source, staging / source.relative_to(root))
    # Jupyter Book loads style sheets and scripts from a folder of this name beside _config.yml only.
    shutil.move(staging / PROSE / "_static", staging / "_static")
    if list((root / RESULTS).glob("*/*/cars.csv")):
        numbers = explorer.script(root / RESULTS, root / KEPT)
        (staging / "_static" / "results.mjs").write_text(numbers, encoding="utf-8")
    for name in ("_config.yml", "_toc.yml"):
        _copy(root / name, staging / name)
    for name, executed in pages.items():
        lift.write(executed, staging / NOTEBOOKS / f"{name}.ipynb")
    generated = staging / PROSE / "_generated"
    generated.mkdir()
    for name, text in {"status.md": status.page(pages), **front.pages()}.items():
        (generated / name).write_text(text, encoding="utf-8")
    front.pack(generated / front.TABLES)


def build(pages: dict[str, Path], root: Path = ROOT) -> int:
    """Build ``_build/html``; returns an exit status, after saying what is wrong."""
    staging, html = root / STAGING, root / HTML
    absent = [str(path) for path in pages.values() if not path.exists()]
    if absent:
        print(f"error: not executed yet: {', '.join(absent)}; run `make book`", file=sys.stderr)
        return 2
    stage(pages, root, staging)
    missing = [
        name
        for name in chapters(staging / "_toc.yml")
        if not any((staging / f"{name}{suffix}").exists() for suffix in ("", ".md", ".ipynb"))
    ]
    if missing:
        print(f"error: _toc.yml names pages that do not exist: {', '.join(missing)}", file=sys.stderr)
        return 2
    shutil.rmtree(html, ignore_errors=True)  # a warm rebuild after a failure would pass
    shutil.rmtree(html.parent / ".doctrees", ignore_errors=True)
    print("Building the book ...", flush=True)
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(staging), "--path-output", str(root)]
    log = html.parent / "book.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        ended = subprocess.run(
            [*command, "--all", "-W", "-n", "--keep-going"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(_found())},
        )
    warnings = _warnings(log.read_text(encoding="utf-8", errors="replace"), staging)
    if ended.returncode or warnings or not (html / "index.html").exists():
        print(
            f"error: the book has {len(warnings)} warnings (log: {log.relative_to(root)}):", file=sys.stderr
        )
        for warning in warnings or log.read_text(errors="replace").splitlines()[-15:]:
            print(f"  {warning}", file=sys.stderr)
        return 1
    _prune_mathjax(html / "_static" / "mathjax")
    _open_door(html, chapters(staging / "_toc.yml")[0])
    if nowhere := dead.links(html):
        print(f"error: {len(nowhere)} links of the book lead nowhere:", file=sys.stderr)
        print("\n".join(f"  {link}" for link in nowhere), file=sys.stderr)
        return 1
    print(f"The book: {html.relative_to(root)}/index.html")
    return 0


def _found() -> list[str]:
    """Where Sphinx finds modules: this folder, for `finishing`, before what was set."""
    return [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]


def _warnings(log: str, staging: Path) -> list[str]:
    """The lines of Sphinx's log that are warnings or errors, with paths as in the repository."""
    marked = (line.strip() for line in log.splitlines() if MARK.search(line))
    return list(dict.fromkeys(line.replace(f"{staging}/", "") for line in marked))


def _open_door(html: Path, first: str) -> None:
    """Give ``index.html``, which only leads on, title and card of the first page: its address is shared."""
    door, page = html / "index.html", (html / f"{first}.html").read_text(encoding="utf-8")
    kept = re.findall(
        r"<title>.*?</title>|<meta (?:name|property)=\"(?:description|og:|twitter:)[^>]*>", page, re.S
    )
    leading = f'<meta http-equiv="Refresh" content="0; url={first}.html" />'
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8" />',
        leading,
        *kept,
        "</head></html>",
        "",
    ]
    door.write_text("\n".join(lines), encoding="utf-8")


def _prune_mathjax(folder: Path) -> None:
    """Remove what no page loads: 22 of 24 MB (speech rules, other inputs and outputs)."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not path.relative_to(folder).as_posix().startswith(MATHJAX_KEPT):
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
