"""Rooms depend downwards only, and what the lowest one holds needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mstl

PACKAGE = Path(mstl.__file__).parent
# What each room may import beside itself; `mstl/__init__.py` and `__main__.py` stand above all of them.
BELOW = {
    "system": set(),
    "nn": {"system"},
    "problems": {"system", "nn"},
    "data": {"system", "problems"},
    "measures": {"system", "nn", "problems", "data"},
    "methods": {"system", "nn", "problems", "data", "measures"},
    "run": {"system", "nn", "problems", "data", "measures", "methods"},
    "report": {"system", "nn", "problems", "data", "measures", "methods", "run"},
    "render": {"system"},
}
# Doors within a room: files at the left import none at the right.
WITHIN = {"data/readers": ("data/recipes",), "report": ("report/grid", "report/local", "report/published")}


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of ours that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.rsplit(".", node.level)[0] + "." if node.level else ""
            origin = (package + (node.module or "")).strip(".")
            found = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] == "mstl")


def upward(file: str, text: str) -> list[str]:
    """What ``file``, a path below the package, must not import, each with its arrow."""
    room, place = file.split("/")[0], file.rpartition("/")[0]
    wrong = []
    for line, name in imported(ast.parse(text), "mstl." + file.removesuffix(".py").replace("/", ".")):
        path = "/".join(name.split(".")[1:])
        to = path.split("/")[0]
        doors = WITHIN.get(place, ())
        if (to in BELOW and to != room and to not in BELOW[room]) or f"{path}/".startswith(
            tuple(f"{door}/" for door in doors)
        ):
            wrong.append(f"{file}:{line} imports {name}: {place} → {path.rpartition('/')[0] or to}")
    return wrong


FILES = sorted(file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py"))


def test_rooms_depend_downwards_only():
    wrong = [
        arrow
        for file in FILES
        if "/" in file
        for arrow in upward(file, (PACKAGE / file).read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_holds_rooms_and_nothing_else():
    assert {file.split("/")[0] for file in FILES} == {"__init__.py", "__main__.py", *BELOW}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run/train.py", "from mstl.report import results"),
        ("run/train.py", "from mstl import report"),
        ("system/files.py", "def f():\n    import mstl.data.store"),
        (
            "methods/dann.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mstl.run import train",
        ),
        ("nn/unet.py", "from ..data import domain"),
        ("render/car.py", "from mstl.data.domain import Domain"),
        ("data/readers/folder.py", "from mstl.data.recipes import own"),
        ("report/plots.py", "from mstl.report.grid.figures import bars"),
    ],
)
def test_an_arrow_that_points_up_is_found_and_named(file, text):
    (found,) = upward(file, text)
    assert found.startswith(f"{file}:") and "→" in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("report/grid/bars.py", "from mstl.report import results"),
        ("data/recipes/own.py", "from mstl.data.readers import folder"),
        ("run/train.py", "import mstl\nfrom mstl import methods"),
    ],
)
def test_an_arrow_that_points_down_is_none(file, text):
    assert not upward(file, text)


HIDDEN = """
import sys
sys.modules |= {name: None for name in ("resource", "fcntl", "pwd", "grp", "termios")}
"""


def python(code: str, **options) -> str:
    """Standard output of a fresh interpreter."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lowest_room_needs_no_torch():
    names = [file.removesuffix(".py").replace("/", ".") for file in FILES if file.startswith("system/")]
    code = "".join(f"import mstl.{name.removesuffix('.__init__')}\n" for name in names)
    python(code + "import sys; assert 'torch' not in sys.modules")


def test_a_run_trains_where_unix_modules_do_not_exist(tmp_path):
    """As on Windows: no lock that the system would hold, no peak of memory, the same scores."""
    code = """
import sys
sys.path.insert(0, "tests")
import json, mstl.run, mstl.run.train
from conftest import toy_task
from mstl.run.config import TrainConfig
config = TrainConfig(method="target_only", profile="tiny", steps=2, device="cpu", out=sys.argv[1])
folder = mstl.run.train.train(config, task=toy_task())
print(json.loads((folder / "manifest.json").read_text())["peak_memory_gib"]["host"])
"""
    code = code.replace("sys.argv[1]", repr(str(tmp_path / "hidden")))
    assert python(HIDDEN + code, cwd=PACKAGE.parent).splitlines()[-1] == "None"


def test_training_imports_nothing_that_only_the_tests_need():
    """Fabric would, to ask for a version: seconds, in every process."""
    code = "import sys, mstl.run.train\n"
    code += "print([n for n in ('torchmetrics', 'torchvision', 'sklearn') if n in sys.modules])\n"
    assert python(code + "import torchmetrics; torchmetrics.MeanMetric") == "[]\n"


def test_figures_import_seaborn_where_they_draw_with_it():
    code = "import sys, mstl.report.plots as plots; plots.style()\n"
    assert python(code + "print([n for n in ('seaborn', 'scipy.stats') if n in sys.modules])") == "[]\n"
