"""Batches: notebooks run whole or not at all; finished ones are reused while they would come out the same."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

import command_line
import execute
import pages
import pair
import plan
import run as run_module
from mstl.data.files import files_fingerprint
from mstl.run.config import TrainConfig
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
data_dir: str = None
method: str = "mstl"
seed: int = 0
profile: str = "quick"
out: str = "../runs"

# %%
import json
import time
from pathlib import Path
from mstl.methods.catalogue import entry
from mstl.run.config import TrainConfig
from mstl.run.provenance import source_fingerprint

config = TrainConfig(data=data, method=method, seed=seed, profile=profile, out=out)
config.folder.mkdir(parents=True, exist_ok=True)
with open(config.folder / "begun", "a") as begun:
    begun.write("x")

# %%
while method == "oracle" and Path("../slow").exists():
    time.sleep(0.1)
if method == "oracle" and Path("../broken").exists():
    raise RuntimeError("no oracle today")
row = ",a,1,0.5,0.5\\n"
(config.folder / "images.csv").write_text("split,car,view,dice,iou\\ntest" + row + "validation" + row)
(config.folder / "metrics.jsonl").write_text('{"step": 20, "progress": 1.0, "seconds": 1.0}\\n')
code = source_fingerprint(type(method, (), {"__module__": entry(method).location}))  # needs no torch
manifest = dict(settings=config.settings(), source_fingerprint=code, sources=["a"])
manifest |= dict.fromkeys(("seconds_training", "seconds_evaluation", "parameters"), 1)
manifest |= dict.fromkeys(("device", "precision", "commit", "data_fingerprint", "command"), "toy")
manifest |= {"domain_probe": {}, "peak_memory_gib": {"host": 1.0}}
(config.folder / "manifest.json").write_text(json.dumps(manifest))
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
    for name in ("workflow", "tools", "mstl"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_training.py").write_text(TRAINING)
    sweep = {"profile": "tiny", "seeds": 0, "results": ".", "notebook": "05_training"}
    sweep["blocks"] = [{"labels": 8, "methods": ["mstl", "oracle"]}]
    (tmp_path / "workflow/sweeps/reproduce.yaml").write_text(yaml.safe_dump(sweep))
    return tmp_path


# Cells whose outputs are large, so that saving them is a good part of the time.
LOUD = '# %% tags=["parameters"]\nn: int = 6\n' + "".join(
    f'\n# %%\nprint("{letter}" * 3_000_000)\n' for letter in "abcd"
)


def command(project: Path) -> list[str]:
    return [sys.executable, str(project / "workflow/run.py"), "runs", "DATA=", "JOBS=2"]


def run(project: Path, *words: str) -> subprocess.CompletedProcess:
    there = {**os.environ, "PYTHONPATH": str(project)}
    line = [*command(project), *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=project, env=there, timeout=600)


def start(project: Path) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    there = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.Popen(command(project), cwd=project, env=there, start_new_session=True, **quiet)


def wait_for(*paths: Path) -> None:
    until = time.monotonic() + 300  # a loaded machine takes minutes to start
    while missing := [str(path) for path in paths if not path.exists()]:
        assert time.monotonic() < until, f"never written: {', '.join(missing)}"
        time.sleep(0.2)


def begun(project: Path, method: str) -> int:
    """How often the run was begun."""
    return len((folder(project, method) / "begun").read_text())


def folder(project: Path, method: str) -> Path:
    return project / f"runs/studio/parts/{method}/labels-8/seed-0"


def tasks(project: Path, method: str) -> Path:
    """What the batch keeps of a run beside it, without a suffix."""
    return project / f"runs/.tasks/studio/parts/{method}/labels-8/seed-0"


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
    with pytest.raises(InputError, match=r"no parameter cuont; it has: count, mood"):
        execute.execute(toy, tmp_path / "toy.ipynb", {"cuont": 5})
    assert not (tmp_path / "toy.ipynb").exists()


@pytest.mark.trust(
    "faults",
    "A failing cell leaves no executed notebook, and one line that names the cell.",
)
def test_a_failing_cell_leaves_no_result_and_one_line_that_names_it(toy, tmp_path):
    with pytest.raises(InputError) as caught:
        execute.execute(toy, tmp_path / "toy.ipynb", {"mood": "broken"})
    line = str(caught.value)
    assert "\n" not in line and "cell 4: ValueError: the cup" in line and "toy.failed.ipynb" in line
    assert (tmp_path / "toy.failed.ipynb").exists() and not (tmp_path / "toy.ipynb").exists()


def test_a_cell_over_its_time_is_stopped(toy, tmp_path):
    with pytest.raises(InputError, match="cell 4: not finished after 2 s"):
        execute.execute(toy, tmp_path / "toy.ipynb", {"mood": "slow"}, timeout=2)


def test_a_key_changes_with_notebook_and_data_and_not_with_where_they_lie(project, monkeypatch):
    monkeypatch.chdir(project)
    photographs = project / "photographs"
    photographs.mkdir()
    (photographs / "a.jpg").write_bytes(b"pixels")

    def key(**changes) -> str:
        plan.content.cache_clear()
        config = TrainConfig(**{"data": "folder", "data_dir": "photographs", "out": "runs"} | changes)
        return plan.tasks_of([config], "05_training")[0].key

    first = key()
    photographs.rename(project / "elsewhere")
    assert key(data_dir="elsewhere") == first, "where the data lies does not matter"
    assert key(data_dir="elsewhere", out="others") == first, "nor where the runs lie"
    (project / "elsewhere/a.jpg").write_bytes(b"pixelz")
    keys = {first, key(data_dir="elsewhere")}
    Path("notebooks/05_training.py").write_text(TRAINING.replace("0.1", "0.2"))
    assert len({*keys, key(data_dir="elsewhere")}) == 3
    with pytest.raises(InputError, match=r"07_absent.py is missing"):
        plan.tasks_of([TrainConfig()], "07_absent")
    with pytest.raises(InputError, match=r"05_training has no parameter width; it has: data, data_dir"):
        plan.tasks_of([TrainConfig(width=8)], "05_training")


@pytest.mark.parametrize("ending", ["bmp", "webp", "tif", "csv", "json", "JFIF", "anything"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_changed_byte_of_any_file_of_the_data_changes_its_fingerprint(tmp_path, ending, linked):
    """Whatever its ending, in a linked folder too: a reader may read it."""
    data, masks = tmp_path / "data", tmp_path / "masks"
    (data / "images").mkdir(parents=True)
    (masks if linked else data / "masks").mkdir()
    if linked:
        (data / "masks").symlink_to(masks)
    changed = data / f"masks/a.{ending}"
    changed.write_bytes(b"0")
    (data / "images/loop").symlink_to(data)
    (data / "runs").mkdir()

    def fingerprint() -> str:
        return files_fingerprint("folder", str(data), str(data / "runs"))

    before = fingerprint()
    (data / "runs/manifest.json").touch()
    (data / ".DS_Store").touch()
    assert fingerprint() == before, "neither results nor hidden files are data"
    found = {before}
    changed.write_bytes(b"1")
    found.add(fingerprint())
    changed.rename(changed.with_stem("b"))
    found.add(fingerprint())
    (data / "masks/c").touch()
    assert len({*found, fingerprint()}) == 4


def test_words_replace_entries_whatever_their_case_and_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    (tmp_path / "photographs").mkdir()
    words = ["DATA=carparts", "data_dir=~/photographs", "PROFILE=", "RUNS=~/runs", "jobs=3"]
    options = command_line.parse(
        [*words, "RUN=labels=4,8 seeds='0 2' without='left side' learning_rate=1e-3"]
    )
    assert options.axes == {
        "data": ["carparts"],
        "labels": [4, 8],
        "seed": [0, 2],
        "without": ["left side"],
        "learning_rate": [0.001],
    }
    assert options.data_dirs == {"carparts": str(tmp_path / "photographs")}
    assert (options.runs, options.profile, options.jobs) == (str(tmp_path / "runs"), "", 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["LABLES=4"], "no parameter is called LABLES; there are data, recipe"),
        (["seeds"], "'seeds' is not name=value"),
        (["JOBS=two"], "JOBS must be a whole number ≥ 1; got 'two'"),
        (["JOBS=0"], "JOBS must be a whole number"),
        (["RUN=without='left"], "RUN .*No closing quotation"),
        (["DATA_DIR=nowhere"], "DATA_DIR nowhere of studio is not a folder"),
        (["DATA_DIR_CARPARTS=~/nowhere"], "DATA_DIR /.*/nowhere of carparts is not a folder"),
        (["DATA=carparts,carvana", "DATA_DIR=."], "write DATA_DIR_CARPARTS=folder"),
        (["RUNS=setup.cfg"], "RUNS setup.cfg is a file"),
        (["CLUSTER=slurn"], "CLUSTER slurn holds no config.yaml"),
    ],
)
def test_a_wrong_word_is_one_clear_error(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("setup.cfg").touch()
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    with pytest.raises(InputError, match=message) as caught:
        command_line.parse(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seeds=0-2", "seed must be a whole number ≥ 0; got '0-2'"),
        ("labels=None", "labels must be a whole number ≥ 0; got 'None'"),
        ("seeds=-1", "seed must be a whole number ≥ 0; got -1"),
        ("PROFILE=fast", "profile 'fast' is unknown; choose from"),
    ],
)
def test_a_value_of_another_kind_is_refused_before_anything_is_read_with_a_line_that_names_it(word, message):
    with pytest.raises(InputError, match=message) as caught:
        run_module.chosen("runs", command_line.parse([word]))
    assert "\n" not in str(caught.value)


def test_make_hands_on_every_word_as_it_was_given(tmp_path):
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sep='\\n')\n")
    python.chmod(0o755)
    (tmp_path / ".ready").touch()
    words = ["DATA_DIR=it's a (folder) $x", "RUN=labels=4,8 without='left side'", "SEEDS=0,1"]
    given = [word.replace("$", "$$") for word in words]
    # `make test JOBS=1` hands its own words to every make below it, twice: in MAKEFLAGS, and by their names.
    alone = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "JOBS"
    }
    for target in ("reproduce", "runs", "sweep", "book"):
        line = ["make", "-s", "-C", str(ROOT), target, f"VENV={tmp_path}", *given]
        made = subprocess.run(line, capture_output=True, text=True, check=True, env=alone)
        said = made.stdout.splitlines()
        assert said[:2] == ["workflow/run.py", target] and sorted(said[2:]) == sorted(words)
    # A short form may come from the environment; a name that others use, too, may not.
    line = ["make", "-s", "-C", str(ROOT), "sweep", f"VENV={tmp_path}"]
    environment = alone | {"SEEDS": "0,1", "CLUSTER": "other"}
    said = subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout
    assert said.splitlines()[2:] == ["SEEDS=0,1"]


@pytest.mark.parametrize("page", sorted(path.stem for path in (ROOT / "notebooks").glob("*.py")))
def test_a_page_is_executed_anew_when_a_table_that_it_reads_changes(page, tmp_path, monkeypatch):
    """Its data folder is its own parameter ``folder``: every page that loads tables has it."""
    source = ROOT / f"notebooks/{page}.py"
    folder = pair.defaults(source).get("folder")
    assert bool(folder) == any(
        reads in source.read_text(encoding="utf-8") for reads in (".load(", ".joined(")
    )
    if not folder:
        return
    (tmp_path / "notebooks").mkdir()
    shutil.copy(source, tmp_path / "notebooks")
    (tmp_path / "_toc.yml").write_text(f"root: book/intro\nchapters: [{{file: notebooks/{page}}}]\n")
    monkeypatch.chdir(tmp_path)
    tables = (Path("notebooks") / folder / "studio").resolve()
    keys = {pages.tasks_of("studio")[0].key}
    tables.mkdir(parents=True)
    for name in ("runs.csv", "cars.csv", "deeper/cases.npz", "../claims.csv"):
        (tables / name).parent.mkdir(exist_ok=True)
        (tables / name).write_text("1\n")
        keys.add(pages.tasks_of("studio")[0].key)
    (tables / "cars.csv").write_text("2\n")
    (task,) = pages.tasks_of("studio")
    assert len({*keys, task.key}) == 6 and pages.tasks_of("studio")[0].key == task.key
    assert task.jobs[0].parameters.get("data", "studio") == "studio"


def test_pages_that_train_are_begun_first(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = [task.jobs[0].name for task in pages.tasks_of("studio")]
    trains = ["steps" in pair.defaults(ROOT / f"notebooks/{name}.py") for name in names]
    assert any(trains) and trains == sorted(trains, reverse=True)
    for kind in (True, False):
        of_kind = [name for name, does in zip(names, trains, strict=True) if does == kind]
        assert of_kind == sorted(of_kind)


@pytest.mark.trust(
    "faults",
    "One failing run stops no other; it is listed with its log, and only it is repeated.",
)
def test_a_failing_run_is_listed_and_only_it_is_repeated(project):
    (project / "broken").touch()
    ended = run(project)
    assert ended.returncode != 0
    assert "1 of 2 runs are finished" in ended.stdout
    assert "oracle/labels-8/seed-0: FAILED" in ended.stdout and "no oracle today" in ended.stdout
    log = tasks(project, "oracle").with_suffix(".log")
    assert f"log: {log.relative_to(project)}" in ended.stdout and "no oracle today" in log.read_text()
    assert (project / "results/studio/runs.csv").read_text().count("\n") == 2, "the table of what is finished"

    (project / "broken").unlink()
    ended = run(project)
    assert ended.returncode == 0, ended.stderr
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2)


def test_other_code_or_settings_make_a_run_unfinished(tmp_path, monkeypatch):
    config = TrainConfig(profile="tiny", out=str(tmp_path))
    manifest = {"settings": config.settings(), "source_fingerprint": plan.code("mstl")}
    config.folder.mkdir(parents=True)
    (config.folder / "manifest.json").write_text(json.dumps(manifest))
    assert plan.is_finished(config) and not plan.is_finished(replace(config, width=9))
    monkeypatch.setattr(plan, "code", lambda method: "of a changed file")
    assert not plan.is_finished(config)


@pytest.mark.trust(
    "faults", "A batch killed with kill -9 keeps its finished runs and resumes the one it was at."
)
def test_a_killed_batch_goes_on_where_it_was(project):
    (project / "slow").touch()
    killed = start(project)
    wait_for(folder(project, "oracle") / "begun", tasks(project, "mstl").with_suffix(".done"))
    batch = psutil.Process(killed.pid)
    batch.suspend()
    for process in batch.children(recursive=True):  # nobody reacts while the others die
        process.suspend()
    everything = batch.children(recursive=True)
    for process in (*everything, batch):
        process.kill()
    killed.wait()
    assert not psutil.wait_procs(everything, timeout=60)[1]
    (project / "slow").unlink()
    ended = run(project)
    assert ended.returncode == 0, ended.stderr
    assert (begun(project, "mstl"), begun(project, "oracle")) == (1, 2), "kept, and resumed in its folder"


@pytest.mark.trust("faults", "A cell that hangs is stopped after its time; the batch goes on and reports it.")
def test_a_hanging_cell_is_reported_and_the_other_runs_finish(project):
    (project / "slow").touch()
    ended = run(project, "TIMEOUT=15")
    assert ended.returncode != 0
    assert "1 of 2 runs are finished" in ended.stdout
    assert "oracle/labels-8/seed-0: FAILED: 05_training.py, cell 4: not finished after 15 s" in ended.stdout
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
    code = (
        "import sys; from pathlib import Path; import execute; execute.execute(*map(Path, sys.argv[1:]), {})"
    )
    line = [sys.executable, "-c", code, str(source), str(target)]
    there = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'workflow'}:{ROOT / 'tools'}"}
    partial = target.with_suffix(".partial.ipynb")

    def begin() -> subprocess.Popen:
        return subprocess.Popen(line, start_new_session=True, stderr=subprocess.DEVNULL, env=there)

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
