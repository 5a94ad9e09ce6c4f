"""A run that always says the same is named: while it trains, in its log and manifest, and in the tables."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import toy_classes, toy_task

from mstl.problems import Classification, Segmentation
from mstl.report import results
from mstl.run.config import TrainConfig
from mstl.run.train import train

Z = torch.tensor([[-1.0, -2.0], [-3.0, -0.1]]).view(2, 1, 1, 2)


def test_what_a_constant_prediction_is():
    masks, classes = Segmentation(), Classification(("a", "b", "c"))
    assert masks.constant(Z) == "nothing" and masks.constant(torch.zeros(2, 1, 4, 4)) == "nothing"
    assert masks.constant(-Z) == "everything"
    assert masks.constant(Z + 1) == ""
    assert masks.constant(torch.cat((Z, -Z))) == ""  # of two images, one empty and one full
    one, other = torch.eye(3)[:2].view(2, 1, 3, 1, 1)
    assert classes.constant(torch.cat((one, one))) == "one class"
    assert classes.constant(torch.cat((one, other))) == ""


def trained(folder, said: str, capsys) -> tuple:
    """A run of target-only that is taught ``said``: its manifest, last line of its log, and print."""
    task = toy_task(labels=4)
    masks = task.labelled.masks
    taught = {"nothing": torch.zeros_like(masks), "everything": torch.ones_like(masks), "": masks}[said]
    task = replace(task, labelled=replace(task.labelled, masks=taught))
    config = TrainConfig(
        method="target_only", overrides="depth=2", profile="tiny", labels=4, learning_rate=0.02,
        steps=30, ema=0.8, precision="32-true", out=str(folder),
    )  # fmt: skip
    run = train(config, task=task)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return json.loads((run / "manifest.json").read_text()), lines[-1], capsys.readouterr().out


@pytest.mark.parametrize("said", ["nothing", "everything", ""])
def test_a_dead_run_is_named_in_log_manifest_and_tables(said, tmp_path, capsys):
    manifest, line, out = trained(tmp_path / "runs", said, capsys)
    assert manifest["constant"] == said
    assert line.get("constant", "") == said
    assert (f"predicts {said} on all training images of the target" in out) == bool(said)
    results.collect(str(tmp_path / "runs"), str(tmp_path / "results"))
    runs, images = (results.load(tmp_path / "results", "studio", name) for name in ("runs", "images"))
    table = results.score_table(runs, images)
    assert list(table.get("dead runs", [])) == ([f"1 ({said})"] if said else [])


def test_a_dead_run_counts_where_it_stands(tmp_path):
    runs = pd.DataFrame({"constant": ["", "nothing", None, "everything", "nothing"]})
    assert results.dead_runs(runs) == {"dead runs": "3 (everything, nothing)"}
    assert results.dead_runs(runs[:1]) == results.dead_runs(runs[["constant"]].iloc[2:3]) == {}
    assert results.dead_runs(pd.DataFrame({"seed": [1]})) == {}  # tables from before


def test_a_dead_class_is_named(tmp_path):
    task = toy_classes((12, 1, 1))
    alike = replace(task.labelled, labels=torch.zeros_like(task.labelled.labels))
    config = TrainConfig(
        data="amazon", recipe="to-books", method="target_only", overrides="hidden=8", profile="tiny",
        labels=6, learning_rate=0.1, steps=20, out=str(tmp_path),
    )  # fmt: skip
    run = train(config, task=replace(task, labelled=alike))
    assert json.loads((run / "manifest.json").read_text())["constant"] == "one class"
