"""What must not change a number, or only by rounding: processes, precision, compilation, threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import toy_classes, toy_task
from torch import Tensor

from mstl.run.config import TrainConfig
from mstl.run.distributed import Team, launch
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError
from mstl.system.interrupt import Interrupted

SQUARE = (32, 32)  # sources and target of one size go through a sub-network together


def tiny(folder: Path, method: str, **options) -> TrainConfig:
    values = {"profile": "tiny", "labels": 4, "steps": 10, "precision": "32-true", "device": "cpu"}
    return TrainConfig(**{**values, "out": str(folder), "method": method, **options})


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["method"]


def flat(tensors) -> Tensor:
    return torch.cat([t.double().flatten() for t in tensors])


def distance(left: Tensor, right: Tensor) -> float:
    """Euclidean, relative to the left one."""
    return float((left - right).norm() / left.norm())


@pytest.mark.long
@pytest.mark.trust(
    "equalities", "two processes train what one trains on the same global batch, up to rounding (float32)"
)
@pytest.mark.parametrize(
    ("method", "size"),
    [
        *(("source_combine", (32, 48)), ("mstl", SQUARE), ("mstl_plus", (32, 48)), ("m3sda", (32, 48))),
        *(("mstl", "classes"), ("mdan_soft", "classes")),
    ],
)
def test_two_processes_equal_one_on_the_same_global_batch(tmp_path, method, size, record_property):
    task, known = toy_classes((12, 1, 1)), {"data": "amazon", "recipe": "to-books"}
    if size != "classes":
        task, known = toy_task(labels=4, size=size), {}
    one, two = (train(tiny(tmp_path / str(n), method, devices=n, **known), task=task) for n in (1, 2))
    expected, found = weights(one), weights(two)
    assert expected.keys() == found.keys()
    largest = distance(*(flat(w.values()) for w in (expected, found)))
    record_property(f"relative distance of the weights after 10 steps, {method}", largest)
    # Rounding differs at 1e-7 from the first step on; Adam carries small gradients' signs into the weights.
    assert largest < 1e-4
    scores = [pd.read_csv(folder / "images.csv") for folder in (one, two)]
    scores = [table["probability" if size == "classes" else "dice"] for table in scores]
    assert (scores[0] - scores[1]).abs().max() < 0.01


def report_rows(team: Team, config: TrainConfig, folder: str) -> None:
    """One step; what this process's batch held, and which rows reached each of its sub-networks."""
    trainer = Trainer(config, toy_task(labels=4, size=SQUARE), team)
    batch = trainer.batches.at(0)
    seen: list[Tensor] = []
    for network in trainer.method.subnetworks:
        inner = network.represent.forward
        network.represent.forward = lambda x, *rest, inner=inner: (seen.append(x), inner(x, *rest))[1]
    trainer.update()
    targets = [target.x for target in batch.targets]
    torch.save({"targets": targets, "seen": seen}, Path(folder) / f"{team.rank}.pt")


@pytest.mark.long
@pytest.mark.trust(
    "synchronisation", "in each of two processes all sub-networks receive pixel-identical target images"
)
def test_each_process_feeds_its_target_rows_to_all_sub_networks(tmp_path):
    config = tiny(tmp_path, "mstl", devices=2)
    launch(report_rows, config, str(tmp_path))
    reports = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    whole = reports[0]["targets"][0]
    assert all(torch.equal(images, whole) for report in reports for images in report["targets"])
    b = config.profiled("batch_size")
    for j in range(3):
        rows = torch.cat([report["seen"][j] for report in reports])
        assert [len(report["seen"][j]) for report in reports] == [len(rows) // 2] * 2
        assert torch.equal(rows[b:], whole)


def raise_input_error(team: Team, config: TrainConfig) -> None:
    if team.leads:
        raise InputError("the reason")
    team.agree(0)


def stop_by_signal(team: Team, config: TrainConfig, folder: str) -> None:
    """Train until the process that launched this one is told to stop."""

    def tell(trainer: Trainer) -> None:
        if trainer.step == 5:
            os.kill(os.getppid(), 15)

    trainer = Trainer(config, toy_task(labels=4), team)
    trainer.fit(Path(folder), {}, tell)


@pytest.mark.long
def test_processes_end_together_with_the_first_one_s_reason(tmp_path):
    config = tiny(tmp_path, "source_combine", devices=2)
    with pytest.raises(InputError, match="the reason"):
        launch(raise_input_error, config)
    endless = replace(config, steps=100_000)
    (tmp_path / "run").mkdir()
    with pytest.raises(Interrupted, match="SIGTERM after step") as caught:
        launch(stop_by_signal, endless, str(tmp_path / "run"))
    assert caught.value.status == 143
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert 5 <= state["step"] < 100_000


def test_a_norm_over_rows_is_refused_for_several_processes(tmp_path):
    method = Trainer(tiny(tmp_path, "source_combine", overrides="norm=batch"), toy_task()).method
    team = Team()
    team.world = 2
    with pytest.raises(InputError, match="devices > 1 needs a norm"):
        team.share(method)


def test_the_number_of_processes_is_no_setting_of_a_run(tmp_path):
    one, two = (tiny(tmp_path, "mstl", devices=n) for n in (1, 2))
    assert one.settings() == two.settings() and one.folder == two.folder
    with pytest.raises(InputError, match="devices must be a whole number ≥ 1"):
        tiny(tmp_path, "mstl", devices=0)


def first_step(folder: Path, method: str, precision: str) -> tuple[dict[str, Tensor], Tensor]:
    """Losses and the gradient of the first step, in the middle of the ramps."""
    trainer = Trainer(tiny(folder, method, precision=precision, width=8), toy_task())
    trainer.method.train()
    with trainer.fabric.autocast():
        losses = trainer.model.losses(trainer.batches.at(0), 0.5)
    trainer.fabric.backward(torch.stack(tuple(losses.values())).sum())
    gradients = [p.grad for p in trainer.method.parameters() if p.grad is not None]
    return {name: loss.detach() for name, loss in losses.items()}, flat(gradients)


@pytest.mark.trust(
    "equalities",
    "bfloat16 gives float32's losses within 1 % and a gradient that points within 10 degrees of its own",
)
@pytest.mark.parametrize("method", ["source_combine", "mstl", "mstl_plus"])
def test_bfloat16_is_near_float32(tmp_path, method, record_property):
    (losses, gradient), (rounded, its_gradient) = (
        first_step(tmp_path, method, precision) for precision in ("32-true", "bf16-mixed")
    )
    assert losses.keys() == rounded.keys()
    apart = max(float((losses[k] - rounded[k]).abs() / losses[k].abs()) for k in losses)
    cosine = float(gradient @ its_gradient / gradient.norm() / its_gradient.norm())
    length = float(its_gradient.norm() / gradient.norm())
    record_property(f"relative difference of the losses, {method}", apart)
    record_property(f"cosine of the gradients, {method}", cosine)
    assert apart < 0.01
    assert cosine > 0.985
    assert 0.9 < length < 1.1


@pytest.mark.long
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler here")
@pytest.mark.trust("equalities", "a compiled step has the losses and the gradient of an eager one (float32)")
@pytest.mark.parametrize("method", ["mstl"])
def test_a_compiled_step_equals_an_eager_one(tmp_path, method, record_property):
    results = []
    for compiled in (False, True):
        trainer = Trainer(tiny(tmp_path, method, overrides="depth=2"), toy_task(sources=1))
        trainer.method.train()
        losses = torch.compile(trainer.method.losses) if compiled else trainer.method.losses
        values = losses(trainer.batches.at(0), 0.5)
        torch.stack(tuple(values.values())).sum().backward()
        gradients = flat([p.grad for p in trainer.method.parameters() if p.grad is not None])
        results.append((flat([v.detach() for v in values.values()]), gradients))
    (losses, gradient), (its_losses, its_gradient) = results
    record_property("relative difference of the losses", distance(losses, its_losses))
    record_property("relative difference of the gradient", distance(gradient, its_gradient))
    assert distance(losses, its_losses) < 1e-5
    assert distance(gradient, its_gradient) < 1e-4


THREADS = """
import sys
sys.path.insert(0, {tests!r})
from conftest import toy_classes, toy_task
from mstl.run.config import TrainConfig
from mstl.run.train import train
import torch
torch.set_num_threads({threads})
train(TrainConfig(profile="tiny", labels=4, precision="32-true", device="cpu", out={out!r}), task=toy_task())
"""


@pytest.mark.long
@pytest.mark.trust(
    "equalities",
    "two runs with two threads are equal in every byte of weights and scores; one thread differs from "
    "them by rounding: weights by less than 1e-3, scores by less than 0.001",
)
def test_the_number_of_threads_changes_only_rounding(tmp_path, record_property):
    # Why not nothing: sums that threads share, as in a convolution's weight gradient, are cut otherwise.
    folders = []
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        out = str(tmp_path / name)
        code = THREADS.format(tests=str(Path(__file__).parent), threads=threads, out=out)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        folders.append(tiny(Path(out), "mstl", steps=None).folder)
    one, two, again = (flat(weights(folder).values()) for folder in folders)
    tables = [(folder / "images.csv").read_bytes() for folder in folders]
    assert torch.equal(two, again) and tables[1] == tables[2]

    scores = [pd.read_csv(folder / "images.csv") for folder in folders[:2]]
    off = float((scores[0]["dice"] - scores[1]["dice"]).abs().max())
    record_property("relative distance of the weights", distance(one, two))
    record_property("largest difference of a score", off)
    assert distance(one, two) < 1e-3 and off < 1e-3
