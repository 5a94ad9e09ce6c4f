"""No line of ours can run what a file holds: an inventory of the calls that could, by reading the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("mstl", "workflow", "tools", "benchmarks", "notebooks")

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "pickle5",
    "joblib",
    "shelve",
    "dill",
    "cloudpickle",
    "marshal",
    "jsonpickle",
}
# Whatever their arguments are.
CALLS = {
    "eval", "exec", "builtins.eval", "builtins.exec", "os.system", "os.popen", "tempfile.mktemp",
    "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter",
    "pandas.eval", "pandas.read_pickle", "numpy.loads",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load",
    "yaml.full_load_all", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
METHODS = {"read_pickle", "to_pickle"}  # of whatever object
# Functions that unpickle unless told not to: the argument, and the only value that is safe.
GUARDED = {
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
    "torch.utils.model_zoo.load_url": ("weights_only", True),
}
GUARDED_METHODS = {"get_state_dict": ("weights_only", True)}  # of torchvision's weights
# Arguments that open the door wherever they stand: the only values that are safe.
ARGUMENTS = {"allow_pickle": (False,), "shell": (False,)}


def dangers(code: str) -> Iterator[str]:
    """Line and name of everything in ``code`` that could run what it reads."""
    tree = ast.parse(code)
    names = dict(_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module] if (node.module or "").partition(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            found = list(_call(node, names))
        else:
            continue
        yield from (f"line {node.lineno}: {name}" for name in found)


def _names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What imported names stand for: ``t`` for ``torch``, ``read`` for ``torch.load``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or name, name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    name = _dotted(node.func, names)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    arguments = {a.arg: a.value.value if isinstance(a.value, ast.Constant) else ... for a in node.keywords}
    if name in CALLS or method in METHODS:
        yield name or method
    guard = GUARDED.get(name) or GUARDED_METHODS.get(method)
    if guard and arguments.get(guard[0]) is not guard[1]:
        yield f"{name or method} without {guard[0]}={guard[1]}"
    for argument, safe in ARGUMENTS.items():
        if argument in arguments and arguments[argument] not in safe:
            yield f"{argument}={arguments[argument]}"
    if name.startswith("torchvision.models.") and arguments.get("weights") is not None:
        yield "torchvision unpickles the weights it builds with"
    if name in ("__import__", "importlib.import_module") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and str(first.value).partition(".")[0] in MODULES:
            yield f"import of {first.value}"


FILES = sorted(file for place in PLACES for file in (ROOT / place).rglob("*.py"))

# What may stay, and why: none of it meets a file from outside.
EXCEPTIONS = {
    (
        "mstl/run/distributed.py",
        "pickle",
    ): "asks whether a function can be handed to another process; reads nothing",
    ("tools/mutants.py", "exec"): "runs a module of the package with a fault planted on purpose",
}


@pytest.mark.trust("hostile input", "no line of the code unpickles, evaluates or runs what a file holds")
def test_no_line_of_ours_can_run_what_a_file_holds(record_property):
    found = {
        (file.relative_to(ROOT).as_posix(), danger.partition(": ")[2])
        for file in FILES
        for danger in dangers(file.read_text(encoding="utf-8"))
    }
    record_property("files", len(FILES))
    record_property("exceptions with a reason", len(EXCEPTIONS))
    assert len(FILES) > 100
    assert found == set(EXCEPTIONS)


def test_pickle_is_used_to_ask_and_never_to_read():
    tree = ast.parse((ROOT / "mstl/run/distributed.py").read_text(encoding="utf-8"))
    used = {
        n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _dotted(n.value, {}) == "pickle"
    }
    assert used <= {"dumps", "PicklingError"}


PLANTED = [
    "import pickle", "import pickle as p", "from pickle import loads", "from _pickle import Unpickler",
    "import joblib", "def f():\n    import dill", "import shelve", "from cloudpickle import load",
    "import marshal", "import importlib\nimportlib.import_module('pickle')", "__import__('marshal')",
    "import torch\ntorch.load(f)", "import torch\ntorch.load(f, weights_only=False)",
    "import torch as t\nt.load(f)", "import torch\ntorch.load(f, weights_only=flag)",
    "from torch import load as read\nread(f)", "import torch\ntorch.jit.load(f)",
    "import torch\ntorch.hub.load('a/b', 'c')",
    "from torch.hub import load_state_dict_from_url as g\ng(u)", "w.get_state_dict(check_hash=True)",
    "from torchvision.models import get_model\nget_model('resnet18', weights=w)",
    "import torchvision\ntorchvision.models.resnet18(weights='DEFAULT')",
    "import numpy as np\nnp.load(f, allow_pickle=True)",
    "from numpy import load\nload(f, allow_pickle=flag)", "import yaml\nyaml.load(f)",
    "import yaml\nyaml.load(f, Loader=yaml.Loader)", "from yaml import unsafe_load\nunsafe_load(f)",
    "import yaml\nyaml.full_load(f)", "import pandas as pd\npd.read_pickle(f)", "table.to_pickle(f)",
    "import pandas\npandas.eval(t)", "eval(text)", "exec(text)", "import builtins\nbuiltins.eval(text)",
    "import subprocess\nsubprocess.run(c, shell=True)",
    "from subprocess import Popen\nPopen(c, shell=flag)", "import os\nos.system(c)",
    "import os\nos.popen(c)", "import subprocess\nsubprocess.getoutput(c)",
    "import tempfile\ntempfile.mktemp()", "from tempfile import mktemp\nmktemp()",
]  # fmt: skip


@pytest.mark.trust("hostile input", "the scan for such lines finds each kind where it is planted")
@pytest.mark.parametrize("code", PLANTED)
def test_the_scan_finds_what_is_planted(code):
    assert list(dangers(code))


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load(f, weights_only=True, mmap=True)",
        "import numpy as np\nnp.load(f)\nnp.load(f, allow_pickle=False)",
        "import yaml\nyaml.safe_load(f)",
        "model.eval()",
        "import subprocess\nsubprocess.run(c, shell=False)",
        "from torchvision.models import get_model\nget_model('resnet18', weights=None)",
        "import tempfile\ntempfile.mkdtemp()",
        "w.get_state_dict(weights_only=True)",
    ],
)
def test_the_scan_lets_the_safe_ways_pass(code):
    assert not list(dangers(code))
