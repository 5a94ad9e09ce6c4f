"""Pooled ensemble: as many networks as MSTL has, every one on all sources."""

from __future__ import annotations

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Method, mean
from mstl.nn import SOURCE, TARGET


class PooledEnsemble(Method):
    r"""J networks, each a source-combine of its own: the control for "one sub-network a source".

    .. math::

        \min_{\theta_1, \dots, \theta_J} \; \frac1J \sum_{i=1}^{J} \Big[
        \frac1J \sum_{j=1}^{J} \mathbb E_{S_j}\,\mathcal L(f_{\theta_i}(x), y)
        + \mathbb E_{T_l}\,\mathcal L(f_{\theta_i}(x), y) \Big]

    The mean of the logits predicts, as MSTL's heads do. It has MSTL's parameters and steps; what it lacks is
    the tie of a network to a source. All networks see the same batch: they differ by their initial weights
    alone. Each passes J·b source images a step where a sub-network of MSTL passes b, so it costs more time.
    """

    def build(self) -> None:
        self.networks = self.new_networks(self.sources)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        losses = {"source": self._loss(*batch.pooled, SOURCE)}
        if labelled := len(batch.target.y):
            losses["target"] = self._loss(batch.target.x[:labelled], batch.target.y, TARGET)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return torch.stack([network(images, TARGET).logits for network in self.networks]).mean(0)

    def _loss(self, x: Tensor, y: Tensor, domain: int) -> Tensor:
        return mean(self.problem.loss(network(x, domain).logits, y) for network in self.networks)
