"""Target-only: the lower reference, no transfer at all."""

from __future__ import annotations

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Hyperparameters, Method
from mstl.nn import TARGET, segmentation_loss


class TargetOnly(Method):
    r"""One U-Net on the labelled target images.

    .. math:: \min_\theta \; \mathbb E_{T_l}\,\mathcal L_{seg}(f_\theta(x), y)
    """

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.network = hyper.networks(1)[0]

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        masks = batch.target.masks
        return {"target": segmentation_loss(self.predict(batch.target.images[: len(masks)]), masks)}

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits
