"""The how-to pages, tried literally: their code blocks run in order, as they stand on the page.

Nothing is replaced in a block. What a page takes as given is made by `my_objects` (drawn images in
the folder ``my-objects``) and by the working directory, an empty one. ``python`` on a command line is this
interpreter; command lines of other pages, and ``make``, are tried in test_commands.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import toy_classes, toy_task
from PIL import Image
from test_own_data import save_domain

from mstl.data.batches import Batches
from mstl.methods import METHODS, find

ROOT = Path(__file__).resolve().parent.parent


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    text = (ROOT / "book/howto" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The ``python -m mstl`` lines of a page, this interpreter in the place of ``python``."""
    lines = "".join(blocks(page, "bash")).splitlines()
    return [[sys.executable, *shlex.split(line)[1:]] for line in lines if line.startswith("python -m mstl ")]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, tmp_path_factory, monkeypatch) -> Path:
    """An empty working directory, a cache elsewhere, and a registry that forgets what a page enters."""
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path_factory.getbasetemp() / "howto-cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    METHODS.pop("coral", None)
    sys.modules.pop("coral", None)


@pytest.fixture()
def my_objects(place: Path) -> Path:
    """What own-data takes as given: two sources, and a target of 24 images in 12 groups."""
    for j, name in enumerate(("fronts", "cabins"), start=1):
        save_domain(place / "my-objects/sources" / name, [f"{name}{k}" for k in range(6)], (70, 50), seed=j)
    save_domain(place / "my-objects/target", [f"{name}_{k}" for name in "abcdefghijkl" for k in (1, 2)])
    return place / "my-objects"


def save_classes(path: Path, target: str = "photos", each: int = 8) -> Path:
    """Three domains of two classes of ``each`` images, dark and bright."""
    for d, domain in enumerate(("drawings", target, "scans")):
        for k, kind in enumerate(("cup", "shoe")):
            (path / domain / kind).mkdir(parents=True)
            for i in range(each):
                noise = np.random.default_rng((d, k, i)).integers(0, 120, (40, 60, 3))
                Image.fromarray((noise + 120 * k).astype(np.uint8)).save(path / domain / kind / f"{i}.png")
    return path


@pytest.fixture()
def coral(place: Path):
    """The example file of own-method, imported."""
    (place / "coral.py").write_text(blocks("own-method", "python")[0], encoding="utf-8")
    import coral

    return coral


def test_the_examples_are_as_short_as_promised():
    file, *rest = blocks("own-method", "python")
    assert len(file.splitlines()) <= 40
    for block in (*rest, *blocks("own-data", "python"), *blocks("own-classes", "python")):
        assert len([line for line in block.splitlines() if line.strip()]) <= 10, block


def test_own_method_in_a_notebook(coral, capsys):
    _, *rest = blocks("own-method", "python")
    namespace: dict = {}
    for block in rest:
        exec(compile(block, "own-method.md", "exec"), namespace)
    assert find("coral") is coral.CORAL
    printed = capsys.readouterr().out.splitlines()
    (promised,) = blocks("own-method", "text")
    for line in promised.splitlines():
        name, *expected = line.split()
        (found,) = [said.split() for said in printed if re.match(rf"{name} +validation", said)]
        for want, got in zip(expected, found[1:], strict=True):
            assert want == got if want.isalpha() else abs(float(want) - float(got)) < 0.15
    assert '"loss_coral"' in Path("runs/studio/parts/coral/labels-8/seed-0/metrics.jsonl").read_text()


@pytest.mark.parametrize("sources", [1, 3])
@pytest.mark.parametrize("of", [toy_task, toy_classes])
def test_the_example_is_the_equation_of_the_page(coral, sources, of):
    torch.manual_seed(0)
    task = of(sources=sources)
    method = coral.CORAL(coral.Hyperparameters(width=4, weight=2.0), sources, True, task.problem)
    batch = next(Batches(task, batch_size=3, target_batch_size=4))
    with torch.no_grad():
        value = method.losses(batch, 0.5)["coral"]
        images = [*batch.source_x, batch.target.x]
        features = [method.network(x).features.movedim(1, 0).flatten(1).double().numpy() for x in images]
    *own, target = [np.cov(f) for f in features]
    d = len(target)
    squares = [np.linalg.norm(c - target, "fro") ** 2 / (4 * d**2) for c in own]
    assert float(value) == pytest.approx(2.0 * np.mean(squares), rel=1e-4)


@pytest.mark.parametrize("of", [toy_task, toy_classes])
def test_the_example_learns_from_whatever_labels_there_are(coral, of):
    for labels, names in ((0, {"source", "coral"}), (4, {"source", "coral", "target"})):
        task = of(sources=2, labels=labels)
        method = coral.CORAL(coral.Hyperparameters(width=4), 2, labels > 0, task.problem)
        batch = next(Batches(task))
        losses = method.losses(batch, 0.0)
        assert set(losses) == names
        sum(losses.values()).backward()
        assert all(p.grad is not None for p in method.parameters())
        whole = (1, 32, 48) if of is toy_task else (3, 1, 1)
        assert method.predict(batch.target.x).shape[1:] == whole


def test_own_method_in_the_repository(coral, place):
    """The diff of the page, applied to a copy of the package; then the page's command."""
    repository = place / "repository"
    shutil.copytree(ROOT / "mstl", repository / "mstl", ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "data").symlink_to(ROOT / "data")
    shutil.copy("coral.py", repository / "mstl/methods/coral.py")
    catalogue = repository / "mstl/methods/catalogue.py"
    text = catalogue.read_text(encoding="utf-8")
    (diff,) = blocks("own-method", "diff")
    (added,), (before,) = ([line[1:] for line in diff.splitlines() if line[:1] == sign] for sign in "+ ")
    assert text.splitlines().count(before) == 1
    catalogue.write_text(text.replace(before, f"{before}\n{added}"), encoding="utf-8")
    (command,) = commands("own-method")
    subprocess.run(command, cwd=repository, check=True)
    assert list(repository.glob("runs/studio/parts/coral+weight=1/labels-*/seed-0/manifest.json"))


def test_own_data_in_python(my_objects, capsys):
    namespace: dict = {}
    for block in blocks("own-data", "python"):
        exec(compile(block, "own-data.md", "exec"), namespace)
    printed = capsys.readouterr().out
    table = next(b for b in blocks("own-data", "text") if "validation" in b).splitlines()
    for line in table:
        name, *values = line.split()
        (found,) = [said.split() for said in printed.splitlines() if said.split()[:1] == [name]]
        if values and name != "size":
            assert found[1] == values[0] and 0 <= float(found[2]) <= 1
    assert printed.splitlines()[-1] == "24 (128, 192) 12"
    assert [source.name for source in namespace["task"].sources] == ["scans"]


def test_own_classes_in_python(place, capsys):
    save_classes(place / "my-classes")
    namespace: dict = {}
    for block in blocks("own-classes", "python"):
        exec(compile(block, "own-classes.md", "exec"), namespace)
    printed = capsys.readouterr().out
    table = next(b for b in blocks("own-classes", "text") if "validation" in b).splitlines()
    for line in (line.split() for line in table if "." in line):
        (found,) = [said.split() for said in printed.splitlines() if said.split()[:1] == line[:1]]
        assert found[1] == line[1] and 0 <= float(found[2]) <= 1
    task = namespace["task"]
    assert [source.name for source in task.sources] == ["books", "films"] and len(task.labelled) == 4
    assert task.problem.shape == (300, 1, 1) and task.sources[0].images.dtype == torch.uint8
    manifest = json.loads((namespace["folder"] / "manifest.json").read_text())
    assert manifest["classes"] == ["bad", "good"]


def test_the_tree_of_classes_on_the_page_is_the_one_that_is_tried(place):
    made = save_classes(place / "my-classes")
    tree = next(b for b in blocks("own-classes", "text") if b.startswith("my-classes/"))
    shown = re.findall(r"^ +(\w+)/", tree, flags=re.MULTILINE)
    assert set(shown) == {p.name for p in made.rglob("*") if p.is_dir()}


def test_the_tree_on_the_page_is_the_one_that_is_tried(my_objects):
    tree = next(b for b in blocks("own-data", "text") if b.startswith("my-objects/"))
    shown = {name for name in re.findall(r"^ +(\w+)/", tree, flags=re.MULTILINE)}
    assert shown == {p.name for p in my_objects.rglob("*") if p.is_dir()}
