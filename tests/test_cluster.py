"""What is asked of a cluster, from what runs took; and how a task that was killed is reported."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

import cluster
import ends
import needs
import run
from command_line import Options
from mstl.run.config import TrainConfig
from needs import Measured, Need
from plan import Job, Task

ROOT = Path(__file__).resolve().parent.parent
ROW = "data,method,profile,steps,seconds,peak_memory_gib,device\n"


def config(**changes) -> TrainConfig:
    return TrainConfig(**({"profile": "grid", "steps": 300, "method": "mstl", "labels": 4} | changes))


def task(*configs: TrainConfig, notebook: str | None = None) -> Task:
    jobs = (Job(c.method, f"nowhere/{i}", c, notebook) for i, c in enumerate(configs))
    return Task("stem", "key", tuple(jobs))


@pytest.fixture
def tables(tmp_path) -> Path:
    """mstl takes 0.1 s a step at most, dann 0.2; on other data and on a GPU other times."""
    folder = tmp_path / "results/grid/studio"
    folder.mkdir(parents=True)
    rows = ["studio,mstl,grid,300,30,1.0,CPU (x)", "studio,mstl+strength=0.1,grid,100,5,1.5,CPU (x)"]
    rows += ["studio,dann,grid,300,60,0.5,CPU (x)", "carparts,san,grid,300,90,3,CPU (x)"]
    rows += ["studio,mstl,grid,300,3,9.0,Some GPU"]
    (folder / "runs.csv").write_text(ROW + "\n".join(rows) + "\n")
    return tmp_path / "results"


def test_the_dearest_run_of_the_same_kind_says_what_a_run_takes(tables, tmp_path):
    measured = Measured(tmp_path / "runs", tables)
    assert measured.of(config()) == pytest.approx((30, 1.5))
    assert measured.of(config(steps=600)) == pytest.approx((60, 1.5))
    assert measured.of(config(device="cuda")) == pytest.approx((3, 9.0))


def test_where_the_kind_is_unknown_the_method_and_then_the_data_say_it(tables, tmp_path):
    measured = Measured(tmp_path / "runs", tables)
    assert measured.of(config(data="carparts")) == pytest.approx((30, 1.5))
    assert measured.of(config(method="m3sda")) == pytest.approx((60, 1.5))
    assert measured.of(config(profile="full")) is None


def test_finished_runs_of_this_folder_count_too(tables, tmp_path):
    own = config(out=str(tmp_path / "runs"), seed=9)
    own.folder.mkdir(parents=True)
    manifest = {"settings": own.settings(), "device": "CPU (y)", "seconds_training": 80}
    manifest |= {"seconds_evaluation": 10, "peak_memory_gib": {"host": 2.0}}
    (own.folder / "manifest.json").write_text(json.dumps(manifest))
    assert Measured(tmp_path / "runs", tables).of(config()) == pytest.approx((90, 2.0))


def test_a_task_asks_for_the_sum_of_times_and_the_most_of_the_rest(tables, tmp_path):
    measured = Measured(tmp_path / "runs", tables)
    need = measured.need(task(config(), config(method="dann")), threads=2)
    assert need.seconds == needs.START + 30 + 60
    assert need.minutes == 7  # 2 · 210 s
    assert need.mem_mb == 3500  # 1.5 · 1.5 GiB and one more, in steps of half a thousand
    assert (need.threads, need.gpus, need.known) == (2, 0, True)
    both = measured.need(task(config(device="cuda", devices=2)))
    assert (both.threads, both.gpus) == (2, 2)
    assert not measured.need(task(config(profile="full"))).known


def test_bundles_keep_order_and_length_and_leave_a_short_queue_alone():
    tasks = [Task(f"t{i}", "key", ()) for i in range(7)]
    need = {t.stem: Need(300, 10, 1000 + 10 * i) for i, t in enumerate(tasks)}
    alone = list(needs.bundles(tasks, need, minutes=15, jobs=7))
    assert [[t.stem for t in bundle] for bundle, _ in alone] == [[f"t{i}"] for i in range(7)]
    together = list(needs.bundles(tasks, need, minutes=15, jobs=6))
    assert [[t.stem for t in b] for b, _ in together] == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    assert [(n.seconds, n.minutes, n.mem_mb) for _, n in together][:2] == [(900, 30, 1020), (900, 30, 1050)]
    long = list(needs.bundles(tasks, need, minutes=1, jobs=1))
    assert [len(bundle) for bundle, _ in long] == [1] * 7, "what is longer than a bundle stands alone"


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("30:00", 30), ("2-00:00:00", 2880), ("1:30:30", 90.5), ("infinite", math.inf), ("n/a", math.inf)],
)
def test_limits_of_time_as_sinfo_writes_them(limit, minutes):
    assert cluster._minutes(limit) == minutes


def test_both_forms_of_a_profile_say_the_same(tmp_path):
    lists = {
        "jobs": "unlimited",
        "default-resources": ["slurm_partition=gpu,cpu"],
        "set-resources": ["task:mem_mb=9"],
    }
    maps = {
        "jobs": 5,
        "default-resources": {"slurm_partition": "gpu,cpu"},
        "set-resources": {"task": {"mem_mb": 9}},
    }
    read = []
    for name, profile in (("lists", lists | {"jobs": "unlimited"}), ("maps", maps | {"jobs": 5})):
        (tmp_path / name).write_text(yaml.safe_dump(profile))
        read.append(cluster.read(tmp_path / name))
    assert [p["set-resources"] for p in read] == [{"mem_mb": 9}] * 2
    assert [p["default-resources"] for p in read] == [{"slurm_partition": "gpu,cpu"}] * 2
    assert [p["jobs"] for p in read] == [cluster.UNLIMITED, 5]
    assert cluster._names("'gpu', cpu") == ["gpu", "cpu"]


def test_a_local_profile_with_a_number_of_jobs_bundles_nothing(tmp_path):
    (profile := tmp_path / "config.yaml").write_text("jobs: 2\n")
    tasks = [Task(f"t{i}", "key", ()) for i in range(5)]
    jobs, asking = run.jobs_of(Options(), tasks, cluster.read(profile), tmp_path, 1)
    assert list(jobs) == [t.stem for t in tasks] and not asking


def test_a_machine_without_a_queue_goes_on_with_what_a_cluster_began(tmp_path, monkeypatch):
    (tmp_path / "snakemake.log").write_text("SLURM run ID: 0815\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster.cancel_those_of(tmp_path / "snakemake.log")


def test_the_reason_is_read_from_what_snakemake_wrote():
    block = (
        "Error in rule task:\n    message: {}\n    jobid: 1\n    input: r/a.json, r/b.json\n"
        "    output: r/b.done\n    log: r/b.log, /s/7.log (check log file(s) for error details)\n"
    )
    status = "SLURM-job '7' failed, SLURM status is: '{}'. Detailed failure reason unavailable."
    refused = (
        "SLURM sbatch failed. The error message was 'sbatch: error: Invalid\nqos'.\n    sbatch call:\n  x"
    )
    assert ends.read(block.format(status.format("TIMEOUT"))) == [
        ends.End(("r/a", "r/b"), "SLURM says TIMEOUT", "/s/7.log")
    ]
    last = block.format(status.format("TIMEOUT")) + block.format(refused)
    assert [end.reason for end in ends.read(last)] == ["SLURM refused it: sbatch: error: Invalid qos"]
    assert ends.read("Nothing to be done.") == []


def test_the_node_says_why_it_killed_a_job(tmp_path):
    block = (
        "Error in rule task:\n    message: SLURM-job '7' failed, SLURM status is: 'FAILED'.\n    jobid: 1\n"
    )
    block += f"    input: a.json\n    output: a.done\n    log: a.log, {tmp_path}/7.log (check)\n"
    memory = "slurmstepd-n1: error: StepId=1.0 exceeded memory limit (9 > 3), being killed\n"
    timed = "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2030-01-01T00:00:00 DUE TO TIME LIMIT ***\n"
    for said, reason in {
        memory + "slurmstepd-n1: error: Exceeded job memory limit\n": "exceeded memory limit (9 > 3)",
        timed: "JOB 7 ON n1 CANCELLED AT 2030-01-01T00:00:00 DUE TO TIME LIMIT",
        "all is well\n": "SLURM says FAILED",
    }.items():
        (tmp_path / "7.log").write_text(said)
        assert reason in ends.read(block)[0].reason


def test_a_worker_that_is_killed_is_named_with_what_it_was_at(tmp_path):
    """The same on a laptop, where the system kills what takes too much memory."""
    block = {
        "data": "studio",
        "recipe": "parts",
        "labels": 4,
        "steps": 3000,
        "methods": ["target_only", "mstl"],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"profile": "tiny", "seeds": 0, "blocks": [block]}))
    line = [sys.executable, "workflow/run.py", "sweep", f"SWEEP={tmp_path / 'sweep.yaml'}", "JOBS=1"]
    line += [f"RUNS={tmp_path / 'runs'}", f"RESULTS={tmp_path / 'results'}"]
    make = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    end = time.monotonic() + 300
    while not list(tmp_path.glob("runs/studio/parts/target_only*/*/*/checkpoint.pt")):
        assert time.monotonic() < end
        time.sleep(0.2)
    for process in psutil.Process(make.pid).children(recursive=True):
        if "workflow/task.py" in process.cmdline() and "python" in process.name():
            process.send_signal(signal.SIGKILL)
    said = make.communicate(timeout=300)[0]
    assert make.returncode == 1
    assert "target_only+steps=3000/labels-4/seed-0 and 1 more: NOT FINISHED" in said
    assert "its process was killed by signal 9 (Killed)" in said
    assert "tries these again" in said
