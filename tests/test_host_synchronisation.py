"""Between two lines of the log nothing waits for the device: no value that it computes is read."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import OF_MASKS, toy_task
from torch.utils._python_dispatch import TorchDispatchMode

import mstl
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

PACKAGE = Path(mstl.__file__).parent
# What these read lies on the CPU whatever the device: draws of the augmentation, the count of averaged steps.
ON_THE_CPU = {"run/averaged.py", "data/augment.py", "torch/optim/swa_utils.py"}
READS = {"_local_scalar_dense", "nonzero", "item", "equal", "masked_select", "is_nonzero"}
EVERY = pytest.mark.parametrize("method", sorted(OF_MASKS))


class Reads(TorchDispatchMode):
    """Counts operations that give the host a value or a shape that depends on one, by the file that asked."""

    def __init__(self) -> None:
        super().__init__()
        self.by_file: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS or (name.startswith("index") and _by_boolean(args)):
            self.by_file[_asking_file()] += 1
        return func(*args, **(kwargs or {}))


def _by_boolean(args: tuple) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in indices)


def _asking_file() -> str:
    """The nearest file of the package, or of PyTorch's averaging, on the way to the operation."""
    frame = sys._getframe(2)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            return file.relative_to(PACKAGE).as_posix()
        if file.as_posix().endswith("torch/optim/swa_utils.py"):
            return "torch/optim/swa_utils.py"
        frame = frame.f_back
    return "elsewhere"


def trainer(method: str, **changed) -> Trainer:
    config = TrainConfig(method=method, profile="tiny", device="cpu", **changed)
    made = Trainer(config, toy_task())
    for _ in range(2):  # the first steps set up optimisers and banks
        made.record.add(made.update())
    return made


def reads_of_three_steps(made: Trainer) -> Counter[str]:
    with Reads() as reads:
        for _ in range(3):
            made.record.add(made.update())
    return reads.by_file


@EVERY
def test_no_step_between_log_points_reads_a_value_of_the_device(method):
    reads = reads_of_three_steps(trainer(method))
    assert not set(reads) - ON_THE_CPU, reads


def test_nor_does_a_step_with_a_mean_teacher_and_domain_normalisation():
    made = trainer("mstl", mean_teacher=5.0, overrides="norm=domain fusion=cross")
    assert not set(reads_of_three_steps(made)) - ON_THE_CPU


def test_what_may_be_read_lies_on_the_cpu():
    made = trainer("mstl")
    assert made.averaged.n_averaged.device.type == "cpu"
    draw = made.batches._draw(4, "source x", 0)
    assert all(value.device.type == "cpu" for value in draw)


def test_a_loop_that_reads_its_losses_is_found(monkeypatch):
    made = trainer("mstl")
    losses = made.method.losses

    def reading(batch, progress):
        found = losses(batch, progress)
        if float(found["source"].detach()) < 0:
            raise AssertionError
        return found

    monkeypatch.setattr(made.method, "losses", reading)
    assert set(reads_of_three_steps(made)) - ON_THE_CPU == {"run/train.py"}


def test_a_line_of_the_log_does_read_so_the_counting_counts():
    made = trainer("mstl")
    with Reads() as reads:
        made._log_line()
    assert set(reads.by_file) - ON_THE_CPU
