"""One DANN a source, each with a network of its own; their predictions averaged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.nn import SOURCE, TARGET
from mstl.nn.outputs import mixture


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Those of DANN, with a strength of its own."""

    strength: float = 0.5


class DANNPerSource(base.Method):
    r"""J independent DANNs, one for each source with the target, and the mean of their probabilities.

    .. math::

        \min_{F_j,P_j} \max_{D_j} \; \mathbb E_{S_j} \mathcal L(P_j(F_j(x)), y)
        + \mathbb E_{T_l} \mathcal L(P_j(F_j(x)), y) - \lambda(p)\, \delta_j
        \quad \text{for each } j, \qquad
        \hat p(x) = \frac1J \sum_j \sigma\big(P_j(F_j(x))\big)

    with :math:`\delta_j` the domain loss of `Adversary`. Losses are means over j, which changes no network's
    minimiser. The networks share the target batch, which saves augmentation and ties no weights.

    Probabilities are averaged, not logits: this is the plain ensemble of the multi-source literature, in
    which no network outvotes the others by being overconfident.

    Source: Ganin et al., JMLR 2016, section 4, for each pair of domains. The average is the plain way to make
    one method of J.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.subnetworks = self.new_networks(self.sources)
        self.adversary = self.hyper.adversary(self.sources, self.subnetworks.channels[-1])

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        sources = [f(x, SOURCE) for f, (x, _) in zip(self.subnetworks, batch.sources, strict=True)]
        targets = [f(batch.target.x, TARGET, len(batch.target.y)) for f in self.subnetworks]
        features = [(s.features, t.features) for s, t in zip(sources, targets, strict=True)]
        return {
            **self.of_heads([s.logits for s in sources], [t.logits for t in targets], batch),
            "adversarial": self.adversary.losses(features, self.hyper.reversal(progress)).mean(),
        }

    def predict(self, images: Tensor) -> Tensor:
        return mixture(self.head_logits(images))

    def head_logits(self, images: Tensor) -> Tensor:
        return torch.stack([output.logits for output in self.subnetworks(images, TARGET)])

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.subnetworks[source].represent(images, domain).features
