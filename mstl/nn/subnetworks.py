"""One sub-network a source: extractor F_j, attention A_j, predictor P_j."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.attention import LocalAttention, transferable_weights
from mstl.nn.encoders import extractor, predictor
from mstl.nn.unet import SOURCE, TARGET, Encoder
from mstl.nn.weights import RANDOM, Weights
from mstl.system.errors import InputError

Maps = tuple[Tensor, ...]


class Representation(NamedTuple):
    """What extractor and attention of one sub-network make of images (n, 3, h, w).

    Attributes:
        features: f_j, the coarsest map (n, c, h/stride, w/stride) *before* attention; D_j reads this.
        attended: f̃_j, attended maps of all levels, fine to coarse, of classes pooled; the fusion reads these.
        maps: mean attention weight (n, 1, h/2^l, w/2^l) of every level.
    """

    features: Tensor
    attended: Maps
    maps: Maps


class SubNetworkOutput(NamedTuple):
    """All that one sub-network computes from images (n, 3, h, w).

    Attributes:
        features, attended, maps: as in :class:`Representation`.
        logits: of the sub-network's own predictor P_j, (m, 1, h, w) of masks or (m, K, 1, 1) of classes, of
            the first m images: all of them, or as many as were asked for.
    """

    features: Tensor
    attended: Maps
    maps: Maps
    logits: Tensor

    def split(self, count: int) -> tuple[SubNetworkOutput, SubNetworkOutput]:
        """The same of the first ``count`` images, and of the others."""
        return tuple(
            SubNetworkOutput(
                self.features[rows], _of(self.attended, rows), _of(self.maps, rows), self.logits[rows]
            )
            for rows in (slice(count), slice(count, None))
        )


class OwnScale(nn.Module):
    r"""What is local on top of an encoder that several sub-networks share: :math:`γ_c f_c + β_c` at each
    level.

    Args:
        channels: of the levels; γ begins at 1 and β at 0.

    Source: the residual adapters of Rebuffi et al., "Learning multiple visual domains with residual
    adapters", NeurIPS 2017, in the form of Perez et al., "FiLM", AAAI 2018.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.scale = nn.ParameterList(torch.ones(c, 1, 1) for c in channels)
        self.shift = nn.ParameterList(torch.zeros(c, 1, 1) for c in channels)

    def forward(self, maps: Maps) -> Maps:
        return tuple(f * γ + β for f, γ, β in zip(maps, self.scale, self.shift, strict=True))


class SubNetwork(nn.Module):
    """F_j, A_j and P_j of one (source, target) pair.

    .. math:: f_j = F_j(x), \\qquad \\tilde f_j = f_j ⊙ a_j(f_j), \\qquad \\hat y = P_j(\\tilde f_j)

    Attention acts at every level: what it suppresses must not return through a skip connection.

    Args:
        encoder: F_j, from images and domain to maps, with ``channels`` and ``stride`` (:class:`Encoder`,
            :class:`TimmEncoder`, :class:`Pooled`).
        attention: "both", "channel", "spatial", "none", or "transferable" (:func:`transferable_weights`).
        norm: normalisation of the decoder.
        classes: number of classes, 0 for a mask.
        shares: whether the encoder serves other sub-networks, too; then each has an :class:`OwnScale`.

    Shape: images (n, 3, h, w), or the encoder's maps of them → :class:`SubNetworkOutput`.

    Source: MSTL, arXiv 2305.19067, abstract; layers are our reconstruction.
    """

    def __init__(
        self,
        encoder: nn.Module,
        attention: str = "both",
        norm: str = "group",
        classes: int = 0,
        shares: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.own = OwnScale(encoder.channels) if shares else None
        self.transferable = attention == "transferable"
        layers = "none" if self.transferable else attention
        self.attention = nn.ModuleList(LocalAttention(c, layers) for c in encoder.channels)
        # A map of classes that the encoder has not pooled is pooled behind the attention.
        self.pool, width = encoder.pooling() if classes else (None, 0)
        self.attended_channels = (width,) if classes and self.pool is not None else encoder.channels
        self.predictor = predictor(self.attended_channels, classes, norm)
        self.by_image = norm not in ("batch", "domain")  # an image's features do not depend on the others

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, fine to coarse."""
        return self.encoder.channels

    @property
    def stride(self) -> int:
        """Both sides of an image must be multiples of this."""
        return self.encoder.stride

    def forward(
        self,
        images: Tensor | Maps,
        domain: int | None = None,
        read: int | None = None,
        judge: nn.Module | None = None,
    ) -> SubNetworkOutput:
        """F_j, A_j and P_j.

        Args:
            images: (n, 3, h, w), or what the encoder makes of them.
            domain: `SOURCE` or `TARGET`; needed by norm "domain" alone.
            read: of how many images, from the first, logits are wanted; all by default.
            judge: the domain discriminator, needed by attention "transferable" alone.
        """
        seen = self.represent(images, domain, judge)
        if read == 0:
            return SubNetworkOutput(*seen, seen.features.new_empty(0))
        return SubNetworkOutput(*seen, self.predictor(first(seen.attended, read), domain))

    def pair(
        self,
        source: Tensor | Maps,
        target: Tensor | Maps,
        read: int | None = None,
        judge: nn.Module | None = None,
    ) -> tuple[SubNetworkOutput, SubNetworkOutput]:
        """The sub-network on its source and on the target, with logits of the target's first ``read`` images.

        Outputs, gradients and statistics are those of two passes that decode everything; training saves what
        makes no difference. P_j costs twice what F_j does, so masks that nobody reads are not computed, but
        where they share their statistics with those that are read. And images of one size pass together, but
        where normalisation would mix their domains.
        """
        if not self.by_image:
            read = None
        levels = [(s, t) for s, t in zip(_levels(source), _levels(target), strict=True)]
        if not (self.training and self.by_image and all(s.shape[1:] == t.shape[1:] for s, t in levels)):
            return self(source, SOURCE, None, judge), self(target, TARGET, read, judge)
        count = len(levels[0][0])
        decoded = None if read is None else count + read
        both = tuple(map(torch.cat, levels))
        return self(both if isinstance(source, tuple) else both[0], None, decoded, judge).split(count)

    def represent(
        self, images: Tensor | Maps, domain: int | None = None, judge: nn.Module | None = None
    ) -> Representation:
        """F_j and A_j alone."""
        maps = images if isinstance(images, tuple) else self.encoder(images, domain)
        if self.own is not None:
            maps = self.own(maps)
        if self.transferable:
            weight = transferable_weights(judge, maps[-1])
            weights = tuple(F.interpolate(weight, size=f.shape[-2:], mode="nearest") for f in maps)
            attended = tuple(f * w.to(f.dtype) for f, w in zip(maps, weights, strict=True))
        else:
            attended, weights = zip(*(a(f) for a, f in zip(self.attention, maps, strict=True)), strict=True)
        if self.pool is not None:
            attended = (self.pool(attended[-1]),)
        return Representation(maps[-1], attended, weights)

    @torch.no_grad()
    def all_logits(self, seen: SubNetworkOutput) -> Tensor:
        """Logits (n, c, h, w) of an output's images: those that it holds and, decoded now, the others."""
        read = len(seen.logits)
        if read == len(seen.features):
            return seen.logits
        rest = self.predictor(_of(seen.attended, slice(read, None)))
        return torch.cat((seen.logits, rest)) if read else rest


def _levels(images: Tensor | Maps) -> Maps:
    return images if isinstance(images, tuple) else (images,)


def first(maps: Sequence[Tensor], count: int | None) -> Maps:
    """The maps of the first ``count`` images, at every level; None is all."""
    return tuple(maps) if count is None else _of(maps, slice(count))


def _of(maps: Sequence[Tensor], rows: slice) -> Maps:
    return tuple(level[rows] for level in maps)


class SubNetworks(nn.ModuleList):
    """J sub-networks with separate weights; ``networks[j]`` and iteration as in a list.

    Args:
        sources: J ≥ 1.
        width, depth, norm: of the U-Net encoder and of every decoder; ``depth`` 0 is 4 levels for the
            U-Net and all stages of a network of timm's.
        attention: of every :class:`SubNetwork`.
        encoder, frozen: as in :func:`mstl.nn.extractor`.
        weights: what the encoders start from.
        hidden: units of the layers of an MLP.
        stem: levels of the U-Net encoder, from the finest, that all sub-networks share.
        shared: one encoder for all sub-networks, which differ in their scales and shifts of its maps and in
            what follows. The target passes through it once, not J times.
        shape: (channels, height, width) of an input.
        classes: number of classes, 0 for masks.
        pooled: for classes, whether an encoder ends in one place, where domains are compared; else attention
            and discriminators see its places, and pooling comes behind the attention.

    Shape: images (n, c, h, w) → tuple of J :class:`SubNetworkOutput`. One tensor through all sub-networks is
    what the multi-source domain independent strategy asks for on the target.
    """

    def __init__(
        self,
        sources: int,
        *,
        width: int = 16,
        depth: int = 0,
        norm: str = "group",
        attention: str = "both",
        encoder: str = "unet",
        weights: Weights = RANDOM,
        frozen: str = "none",
        hidden: tuple[int, ...] = (1000, 500, 100),
        stem: int = 0,
        shared: bool = False,
        shape: tuple[int, int, int] = (3, 0, 0),
        classes: int = 0,
        pooled: bool = True,
    ) -> None:
        if sources < 1:
            raise InputError(f"the number of sources must be at least 1; got {sources}")
        if stem and shared:
            raise InputError(f"stem={stem} goes without shared=true, with which all levels are shared")
        options = {"width": width, "depth": depth, "norm": norm, "hidden": hidden, "weights": weights}

        def made() -> nn.Module:
            return extractor(encoder, shape, classes, **options, frozen=frozen, pooled=pooled)

        one = made() if shared else None
        super().__init__(SubNetwork(one or made(), attention, norm, classes, shared) for _ in range(sources))
        self.shared = shared
        for network in list(self) if stem else ():
            levels = _unet(network)
            if levels is None or not 0 <= stem <= len(levels):
                raise InputError(
                    f"stem={stem} must be 0 to {len(levels or ()) or depth or 4}, and needs the U-Net encoder"
                )
            for level in range(stem):
                levels[level] = _unet(self[0])[level]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, fine to coarse; equal in all sub-networks."""
        return self[0].channels

    @property
    def stride(self) -> int:
        """Both sides of an image must be multiples of this."""
        return self[0].stride

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[SubNetworkOutput, ...]:
        seen = self.seen(images, domain)
        return tuple(network(seen, domain) for network in self)

    def seen(self, images: Tensor, domain: int | None = None) -> Tensor | Maps:
        """What every sub-network reads of images: the maps of the encoder that they share, else the "
        "images."""
        return self[0].encoder(images, domain) if self.shared else images

    def seen_together(
        self, sources: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor | Maps], Sequence[Tensor | Maps]]:
        """The same of a batch: for each source its images, and the target's, of which equal ones "
        "pass once."""
        if not self.shared:
            return sources, targets
        once = {id(x): x for x in targets}
        passed = {key: self.seen(x, TARGET) for key, x in once.items()}
        if not self[0].by_image:
            return [self.seen(x, SOURCE) for x in sources], [passed[id(x)] for x in targets]
        levels = (level.split([len(x) for x in sources]) for level in self.seen(torch.cat(tuple(sources))))
        return list(zip(*levels, strict=True)), [passed[id(x)] for x in targets]


def _unet(network: SubNetwork) -> nn.ModuleList | None:
    found = (module.levels for module in network.encoder.modules() if isinstance(module, Encoder))
    return next(found, None)
