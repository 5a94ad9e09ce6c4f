"""Multi-model consistency: adversarial sub-networks, one a source, that must agree on the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import base
from mstl.methods.adversary import Adversary, gradient_ratio
from mstl.methods.averaging import disagreement, head_losses, mean_probability_logits
from mstl.nn import SubNetworkOutput, ramp
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Of the adversaries and of the consistency.

    Attributes:
        weight: β of the consistency, after the ramp.
        strength: largest factor of the reversed gradient, at every level.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1 of both.
        levels: coarsest levels of the encoder that have discriminators.
        discriminator: ``location`` judges every place of a feature map, ``image`` its mean.
        updates: extra updates of a location discriminator after each step.
        bank: feature vectors kept for them, per domain, sub-network and level.
    """

    weight: float = 1.0
    strength: float = 0.05
    gain: float = 10.0
    levels: int = 2
    discriminator: str = "location"
    updates: int = 2
    bank: int = 2048

    def __post_init__(self) -> None:
        if self.weight < 0 or self.strength < 0:
            raise InputError(f"weight={self.weight} and strength={self.strength} must be ≥ 0")
        if not 1 <= self.levels <= self.depth:
            raise InputError(f"levels={self.levels} must lie in 1 … depth={self.depth}")


class Consistency(base.Method):
    r"""Multi-source domain adaptation for segmentation by multi-level adversaries and model consistency.

    For source j with sub-network :math:`(F_j, P_j)` and a discriminator :math:`D_j^l` at each level l:

    .. math::

        \min_{F, P} \max_D \; \tfrac1J \textstyle\sum_j \big[
        \mathcal L_{seg}(P_j F_j(x^{s_j}), y^{s_j}) + \mathcal L_{seg}(P_j F_j(x^{t_l}), y^{t_l})
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

    name = "consistency"
    Hyperparameters = Hyperparameters

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.subnetworks = hyper.networks(sources)
        self.adversaries = nn.ModuleList(
            Adversary(sources, channels, hyper.discriminator, hyper.updates, hyper.bank)
            for channels in self.subnetworks.channels[-hyper.levels :]
        )
        self.discriminator_updates = self.adversaries[-1].updates

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        sources, targets = self._outputs(batch)
        features = self._features(sources, targets)
        for adversary, pairs in zip(self.adversaries, features, strict=True):
            adversary.remember(pairs)
        return self._task_losses(batch, sources, targets) | {
            "adversarial": self._adversarial_loss(features, progress),
            "consistency": self.hyper.weight
            * ramp(progress, self.hyper.gain)
            * disagreement(torch.stack([output.logits for output in targets]), power=2),
        }

    def predict(self, images: Tensor) -> Tensor:
        return mean_probability_logits(torch.stack([network(images).logits for network in self.subnetworks]))

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return [p for adversary in self.adversaries for p in adversary.discriminators.parameters()]

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Domain loss on remembered feature vectors: mean over pairs, sum over levels."""
        losses = [adversary.extra_losses()["discriminator"] for adversary in self.adversaries]
        return {"discriminator": torch.stack(losses).sum()}

    @torch.enable_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Discriminator accuracy, mean over pairs and levels, and the adversaries' gradient ratio."""
        sources, targets = self._outputs(batch)
        features = self._features(sources, targets)
        accuracies = [a.accuracy(pairs) for a, pairs in zip(self.adversaries, features, strict=True)]
        task = torch.stack(tuple(self._task_losses(batch, sources, targets).values())).sum()
        weights = [p for network in self.subnetworks for p in network.encoder.parameters()]
        return {
            "discriminator_accuracy": torch.stack(accuracies).mean(),
            "gradient_ratio": gradient_ratio(self._adversarial_loss(features, progress), task, weights),
        }

    def source_features(self, images: Tensor, source: int) -> Tensor:
        return self.subnetworks[source](images).features

    def _outputs(self, batch: Batch) -> tuple[list[SubNetworkOutput], list[SubNetworkOutput]]:
        sources = [f(images) for f, images in zip(self.subnetworks, batch.source_images, strict=True)]
        targets = [f(batch.target.images) for f in self.subnetworks]
        return sources, targets

    def _features(
        self, sources: Sequence[SubNetworkOutput], targets: Sequence[SubNetworkOutput]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """For each level J pairs of maps. Without attention the attended maps are F_j's own."""
        return [
            [(s.attended[level], t.attended[level]) for s, t in zip(sources, targets, strict=True)]
            for level in range(-self.hyper.levels, 0)
        ]

    def _task_losses(
        self, batch: Batch, sources: Sequence[SubNetworkOutput], targets: Sequence[SubNetworkOutput]
    ) -> dict[str, Tensor]:
        return head_losses(
            [output.logits for output in sources],
            batch.source_masks,
            [output.logits for output in targets],
            batch.target.masks,
        )

    def _adversarial_loss(self, features: list[list[tuple[Tensor, Tensor]]], progress: float) -> Tensor:
        strength = self.hyper.strength * ramp(progress, self.hyper.gain)
        losses = [
            a.losses(pairs, strength).mean() for a, pairs in zip(self.adversaries, features, strict=True)
        ]
        return torch.stack(losses).sum()
