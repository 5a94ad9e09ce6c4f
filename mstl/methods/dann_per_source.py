"""One DANN a source, each with a network of its own; their predictions averaged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import dann
from mstl.methods.averaging import mean_probability_logits
from mstl.methods.dann import AdversarialMethod, Pairs, first
from mstl.nn import segmentation_loss


@dataclass(frozen=True)
class Hyperparameters(dann.Hyperparameters):
    """Those of DANN, with a strength of its own."""

    strength: float = 0.5


class DANNPerSource(AdversarialMethod):
    r"""J independent DANNs, one for each source with the target, and the mean of their probabilities.

    .. math::

        \min_{F_j,P_j} \max_{D_j} \; \mathbb E_{S_j} \mathcal L_{seg}(P_j(F_j(x)), y)
        + \mathbb E_{T_l} \mathcal L_{seg}(P_j(F_j(x)), y) - \lambda(p)\, \delta_j
        \quad \text{for each } j, \qquad
        \hat p(x) = \frac1J \sum_j \sigma\big(P_j(F_j(x))\big)

    with :math:`\delta_j` the domain loss of `Adversary`. Losses are means over j, which changes no network's
    minimiser. The networks share the target batch, which saves augmentation and ties no weights.

    Probabilities are averaged, not logits: this is the plain ensemble of the multi-source literature, in
    which no network outvotes the others by being overconfident. `mean_probability_logits` is stable.

    Source: Ganin et al., JMLR 2016, section 4, for each pair of domains. The average is the plain way to make
    one method of J.
    """

    name = "dann_per_source"
    Hyperparameters = Hyperparameters
    hyper: Hyperparameters

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.subnetworks = hyper.networks(sources)
        self.oppose(sources, self.subnetworks.channels[-1])

    def extractor(self, source: int) -> nn.Module:
        return self.subnetworks[source].encoder

    def game(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Pairs]:
        terms: dict[str, list[Tensor]] = {"source": []}
        features = []
        for network, images, masks, target in zip(
            self.subnetworks, batch.source_images, batch.source_masks, batch.targets, strict=True
        ):
            source_maps, target_maps = network.encoder(images), network.encoder(target.images)
            terms["source"].append(segmentation_loss(network.predictor(source_maps), masks))
            if count := len(target.masks):
                logits = network.predictor(first(target_maps, count))
                terms.setdefault("target", []).append(segmentation_loss(logits, target.masks))
            features.append((source_maps[-1], target_maps[-1]))
        losses = {name: torch.stack(values).mean() for name, values in terms.items()}
        losses["adversarial"] = self.adversary.losses(features, self.strength(progress)).mean()
        return losses, features

    def predict(self, images: Tensor) -> Tensor:
        return mean_probability_logits(torch.stack([output.logits for output in self.subnetworks(images)]))
