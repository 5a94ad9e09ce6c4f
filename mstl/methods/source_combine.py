"""Source-combine: all sources pooled into one training set, with the labelled target images."""

from __future__ import annotations

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Method
from mstl.nn import SOURCE, TARGET


class SourceCombine(Method):
    r"""One network on everything that has a label: the baseline every multi-source method must beat.

    .. math::

        \min_\theta \; \frac1J \sum_{j=1}^{J} \mathbb E_{S_j}\,\mathcal L(f_\theta(x), y)
        + \mathbb E_{T_l}\,\mathcal L(f_\theta(x), y)

    The second term is dropped when labels = 0.
    """

    def build(self) -> None:
        self.network = self.new_networks(1)[0]

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss, (x, y), target = self.problem.loss, batch.pooled, batch.target
        losses = {"source": loss(self.network(x, SOURCE).logits, y)}
        if labelled := len(target.y):
            losses["target"] = loss(self.predict(target.x[:labelled]), target.y)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits
