"""Multi-head: one network with a mask for each source, joined by their union."""

from __future__ import annotations

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods.base import Method
from mstl.nn import SOURCE, TARGET, Predictor
from mstl.nn.outputs import union


class MultiHead(Method):
    r"""One network on all sources, with J output channels of which source j teaches channel j alone.

    .. math::

        \min_\theta \; \frac1J \sum_{j=1}^{J} \mathbb E_{S_j}\,\mathcal L(f^j_\theta(x), y)
        + \mathbb E_{T_l}\,\mathcal L(\hat y_\theta(x), y), \qquad
        \hat y_\theta = 1 - \prod_j \big(1 - \sigma(f^j_\theta)\big)

    The control for "one sub-network a source" where sources label parts: it has the union, and all else is
    shared. The second term is dropped when labels = 0. With one source it is source-combine.

    One network for collections that are annotated for different organs goes back to Zhou et al., ICCV 2019;
    there the organs stay apart. Joining the channels to one object is ours.
    """

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        self.network.predictor = Predictor(self.network.channels, self.hyper.norm, self.sources)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss, (x, y), target = self.problem.loss, batch.pooled, batch.target
        by_source = self.network(x, SOURCE).logits.unflatten(0, (self.sources, -1))
        own = by_source.diagonal(dim1=0, dim2=2).movedim(-1, 0).flatten(0, 1).unsqueeze(1)
        losses = {"source": loss(own, y)}
        if labelled := len(target.y):
            losses["target"] = loss(self.predict(target.x[:labelled]), target.y)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return union(self.head_logits(images))

    def head_logits(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits.movedim(1, 0).unsqueeze(2)
