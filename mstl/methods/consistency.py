"""Multi-model consistency: adversarial sub-networks, one a source, that must agree on the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.nn import SOURCE, TARGET, ramp
from mstl.nn.outputs import disagreement, mixture
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Of the adversaries and of the consistency.

    Attributes:
        strength: largest factor of the reversed gradient, at every level.
        weight: β of the consistency, after the ramp of the reversal.
        levels: coarsest levels of the encoder that have discriminators.
    """

    strength: float = 0.05
    weight: float = 1.0
    levels: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise InputError(f"weight={self.weight} of the consistency must be ≥ 0")
        if not 1 <= self.levels <= (self.depth or 4):
            raise InputError(f"levels={self.levels} must lie in 1 … depth={self.depth or 4}")


class Consistency(base.Method):
    r"""Multi-source domain adaptation for segmentation by multi-level adversaries and model consistency.

    For source j with sub-network :math:`(F_j, P_j)` and a discriminator :math:`D_j^l` at each level l:

    .. math::

        \min_{F, P} \max_D \; \tfrac1J \textstyle\sum_j \big[
        \mathcal L(P_j F_j(x^{s_j}), y^{s_j}) + \mathcal L(P_j F_j(x^{t_l}), y^{t_l})
        - \lambda(p) \sum_l \mathcal L_{adv}^{j,l} \big]
        + \beta(p)\, \tbinom J2^{-1} \sum_{i<j}
          \mathbb E_{x \sim X_t} \|\sigma P_i F_i(x) - \sigma P_j F_j(x)\|^2

    The mean of the J probabilities predicts. With J = 1 nobody has to agree: a DANN is left.

    The abstract names the two parts, adversaries at several levels for each pair of domains and a consistency
    of the models on the target. Their form is our reconstruction: the squared distance of probabilities
    (a mean over pixels), its ramp, the two coarsest levels, and the discriminators that all adversarial
    methods here share. The labelled target images are ours, as in every method here.

    Source: Pei et al., IEEE TMI 43(4), 2024, abstract.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.subnetworks = self.new_networks(self.sources)
        self.adversaries = nn.ModuleList(
            self.hyper.adversary(self.sources, channels)
            for channels in self.subnetworks.channels[-self.hyper.levels :]
        )

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        sources = [f(x, SOURCE) for f, (x, _) in zip(self.subnetworks, batch.sources, strict=True)]
        targets = self.subnetworks(batch.target.x, TARGET)
        logits = [target.logits for target in targets]
        losses = self.of_heads([source.logits for source in sources], logits, batch)
        adversarial = [
            adversary.losses(
                # Without attention the attended maps are F's own.
                [(s.attended[level], t.attended[level]) for s, t in zip(sources, targets, strict=True)],
                self.hyper.reversal(progress),
            ).mean()
            for level, adversary in enumerate(self.adversaries, start=-len(self.adversaries))
        ]
        return {
            **losses,
            "adversarial": torch.stack(adversarial).sum(),
            "disagreement": self.hyper.weight
            * ramp(progress, self.hyper.gain)
            * disagreement(torch.stack(logits), power=2),
        }

    def predict(self, images: Tensor) -> Tensor:
        return mixture(self.head_logits(images))

    def head_logits(self, images: Tensor) -> Tensor:
        return torch.stack([output.logits for output in self.subnetworks(images, TARGET)])

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.subnetworks[source].represent(images, domain).features
