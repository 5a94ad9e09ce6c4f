"""Sweeps: bad files are one clear error; runs go on after an interruption; failures stop nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import toy_task

import plan
import run
import sweep_file
import task
from command_line import Options
from mstl.report import results
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError
from progress import Progress

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
        ("blocks: [", r"some.yaml: cannot be read as YAML"),
        ("- parts", r"some.yaml: is not a sweep"),
        ("block: []", r"some.yaml: unknown key block; the keys are profile"),
        ("profile: fast\nblocks: [{}]", r"some.yaml: profile 'fast' is unknown"),
        ("blocks: []", r"some.yaml: blocks must be a list"),
        ("blocks: [{label: 4}]", r"block 1: unknown key label; the keys are data"),
        ("blocks: [{seeds: 0}]", r"block 1: methods is missing"),
        ("blocks: [{methods: dann}]", r"block 1: seeds is missing"),
        ("blocks: [{seeds: [], methods: dann}]", r"seed is an empty list"),
        ("blocks: [{seeds: 0, methods: [{step: 4}]}]", r"is not a method"),
        ("blocks: [{seeds: 0, methods: [{method: dann, step: 4}]}]", r"method dann: unknown key step"),
        ("groups: {a: [a]}\nblocks: [{seeds: 0, methods: a}]", r"group 'a' contains itself"),
        ("groups: {a: dann}\nblocks: [{seeds: 0, methods: a}]", r"groups must name lists"),
        ("blocks: [{seeds: 0, labels: four, methods: dann}]", r"block 1: labels must be a whole number"),
        ("blocks: [{seeds: 0, methods: [{method: dann, mean_teacher: 1e-3}]}]", r"write 1.0e-3, not 1e-3"),
        ("blocks: [{seeds: 0, labels: , methods: dann}]", r"block 1: labels must be one value or a list"),
        ("blocks: [{seeds: 0, recipe: {a: 1}, methods: dann}]", r"block 1: recipe must be one value or a"),
        ("blocks: [{seeds: 0-2, methods: dann}]", r"block 1: seed must be a whole number"),
        ("blocks: [{seeds: 0, methods: [{method: dann, steps: [[4]]}]}]", r"method dann: steps must be one"),
        ("blocks: [{seeds: 0, methods: dann+steps=x}]", r"block 1: 'dann\+steps=x' names no variant"),
        ("profile: [tiny]\nblocks: [{}]", r"profile \['tiny'\] is unknown"),
        (
            "blocks: [{seeds: 0, methods: dann}, {seeds: [0, 1], methods: [mstl, dann]}]",
            r"block 2: run studio/parts/dann/labels-8/seed-0 is asked for twice, first in block 1",
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
        ("methods: [mstl, dane]", "method 'dane' is unknown; choose from"),
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


def test_what_was_not_selected_is_not_asked_for(tmp_path):
    text = "profile: tiny\nseeds: 0\nblocks: [{methods: oracle, labels: 2}, {labels: 9999, methods: dann}]"
    sweep = read(tmp_path, text)
    sweep_file.check(sweep, {c.folder for c in sweep_file.select(sweep, {"labels": [2]})})
    with pytest.raises(InputError, match="9999"):
        sweep_file.check(sweep, {c.folder for c in sweep_file.select(sweep, {"method": ["dann"]})})


def test_data_without_a_folder_is_left_out_and_counted(tmp_path):
    text = "seeds: [0, 1]\nblocks: [{data: [studio, carparts], methods: [dann, mstl]}]"
    assert dict(read(tmp_path, text).skipped) == {"carparts": 4}
    assert {c.data for c in read(tmp_path, text).configs} == {"studio"}
    both = read(tmp_path, text, carparts="photographs")
    assert not both.skipped and len(both.configs) == 8


def test_filters_refuse_what_the_sweep_does_not_have(tmp_path):
    sweep = read(tmp_path, "seeds: [0, 1]\nblocks: [{labels: [4, 8], methods: [dann, dann+steps=9]}]")
    assert len(sweep_file.select(sweep, {"seed": [1]})) == 4
    variant = sweep_file.select(sweep, {"method": ["dann+steps=9"], "labels": [8]})
    assert [(c.seed, c.steps, c.labels) for c in variant] == [(0, 9, 8), (1, 9, 8)]
    for wanted, message in (
        ({"seed": [7]}, "SEED 7: not in sweep some, which has 0, 1"),
        ({"seed": ["0-2"]}, "SEED 0-2: not in sweep some"),
        ({"method": ["mstl"]}, r"METHOD mstl: not in sweep some, which has dann, dann\+steps=9"),
    ):
        with pytest.raises(InputError, match=message):
            sweep_file.check_selection([sweep], wanted)
    with pytest.raises(InputError, match=r"SWEEP 'none': .* does not exist; choose from"):
        sweep_file.find("none")


def test_a_filter_may_name_what_only_one_of_several_sweeps_has(tmp_path):
    first, second = (
        read(tmp_path, f"blocks: [{{data: studio, recipe: {recipe}, seeds: 0, methods: {method}}}]")
        for recipe, method in (("parts", "dann"), ("masks", "mstl"))
    )
    for wanted in ({"recipe": ["masks"]}, {"method": ["mstl"]}, {"recipe": ["masks"], "method": ["mstl"]}):
        sweep_file.check_selection([first, second], wanted)
        assert [len(sweep_file.select(sweep, wanted)) for sweep in (first, second)] == [0, 1]
    with pytest.raises(InputError, match="METHOD san: not in sweeps some and some, which have dann, mstl"):
        sweep_file.check_selection([first, second], {"method": ["san"]})


def test_parameters_given_replace_those_of_the_default_comparison():
    options = Options(axes={"labels": [4, 8], "seed": [3], "method": ["oracle"]}, profile="tiny")
    (sweep,) = run.chosen("reproduce", options)
    assert sweep.runs == "runs-tiny" and sweep.notebook == "05_training"
    assert {c.recipe for c in sweep.configs} == {"parts", "masks"}
    for recipe in ("parts", "masks"):
        runs = [(c.labels, c.seed, c.method) for c in sweep.configs if c.recipe == recipe]
        assert runs == [(4, 3, "oracle"), (8, 3, "oracle")]
    (other,) = run.chosen("reproduce", Options(axes={"recipe": ["views"], "labels": [0]}))
    assert {(c.recipe, c.labels) for c in other.configs} == {("views", 0)}
    (elsewhere,) = run.chosen("reproduce", Options(axes={"data": ["carvana"]}))
    assert {c.data for c in elsewhere.configs} == {"carvana"} and not elsewhere.skipped


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/sweeps").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_sweeps_of_the_book_name_known_methods_and_no_run_twice(path):
    from mstl import methods

    for config in sweep_file.read(path).configs:
        methods.configured(config.method, config.overrides)


@pytest.fixture
def todo(tmp_path, monkeypatch) -> plan.Task:
    """A task of three runs on toy data, prepared."""
    monkeypatch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))
    text = TINY.format(methods="[target_only, {method: dann, steps: 5}, {method: source_combine, steps: 5}]")
    (prepared,) = plan.tasks_of(read(tmp_path, text).configs)
    prepared.write()
    return prepared


def test_what_a_worker_reads_is_the_task(todo):
    assert plan.Task.read(todo.file(".json")) == todo


@pytest.mark.trust(
    "faults", "In a sweep, a failing run is written down with its log and the next one begins."
)
def test_a_failing_run_is_written_down_and_the_next_ones_go_on(todo, capsys):
    blocked = todo.jobs[1].config.folder
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    progress = Progress([todo], [todo], 1, "runs")
    assert task.work(todo) == 1
    progress.update(last=True)
    assert [job.finished() for job in todo.jobs] == [True, False, True]
    ((name, _, log),) = progress.failures
    assert name == "studio/parts/dann+steps=5/labels-4/seed-0" and log == todo.file(".log")
    assert progress.done == len(progress.jobs) == 3
    assert not todo.finished()
    assert todo.file(".done").read_text() == "failed\n", "another attempt would change nothing"

    kept = [Path(job.target) for job in todo.jobs[::2]]
    before = [path.stat().st_mtime_ns for path in kept]
    blocked.unlink()
    assert task.work(todo) == 1, "the same command, as a cluster starts it again, tries no failure twice"
    assert [job.finished() for job in todo.jobs] == [True, False, True]
    todo.write()  # by another command
    assert Progress([todo], [todo], 1, "runs").done == 2  # what is kept is not still to be done
    assert task.work(todo) == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert todo.finished()


def test_a_task_that_cannot_be_read_fails_all_its_runs_with_that_reason(todo, monkeypatch):
    def broken(self):
        raise InputError("images/a.png is damaged")

    monkeypatch.setattr(TrainConfig, "task", broken)
    assert task.work(todo) == 3
    entries = [json.loads(line) for line in todo.file(".jsonl").read_text().splitlines()]
    assert [e["error"] for e in entries if e["status"] != "begun"] == ["images/a.png is damaged"] * 3


def test_a_run_made_with_other_settings_is_made_anew(todo):
    config = todo.jobs[2].config
    config.folder.mkdir(parents=True)
    (config.folder / "config.json").write_text(json.dumps({"settings": {"width": 99}}))
    (config.folder / "old").touch()
    assert task.work(todo) == 0
    assert plan.is_finished(config) and not (config.folder / "old").exists()


def test_other_data_makes_a_task_unfinished(todo):
    task.work(todo)
    assert todo.finished() and not replace(todo, key="of other data").finished()


@pytest.mark.trust("equalities", "A run in a sweep's worker, after others, equals the same run on its own.")
def test_runs_of_one_worker_equal_runs_on_their_own(todo, tmp_path):
    from mstl.run.train import train

    task.work(todo)
    last = todo.jobs[-1].config
    alone = train(replace(last, out=str(tmp_path / "alone")))
    assert (alone / "images.csv").read_bytes() == (last.folder / "images.csv").read_bytes()


def test_time_left_is_the_mean_of_what_was_done_for_all_that_is_open(todo, capsys):
    progress = Progress([todo], [todo], 1, "runs")
    assert progress.left() is None
    entry = {"job": todo.jobs[0].name}
    lines = [entry | {"status": "begun"}, entry | {"status": "done", "seconds": 8.0}]
    todo.file(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"job": "half wri')
    progress.update()
    assert progress.done == 1 and progress.left().seconds == 16 and "about 0:00:16 left" in progress.line()
    progress.workers = 5
    assert progress.left().seconds == 8


def test_tables_hold_the_runs_of_the_sweeps_that_share_them_and_no_others(todo, tmp_path, capsys):
    """A faulty sweep file beside them is named before the training and stops nothing."""
    task.work(todo)
    (tmp_path / "some.yaml").unlink()
    first = write(tmp_path, TINY.format(methods="[target_only]") + "results: grid\n", "first.yaml")
    write(tmp_path, TINY.format(methods="[dann+steps=5]") + "results: grid\n", "second.yaml")
    write(tmp_path, "blocks: [", "bad.yaml")
    options = Options(runs=str(tmp_path / "runs"), results=str(tmp_path / "results"))
    sweeps = [sweep_file.read(first, {}, options.runs)]
    run.write_tables(options, sweeps, run.neighbours(options, sweeps), missing=set())
    table = results.load(tmp_path / "results" / "grid", "studio", "runs")
    assert sorted(table["method"]) == ["dann+steps=5", "target_only"]
    said = capsys.readouterr()
    assert "2 finished runs, 1 of no current sweep left out" in said.out
    assert said.err.count("\n") == 1 and "bad.yaml: cannot be read as YAML" in said.err
    name = todo.jobs[0].name  # failed on the data as it is now: what an earlier one left is no result
    run.write_tables(options, sweeps, run.neighbours(options, sweeps), missing={name})
    assert list(results.load(tmp_path / "results" / "grid", "studio", "runs")["method"]) == ["dann+steps=5"]


def start(folder: Path, sweep: Path, *more: str) -> subprocess.Popen:
    words = [f"sweep={sweep}", f"runs={folder / 'runs'}", f"results={folder / 'results'}", "jobs=1"]
    command = [sys.executable, str(ROOT / "workflow/run.py"), "sweep", *words, *more]
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
    assert "2 of 3 runs are finished" in output and f"{plan.run_name(third)}: FAILED" in output
    assert "log: " in output and "going on from step" in next(tmp_path.rglob("seed-0.log")).read_text()
    assert manifest.stat().st_mtime_ns == before
    cars = results.load(tmp_path / "results" / "some", "studio", "cars")
    images = pd.read_csv(second.folder / "images.csv", dtype={"car": str})
    own = cars[cars["method"] == second.variant].set_index("car")["dice"]
    means = images[images["split"] == "test"].groupby("car")["dice"].mean()
    assert own.sub(means).abs().max() < 1e-4


@pytest.mark.parametrize("killed", ["ProcessExitedException", "KernelDied"])
def test_what_was_killed_is_tried_again_by_the_same_command(todo, monkeypatch, killed):
    """A process of a run in several, or a notebook's kernel: more memory may help."""
    train, kind = task._train, type(killed, (Exception,), {})
    seen = []

    def dies_once(config, data):
        seen.append(config.method)
        if config.method == "dann" and seen.count("dann") == 1:
            raise kind("exited with -9")
        train(config, data)

    monkeypatch.setattr(task, "_train", dies_once)
    progress = Progress([todo], [todo], 1, "runs")
    assert task.work(todo) == 1
    assert not todo.file(".done").exists()
    progress.update()
    assert len(progress.failures) == 1
    assert task.work(todo) == 0
    assert todo.finished()
    progress.update(last=True)
    assert not progress.failures and not progress.open, "what is finished after all is in the tables"
