"""`make mutants`: plant small faults in the code, one at a time, and see whether its tests notice.

    python tools/mutants.py --modules nn/reverse measures/mmd --most 60 --seed 0 --jobs 1

A mutant is a module with one change (see `mutations`). It is *killed* when one of the module's own test
files fails, does not come to an end or cannot be imported. Tables are `<out>/mutants.csv` and
`survivors.csv`; an explanation written into the latter stays with its mutant. ``--again`` tries only
those that survived, with the tests as they are now. Where a module has more mutants than ``--most``, a
random sample is tried, the same one for the same seed.

Every mutant runs in a fork of a process that has imported what the tests import, but nothing of ours. Tools
that swap functions in modules imported already keep the old code in whatever tests build while they are
imported, as in ``parametrize``: such a mutant only seems to survive.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
# Module -> its own tests.
MODULES = {
    "nn/reverse": ("test_reverse", "test_golden"),
    "nn/attention": ("test_attention",),
    "nn/fusion": ("test_fusion",),
    "data/batches": ("test_batches",),
    "data/recipes/local": ("test_local", "test_own_data"),
    "measures/mmd": ("test_measures", "test_golden", "test_bench_mmd"),
    "measures/moments": ("test_measures", "test_golden"),
    "problems/segmentation": ("test_evaluate",),
}
ARGUMENTS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", "-m", "not long"]
SECONDS = 60  # of CPU for the tests of a mutant at least; five times what they take without one otherwise
UNEXPLAINED = "not looked at yet"

OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        module: as in `MODULES`.
        function: name of the function or class it lies in, "" at the top.
        line: of the change.
        mutation: before and after.
        code: the whole module with the change.
    """

    module: str
    function: str
    line: int
    mutation: str
    code: str


def mutants(module: str) -> list[Mutant]:
    """All mutants of a module."""
    source = (ROOT / "mstl" / f"{module}.py").read_text(encoding="utf-8")
    found = []
    places = [(owner, node.lineno, len(list(mutations(node)))) for owner, node in _nodes(ast.parse(source))]
    for position, (owner, line, count) in enumerate(places):
        for variant in range(count):
            tree = ast.parse(source)
            nodes = [node for _, node in _nodes(tree)]
            old = nodes[position]
            new = list(mutations(old))[variant]
            mutation = f"{_shown(old)}  →  {_shown(new)}"
            _Replace(old, new).visit(tree)
            code = ast.unparse(ast.fix_missing_locations(tree))
            found.append(Mutant(module, owner, line, mutation, code))
    return found


def mutations(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place: another operator, constant, condition, one argument less, nothing."""
    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                yield ast.Compare(
                    node.left, [*node.ops[:i], OTHER[type(op)](), *node.ops[i + 1 :]], node.comparators
                )
        case ast.BoolOp():
            yield ast.BoolOp(OTHER[type(node.op)](), node.values)
        case ast.BinOp() if type(node.op) in OTHER:
            yield ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
        case ast.AugAssign():
            yield ast.AugAssign(node.target, OTHER[type(node.op)](), node.value)
            yield ast.Pass()
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(value + "?")
        case ast.IfExp() if not _flips(node.test):
            yield ast.IfExp(_not(node.test), node.body, node.orelse)
        case ast.If() | ast.While() if not _flips(node.test):
            yield type(node)(_not(node.test), node.body, node.orelse)
        case ast.Return(value=ast.AST()):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Call():
            for i in range(len(node.keywords)):
                yield ast.Call(node.func, node.args, [*node.keywords[:i], *node.keywords[i + 1 :]])
            if len(node.args) > 1:
                yield ast.Call(node.func, node.args[:-1], node.keywords)
            if isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
                yield node.func.value  # x.detach() → x


def _nodes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every node that may change, with the function it lies in; not annotations, docstrings and messages."""

    def walk(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            owner = f"{owner}.{node.name}".lstrip(".")
        if hasattr(node, "lineno"):
            yield owner, node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_text(child):
                    yield from walk(child, owner)

    return walk(tree, "")


def _is_text(node: ast.AST) -> bool:
    """Docstrings, formatted messages, imports, errors raised: what they say is no arithmetic."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _flips(test: ast.expr) -> bool:
    """Whether a mutation of the condition itself already turns it into its opposite."""
    opposite = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return negated or (
        isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], opposite)
    )


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _shown(node: ast.AST) -> str:
    """A node in one line; of a compound statement its head."""
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0][:100]


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from other code."""

    def __init__(self, name: str, path: Path, code: str) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(self, name, path=None, target=None):
        return (
            importlib.util.spec_from_file_location(name, self.path, loader=self)
            if name == self.name
            else None
        )

    def exec_module(self, module) -> None:
        exec(compile(self.code, str(self.path), "exec"), module.__dict__)


def child(module: str, code: str, tests: tuple[str, ...], seconds: float, report: int | None = None) -> int:
    """Start the tests with the module replaced in a process of their own; returns its number.

    Where ``report`` is an open file, it gets the names of all modules that are not ours and were imported.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        name = f"mstl.{module.replace('/', '.')}"
        sys.meta_path.insert(0, _Planted(name, ROOT / "mstl" / f"{module}.py", code))
        import pytest
        from hypothesis import HealthCheck, settings

        settings.register_profile(
            "mutants", deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        settings.load_profile("mutants")
        status = int(pytest.main([*ARGUMENTS, *(f"tests/{test}.py" for test in tests)]))
        if report is not None:
            os.write(report, "\n".join(_foreign_modules()).encode())
    finally:
        os._exit(status)


def _foreign_modules() -> list[str]:
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    return sorted(name for name, file in files.items() if file.startswith((sys.prefix, sys.base_prefix)))


def baseline(module: str, tests: tuple[str, ...]) -> float:
    """Run the tests without a fault and import what they imported; returns their seconds of CPU."""
    source = (ROOT / "mstl" / f"{module}.py").read_text(encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as report:
        _, status = os.waitpid(child(module, source, tests, 3600, report.fileno()), 0)
        report.seek(0)
        names = report.read().decode().split()
    if not survives(status):
        sys.exit(f"error: the tests of {module} fail as they are: pytest tests/{' tests/'.join(tests)}")
    for name in names:
        with contextlib.suppress(Exception):  # some modules can only be imported by others
            importlib.import_module(name)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime


def survives(status: int) -> bool:
    """Whether all tests passed, from what `os.waitpid` says."""
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def try_module(
    module: str, most: int, seed: int, jobs: int, known: set[tuple[str, str]] | None = None
) -> tuple[dict[str, object], list[Mutant]]:
    """Try a module's mutants; returns its row of mutants.csv and the mutants that survived.

    Args:
        module: key of `MODULES`.
        most: mutants at most.
        seed: of the sample.
        jobs: mutants at the same time.
        known: function and mutation of those that survived earlier, when only they are tried.
    """
    tests = tuple(test for test in MODULES[module] if (ROOT / "tests" / f"{test}.py").exists())
    every = mutants(module)
    chosen = every if len(every) <= most else random.Random(seed).sample(every, most)
    tested = len(chosen)
    if known is not None:
        chosen = [mutant for mutant in chosen if (mutant.function, mutant.mutation) in known]
    used = baseline(module, tests)
    print(f"{module}: {len(every)} mutants, {len(chosen)} tried; its tests take {used:.0f} s", flush=True)
    limit, start = max(SECONDS, 5 * used), time.monotonic()
    running: dict[int, Mutant] = {}
    survived: list[Mutant] = []
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[child(module, mutant.code, tests, limit)] = mutant
        pid, status = os.waitpid(-1, 0)
        mutant = running.pop(pid)
        if survives(status):
            survived.append(mutant)
            print(f"  survives: {module}.py:{mutant.line} {mutant.function}: {mutant.mutation}", flush=True)
    killed = tested - len(survived)
    print(f"  {killed} of {tested} killed in {time.monotonic() - start:.0f} s", flush=True)
    row = {"module": module, "mutants": len(every), "tested": tested, "killed": killed}
    row |= {"survived": len(survived), "percent": round(100 * killed / tested, 1)}
    row |= {"tests": " ".join(tests), "seed": seed, "code": fingerprint(module)}
    return row, sorted(survived, key=lambda mutant: mutant.line)


def fingerprint(module: str) -> str:
    """Hash of a module as its parser sees it."""
    tree = ast.parse((ROOT / "mstl" / f"{module}.py").read_text(encoding="utf-8"))
    return hashlib.blake2b(ast.unparse(tree).encode(), digest_size=6).hexdigest()


def survivors(module: str, out: Path) -> set[tuple[str, str]]:
    """Function and mutation of the mutants that survived when the module was tried last."""
    table = pd.read_csv(out / "mutants.csv", dtype=str).set_index("module")
    if module not in table.index or table.loc[module, "code"] != fingerprint(module):
        sys.exit(f"error: {module} has changed since its mutants were tried; try them without --again")
    table = pd.read_csv(out / "survivors.csv", keep_default_na=False)
    table = table[table["module"] == module]
    return set(zip(table["function"], table["mutation"], strict=True))


def write(rows: list[dict[str, object]], survived: list[Mutant], out: Path) -> None:
    """Write both tables; rows of modules that were not tried now stay, and so do explanations."""
    out.mkdir(parents=True, exist_ok=True)
    tried = {row["module"] for row in rows}
    told = {}
    fresh = pd.DataFrame(
        [
            {"module": m.module, "function": m.function, "line": m.line, "mutation": m.mutation}
            for m in survived
        ]
    )
    kept_rows, kept_survivors = pd.DataFrame(), pd.DataFrame()
    with contextlib.suppress(FileNotFoundError):
        kept_rows = pd.read_csv(out / "mutants.csv")
        kept_rows = kept_rows[~kept_rows["module"].isin(tried)]
    with contextlib.suppress(FileNotFoundError):
        old = pd.read_csv(out / "survivors.csv", keep_default_na=False)
        told = {(r.module, r.function, r.mutation): r.explanation for r in old.itertuples()}
        kept_survivors = old[~old["module"].isin(tried)]
    if len(fresh):
        keys = zip(fresh["module"], fresh["function"], fresh["mutation"], strict=True)
        fresh["explanation"] = [told.get(key, UNEXPLAINED) for key in keys]
    for name, table in (
        ("mutants", pd.concat([kept_rows, pd.DataFrame(rows)])),
        ("survivors", pd.concat([kept_survivors, fresh])),
    ):
        order = {module: position for position, module in enumerate(MODULES)}
        table = table.sort_values("module", key=lambda column: column.map(order), kind="stable")
        table.to_csv(out / f"{name}.csv", index=False)


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=list(MODULES), help="which modules")
    parser.add_argument("--most", type=int, default=80, help="mutants a module at most, a random sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--again", action="store_true", help="only those that survived, with the same sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--out", type=Path, default=ROOT / "results/trust", help="folder of the tables")
    options = parser.parse_args()
    os.chdir(ROOT)
    for module in options.modules:
        known = survivors(module, options.out) if options.again else None
        row, survived = try_module(module, options.most, options.seed, options.jobs, known)
        write([row], survived, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
