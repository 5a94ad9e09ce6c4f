"""Attention that weights local features: learnt, or by what a domain discriminator cannot tell apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mstl.system.errors import InputError

MODES = ("both", "channel", "spatial", "none")


class LocalAttention(nn.Module):
    """Weights a feature map: f̃ = f ⊙ a(f), a(f) = a_c(f)·a_s(f).

    .. math::
        a_c = 2σ(W_2 \\mathrm{ReLU}(W_1 \\bar f)) ∈ (0, 2)^c, \\qquad a_s = 2σ(w^\\top f_{xy} + b) ∈ (0, 2)

    with \\bar f the mean of f over locations. W₂, w and b start at zero, so a ≡ 1: an untrained module is the
    identity, and a weight below 1 suppresses what a weight above 1 enhances.

    Args:
        channels: channels c of the map.
        mode: "both", "channel" (a_s = 1), "spatial" (a_c = 1) or "none" (the input itself).
        reduction: W₁ maps c channels to max(4, c / reduction).

    Shape:
        f (n, c, h, w) → (f̃ (n, c, h, w), map (n, 1, h, w)); the map is the mean of a(f) over channels.

    Raises:
        InputError: an unknown mode.

    Sources: Hu et al., "Squeeze-and-excitation networks", CVPR 2018, section 3; Roy et al., "Concurrent
    spatial and channel squeeze & excitation", MICCAI 2018, section 2. The factor 2 and the product are ours.
    """

    def __init__(self, channels: int, mode: str = "both", reduction: int = 4) -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError(f"attention must be one of {', '.join(MODES)}; got {mode!r}")
        self.mode = mode
        self.channel = self.spatial = None
        if mode in ("both", "channel"):
            hidden = max(4, channels // reduction)
            self.channel = nn.Sequential(
                nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
            )
            _zero(self.channel[-1])
        if mode in ("both", "spatial"):
            self.spatial = nn.Conv2d(channels, 1, 1)
            _zero(self.spatial)

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        weighted, total = f, f.new_ones(f.shape[0], 1, *f.shape[-2:])
        if self.channel is not None:
            by_channel = 2 * torch.sigmoid(self.channel(f.mean(dim=(-2, -1), keepdim=True)))
            weighted, total = weighted * by_channel, total * by_channel.mean(dim=1, keepdim=True)
        if self.spatial is not None:
            by_location = 2 * torch.sigmoid(self.spatial(f))
            weighted, total = weighted * by_location, total * by_location
        return weighted, total


@torch.no_grad()
def transferable_weights(discriminator: nn.Module, features: Tensor) -> Tensor:
    r"""Places that a domain discriminator cannot tell apart weigh more.

    .. math:: a = 1 + H(D(f)) - \overline{H(D(f))}

    with the entropy H in bits and its mean over the places of an image. The discriminator is only asked: it
    neither learns nor moves its running moments. One that judges whole images has no opinion on places: 1.

    Shape: features (n, c, h, w) → (n, 1, h, w), mean 1, no gradient.

    Source: in the spirit of Wang et al., "Transferable attention for domain adaptation", AAAI 2019.
    """
    training = discriminator.training
    discriminator.eval()
    p = discriminator(features.detach()).float().sigmoid().clamp(1e-6, 1 - 1e-6)
    discriminator.train(training)
    entropy = -(p * p.log2() + (1 - p) * (1 - p).log2())
    if entropy.shape[-2:] != features.shape[-2:]:
        return torch.ones_like(features[:, :1])
    return 1 + entropy - entropy.mean(dim=(-2, -1), keepdim=True)


def _zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
