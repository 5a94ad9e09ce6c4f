"""The loop: what it learns, what it leaves, and that an interruption changes nothing."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import OF_MASKS, toy_task

import mstl.run.train as training
from mstl.__main__ import main
from mstl.measures.probe import probe_accuracy
from mstl.methods import METHODS, find
from mstl.problems import Segmentation
from mstl.report.results import collect
from mstl.run.averaged import statistics
from mstl.run.config import TrainConfig
from mstl.run.evaluate import predict_domain
from mstl.run.inference import load_method
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError


@pytest.fixture
def toy(monkeypatch):
    """`train` on the toy task: the real loop, on data that needs no files."""
    monkeypatch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))


def config(tmp_path, **options) -> TrainConfig:
    return TrainConfig(**{"profile": "tiny", "out": str(tmp_path / "runs"), "labels": 4, **options})


def weights(folder):
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {**state["method"], **{f"averaged {k}": v for k, v in state["averaged"].items()}}


@pytest.mark.parametrize("method", OF_MASKS)
def test_a_run_leaves_everything_that_the_results_need(toy, tmp_path, method):
    folder = train(config(tmp_path, method=method, steps=6))
    assert folder == tmp_path / "runs" / "studio" / "parts" / f"{method}+steps=6" / "labels-4" / "seed-0"
    images = pd.read_csv(folder / "images.csv")
    assert images["split"].value_counts().to_dict() == {"test": 10, "validation": 6}
    assert {"car", "view", "dice", "iou", "recall_left", "recall_right"} <= set(images)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["settings"]["method"] == method
    assert manifest["settings"]["steps"] == 6
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [5, 6]


@pytest.mark.parametrize("method", OF_MASKS)
def test_every_method_learns_the_blobs(tmp_path, method):
    fast = {"learning_rate": 0.01, "ema": 0.9, "steps": 60}
    trainer = Trainer(config(tmp_path, method=method, **fast), toy_task(labels=8))
    for _ in range(60):
        trainer.update()
    test = trainer.task.test
    dice = Segmentation().table(predict_domain(trainer.predict, test), test)["dice"]
    assert dice.mean() > 0.85  # rectangles everywhere, at random, would score below 0.5


@pytest.mark.trust(
    "equalities",
    "a run that an error interrupts goes on from its checkpoint to bit-identical weights and scores",
)
@pytest.mark.parametrize(
    ("options", "stop_at"),
    [
        ({"method": "source_combine"}, 5),  # before the first checkpoint: training begins anew
        ({}, 15),
        ({"mean_teacher": 1.0, "overrides": "synchronised=false"}, 10),
    ],
)
def test_an_interrupted_run_resumes_to_bit_identical_weights(toy, tmp_path, options, stop_at):
    whole = train(config(tmp_path / "whole", **options))

    class Interrupted(Exception):
        pass

    def interrupt(trainer):
        if trainer.step == stop_at:
            raise Interrupted

    broken = config(tmp_path / "broken", **options)
    with pytest.raises(Interrupted):
        train(broken, on_log=interrupt)
    assert not (broken.folder / "manifest.json").exists()
    folder = train(broken)
    expected, found = weights(whole), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    untimed = []
    for run in (whole, folder):
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        untimed.append([{k: v for k, v in line.items() if k != "seconds"} for line in lines])
    assert untimed[0] == untimed[1]
    assert (whole / "images.csv").read_bytes() == (folder / "images.csv").read_bytes()


def test_a_finished_run_is_not_trained_again(toy, tmp_path, capsys):
    folder = train(config(tmp_path, steps=5))
    before = (folder / "checkpoint.pt").stat().st_mtime_ns
    train(config(tmp_path, steps=5))
    assert (folder / "checkpoint.pt").stat().st_mtime_ns == before
    assert "finished already" in capsys.readouterr().out


def test_a_finished_run_of_older_code_is_trained_again(toy, tmp_path, monkeypatch, capsys):
    folder = train(config(tmp_path, steps=5))
    monkeypatch.setattr(training.provenance, "source_fingerprint", lambda method: "another")
    train(config(tmp_path, steps=5))
    assert "source_fingerprint changed" in capsys.readouterr().out
    assert json.loads((folder / "manifest.json").read_text())["source_fingerprint"] == "another"


@pytest.mark.parametrize("changed", ["source_fingerprint", "data_fingerprint"])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_finished_run_is_never_replaced_without_a_line(tmp_path, capsys, changed, checkpoint):
    folder = train(config(tmp_path, steps=1), task=toy_task())
    for file in (folder / "manifest.json", folder / "checkpoint.pt"):
        if file.name == "checkpoint.pt":
            state = torch.load(file, weights_only=True)
            torch.save(state | {changed: "another"}, file)
        else:
            file.write_text(json.dumps(json.loads(file.read_text()) | {changed: "another"}))
    if not checkpoint:  # removed to save room
        (folder / "checkpoint.pt").unlink()
    capsys.readouterr()
    train(config(tmp_path, steps=1), task=toy_task())
    said = [line for line in capsys.readouterr().out.splitlines() if "training anew" in line]
    assert len(said) == 1 and f"{changed} changed since it was written" in said[0]


# What comes after the scores


def broken(method, *arguments):
    raise RuntimeError("no features today")


def test_scores_outlive_what_only_describes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(find("dann"), "source_features", broken)
    folder = train(config(tmp_path, method="dann", steps=2), task=toy_task())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["failed"] == {"domain_probe": "RuntimeError: no features today"}
    assert manifest["domain_probe"] == {} and "pending" not in manifest
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "no domain_probe (RuntimeError: no features today)" in line]
    assert len(pd.read_csv(folder / "images.csv")) == 16
    assert collect(str(tmp_path / "runs"), str(tmp_path / "results"))
    train(config(tmp_path, method="dann", steps=2), task=toy_task())
    assert "finished already" in capsys.readouterr().out


def test_a_run_that_ends_while_it_is_described_is_scored_and_described_the_next_time(tmp_path, monkeypatch):
    def interrupted(method, *arguments):
        raise KeyboardInterrupt

    options = config(tmp_path, method="dann", steps=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(find("dann"), "source_features", interrupted)
        train(options, task=toy_task())
    scored = json.loads((options.folder / "manifest.json").read_text())
    assert scored["pending"] and load_method(options.folder) is not None
    scores, weighed = (options.folder / "images.csv").read_bytes(), weights(options.folder)
    train(options, task=toy_task())
    described = json.loads((options.folder / "manifest.json").read_text())
    assert described["domain_probe"] and "pending" not in described
    assert (options.folder / "images.csv").read_bytes() == scores
    assert all(torch.equal(weighed[name], value) for name, value in weights(options.folder).items())


@pytest.mark.parametrize("images", [1, 2])  # one picture, and two of one car
def test_a_source_of_one_car_leaves_scores_and_no_probe_of_it(tmp_path, images):
    task = toy_task()
    few = task.sources[0].select(np.arange(images))
    assert len(set(few.groups)) == 1
    folder = train(
        config(tmp_path, method="mstl", steps=1), task=replace(task, sources=(few, *task.sources[1:]))
    )
    probe = json.loads((folder / "manifest.json").read_text())["domain_probe"]
    assert probe.pop(few.name) is None and all(0 <= accuracy <= 1 for accuracy in probe.values())
    collect(str(tmp_path / "runs"), str(tmp_path / "results"))
    assert 0 <= pd.read_csv(tmp_path / "results/studio/runs.csv")["domain_probe"][0] <= 1


def test_the_probe_knows_nothing_where_a_half_has_one_domain_only():
    task = toy_task()
    one = task.test.select(np.arange(2))
    assert math.isnan(probe_accuracy(lambda images, domain: images, one, task.test))
    assert math.isnan(probe_accuracy(lambda images, domain: images, task.test, one))
    assert math.isnan(probe_accuracy(lambda images, domain: images, one, one))
    assert probe_accuracy(lambda images, domain: images, task.sources[1], task.test) <= 1


@pytest.mark.trust("equalities", "the same seed gives the same weights bit for bit, another seed others")
def test_seeds_differ_and_repeat(toy, tmp_path):
    first, again, other = (
        weights(train(config(tmp_path / str(k), seed=seed, steps=5))) for k, seed in enumerate((0, 0, 1))
    )
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_averaged_weights_follow_the_definition(tmp_path):
    trainer = Trainer(config(tmp_path, method="target_only", ema=0.5), toy_task())
    name = "network.predictor.head.weight"
    mean = None
    for _ in range(4):
        trainer.update()
        value = trainer.method.state_dict()[name].clone()
        mean = value if mean is None else 0.5 * mean + 0.5 * value
    assert torch.allclose(trainer.averaged.module.state_dict()[name], mean, atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "domain"])
def test_running_statistics_are_averaged_with_the_weights_they_belong_to(tmp_path, norm):
    overrides = f"norm={norm} discriminator=image"
    trainer = Trainer(config(tmp_path, method="mstl", ema=0.75, overrides=overrides), toy_task())
    means: dict[str, torch.Tensor] = {}
    for _ in range(4):
        trainer.update()
        for name, value in trainer.method.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                means[name] = value.clone() if name not in means else 0.75 * means[name] + 0.25 * value
    averaged, last = trainer.averaged.module.state_dict(), trainer.method.state_dict()
    assert means
    for name, mean in means.items():
        torch.testing.assert_close(averaged[name], mean)
        assert not torch.equal(averaged[name], last[name])
    counts = [k for k in last if k.endswith("num_batches_tracked")]
    assert counts and all(torch.equal(averaged[k], last[k]) for k in counts)


@pytest.mark.parametrize("norm", ["batch", "domain"])
def test_a_teacher_reads_and_leaves_no_running_statistics(tmp_path, norm):
    made = Trainer(config(tmp_path, mean_teacher=1.0, overrides=f"norm={norm}"), toy_task())
    batch = next(made.batches)
    before = made._taught(batch).target.taught
    for value in statistics(made.averaged.module):
        value.fill_(7.0)
    after = made._taught(batch).target.taught
    assert torch.equal(before, after)
    assert all((value == 7.0).all() for value in statistics(made.averaged.module))
    assert not any(module.training for module in made.averaged.modules())


def test_mean_teacher_adds_a_consistency_loss_that_grows(tmp_path):
    trainer = Trainer(config(tmp_path, method="target_only", mean_teacher=1.0), toy_task())
    losses = [trainer.update()["consistency"].item() for _ in range(6)]
    assert losses[0] == 0.0
    assert losses[-1] > 0.0


@pytest.mark.parametrize("labels", [0, 4])
def test_no_method_but_the_oracle_sees_masks_of_unlabelled_images(tmp_path, labels):
    for name in OF_MASKS:
        if name == "target_only" and labels == 0:
            continue
        trainer = Trainer(config(tmp_path, method=name, labels=labels), toy_task(labels=labels))
        count = len(next(trainer.batches).target.y)
        assert count == (4 if name == "oracle" else labels // 2)


def test_other_settings_are_refused_and_nothing_is_lost(toy, tmp_path):
    folder = train(config(tmp_path, steps=5))
    kept = (folder / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="width is 4 there and 5 here"):
        train(config(tmp_path, steps=5, width=5))
    assert (folder / "manifest.json").read_bytes() == kept


def test_a_checkpoint_of_another_configuration_is_refused(toy, tmp_path):
    folder = train(config(tmp_path, steps=5))
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"checkpoint\.pt belongs to another configuration: width is 4"):
        train(config(tmp_path, steps=5, width=5))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "truncated"])
def test_a_damaged_checkpoint_is_one_clear_error(toy, tmp_path, content):
    folder = train(config(tmp_path, steps=5))
    (folder / "manifest.json").unlink()
    path = folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:2000] if content == "truncated" else content)
    with pytest.raises(InputError, match=r"checkpoint\.pt is not a checkpoint"):
        train(config(tmp_path, steps=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "huge"}, "profile 'huge' is unknown; choose from tiny, grid, quick, full"),
        ({"precision": "8bit"}, "precision '8bit' is unknown"),
        ({"labels": -1}, "labels must be a whole number ≥ 0"),
        ({"labels": 2.5}, "labels must be a whole number"),
        ({"steps": 0}, "steps must be a whole number ≥ 1"),
        ({"learning_rate": "1e-3"}, "in YAML write 1.0e-3"),
        ({"mean_teacher": 1.0, "ema": 0.0}, "needs averaged weights"),
    ],
)
def test_bad_parameters_are_one_clear_error(options, message):
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        TrainConfig(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_missing_gpu_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="device=cuda, but torch finds no usable GPU"):
        Trainer(config(tmp_path, device="cuda"), toy_task())


def test_the_command_line_answers_bad_input_with_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mstl", "train", "--method", "mslt", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    known = ", ".join(METHODS)
    assert left.value.code == 2
    assert capsys.readouterr().err == f"mstl: method 'mslt' is unknown; choose from {known}\n"


def test_inside_a_job_of_slurm_nothing_is_asked_of_slurm(toy, tmp_path, monkeypatch):
    """Fabric would take the tasks of a job for processes of one run; ours are those of `devices`."""
    for name, value in {
        "NTASKS": "2",
        "JOB_ID": "3",
        "JOB_NAME": "batch",
        "PROCID": "1",
        "NODEID": "1",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    one = Trainer(config(tmp_path), toy_task())
    one.update()
    assert (one.fabric.world_size, one.fabric.global_rank) == (1, 0)
