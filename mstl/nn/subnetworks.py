"""One sub-network a source: extractor F_j, attention A_j, predictor P_j."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from mstl.nn.attention import LocalAttention
from mstl.nn.resnet import ResNetEncoder
from mstl.nn.unet import DomainNorm, Encoder, Predictor
from mstl.system.errors import InputError


class Representation(NamedTuple):
    """What extractor and attention of one sub-network make of images (n, 3, h, w).

    Attributes:
        features: f_j, the coarsest map (n, c, h/stride, w/stride) *before* attention; D_j reads this.
        attended: f̃_j, attended maps of all levels, fine to coarse; the fusion reads these.
        maps: mean attention weight (n, 1, h/2^l, w/2^l) of every level.
    """

    features: Tensor
    attended: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]

    def rows(self, rows: slice) -> Representation:
        """The same of some of the images."""
        attended, maps = (tuple(level[rows] for level in levels) for levels in (self.attended, self.maps))
        return Representation(self.features[rows], attended, maps)


class SubNetworkOutput(NamedTuple):
    """All that one sub-network computes from images (n, 3, h, w).

    Attributes:
        features, attended, maps: as in :class:`Representation`.
        logits: mask logits (n, 1, h, w) of the sub-network's own predictor P_j.
    """

    features: Tensor
    attended: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    logits: Tensor


class SubNetwork(nn.Module):
    """F_j, A_j and P_j of one (source, target) pair.

    .. math:: f_j = F_j(x), \\qquad \\tilde f_j = f_j ⊙ a_j(f_j), \\qquad \\hat y = P_j(\\tilde f_j)

    Attention acts at every level: what it suppresses must not return through a skip connection.

    Args:
        encoder: F_j, with ``channels`` and ``stride`` (:class:`Encoder`, :class:`ResNetEncoder`).
        attention: "both", "channel", "spatial" or "none".
        norm: normalisation of the decoder.

    Shape: images (n, 3, h, w) → :class:`SubNetworkOutput`.

    Source: MSTL, arXiv 2305.19067, abstract; layers are our reconstruction.
    """

    def __init__(self, encoder: nn.Module, attention: str = "both", norm: str = "group") -> None:
        super().__init__()
        self.encoder = encoder
        self.attention = nn.ModuleList(LocalAttention(c, attention) for c in encoder.channels)
        self.predictor = Predictor(encoder.channels, norm)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, fine to coarse."""
        return self.encoder.channels

    @property
    def stride(self) -> int:
        """Both sides of an image must be multiples of this."""
        return self.encoder.stride

    def forward(self, images: Tensor, domain: int = 1) -> SubNetworkOutput:
        """``domain`` 0 is the source, 1 the target; it matters to ``norm="domain"`` alone."""
        seen = self.represent(images, domain)
        return SubNetworkOutput(*seen, self.predictor(seen.attended))

    def represent(self, images: Tensor, domain: int = 1) -> Representation:
        """F_j and A_j alone; P_j costs twice as much and is not needed where nobody reads its masks."""
        for module in self.modules():
            if isinstance(module, DomainNorm):
                module.domain = domain
        features = self.encoder(images)
        weighted = [attend(f) for attend, f in zip(self.attention, features, strict=True)]
        attended, maps = (tuple(values) for values in zip(*weighted, strict=True))
        return Representation(features[-1], attended, maps)


class SubNetworks(nn.ModuleList):
    """J sub-networks with separate weights; ``networks[j]`` and iteration as in a list.

    Args:
        sources: J ≥ 1.
        width, depth, norm: of the U-Net encoder and of every decoder; ``depth`` None is 4 levels for the
            U-Net and 5 for a ResNet.
        attention: mode of :class:`LocalAttention`.
        encoder: "unet" or the name of a ResNet ("resnet18", "resnet34", "resnet50").
        weights: pre-trained weights of the ResNet, None or "DEFAULT".
        stem: levels of the U-Net encoder, from the finest, that all sub-networks share.

    Shape: images (n, 3, h, w) → tuple of J :class:`SubNetworkOutput`. One tensor through all sub-networks is
    what the multi-source domain independent strategy asks for on the target.
    """

    def __init__(
        self,
        sources: int,
        *,
        width: int = 16,
        depth: int | None = None,
        norm: str = "group",
        attention: str = "both",
        encoder: str = "unet",
        weights: str | None = None,
        stem: int = 0,
    ) -> None:
        if sources < 1:
            raise InputError(f"the number of sources must be at least 1; got {sources}")
        if encoder == "unet" and weights is not None:
            raise InputError("pre-trained weights exist for ResNet encoders only; set weights=None")

        def extractor() -> nn.Module:
            if encoder == "unet":
                return Encoder(width, depth or 4, norm)
            return ResNetEncoder(encoder, weights, depth or 5, None if weights else norm)

        if stem and (encoder != "unet" or not 0 <= stem <= (depth or 4)):
            raise InputError(f"stem={stem} must be 0 to {depth or 4}, and needs the U-Net encoder")
        super().__init__(SubNetwork(extractor(), attention, norm) for _ in range(sources))
        for network in list(self)[1:]:
            for level in range(stem):
                network.encoder.levels[level] = self[0].encoder.levels[level]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, fine to coarse; equal in all sub-networks."""
        return self[0].channels

    @property
    def stride(self) -> int:
        """Both sides of an image must be multiples of this."""
        return self[0].stride

    def forward(self, images: Tensor) -> tuple[SubNetworkOutput, ...]:
        return tuple(network(images) for network in self)
