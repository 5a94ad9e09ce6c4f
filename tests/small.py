"""Batches, gradients and comparisons for tests of methods on `conftest.toy_task`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mstl.data.augment import Augment
from mstl.data.batches import Batch, Batches
from mstl.data.task import Task
from mstl.run.config import TrainConfig
from mstl.run.train import train


def batch_of(task: Task, **options) -> Batch:
    """The first batch of a task, three images a source and four of the target, without augmentation."""
    return next(Batches(task, batch_size=3, target_batch_size=4, augment=Augment.none(), **options))


def total(losses: dict[str, Tensor]) -> Tensor:
    """What the loop minimises."""
    return torch.stack(tuple(losses.values())).sum()


def gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    """Gradient of every parameter; zeros where the loss does not depend on it, and of what stands still."""
    free = [p for p in module.parameters() if p.requires_grad]
    found = dict(
        zip(free, torch.autograd.grad(loss, free, allow_unused=True, retain_graph=True), strict=True)
    )
    return [torch.zeros_like(p) if found.get(p) is None else found[p] for p in module.parameters()]


def close(left: list[Tensor], right: list[Tensor], atol: float = 1e-6) -> bool:
    """Whether two lists of tensors agree."""
    return all(torch.allclose(a, b, atol=atol) for a, b in zip(left, right, strict=True))


def reordered(batch: Batch, order: list[int]) -> Batch:
    """The batch with its sources in another order, some repeated or left out."""
    return replace(
        batch,
        source_x=batch.source_x[order],
        source_y=batch.source_y[order],
        source_ids=batch.source_ids[order],
        targets=tuple(batch.targets[0] for _ in order),
    )


def in_float64(batch: Batch) -> Batch:
    """The batch in double precision, for comparisons to more than seven digits."""
    target = replace(batch.target, **{k: getattr(batch.target, k).double() for k in ("x", "y", "plain")})
    return replace(
        batch,
        source_x=batch.source_x.double(),
        source_y=batch.source_y.double(),
        targets=(target,) * batch.J,
    )


def whole_and_resumed(config: Callable[[str], TrainConfig], stop_at: int, task: Task | None = None):
    """Folders of two runs of one configuration: in one go, and stopped after a step, then resumed.

    Args:
        config: from the name of a folder to the configuration of a run there.
        stop_at: the step, one of those that are logged.
        task: of both, where the configuration does not name it.
    """

    class Stopped(Exception):
        pass

    def stop(trainer):
        if trainer.step == stop_at:
            raise Stopped

    whole = train(config("whole"), task=task)
    with pytest.raises(Stopped):
        train(config("broken"), on_log=stop, task=task)
    return whole, train(config("broken"), task=task)
