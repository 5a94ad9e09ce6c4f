"""Pooled ensemble: as many networks as MSTL has, every one on all sources."""

from __future__ import annotations

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.averaging import mean
from mstl.methods.base import Hyperparameters, Method
from mstl.nn import SOURCE, TARGET, segmentation_loss


class PooledEnsemble(Method):
    r"""J U-Nets, each a source-combine of its own: the control for "one sub-network a source".

    .. math::

        \min_{\theta_1, \dots, \theta_J} \; \frac1J \sum_{i=1}^{J} \Big[
        \frac1J \sum_{j=1}^{J} \mathbb E_{S_j}\,\mathcal L_{seg}(f_{\theta_i}(x), y)
        + \mathbb E_{T_l}\,\mathcal L_{seg}(f_{\theta_i}(x), y) \Big]

    The mean of the logits predicts, as MSTL's heads do. It has MSTL's parameters and steps; what it lacks is
    the tie of a network to a source. All networks see the same batch: they differ by their initial weights
    alone. Each passes J·b source images a step where a sub-network of MSTL passes b, so it costs more time.
    """

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.networks = hyper.networks(sources)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        images, masks = batch.source_images.flatten(0, 1), batch.source_masks.flatten(0, 1)
        losses = {"source": self._loss(images, masks, SOURCE)}
        if labelled := len(batch.target.masks):
            losses["target"] = self._loss(batch.target.images[:labelled], batch.target.masks, TARGET)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return torch.stack([network(images, TARGET).logits for network in self.networks]).mean(0)

    def _loss(self, images: Tensor, masks: Tensor, domain: int) -> Tensor:
        return mean(segmentation_loss(network(images, domain).logits, masks) for network in self.networks)
