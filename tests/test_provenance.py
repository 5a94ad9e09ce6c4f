"""What makes a finished run stale, and what does not."""

import pytest

from mstl.methods import METHODS
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


def test_the_registry_is_read_as_python_reads_it():
    assert provenance.method_modules() == {name: kind.__module__ for name, kind in METHODS.items()}


@pytest.mark.parametrize(
    ("method", "counts", "does_not"),
    [
        ("mstl_plus", {"mstl", "mstl_plus", "adversary", "base"}, {"dann", "mfsan", "target_only"}),
        ("oracle", {"oracle", "target_only", "base"}, {"mstl", "adversary"}),
        ("mdan_soft", {"mdan", "dann", "adversary", "base"}, {"mstl", "m3sda"}),
    ],
)
def test_a_run_depends_on_its_own_method_and_what_that_builds_on(method, counts, does_not):
    files = set(provenance.training_code(METHODS[method].__module__))
    assert {f"methods/{name}.py" for name in counts} <= files
    assert not {f"methods/{name}.py" for name in does_not} & files
    assert {"run/train.py", "nn/unet.py", "run/evaluate.py", "data/batches.py"} <= files
    assert not {"report/plots.py", "report/results.py"} & files


def test_methods_of_one_fingerprint_are_one_method():
    prints = {name: provenance.source_fingerprint(kind) for name, kind in METHODS.items()}
    assert prints["mdan_hard"] == prints["mdan_soft"]  # one file
    assert len(set(prints.values())) == len(prints) - 1
