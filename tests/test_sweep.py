"""Sweeps: bad files are one clear error; runs go on after an interruption; failures stop nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import toy_task

import sweep_file
import sweep_plan
import sweep_results
import sweep_task
from mstl.report import results
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError
from sweep_progress import SweepProgress, duration

ROOT = Path(__file__).resolve().parent.parent

TINY = """\
profile: tiny
seeds: [0]
blocks:
  - labels: 4
    methods: {methods}
"""


def write(folder: Path, text: str, name: str = "some.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(folder: Path, text: str, **data_dirs: str) -> sweep_file.Sweep:
    return sweep_file.read(write(folder, text), data_dirs, out=str(folder / "runs"))


def test_a_block_is_the_product_of_its_lists_and_seeds_come_first(tmp_path):
    sweep = read(
        tmp_path,
        """
seeds: [1, 0]
groups:
  both: [dann, {method: mfsan, overrides: [weight=0.1, weight=1]}]
blocks:
  - {recipe: parts, labels: [4, 8], extra: [harmful, ""], methods: [both, mstl]}
  - {recipe: views-styled, labels: 0, seeds: 0, methods: {method: dann, steps: 900, mean_teacher: 1}}
""",
    )
    configs = sweep.configs
    assert len(configs) == 2 * 2 * 2 * 4 + 1
    assert [c.seed for c in configs] == sorted(c.seed for c in configs)
    assert {c.variant for c in configs if c.recipe == "parts"} == {
        "dann",
        "mfsan+weight=0.1",
        "mfsan+weight=1",
        "mstl",
    }
    assert {c.setting for c in configs} == {"parts", "parts+harmful", "views-styled"}
    assert [c.variant for c in configs if c.labels == 0] == ["dann+mean_teacher=1+steps=900"]
    assert {c.profile for c in configs} == {"grid"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks: [", r"some.yaml cannot be read as YAML"),
        ("- parts", r"some.yaml is not a sweep"),
        ("block: []", r"some.yaml: unknown key block; the keys are profile"),
        ("profile: fast\nblocks: [{}]", r"some.yaml: profile 'fast' is unknown"),
        ("blocks: []", r"some.yaml: blocks must be a list"),
        ("blocks: [{label: 4}]", r"block 1: unknown key label; the keys are data"),
        ("blocks: [{seeds: 0}]", r"block 1 \(studio parts\): methods is missing"),
        ("blocks: [{methods: dann}]", r"block 1 \(studio parts\): seeds is missing"),
        ("blocks: [{seeds: [], methods: dann}]", r"seeds is an empty list"),
        ("blocks: [{seeds: 0, methods: [{step: 4}]}]", r"is not a method"),
        ("blocks: [{seeds: 0, methods: [{method: dann, step: 4}]}]", r"method dann: unknown key step"),
        ("groups: {a: [a]}\nblocks: [{seeds: 0, methods: a}]", r"group 'a' contains itself"),
        ("groups: {a: dann}\nblocks: [{seeds: 0, methods: a}]", r"groups must name lists"),
        ("blocks: [{seeds: 0, labels: four, methods: dann}]", r"block 1 .*: labels must be a whole number"),
        ("blocks: [{seeds: 0, methods: [{method: dann, mean_teacher: 1e-3}]}]", r"write 1.0e-3, not 1e-3"),
        (
            "blocks: [{seeds: 0, methods: dann}, {seeds: [0, 1], methods: [mstl, dann]}]",
            r"block 2 .*: run studio/parts/dann/labels-8/seed-0 is asked for twice, first in block 1",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_block(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "some.yaml") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("methods: [mstl, dan]", "method 'dan' is unknown; choose from"),
        ("methods: [{method: dann, overrides: strenght=1}]", "'strenght=1' is not name=value"),
        ("methods: [{method: dann, overrides: strength=much}]", "strength=much is not of type float"),
        ("recipe: part, methods: dann", "unknown recipe 'part'"),
        ("sources: 9, methods: dann", "gives J = 1, 2, 3, 4 sources; got 9"),
        ("labels: 9999, methods: dann", "labels = 9999, but the target has"),
        ("without: bonnet, methods: dann", "bonnet"),
        ("data: cars, methods: dann", "unknown data 'cars'"),
    ],
)
def test_what_methods_and_data_refuse_is_said_before_the_first_run(tmp_path, block, message):
    text = f"profile: tiny\nseeds: 0\nblocks: [{{methods: oracle, labels: 2}}, {{{block}}}]"
    with pytest.raises(InputError, match=message) as caught:
        sweep_file.check(read(tmp_path, text, cars=str(tmp_path)))
    assert "some.yaml, block 2" in str(caught.value) and "\n" not in str(caught.value)


def test_data_without_a_folder_is_left_out_and_counted(tmp_path):
    text = "seeds: [0, 1]\nblocks: [{data: [studio, carparts], methods: [dann, mstl]}]"
    assert dict(read(tmp_path, text).skipped) == {"carparts": 4}
    assert {c.data for c in read(tmp_path, text).configs} == {"studio"}
    both = read(tmp_path, text, carparts="photographs")
    assert not both.skipped and len(both.configs) == 8


def test_filters_refuse_what_the_sweep_does_not_have(tmp_path):
    sweep = read(tmp_path, "seeds: [0, 1]\nblocks: [{methods: [dann, {method: dann, steps: 9}]}]")
    assert len(sweep_file.select(sweep, seeds=[1])) == 2
    assert [c.seed for c in sweep_file.select(sweep, methods=["dann+steps=9"])] == [0, 1]
    with pytest.raises(InputError, match="SEEDS 7: not in sweep some, which has 0, 1"):
        sweep_file.select(sweep, seeds=[7])
    with pytest.raises(InputError, match="METHODS mstl: not in sweep some"):
        sweep_file.select(sweep, methods=["mstl"])
    with pytest.raises(InputError, match=r"SWEEP 'none': .* does not exist; choose from"):
        sweep_plan.selected({"sweep": "none"})
    with pytest.raises(InputError, match="DATA_DIR_CARPARTS nowhere is not a folder"):
        sweep_plan.selected({"sweep": str(tmp_path / "some.yaml"), "data_dir_carparts": "nowhere"})


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/sweeps").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_sweeps_of_the_book_name_known_methods_and_no_run_twice(path):
    from mstl import methods

    for config in sweep_file.read(path).configs:
        methods.configured(config.method, config.overrides)


@pytest.fixture
def plan(tmp_path, monkeypatch) -> sweep_plan.TaskPlan:
    """A task of three runs on toy data, prepared."""
    monkeypatch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))
    text = TINY.format(methods="[target_only, {method: dann, steps: 5}, {method: source_combine, steps: 5}]")
    (plan,) = sweep_plan.prepare(sweep_plan.task_plans(read(tmp_path, text).configs))
    return plan


@pytest.mark.trust(
    "faults", "In a sweep, a failing run is written down with its log and the next one begins."
)
def test_a_failing_run_is_written_down_and_the_next_ones_go_on(plan, capsys):
    blocked = plan.configs[1].folder
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    progress = SweepProgress(plan.configs, [plan], jobs=1)
    assert sweep_task.work(plan) == 1
    progress.close()
    assert [sweep_plan.is_finished(c) for c in plan.configs] == [True, False, True]
    (failure,) = progress.failures
    assert failure.run == "studio/parts/dann+steps=5/labels-4/seed-0" and failure.log == plan.file(".log")
    assert (progress.done, progress.total) == (3, 3)
    assert not plan.finished()

    kept = [c.folder / "manifest.json" for c in plan.configs[::2]]
    before = [path.stat().st_mtime_ns for path in kept]
    blocked.unlink()
    assert sweep_task.work(plan) == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert plan.finished() and sweep_plan.prepare([plan]) == []


def test_a_task_that_cannot_be_read_fails_all_its_runs_with_that_reason(plan, monkeypatch):
    def broken(self):
        raise InputError("images/a.png is damaged")

    monkeypatch.setattr(TrainConfig, "task", broken)
    assert sweep_task.work(plan) == 3
    entries = [json.loads(line) for line in plan.file(".jsonl").read_text().splitlines()]
    assert [entry["error"] for entry in entries] == ["images/a.png is damaged"] * 3


def test_a_run_made_with_other_settings_is_made_anew(plan):
    config = plan.configs[2]
    config.folder.mkdir(parents=True)
    (config.folder / "config.json").write_text(json.dumps({"settings": {"width": 99}}))
    (config.folder / "old").touch()
    assert sweep_task.work(plan) == 0
    assert sweep_plan.is_finished(config) and not (config.folder / "old").exists()


def test_other_data_makes_a_task_unfinished(plan, monkeypatch):
    sweep_task.work(plan)
    assert plan.finished()
    monkeypatch.setattr(sweep_plan, "content", lambda data, data_dir: "other")
    assert not plan.finished()


@pytest.mark.trust("equalities", "A run in a sweep's worker, after others, equals the same run on its own.")
def test_runs_of_one_worker_equal_runs_on_their_own(plan, tmp_path):
    from mstl.run.train import train

    sweep_task.work(plan)
    last = plan.configs[-1]
    parameters = {**vars(last), "out": str(tmp_path / "alone")}
    alone = train(TrainConfig(**parameters))
    assert (alone / "images.csv").read_bytes() == (last.folder / "images.csv").read_bytes()


def test_time_left_is_the_median_of_the_same_variant_or_of_all(tmp_path, plan, capsys):
    progress = SweepProgress(plan.configs, [plan], jobs=1)
    assert progress.seconds_left() is None
    record = plan.file(".jsonl")
    entry = {"run": sweep_plan.run_name(plan.configs[0]), "variant": "target_only", "status": "trained"}
    record.write_text(json.dumps(entry | {"seconds": 8.0}) + '\n{"run": "half wri')
    progress.update()
    assert progress.done == 1 and progress.seconds_left() == 16.0
    progress.seconds["dann+steps=5"] = [2.0, 3.0, 100.0]
    assert progress.seconds_left() == 3.0 + 5.5, "its own median, and that of all"
    assert [duration(s) for s in (40, 720, 7500)] == ["40 s", "12 min", "2 h 05 min"]


def test_tables_hold_the_runs_of_the_sweeps_that_share_them_and_no_others(plan, tmp_path, capsys):
    sweep_task.work(plan)
    runs, tables = str(tmp_path / "runs"), tmp_path / "results"
    first = TINY.format(methods="[target_only]") + "results: grid\n"
    second = TINY.format(methods="[{method: dann, steps: 5}]") + "results: grid\n"
    (tmp_path / "some.yaml").unlink()
    files = [write(tmp_path, first, "first.yaml"), write(tmp_path, second, "second.yaml")]
    sweep_results.collect(files[:1], tables, out=runs)
    table = results.load(tables / "grid", "studio", "runs")
    assert sorted(table["method"]) == ["dann+steps=5", "target_only"]
    assert "2 finished runs, 1 of no current sweep left out" in capsys.readouterr().out


def start(folder: Path, sweep: Path, *more: str) -> subprocess.Popen:
    options = [f"--sweep={sweep}", f"--runs={folder / 'runs'}", f"--results={folder / 'results'}", "--jobs=1"]
    command = [sys.executable, str(ROOT / "workflow/sweep.py"), *options, *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.trust(
    "faults",
    "A sweep that is told to stop leaves no process behind; the same command goes on and lists what failed.",
)
def test_an_interrupted_sweep_goes_on_and_lists_what_failed(tmp_path):
    slow = "[target_only, {method: source_combine, steps: 300}, oracle]"
    sweep = write(tmp_path, TINY.format(methods=slow))
    first, second, third = sweep_file.read(sweep, {}, str(tmp_path / "runs")).configs
    process = start(tmp_path, sweep)
    until = time.monotonic() + 600  # a loaded machine takes minutes to import torch
    while (
        process.poll() is None and not (second.folder / "checkpoint.pt").exists() and time.monotonic() < until
    ):
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=300)
    assert workers and not psutil.wait_procs(workers, timeout=30)[1]
    assert process.returncode == 130 and "the same command goes on from here" in error
    manifest = first.folder / "manifest.json"
    assert manifest.exists() and not (second.folder / "manifest.json").exists()
    before = manifest.stat().st_mtime_ns

    third.folder.parent.mkdir(parents=True)
    third.folder.write_text("in the way")
    process = start(tmp_path, sweep)
    output, error = process.communicate(timeout=600)
    assert process.returncode == 1, error
    assert "2 of 3 runs are finished" in output and f"{sweep_plan.run_name(third)}: FAILED" in output
    assert "log: " in output and "going on from step" in next(tmp_path.rglob("seed-0.log")).read_text()
    assert manifest.stat().st_mtime_ns == before
    cars = results.load(tmp_path / "results" / "some", "studio", "cars")
    images = pd.read_csv(second.folder / "images.csv", dtype={"car": str})
    own = cars[cars["method"] == second.variant].set_index("car")["dice"]
    means = images[images["split"] == "test"].groupby("car")["dice"].mean()
    assert own.sub(means).abs().max() < 1e-4
