"""The workflow on a real SLURM controller: the tables of a laptop, whatever the cluster does meanwhile.

`make test-slurm`; a queue of this machine's own is started in a folder of the tests (`tools/slurm.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

import cluster
import needs
import slurm
from mstl.system.errors import InputError

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900  # seconds that a busy machine may take for anything
PROFILE = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
QUICK = {"latency-wait": 15, "slurm-init-seconds-before-status-checks": 2}
# Of a run in a table: what no two executions share.
OWN = ["seconds", "peak_memory_gib", "commit", "device", "command"]


@pytest.fixture(scope="module", autouse=True)
def queue(tmp_path_factory) -> Iterator[slurm.Queue]:
    """Two cores and 9 GB, whatever the machine has; skipped where it cannot be had."""
    if reason := slurm.missing():
        pytest.skip(reason)
    one = slurm.Queue(tmp_path_factory.mktemp("slurm"), cores=2, memory=9000, gpus=1)
    one.start()
    try:
        yield one
    finally:
        one.stop()


class Sweep:
    """`make sweep` of a file of its own, with folders of its own."""

    def __init__(self, folder: Path, blocks: list[dict], seeds: list[int], **profile) -> None:
        self.folder, self.commands = folder, 0
        folder.mkdir()
        sweep = {"profile": "tiny", "seeds": seeds, "results": "tables", "blocks": blocks}
        (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        (folder / "profile").mkdir()
        (folder / "profile/config.yaml").write_text(yaml.safe_dump(PROFILE | QUICK | profile))

    def start(self, *words: str, where: str = "", **environment: str) -> subprocess.Popen:
        self.commands += 1
        line = [sys.executable, "workflow/run.py", "sweep", f"SWEEP={self.folder / 'sweep.yaml'}"]
        line += [f"CLUSTER={where or self.folder / 'profile'}", f"RUNS={self.folder / 'runs'}"]
        line += [f"RESULTS={self.folder / 'results'}", *words]
        with self.said.open("w") as said:
            there = {"stdout": said, "stderr": said, "cwd": ROOT, "start_new_session": True}
            return subprocess.Popen(line, env=os.environ | environment, **there)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Exit status and what was said."""
        return self.end(self.start(*words, **environment))

    def end(self, process: subprocess.Popen) -> tuple[int, str]:
        return process.wait(PATIENCE), self.said.read_text()

    @property
    def said(self) -> Path:
        return self.folder / f"said-{self.commands}"

    @property
    def submitted(self) -> list[str]:
        """Numbers of the jobs that the last command submitted."""
        log = next(self.folder.glob("runs*/.tasks/snakemake.log"), None)
        return re.findall(r"submitted with SLURM jobid (\d+)", log.read_text()) if log else []

    @property
    def records(self) -> list[dict]:
        """What workers wrote down."""
        found = sorted(self.folder.glob("runs*/.tasks/**/*.jsonl"))
        return [json.loads(line) for path in found for line in path.read_text().splitlines()]

    def steps(self, method: str) -> int:
        """Logged steps of the first run of a method."""
        log = next(self.folder.glob(f"runs*/*/*/{method}*/*/*/metrics.jsonl"), None)
        return len(log.read_text().splitlines()) if log else 0

    def tables(self) -> dict[str, pd.DataFrame]:
        folder = next(self.folder.glob("results/tables/*"))
        names = ("runs", "cars", "curves")
        return {n: pd.read_csv(folder / f"{n}.csv").drop(columns=OWN, errors="ignore") for n in names}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def running(one: Sweep) -> list[str]:
    words = ["squeue", "--noheader", "--states=RUNNING", "--format=%i"]
    return [n for n in subprocess.check_output(words, text=True).split() if n in one.submitted]


def equal(one: Sweep, other: Sweep) -> None:
    tables = other.tables()
    for name, table in one.tables().items():
        pd.testing.assert_frame_equal(table, tables[name], check_exact=True)


METHODS = ["target_only", "source_combine", "dann", "mstl", "mstl_plus"]
TWENTY = [{"data": "studio", "recipe": "parts", "labels": 4, "precision": "32-true", "methods": METHODS}]


def test_twenty_runs_under_everything_a_cluster_does_are_those_of_a_laptop(queue, tmp_path):
    """Cancelled by hand, controller restarted, node drained, node dead, submitting process killed."""
    laptop = Sweep(tmp_path / "laptop", TWENTY, [0, 1, 2, 3])
    assert laptop.end(laptop.start("JOBS=2", where="default"))[0] == 0
    there = Sweep(tmp_path / "cluster", TWENTY, [0, 1, 2, 3])
    process = there.start()

    until(lambda: there.steps("target_only") > 0)
    cancelled = running(there)[0]
    subprocess.run(["scancel", cancelled], check=True)

    until(lambda: len(there.submitted) > 4)  # it was submitted anew
    queue.stop_controller()
    time.sleep(5)
    queue.start_controller()

    until(lambda: sum(r["status"] == "done" for r in there.records) >= 4)
    name = subprocess.check_output(["sinfo", "--noheader", "--format=%n"], text=True).split()[0]
    subprocess.run(["scontrol", "update", f"nodename={name}", "state=drain", "reason=test"], check=True)
    until(lambda: not running(there))
    subprocess.run(["scontrol", "update", f"nodename={name}", "state=resume"], check=True)

    until(lambda: bool(running(there)))
    time.sleep(5)
    queue.kill_node()
    until(lambda: "down" in subprocess.check_output(["sinfo", "--noheader", "--format=%T"], text=True))
    queue.start_node()

    until(lambda: bool(running(there)))
    os.kill(process.pid, signal.SIGKILL)
    os.killpg(int(next(there.folder.glob("runs*/.tasks/lock")).read_text()), signal.SIGKILL)
    process.wait()
    status, said = there.run()
    assert status == 0, said
    assert "taken out of the queue" in said
    assert "20 of 20 runs are finished" in said
    equal(there, laptop)


def test_a_run_that_is_cut_off_by_its_time_limit_goes_on_to_the_numbers_of_one_that_is_not(tmp_path):
    blocks = [TWENTY[0] | {"methods": ["target_only"], "steps": 2500}]
    limited = {"default-resources": {"slurm_partition": "short"}, "retries": 12}
    there = Sweep(tmp_path / "cluster", blocks, [0], **limited)
    status, said = there.run()
    assert status == 0, said
    assert len(there.submitted) > 1, "the run was over before its time: give it more steps"
    assert "TIMEOUT" in next(there.folder.glob("runs*/.tasks/snakemake.log")).read_text()
    laptop = Sweep(tmp_path / "laptop", blocks, [0])
    assert laptop.end(laptop.start(where="default"))[0] == 0
    equal(there, laptop)


def test_what_is_killed_for_its_memory_is_named_with_the_reason_and_its_log(tmp_path):
    small = {"set-resources": {"task": {"mem_mb": 300}}, "retries": 0}
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"methods": ["target_only", "mstl"]}], [0], **small)
    status, said = there.run()
    assert status == 1
    line, log = re.search(r"^  (.*: NOT FINISHED: .*)\n    log: (.*)$", said, re.MULTILINE).groups()
    assert line.startswith("studio/parts/target_only/labels-4/seed-0 and 1 more: NOT FINISHED: SLURM says ")
    assert "memory limit" in line
    assert "memory limit" in Path(log).read_text()
    (there.folder / "profile/config.yaml").write_text(yaml.safe_dump(PROFILE | QUICK))
    assert there.run()[0] == 0


def test_a_run_that_fails_by_itself_is_named_once_and_keeps_no_other_from_its_turn(tmp_path):
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"methods": ["target_only", "mstl"]}], [0])
    wrong = there.folder / "runs/studio/parts/target_only/labels-4/seed-0"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("a file where a folder is to be")
    status, said = there.run()
    assert status == 1
    assert "1 of 2 runs are finished" in said
    assert said.count("target_only/labels-4/seed-0: FAILED") == 2, "when it happens, and at the end"
    assert [r["status"] for r in there.records if "target_only" in r["job"]] == ["begun", "failed"]
    assert len(there.submitted) == 1, "what fails by itself is not worth another job"
    wrong.unlink()
    assert there.run()[0] == 0
    assert [r["status"] for r in there.records if r["job"].startswith("studio/parts/mstl")][-1] == "kept"


def test_ctrl_c_takes_the_jobs_out_of_the_queue_and_the_same_command_goes_on(tmp_path):
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"steps": 300, "methods": ["mstl"]}], [0, 1, 2])
    process = there.start()
    until(lambda: there.steps("mstl") > 0)
    process.send_signal(signal.SIGINT)
    status, said = there.end(process)
    assert status == 130
    assert "Finished runs are kept" in said
    assert "taken out of the queue" in said
    until(lambda: not subprocess.check_output(["squeue", "--noheader"], text=True).strip())
    status, said = there.run("SEEDS=0")
    assert status == 0, said


def test_many_small_tasks_share_jobs(tmp_path):
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"methods": ["target_only"]}], [0, 1, 2, 3, 4], jobs=2)
    status, said = there.run("BUNDLE=40")
    assert status == 0, said
    assert "5 of 5 runs are finished" in said
    assert len(there.submitted) == 2  # ten minutes and two of start each: three to a job
    assert len(list(there.folder.glob("runs*/.tasks/**/*.log"))) >= 5, "each task has a log of its own"


def test_several_processes_for_one_run(tmp_path):
    blocks = [TWENTY[0] | {"methods": ["target_only"], "devices": 2, "device": "cpu"}]
    there = Sweep(tmp_path / "cluster", blocks, [0])
    status, said = there.run()
    assert status == 0, said
    manifest = json.loads(next(there.folder.glob("runs*/**/manifest.json")).read_text())
    assert manifest["devices"] == 2
    (job,) = json.loads(next(there.folder.glob("runs*/.tasks/settings.json")).read_text())["jobs"].values()
    assert job["threads"] == 2


def test_a_gpu_is_asked_for_where_a_run_wants_one_and_only_the_node_must_have_it(tmp_path):
    """This node only says that it has one: the run is granted it, begins, and says what it does not find."""
    blocks = [TWENTY[0] | {"methods": ["target_only"], "device": "cuda"}]
    there = Sweep(tmp_path / "cluster", blocks, [0], **{"retries": 0})
    process = there.start()
    until(lambda: bool(running(there)) or process.poll() is not None)
    granted = subprocess.check_output(["scontrol", "show", "job", *running(there)], text=True)
    assert re.search(r"gres[:/]gpu[:=]1", granted), granted
    status, said = there.end(process)
    assert status == 1
    assert "FAILED: device=cuda, but torch finds no usable GPU here" in said


EMPTY = {"default-resources": {}, "set-resources": {}}


def need(**changes) -> dict[str, needs.Need]:
    return {"some/task": needs.Need(**({"seconds": 50, "minutes": 10, "mem_mb": 2000} | changes))}


@pytest.mark.parametrize(
    ("profile", "asked", "message"),
    [
        (
            {"default-resources": {"slurm_partition": "gpu"}},
            {},
            "no partition 'gpu' is up here; .* main, short",
        ),
        (
            {"default-resources": {"slurm_partition": "short"}},
            {"seconds": 300.0},
            "needs 5 minutes.* gets 1 minutes at most",
        ),
        (
            {},
            {"mem_mb": 50000},
            "needs 50000 MiB of memory, and a job of partition main gets 9000 MiB of memory at most",
        ),
        ({}, {"gpus": 2}, "needs 2 GPUs"),
        ({}, {"threads": 3}, "needs 3 cores"),
        ({"set-resources": {"mem_mb": 20000}}, {}, "needs 20000 MiB"),
    ],
)
def test_what_no_node_grants_is_refused_where_slurm_would_let_it_wait_for_ever(profile, asked, message):
    with pytest.raises(InputError, match=message):
        cluster.check(EMPTY | profile, need(**asked), "config.yaml")


def test_more_than_is_expected_is_cut_to_what_there_is():
    short = EMPTY | {"default-resources": {"slurm_partition": "short"}}
    granted = cluster.check(short, need(), "config.yaml")["some/task"]
    assert (granted.minutes, granted.most_minutes, granted.most_mem_mb) == (1, 1, 9000)
    unknown = cluster.check(short, need(seconds=900.0, known=False), "config.yaml")["some/task"]
    assert unknown.minutes == 1


def test_without_a_controller_nothing_begins(tmp_path):
    dead = tmp_path / "slurm.conf"
    dead.write_text(slurm.USUAL.read_text().replace("SlurmctldPort=", "SlurmctldPort=1\n#"))
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"methods": ["target_only"]}], [0])
    status, said = there.run(SLURM_CONF=str(dead))
    assert status == 2
    assert re.search(r"^error: sinfo: .*: is the controller up\?$", said, re.MULTILINE)
    assert not there.records
    status, said = there.run(PATH=str(Path(shutil.which("env")).parent / "nowhere"))
    assert status == 2
    assert "sinfo is not found: start this on a node of the cluster that submits jobs" in said


def test_a_cache_that_the_node_cannot_write_is_named_and_costs_time_alone(tmp_path):
    there = Sweep(tmp_path / "cluster", [TWENTY[0] | {"methods": ["target_only"]}], [0])
    status, said = there.run(MSTL_CACHE="/proc/nowhere")
    assert status == 0, said
    log = next(there.folder.glob("runs*/.tasks/studio/**/*.log")).read_text()
    for text in (said, log):
        assert "warning: decoded images are not kept: cache folder /proc/nowhere" in text
