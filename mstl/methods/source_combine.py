"""Source-combine: all sources pooled into one training set, with the labelled target images."""

from __future__ import annotations

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Hyperparameters, Method
from mstl.nn import SOURCE, TARGET, segmentation_loss


class SourceCombine(Method):
    r"""One U-Net on everything that has a mask: the baseline every multi-source method must beat.

    .. math::

        \min_\theta \; \frac1J \sum_{j=1}^{J} \mathbb E_{S_j}\,\mathcal L_{seg}(f_\theta(x), y)
        + \mathbb E_{T_l}\,\mathcal L_{seg}(f_\theta(x), y)

    The second term is dropped when labels = 0.
    """

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.network = hyper.networks(1)[0]

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        pooled = batch.source_images.flatten(0, 1)
        logits, masks = self.network(pooled, SOURCE).logits, batch.target.masks
        losses = {"source": segmentation_loss(logits, batch.source_masks.flatten(0, 1))}
        if len(masks):
            losses["target"] = segmentation_loss(self.predict(batch.target.images[: len(masks)]), masks)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits
