"""Averaged weights: what teaches and what is scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel


class AveragedWeights(AveragedModel):
    r"""Exponential average of a method's weights, with statistics that belong to them.

    .. math:: \bar\theta_n = \beta\,\bar\theta_{n-1} + (1 - \beta)\,\theta_n, \qquad \bar\theta_1 = \theta_1

    Running means and variances of batch normalisation are averaged alike: those of the last weights describe
    features that the averaged weights do not compute. Early in training even their average does not; so a
    teacher normalises by the batch it teaches (`teaching`). All other buffers are those of the last step.

    Args:
        method: whose weights are averaged; it is copied.
        decay: :math:`\beta` in [0, 1).

    Source: Polyak & Juditsky, SIAM J. Control Optim. 1992; as a teacher Tarvainen & Valpola, NeurIPS 2017.
    """

    def __init__(self, method: nn.Module, decay: float) -> None:
        super().__init__(method)
        self.decay = decay
        self.eval()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of one more step into the average."""
        # As PyTorch's own, which hands its count to the GPU in each step and so waits for it.
        averages, weights = (list(m.parameters()) for m in (self.module, model))
        running = {id(value) for value in statistics(self.module)}
        if self.n_averaged == 0:
            torch._foreach_copy_(averages, weights)
            running = set()
        else:
            torch._foreach_lerp_(averages, weights, 1 - self.decay)
        for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
            if id(average) in running:
                average.copy_(value.lerp(average, self.decay))
            else:
                average.copy_(value, non_blocking=True)
        self.n_averaged += 1

    @contextmanager
    def teaching(self) -> Iterator[nn.Module]:
        """The averaged method with the statistics of each batch it sees; its running ones stay as they are.

        With running statistics a teacher that uses batch normalisation predicted no foreground at all during
        the first half of a short run, and its students followed.
        """
        layers = [(layer, layer.momentum) for layer in batch_norms(self.module)]
        for layer, _ in layers:
            layer.train()
            layer.momentum = 0.0
        try:
            yield self.module
        finally:
            for layer, momentum in layers:
                layer.eval()
                layer.momentum = momentum


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """All batch normalisation in ``module`` that keeps running statistics."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def statistics(module: nn.Module) -> list[Tensor]:
    """Running means and variances of all batch normalisation in ``module``."""
    return list(chain.from_iterable((layer.running_mean, layer.running_var) for layer in batch_norms(module)))
