"""Batches: notebooks run whole or not at all; finished ones are reused while they would come out the same."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

import execute
import plan
import reproduce
from mstl.system.errors import InputError

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
from mstl.run.config import TrainConfig

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
    for name in ("workflow", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__", "run/__init__", "run/config", "run/names", "system/__init__", "system/errors"):
        file = tmp_path / "mstl" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "mstl" / f"{name}.py", file)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_training.py").write_text(TRAINING)
    config = yaml.safe_load((ROOT / "workflow/config.yaml").read_text())
    config |= {"methods": ["mstl", "oracle"], "seeds": [0], "pages": [], "read_data": False}
    (tmp_path / "workflow/config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


# Cells whose outputs are large, so that saving them is a good part of the time.
LOUD = '# %% tags=["parameters"]\nn: int = 6\n' + "".join(
    f'\n# %%\nprint("{letter}" * 3_000_000)\n' for letter in "abcd"
)


def command(project: Path) -> list[str]:
    return [sys.executable, str(project / "workflow/reproduce.py"), "runs", "--data=", "--jobs=2"]


def run(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(project), capture_output=True, text=True, cwd=project, timeout=600)


def start(project: Path) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(project), cwd=project, start_new_session=True, **quiet)


def wait_for(*paths: Path) -> None:
    until = time.monotonic() + 600  # a loaded machine takes minutes to start
    while not all(path.exists() for path in paths) and time.monotonic() < until:
        time.sleep(0.2)


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


@pytest.mark.trust(
    "faults",
    "A failing cell leaves no executed notebook, and one line that names the cell.",
)
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


@pytest.mark.trust(
    "faults",
    "One failing run stops no other; it is listed with its log, and only it is repeated.",
)
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
    with (project / "mstl/run/config.py").open("a") as file:
        file.write("# said better\n")
    os.utime(project / "mstl/run/config.py")
    assert run(project).returncode == 0
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2)
    with (project / "mstl/run/config.py").open("a") as file:
        file.write("CHANGED = True\n")
    assert run(project).returncode == 0
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 1), "begun anew in an empty folder"


@pytest.mark.trust(
    "faults", "A batch killed with kill -9 keeps its finished runs and resumes the one it was at."
)
def test_a_killed_batch_goes_on_where_it_was(project):
    (project / "slow").touch()
    killed = start(project)
    wait_for(folder(project, "mstl") / "notebook.ipynb", folder(project, "oracle") / "begun")
    time.sleep(5)  # until Snakemake, too, knows that the first run is finished
    batch = psutil.Process(killed.pid)
    batch.suspend()
    for process in batch.children(recursive=True):  # nobody reacts while the others die
        process.suspend()
    everything = batch.children(recursive=True)
    for process in (*everything, batch):
        process.kill()
    killed.wait()
    assert not psutil.wait_procs(everything, timeout=60)[1]
    assert any((project / ".snakemake/locks").iterdir()), "Snakemake was killed at work"

    (project / "slow").unlink()
    ended = run(project)
    assert ended.returncode == 0, ended.stderr
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2), "kept, and resumed in its folder"


@pytest.mark.trust("faults", "A cell that hangs is stopped after its time; the batch goes on and reports it.")
def test_a_hanging_cell_is_reported_and_the_other_runs_finish(project):
    (project / "slow").touch()
    settings = project / "workflow/config.yaml"
    settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | {"timeout": 5}))
    ended = run(project)
    assert ended.returncode != 0
    assert "1 of 2 training runs are finished" in ended.stdout
    assert "oracle/labels-8/seed-0: FAILED 05_training.py, cell 4: not finished after 5 s" in ended.stdout
    assert (folder(project, "mstl") / "notebook.ipynb").exists()
    assert not (folder(project, "oracle") / "notebook.ipynb").exists()


@pytest.mark.trust("faults", "A batch that is told to stop (SIGTERM) leaves no process behind.")
def test_a_batch_that_is_told_to_stop_takes_every_process_with_it(project, record_property):
    (project / "slow").touch()
    batch = start(project)
    wait_for(folder(project, "mstl") / "notebook.ipynb", folder(project, "oracle") / "begun")
    children = psutil.Process(batch.pid).children(recursive=True)
    assert any("ipykernel" in " ".join(child.cmdline()) for child in children), "a cell is at work"
    batch.terminate()
    assert batch.wait(timeout=300) == 130
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    record_property("processes stopped", len(children))


@pytest.mark.long
@pytest.mark.trust(
    "equalities",
    "An executed notebook killed (kill -9) at a random point is absent or whole, and comes out the same.",
)
def test_a_notebook_killed_while_it_is_saved_is_whole_or_absent(tmp_path, record_property):
    source, target = tmp_path / "loud.py", tmp_path / "run" / "loud.ipynb"
    source.write_text(LOUD)
    (tmp_path / "key").write_text("same\n")
    line = [sys.executable, str(ROOT / "workflow/execute.py"), str(source), str(target)]
    line += ["--key", str(tmp_path / "key"), "--log", str(tmp_path / "log.txt")]
    partial = target.with_suffix(".partial.ipynb")

    def begin() -> subprocess.Popen:
        return subprocess.Popen(line, start_new_session=True, stderr=subprocess.DEVNULL)

    started = time.monotonic()
    process = begin()
    wait_for(partial)
    before = time.monotonic() - started  # nothing is saved before
    assert process.wait(timeout=600) == 0
    duration = time.monotonic() - started
    whole = outputs(target)
    kills, torn, chance = 12, 0, random.Random(0)
    for moment in (chance.uniform(before, duration) for _ in range(kills)):
        target.unlink(missing_ok=True)
        process = begin()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        with contextlib.suppress(ProcessLookupError):  # a quick run is over before its moment
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        torn += partial.exists()
        assert not target.exists() or outputs(target) == whole
    record_property("kills", kills)
    record_property("kills that left an unfinished notebook", torn)
    assert torn, "no kill came while the notebook was at work"
    assert begin().wait(timeout=600) == 0 and outputs(target) == whole


def outputs(path: Path) -> list:
    """What each cell printed and showed; a stream is one text, in however many messages it came."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [
        (
            {name: "".join(o.text for o in cell if o.get("name") == name) for name in ("stdout", "stderr")},
            [o for o in cell if o.output_type != "stream"],
        )
        for cell in cells
    ]
