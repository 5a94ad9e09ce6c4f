"""The adversary of every adversarial method: discriminators behind a reversal, with updates of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mstl.nn import (
    FeatureBank,
    ImageDiscriminator,
    LocationDiscriminator,
    domain_accuracy,
    domain_loss,
    reverse_gradient,
)
from mstl.system.errors import InputError

KINDS = {"location": LocationDiscriminator, "image": ImageDiscriminator}
SAMPLE = 256  # remembered vectors of each domain in one extra update


class Adversary(nn.Module):
    r"""Discriminators :math:`D_k`, one for each pair of domains, and banks of recent features for them.

    .. math::

        \delta_k = \tfrac12\big[\mathrm{BCE}(D_k(\mathcal R_\lambda f^s_k), 1)
                   + \mathrm{BCE}(D_k(\mathcal R_\lambda f^t_k), 0)\big]

    with the gradient reversal :math:`\mathcal R_\lambda`. All adversarial methods use this class, so that no
    method wins by the strength of its discriminator.

    Args:
        pairs: number of (source, target) pairs.
        channels: of the feature maps.
        kind: ``location`` judges every place of the feature map, ``image`` its mean.
        updates: extra updates a step the method asks of the loop; 0 keeps no bank. The bank holds single
            places, from which a discriminator of whole images cannot learn: ``image`` has no extra updates.
        bank: feature vectors kept per domain and pair.

    Source: Ganin & Lempitsky, ICML 2015; the bank and the extra updates are ours (design notes).
    """

    def __init__(
        self, pairs: int, channels: int, kind: str = "location", updates: int = 2, bank: int = 2048
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"discriminator={kind!r} is unknown; choose from {', '.join(KINDS)}")
        self.updates = updates if kind == "location" else 0
        self.discriminators = nn.ModuleList(KINDS[kind](channels) for _ in range(pairs))
        banked = pairs if self.updates else 0
        self.source_banks = nn.ModuleList(FeatureBank(bank, channels) for _ in range(banked))
        self.target_banks = nn.ModuleList(FeatureBank(bank, channels) for _ in range(banked))

    def losses(self, features: Sequence[tuple[Tensor, Tensor]], strength: float | Tensor) -> Tensor:
        r""":math:`\delta_k` of every pair, (pairs,); the features' gradient is reversed, times ``strength``.

        Args:
            features: for each pair the source's and the target's map (n, channels, h, w).
            strength: of the reversal, one number or one a pair.
        """
        strengths = strength if isinstance(strength, Tensor) else [strength] * len(features)
        return torch.stack(
            [
                domain_loss(d(reverse_gradient(source, s)), d(reverse_gradient(target, s)))
                for d, (source, target), s in zip(self.discriminators, features, strengths, strict=True)
            ]
        )

    @torch.no_grad()
    def remember(self, features: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Put features of this step into the banks; outside training nothing is kept."""
        if not (self.training and self.updates):
            return
        for k, pair in enumerate(features):
            for bank, maps in zip((self.source_banks[k], self.target_banks[k]), pair, strict=True):
                bank.push(maps)

    def extra_losses(self) -> dict[str, Tensor]:
        """Loss of one extra discriminator update: mean over pairs of the loss on remembered vectors."""
        return {
            "discriminator": torch.stack(
                [
                    domain_loss(d(source.sample(SAMPLE)), d(target.sample(SAMPLE)))
                    for d, source, target in zip(
                        self.discriminators, self.source_banks, self.target_banks, strict=True
                    )
                ]
            ).mean()
        }

    @torch.no_grad()
    def accuracy(self, features: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Balanced accuracy, mean over pairs, 0-d."""
        return torch.stack(
            [domain_accuracy(d(s), d(t)) for d, (s, t) in zip(self.discriminators, features, strict=True)]
        ).mean()


def gradient_ratio(adversarial: Tensor, task: Tensor, weights: Iterable[nn.Parameter]) -> Tensor:
    r""":math:`\|\nabla_{\theta_F} \mathcal L_{adv}\| / \|\nabla_{\theta_F} \mathcal L_{task}\|`, 0-d.

    The size of the reversed and scaled gradient against that of the segmentation losses, over the weights of
    the extractors: far below 0.1 no game is played, near 1 the adversary rules. It is not taken at the
    features, because the decoder reaches the extractor through skip connections, too. A weight that a loss
    does not reach, of the target's own normalisation without target labels for instance, counts as 0 there.
    """
    weights = list(weights)
    of_task = torch.autograd.grad(task, weights, retain_graph=True, allow_unused=True)
    of_adversary = torch.autograd.grad(adversarial, weights, allow_unused=True)
    return _norm(of_adversary) / _norm(of_task).clamp(min=1e-12)


def _norm(gradients: Iterable[Tensor | None]) -> Tensor:
    return torch.stack([g.float().square().sum() for g in gradients if g is not None]).sum().sqrt()
