"""`make gpu`, `make gpu-merge`: bad inputs, a step that fails, a second start, tables of another commit."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mstl.report.grid import gpu as gpu_report

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def gpu(*arguments: str) -> subprocess.CompletedProcess:
    return run("workflow/gpu", *arguments)


def merge(*arguments: object) -> subprocess.CompletedProcess:
    return run("workflow/gpu/merge.py", *map(str, arguments))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_step_that_fails_is_listed_the_others_go_on_and_a_second_start_keeps_them(tmp_path):
    steps = ("--small", "--out", str(tmp_path), "--steps", "sweep", "t4", "--minutes", "4")
    first = gpu(*steps, "--sweep", "no-such-sweep")
    assert first.returncode == 1 and "not finished: sweep" in first.stdout, first
    found = {row["step"]: row for row in rows(tmp_path / "steps.csv")}
    assert found["sweep"]["status"] == "failed" and "no-such-sweep" in found["sweep"]["error"]
    assert found["t4"]["status"] == "finished"
    losses = [row for row in rows(tmp_path / "t4.csv") if row["unit"] == "loss"]
    assert len(losses) == 3 and all(float(row["value"]) < 10 for row in losses)

    again = gpu(*steps[:3], "--steps", "t4", "--minutes", "1")
    assert again.returncode == 0 and "t4: finished before, kept" in again.stdout

    table = (tmp_path / "steps.csv").read_text()
    (tmp_path / "steps.csv").write_text(table.replace(found["t4"]["commit"], "0123456789ab"))
    other = gpu(*steps)
    assert other.returncode == 2 and "0123456789ab" in other.stderr and "OUT=" in other.stderr


@pytest.mark.long
def test_every_step_works_in_miniature_and_leaves_its_tables(tmp_path):
    every = ("tests", "full", "speed", "rivals", "t4", "sweep")
    found = gpu("--small", "--out", str(tmp_path), "--minutes", "30", "--steps", *every)
    assert found.returncode == 0, found.stdout + (tmp_path / "log.txt").read_text()[-3000:]
    assert {row["step"] for row in rows(tmp_path / "steps.csv")} == set(every)
    assert sum(row["outcome"] == "passed" for row in rows(tmp_path / "tests.csv")) > 10
    assert all(len(rows(tmp_path / f"{name}.csv")) for name in ("full", "speed", "rivals", "t4"))
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        runs = [name for name in archive.namelist() if name.endswith("images.csv")]
    assert sum("studio/masks" in name for name in runs) == 6  # of full
    assert sum("studio/parts" in name for name in runs) == 4  # of the sweep
    assert not merge(tmp_path).stdout and "SMALL=1" in merge(tmp_path).stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_what_to_do(tmp_path):
    found = gpu("--out", str(tmp_path / "out"))
    assert found.returncode == 2 and "SMALL=1" in found.stderr and len(found.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--steps", "ful"), "ful"), (("--minutes", "0"), "--minutes"), (("--carparts", "nowhere"), "nowhere")],
)
def test_bad_arguments_are_named(arguments, named):
    found = gpu("--small", *arguments)
    assert found.returncode == 2 and named in found.stderr


def folder(path: Path, commit: str, **changed: str) -> Path:
    """What `make gpu` leaves: one step and one run."""
    row = dict(step="speed", status="finished", seconds="1", limit="2", error="", device="A GPU")
    row |= {"torch": "2", "commit": commit, "small": "False"} | changed
    path.mkdir()
    (path / "steps.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    (path / "speed.csv").write_text(f"quantity,value,device,commit,command\nratio,2,CPU,{commit},here\n")
    return path


def head() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("commit", "changed", "named"),
    [
        ("0123456789ab", {}, "0123456789ab"),
        ("HEAD+", {}, "clean checkout"),
        ("HEAD", {"small": "True"}, "SMALL=1"),
    ],
)
def test_tables_of_another_commit_or_in_miniature_are_not_merged(tmp_path, commit, changed, named):
    found = merge(folder(tmp_path / "from", commit.replace("HEAD", head()), **changed))
    assert found.returncode == 2 and named in found.stderr and len(found.stderr.splitlines()) == 1


def test_no_folder_to_merge_is_said(tmp_path):
    assert "FROM is missing" in merge("").stderr
    assert "steps.csv" in merge(tmp_path).stderr


def test_merged_rows_name_the_gpu_and_replace_those_of_an_earlier_start(tmp_path):
    sys.path.insert(0, str(ROOT / "workflow" / "gpu"))
    try:
        import merge as merging
    finally:
        sys.path.pop(0)
    results = tmp_path / "results"
    for name, value in (("first", "failed"), ("second", "finished")):
        source = folder(tmp_path / name, head(), status=value)
        with zipfile.ZipFile(source / "unrelated.zip", "w"):
            pass
        merging.merge(source, results)
    (step,) = rows(results / "steps.csv")
    (ratio,) = rows(results / "speed.csv")
    assert step["status"] == "finished"
    assert (ratio["device"], ratio["command"]) == ("A GPU", "make gpu STEPS=speed")
    assert not (results / "unrelated.zip").exists()


def test_methods_at_equal_time_had_it_and_differ_by_what_their_scores_do():
    shown = gpu_report.at_equal_time(gpu_report.load(ROOT / "results/gpu"), ROOT / "results/gpu")
    compared = shown[shown["MSTL-plus minus it"] != ""]
    assert len(compared) == 6 and len(shown) == 9
    for _, group in shown.groupby(["labels", "GPU seconds"]):
        (ours,) = group.loc[group["MSTL-plus minus it"] == "", "Dice %"]
        for told, score in zip(group["MSTL-plus minus it"], group["Dice %"], strict=True):
            assert not told or float(told.split()[0]) == pytest.approx(ours - score, abs=0.16)


def test_no_gpu_is_an_empty_table(tmp_path):
    assert not len(gpu_report.at_equal_time({}, tmp_path))
