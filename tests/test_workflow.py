"""Batches: notebooks run whole or not at all; finished ones are reused while they would come out the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

import execute
import plan
import reproduce
from mstl.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

TOY = """\
# %% [markdown]
# # Toy

# %% tags=["parameters"]
count: int = 3  # how many
mood: str = "calm"  # calm, broken or slow

# %%
import time
total = sum(range(count))
print("total", total)

# %%
if mood == "broken":
    raise ValueError("the cup\\nis empty")
if mood == "slow":
    time.sleep(60)
"""

TRAINING = """\
# %% tags=["parameters"]
data: str = "studio"
recipe: str = "parts"
sources: int = 0
method: str = "mstl"
labels: int = 8
seed: int = 0
profile: str = "quick"
data_dir: str = None
out: str = "../runs"
train: bool = True

# %%
import json
import time
from pathlib import Path
from mstl.config import TrainConfig

folder = TrainConfig(data=data, recipe=recipe, method=method, labels=labels, seed=seed, out=out).folder
with open(folder / "begun", "a") as begun:
    begun.write("x")

# %%
while method == "oracle" and Path("../slow").exists():
    time.sleep(0.1)
if method == "oracle" and Path("../broken").exists():
    raise RuntimeError("no oracle today")
(folder / "manifest.json").write_text(json.dumps({"seed": seed}))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "notebooks" / "toy.py"
    path.parent.mkdir()
    path.write_text(TOY)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small repository: the real workflow, a training notebook that trains nothing, two runs to do."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mstl").mkdir()
    for name in ("__init__.py", "config.py", "errors.py"):
        shutil.copy(ROOT / "mstl" / name, tmp_path / "mstl")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_training.py").write_text(TRAINING)
    config = yaml.safe_load((ROOT / "workflow/config.yaml").read_text())
    config |= {"methods": ["mstl", "oracle"], "seeds": [0], "pages": [], "read_data": False}
    (tmp_path / "workflow/config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def command(project: Path) -> list[str]:
    return [sys.executable, str(project / "workflow/reproduce.py"), "runs", "--data=", "--jobs=2"]


def run(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(project), capture_output=True, text=True, cwd=project, timeout=240)


def begun(project: Path, method: str) -> int:
    """How often the run was begun since its folder was last emptied."""
    return len((folder(project, method) / "begun").read_text())


def folder(project: Path, method: str) -> Path:
    return project / f"runs/studio/parts/{method}/labels-8/seed-0"


def test_an_executed_notebook_holds_parameters_and_outputs(toy, tmp_path):
    target = tmp_path / "out" / "toy.ipynb"
    execute.execute(toy, target, {"count": 5})
    notebook = nbformat.read(target, as_version=4)
    outputs = [
        output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    ]
    assert "".join(outputs).split() == ["total", "10"]
    assert str(tmp_path) not in target.read_text()
    assert sorted(path.name for path in target.parent.iterdir()) == [".lock", "toy.ipynb"]


def test_an_unknown_parameter_is_an_error_that_names_the_known_ones(toy, tmp_path):
    with pytest.raises(execute.NotebookError, match=r"no parameter cuont; it has: count, mood"):
        execute.execute(toy, tmp_path / "toy.ipynb", {"cuont": 5})
    assert not (tmp_path / "toy.ipynb").exists()


def test_a_failing_cell_leaves_no_result_and_one_line_that_names_it(toy, tmp_path):
    with pytest.raises(execute.NotebookError) as caught:
        execute.execute(toy, tmp_path / "toy.ipynb", {"mood": "broken"})
    line = str(caught.value)
    assert "\n" not in line and "cell 4: ValueError: the cup" in line and "toy.failed.ipynb" in line
    assert (tmp_path / "toy.failed.ipynb").exists() and not (tmp_path / "toy.ipynb").exists()


def test_a_cell_over_its_time_is_stopped(toy, tmp_path):
    with pytest.raises(execute.NotebookError, match="cell 4: not finished after 2 s"):
        execute.execute(toy, tmp_path / "toy.ipynb", {"mood": "slow"}, timeout=2)


def test_results_of_another_key_are_discarded_and_of_the_same_key_kept(toy, tmp_path):
    target = tmp_path / "run" / "toy.ipynb"
    target.parent.mkdir()
    (target.parent / "checkpoint.pt").write_text("from before")
    (target.parent / "key.txt").write_text("old\n")
    execute._discard_stale(target.parent, "old")
    assert (target.parent / "checkpoint.pt").exists()
    execute._discard_stale(target.parent, "new")
    assert [path.name for path in target.parent.iterdir()] == ["key.txt"]


def test_a_key_changes_with_notebook_parameters_package_and_data_and_nothing_else(project, monkeypatch):
    monkeypatch.chdir(project)
    photographs = project / "photographs"
    photographs.mkdir()
    (photographs / "a.jpg").write_bytes(b"pixels")
    config = yaml.safe_load(Path("workflow/config.yaml").read_text()) | {
        "data_dir": "photographs",
        "data": "folder",
    }

    def key(**changes) -> str:
        return next(iter(plan.make_plan(config | changes).runs.values())).key_file.read_text()

    first = key()
    photographs.rename(project / "elsewhere")
    assert key(data_dir="elsewhere") == first, "where the data lies does not matter"
    assert key(data_dir="elsewhere", runs="others") == first, "nor where the runs lie"
    keys = {first, key(data_dir="elsewhere", seeds=[1]), key(data_dir="elsewhere", profile="full")}
    (project / "elsewhere/a.jpg").write_bytes(b"pixelz")
    keys.add(key(data_dir="elsewhere"))
    Path("mstl/loss.py").write_text("x = 1\n")
    keys.add(key(data_dir="elsewhere"))
    Path("notebooks/05_training.py").write_text(TRAINING.replace("0.1", "0.2"))
    keys.add(key(data_dir="elsewhere"))
    assert len(keys) == 6


def test_numbers_may_come_as_text_as_snakemake_hands_them_over(project, monkeypatch):
    monkeypatch.chdir(project)
    config = yaml.safe_load(Path("workflow/config.yaml").read_text())
    assert list(plan.make_plan(config | {"seeds": ["0"]}).runs) == list(plan.make_plan(config).runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "fast"}, "PROFILE 'fast' is unknown; choose from"),
        ({"data_dir": "nowhere"}, "DATA_DIR nowhere is not a folder"),
        ({"training": "07_absent"}, "07_absent.py is missing"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(project, monkeypatch, changes, message):
    monkeypatch.chdir(project)
    config = yaml.safe_load(Path("workflow/config.yaml").read_text())
    with pytest.raises(InputError, match=message):
        plan.make_plan(config | changes)


def test_arguments_replace_entries_of_the_configuration(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["reproduce", "book", "--data=carparts", "--seeds=0,2", "--profile=", "--no-train"]
    )
    config = {name: value for name, value in reproduce.parse_arguments().config.items() if value is not None}
    assert config == {"data": "carparts", "seeds": [0, 2], "train": False}


def test_a_failing_run_is_listed_and_only_it_is_repeated(project):
    (project / "broken").touch()
    ended = run(project)
    assert ended.returncode != 0
    assert "1 of 2 training runs are finished" in ended.stdout
    assert "oracle/labels-8/seed-0: FAILED" in ended.stdout and "no oracle today" in ended.stdout
    assert "log: runs/studio/parts/oracle/labels-8/seed-0/log.txt" in ended.stdout

    (project / "broken").unlink()
    assert run(project).returncode == 0
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2)

    # A later time stamp, as after a checkout, is no change, nor is a comment; other code is.
    with (project / "mstl/config.py").open("a") as file:
        file.write("# said better\n")
    os.utime(project / "mstl/config.py")
    assert run(project).returncode == 0
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2)
    with (project / "mstl/config.py").open("a") as file:
        file.write("CHANGED = True\n")
    assert run(project).returncode == 0
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 1), "begun anew in an empty folder"


def test_a_killed_batch_goes_on_where_it_was(project):
    (project / "slow").touch()
    killed = subprocess.Popen(
        command(project),
        cwd=project,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    waiting = [folder(project, "mstl") / "notebook.ipynb", folder(project, "oracle") / "begun"]
    while not all(path.exists() for path in waiting) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert any((project / ".snakemake/locks").iterdir()), "Snakemake was killed at work"

    (project / "slow").unlink()
    ended = run(project)
    assert ended.returncode == 0, ended.stderr
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2), "kept, and resumed in its folder"
