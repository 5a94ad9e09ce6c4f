"""DANN on combined sources: one network, one discriminator of all sources against the target."""

from __future__ import annotations

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.nn import SOURCE, TARGET


class DANN(base.Method):
    r"""One network on all sources, its features confused with the target's.

    .. math::

        \min_{F,P} \max_D \; \frac1J \sum_j \mathbb E_{S_j} \mathcal L(P(F(x)), y)
        + \mathbb E_{T_l} \mathcal L(P(F(x)), y) - \lambda(p)\, \mathcal L_D

    .. math::

        \mathcal L_D = -\tfrac12 \Big[\frac1J \sum_j \mathbb E_{S_j} \log D(F(x))
        + \mathbb E_T \log(1 - D(F(x)))\Big]

    The sources together weigh as much as the target, whatever J. The term of :math:`T_l` is dropped when
    labels = 0; :math:`\lambda(p)` is ``strength`` times a ramp.

    Source: Ganin et al., JMLR 2016, section 4 and, for the ramp, 5.2.2; on combined sources it is the
    baseline "combine-DANN" of Zhao et al., NeurIPS 2018. The labelled target images are our setting.
    """

    Hyperparameters = adversary.Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        self.adversary = self.hyper.adversary(1, self.network.channels[-1])

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        encode, decode, (x, y) = self.network.encoder, self.network.predictor, batch.pooled
        source, target = encode(x, SOURCE), encode(batch.target.x, TARGET)
        reversal = self.hyper.reversal(progress)
        return {
            "source": self.problem.loss(decode(source, SOURCE), y),
            **self.on_labels(decode, target, batch.target.y),
            "adversarial": self.adversary.losses([(source[-1], target[-1])], reversal).mean(),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]
