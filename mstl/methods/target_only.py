"""Target-only: the lower reference, no transfer at all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Method
from mstl.nn import TARGET


class TargetOnly(Method):
    r"""One network on the labelled target images.

    .. math:: \min_\theta \; \mathbb E_{T_l}\,\mathcal L(f_\theta(x), y)
    """

    reads_sources = False

    def build(self) -> None:
        self.network = self.new_networks(1)[0]

    def expect(self, sources: Sequence[float], target: float | None) -> None:
        super().expect((), target)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        y = batch.target.y
        return {"target": self.problem.loss(self.predict(batch.target.x[: len(y)]), y)}

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits
