"""Planted faults: each is one change that compiles, and what the tests let through is explained."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mutants

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("a < b", {"a <= b"}),
        ("a == b", {"a != b"}),
        ("a + b", {"a - b"}),
        ("a and b", {"a or b"}),
        ("not a", {"a"}),
        ("a if b else c", {"a if not b else c"}),
        ("f(x, y, k=a)", {"f(x, k=a)", "f(x, y)"}),
        ("x.detach()", {"x"}),
        ("2.5", {"3.5"}),
        ("True", {"False"}),
        ("'mean'", {"'mean?'"}),
    ],
)
def test_a_mutant_is_one_small_change(code, changed):
    node = ast.parse(code, mode="eval").body
    assert {ast.unparse(ast.fix_missing_locations(new)) for new in mutants.mutations(node)} == changed


def test_annotations_docstrings_imports_and_messages_stay():
    source = '''"""Text 1."""
import torch
def f(x: int | None = None) -> int | None:
    """Text 2."""
    if x is None:
        raise ValueError(f"wrong: {1 + 1}")
'''
    shown = [type(node).__name__ for _, node in mutants._nodes(ast.parse(source))]
    assert not {"Import", "Raise", "JoinedStr", "BinOp"} & set(shown)
    found = [new for _, node in mutants._nodes(ast.parse(source)) for new in mutants.mutations(node)]
    assert [ast.unparse(ast.fix_missing_locations(new)) for new in found] == ["x is not None"]


def test_every_mutant_compiles_and_is_another_program():
    source = ast.unparse(ast.parse((ROOT / "mstl/nn/reverse.py").read_text()))
    codes = [mutant.code for mutant in mutants.mutants("nn/reverse")]
    assert len(codes) == len(set(codes)) > 40 and source not in codes
    for code in codes:
        compile(code, "mutant", "exec")


def test_modules_and_their_tests_exist():
    for module, tests in mutants.MODULES.items():
        assert (ROOT / "mstl" / f"{module}.py").exists()
        assert all((ROOT / "tests" / f"{test}.py").exists() for test in tests)


def test_survivors_of_other_code_are_not_tried_again(tmp_path):
    code = mutants.fingerprint("nn/reverse")
    (tmp_path / "survivors.csv").write_text("module,function,line,mutation\nnn/reverse,ramp,9,a  →  b\n")
    (tmp_path / "mutants.csv").write_text(f"module,code\nnn/reverse,{code}\n")
    assert mutants.survivors("nn/reverse", tmp_path) == {("ramp", "a  →  b")}
    (tmp_path / "mutants.csv").write_text("module,code\nnn/reverse,0123\n")
    with pytest.raises(SystemExit, match="nn/reverse has changed"):
        mutants.survivors("nn/reverse", tmp_path)
