"""The adversary of every adversarial method: discriminators behind a reversal, with updates of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.methods import hyperparameters
from mstl.methods.hyperparameters import one_of
from mstl.nn import (
    FeatureBank,
    ImageDiscriminator,
    LocationDiscriminator,
    domain_accuracy,
    domain_loss,
    ramp,
    reverse_gradient,
)
from mstl.system.errors import InputError

KINDS = {"location": LocationDiscriminator, "image": ImageDiscriminator}
SAMPLE = 256  # remembered vectors of each domain in one extra update

Pairs = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
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
        super().__post_init__()
        one_of("discriminator", self.discriminator, KINDS)
        if self.strength < 0:
            raise InputError(f"strength={self.strength} must be ≥ 0: the reversal already turns the sign")
        if self.updates < 0:
            raise InputError(f"updates={self.updates} must be ≥ 0")
        ramp(0.0, self.gain)

    def adversary(self, pairs: int, channels: int) -> Adversary:
        """A fresh adversary of this kind."""
        return Adversary(pairs, channels, self.discriminator, self.updates, self.bank)

    def reversal(self, progress: float) -> float:
        r"""λ(p), the factor of the reversed gradient at this time."""
        return self.strength * ramp(progress, self.gain)


class Adversary(nn.Module):
    r"""Discriminators :math:`D_k`, one for each pair of domains, and banks of recent features for them.

    .. math::

        \delta_k = \tfrac12\big[\mathrm{BCE}(D_k(\mathcal R_\lambda f^s_k), 1)
                   + \mathrm{BCE}(D_k(\mathcal R_\lambda f^t_k), 0)\big]

    with the gradient reversal :math:`\mathcal R_\lambda`. All adversarial methods use this class, so that no
    method wins by the strength of its discriminator. A method holds it as a module: `Method` finds it there,
    and gives its parameters, extra updates and accuracy to the loop.

    Args:
        pairs: number of (source, target) pairs.
        channels: of the feature maps.
        kind: ``location`` judges every place of the feature map, ``image`` its mean.
        updates: extra updates a step the method asks of the loop; 0 keeps no bank. The bank holds single
            places, from which a discriminator of whole images cannot learn: ``image`` has no extra updates.
        bank: feature vectors kept per domain and pair.

    Attributes:
        accuracy: balanced accuracy in the last game outside training, mean over pairs, 0-d; None before.

    Source: Ganin & Lempitsky, ICML 2015; the bank and the extra updates are ours (design notes).
    """

    def __init__(
        self, pairs: int, channels: int, kind: str = "location", updates: int = 2, bank: int = 2048
    ) -> None:
        super().__init__()
        one_of("discriminator", kind, KINDS)
        self.updates = updates if kind == "location" else 0
        self.accuracy: Tensor | None = None
        self.discriminators = nn.ModuleList(KINDS[kind](channels) for _ in range(pairs))
        banked = pairs if self.updates else 0
        self.source_banks = nn.ModuleList(FeatureBank(bank, channels) for _ in range(banked))
        self.target_banks = nn.ModuleList(FeatureBank(bank, channels) for _ in range(banked))

    def losses(self, features: Pairs, strength: float | Tensor) -> Tensor:
        r""":math:`\delta_k` of every pair, (pairs,); the features' gradient is reversed, times ``strength``.

        In training the banks remember the features.

        Args:
            features: for each pair the source's and the target's map (n, channels, h, w).
            strength: of the reversal, one number or one a pair.
        """
        strengths = strength if isinstance(strength, Tensor) else [strength] * len(features)
        logits = [
            (d(reverse_gradient(source, s)), d(reverse_gradient(target, s)))
            for d, (source, target), s in zip(self.discriminators, features, strengths, strict=True)
        ]
        if not self.training:
            self.accuracy = torch.stack([domain_accuracy(*pair) for pair in logits]).mean()
        elif self.updates:
            for source_bank, target_bank, pair in zip(
                self.source_banks, self.target_banks, features, strict=True
            ):
                source_bank.push(pair[0])
                target_bank.push(pair[1])
        return torch.stack([domain_loss(*pair) for pair in logits])

    def extra_loss(self) -> Tensor:
        """Loss of one extra update: mean over pairs of the domain loss on remembered vectors, 0-d."""
        return torch.stack(
            [
                domain_loss(d(source.sample(SAMPLE)), d(target.sample(SAMPLE)))
                for d, source, target in zip(
                    self.discriminators, self.source_banks, self.target_banks, strict=True
                )
            ]
        ).mean()


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


def largest(values: Tensor) -> Tensor:
    """Weights (J,) that sum to 1: all on the largest of ``values`` (J,), shared evenly among ties."""
    chosen = (values == values.max()).to(values.dtype)
    return chosen / chosen.sum()


def gradient_ratio(adversarial: Tensor, task: Tensor, weights: Iterable[nn.Parameter]) -> Tensor:
    r""":math:`\|\nabla_{\theta_F} \mathcal L_{adv}\| / \|\nabla_{\theta_F} \mathcal L_{task}\|`, 0-d.

    The size of the reversed and scaled gradient against that of the method's other losses, over the weights
    of the extractors: far below 0.1 no game is played, near 1 the adversary rules. It is not taken at the
    features, because the decoder reaches the extractor through skip connections, too. A weight that a loss
    does not reach, of the target's own normalisation without target labels for instance, counts as 0 there.
    """
    weights = list(weights)
    of_task = torch.autograd.grad(task, weights, retain_graph=True, allow_unused=True)
    of_adversary = torch.autograd.grad(adversarial, weights, allow_unused=True)
    return _norm(of_adversary) / _norm(of_task).clamp(min=1e-12)


def _norm(gradients: Iterable[Tensor | None]) -> Tensor:
    return torch.stack([g.float().square().sum() for g in gradients if g is not None]).sum().sqrt()
