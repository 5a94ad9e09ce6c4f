"""What makes a finished run stale, and what does not."""

import importlib.util
import shutil
import sys

import pytest
from test_rooms import BELOW

from mstl.methods import METHODS, find
from mstl.run import provenance

TEXT = '''"""Says something."""

import math


class Circle:
    """Round."""

    def area(self, r):
        """πr²."""
        # the usual
        return math.pi * r**2
'''


def test_comments_docstrings_and_layout_are_no_code(tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text("import math\nclass Circle:\n    def area(self, r):\n        return math.pi*r ** 2\n")
    documented = tmp_path / "documented.py"
    documented.write_text(TEXT)
    assert provenance.code_of(documented) == provenance.code_of(plain)
    other = tmp_path / "other.py"
    other.write_text(TEXT.replace("r**2", "r**3"))
    assert provenance.code_of(other) != provenance.code_of(plain)


def test_a_function_that_is_only_documented_keeps_a_body(tmp_path):
    file = tmp_path / "empty.py"
    file.write_text('def nothing():\n    """Does nothing."""\n')
    compile(provenance.code_of(file), "empty.py", "exec")


@pytest.mark.parametrize(
    ("method", "counts", "does_not"),
    [
        ("mstl_plus", {"mstl", "mstl_plus", "adversary", "base"}, {"dann", "mfsan", "target_only"}),
        ("oracle", {"oracle", "target_only", "base"}, {"mstl", "dann"}),
        ("mdan_soft", {"mdan", "adversary", "base"}, {"mstl", "dann"}),
    ],
)
def test_a_run_depends_on_its_own_method_and_what_that_builds_on(method, counts, does_not):
    files = set(provenance.training_code(METHODS[method].location))
    assert {f"methods/{name}.py" for name in counts} <= files
    assert not {f"methods/{name}.py" for name in does_not} & files
    assert {"run/train.py", "nn/unet.py", "run/evaluate.py", "data/batches.py"} <= files
    assert not {"report/plots.py", "report/results.py"} & files


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, to change."""
    place = tmp_path_factory.mktemp("changed") / "mstl"
    shutil.copytree(provenance.PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("nn/unet.py", {"mstl", "oracle"}),
        ("measures/mmd.py", {"mstl", "oracle"}),
        ("run/train.py", {"mstl", "oracle"}),
        ("run/a_new_file.py", {"mstl", "oracle"}),
        ("data/augment.py", {"mstl", "oracle"}),
        ("problems/segmentation.py", {"mstl", "oracle"}),
        ("methods/mstl.py", {"mstl"}),
        ("methods/a_new_method.py", set()),
        ("report/results.py", set()),
        ("report/grid/comparison.py", set()),
        ("report/a_new_file.py", set()),
        ("render/car.py", set()),
        ("system/progress.py", set()),
        ("__main__.py", set()),
    ],
)
def test_a_run_is_stale_where_a_file_that_decides_it_has_changed(package, changed, stale):
    modules = {name: METHODS[name].location for name in ("mstl", "oracle")}
    before = {name: provenance.training_code(module, package) for name, module in modules.items()}
    file = package / changed
    kept = file.read_bytes() if file.exists() else None
    with file.open("a", encoding="utf-8") as added:
        added.write("CHANGED = True\n")
    after = {name: provenance.training_code(module, package) for name, module in modules.items()}
    file.unlink() if kept is None else file.write_bytes(kept)
    assert {name for name in modules if after[name] != before[name]} == stale


def test_of_the_code_that_reads_data_only_what_the_task_does_not_show_makes_a_run_stale():
    assert {f.partition("/")[0] for f in provenance.DATA_IN_TRAINING} == {"data"}
    assert all((provenance.PACKAGE / file).exists() for file in provenance.DATA_IN_TRAINING)


def test_all_rooms_that_training_may_import_decide_it_but_the_lowest():
    """An allow-list must not miss a room: `test_rooms` says what ``run`` may import."""
    rooms = {entry.rstrip("/") for entry in provenance.DECIDES if entry.endswith("/")}
    assert rooms == {"run", *BELOW["run"]} - {"system"}


def test_methods_of_one_fingerprint_are_one_method():
    prints = {name: provenance.source_fingerprint(find(name)) for name in METHODS}
    assert prints["mdan_hard"] == prints["mdan_soft"]  # one file
    assert prints["jan"] == prints["jan_a"]
    assert len(set(prints.values())) == len(prints) - 2


def test_a_method_of_ones_own_counts_with_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for lines in ("    pass", "    pass  # the same", "    teacher = 1.0"):
        file = tmp_path / "mine.py"
        file.write_text(
            f"from mstl.methods.source_combine import SourceCombine\nclass Mine(SourceCombine):\n{lines}\n"
        )
        spec = importlib.util.spec_from_file_location("mine", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        prints.append(provenance.source_fingerprint(module.Mine))
    assert prints[0] == prints[1] != prints[2]
