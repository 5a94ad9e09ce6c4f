"""A training step with nothing but the arithmetic of its networks, on a batch that is there already."""

from __future__ import annotations

import torch

from mstl.data.batches import Batch
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer


def prepared(**parameters: object) -> tuple[Trainer, Batch]:
    """A trainer that has made a step, and a batch in place."""
    config = TrainConfig(**parameters)
    trainer = Trainer(config, config.task())
    trainer.update()
    return trainer, next(trainer.batches)


def bare_step(trainer: Trainer, batch: Batch) -> None:
    """What no engine can avoid: forward, backward and update of all networks, as often as the method asks."""
    method = trainer.method
    with trainer.fabric.autocast():
        losses = method.losses(batch, 0.5)
    _descend(losses, trainer.optimisers, trainer.optimisers)
    for _ in range(method.discriminator_updates):
        with trainer.fabric.autocast():
            extra = method.discriminator_losses(batch, 0.5)
        _descend(extra, trainer.optimisers, trainer.optimisers[1:])


def _descend(losses: dict[str, torch.Tensor], every: list, stepped: list) -> None:
    for optimiser in every:
        optimiser.zero_grad()
    torch.stack(tuple(losses.values())).sum().backward()
    for optimiser in stepped:
        optimiser.step()
