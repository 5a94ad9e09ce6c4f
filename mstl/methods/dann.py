"""DANN on combined sources: one network, one discriminator of all sources against the target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import base
from mstl.methods.adversary import Adversary, gradient_ratio
from mstl.nn import ramp, segmentation_loss
from mstl.system.errors import InputError

Pairs = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Of the adversary, with the same meaning in every adversarial method; ``strength`` is tuned for each.

    Attributes:
        discriminator: ``location`` judges every place of the feature map, ``image`` its mean.
        strength: largest factor of the reversed gradient.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1 of that factor.
        updates: extra updates of a location discriminator after each step, on features of recent steps.
        bank: feature vectors kept for them, per domain and pair.
    """

    discriminator: str = "location"
    strength: float = 0.02
    gain: float = 10.0
    updates: int = 2
    bank: int = 2048

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise InputError(f"strength={self.strength} must be ≥ 0: the reversal already turns the sign")


class AdversarialMethod(base.Method):
    """What methods with an `Adversary` share; a subclass says what is compared, and how losses are weighed.

    A subclass calls ``oppose`` once its networks exist, and implements ``extractor`` and ``game``.
    """

    Hyperparameters = Hyperparameters
    hyper: Hyperparameters

    def oppose(self, pairs: int, channels: int) -> None:
        """Add the adversary: ``pairs`` discriminators of feature maps with ``channels`` channels."""
        h = self.hyper
        self.adversary = Adversary(pairs, channels, h.discriminator, h.updates, h.bank)
        self.discriminator_updates = self.adversary.updates

    @abstractmethod
    def extractor(self, source: int) -> nn.Module:
        """The extractor in whose features source ``source`` is compared with the target."""

    @abstractmethod
    def game(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Pairs]:
        """All losses, the adversary's under ``adversarial``, and the features the adversary compared."""

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if self.sources != batch.J:
            raise InputError(f"the method was built for {self.sources} sources but the batch has {batch.J}")
        losses, features = self.game(batch, progress)
        self.adversary.remember(features)
        return losses

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return list(self.adversary.discriminators.parameters())

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.adversary.extra_losses()

    @torch.enable_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Discriminator accuracy and `gradient_ratio`, of the adversarial loss to all the others."""
        losses, features = self.game(batch, progress)
        adversarial = losses.pop("adversarial")
        extractors = dict.fromkeys(self.extractor(j) for j in range(self.sources))
        weights = [p for extractor in extractors for p in extractor.parameters()]
        return {
            "discriminator_accuracy": self.adversary.accuracy(features),
            "gradient_ratio": gradient_ratio(adversarial, torch.stack(tuple(losses.values())).sum(), weights),
        }

    def source_features(self, images: Tensor, source: int) -> Tensor:
        return self.extractor(source)(images)[-1]

    def strength(self, progress: float) -> float:
        """Factor of the reversed gradient at this time."""
        return self.hyper.strength * ramp(progress, self.hyper.gain)


class DANN(AdversarialMethod):
    r"""One U-Net on all sources, its features confused with the target's.

    .. math::

        \min_{F,P} \max_D \; \frac1J \sum_j \mathbb E_{S_j} \mathcal L_{seg}(P(F(x)), y)
        + \mathbb E_{T_l} \mathcal L_{seg}(P(F(x)), y) - \lambda(p)\, \mathcal L_D

    .. math::

        \mathcal L_D = -\tfrac12 \Big[\frac1J \sum_j \mathbb E_{S_j} \log D(F(x))
        + \mathbb E_T \log(1 - D(F(x)))\Big]

    The sources together weigh as much as the target, whatever J. The term of :math:`T_l` is dropped when
    labels = 0; :math:`\lambda(p)` is ``strength`` times a ramp.

    Source: Ganin et al., JMLR 2016, section 4 and, for the ramp, 5.2.2; on combined sources it is the
    baseline "combine-DANN" of Zhao et al., NeurIPS 2018. The labelled target images are our setting.
    """

    name = "dann"

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.network = hyper.networks(1)[0]
        self.oppose(1, self.network.channels[-1])

    def extractor(self, source: int) -> nn.Module:
        return self.network.encoder

    def game(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Pairs]:
        encode, decode = self.network.encoder, self.network.predictor
        source, target = encode(batch.source_images.flatten(0, 1)), encode(batch.target.images)
        losses = {"source": segmentation_loss(decode(source), batch.source_masks.flatten(0, 1))}
        masks = batch.target.masks
        if len(masks):
            losses["target"] = segmentation_loss(decode(first(target, len(masks))), masks)
        features = [(source[-1], target[-1])]
        losses["adversarial"] = self.adversary.losses(features, self.strength(progress)).mean()
        return losses, features

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images).logits


def first(maps: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """The maps of the first ``count`` images, at every level."""
    return tuple(level[:count] for level in maps)


def largest(values: Tensor) -> Tensor:
    """Weights (J,) that sum to 1: all on the largest of ``values`` (J,), shared evenly among ties."""
    chosen = (values == values.max()).to(values.dtype)
    return chosen / chosen.sum()


def weighted_reversal(
    adversary: Adversary, features: Pairs, strength: float, weigh: Callable[[Tensor], Tensor]
) -> Tensor:
    r"""Domain losses :math:`\delta_j`, (J,), of whose mean the extractor sees a weighted sum reversed.

    .. math::

        \frac{\partial}{\partial \theta_D}: \; \frac1J \sum_j \nabla_{\theta_D} \delta_j, \qquad
        \frac{\partial}{\partial \theta_F}: \; -\lambda \sum_j w_j \nabla_{\theta_F} \delta_j, \qquad
        w = \mathrm{weigh}(\delta)

    So every discriminator learns at full loss, whatever weight its source has for the extractor.

    Args:
        adversary: one discriminator a source.
        features: J pairs of feature maps.
        strength: :math:`\lambda`.
        weigh: weights (J,), constant in the gradient, from the domain losses.
    """
    # The weights need the losses, so they are multiplied in on the way back.
    inputs = [tuple(maps.view_as(maps) for maps in pair) for pair in features]
    deltas = adversary.losses(inputs, 1.0)
    factors = strength * len(features) * weigh(deltas.detach()).detach()
    for pair, factor in zip(inputs, factors, strict=True):
        for maps in pair:
            if maps.requires_grad:
                maps.register_hook(lambda gradient, factor=factor: factor.to(gradient.dtype) * gradient)
    return deltas
