"""U-Net encoder and decoder; which parts of a network normalise, and how."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.system.errors import InputError

NORMS = ("group", "batch", "domain", "none")
SOURCE, TARGET = 0, 1  # whose images a network sees


def check_size(size: tuple[int, int], stride: int) -> None:
    """Raise unless an image of ``size`` (height, width) halves evenly down to ``stride``.

    Raises:
        InputError: a side is not a positive multiple of ``stride``; the message names the nearest size.
    """
    if any(side < stride or side % stride for side in size):
        height, width = (max(stride, round(side / stride) * stride) for side in size)
        raise InputError(
            f"image size {size[0]}x{size[1]} (height x width) must be a multiple of {stride} on both sides "
            f"for this encoder; use {height}x{width}"
        )


def group_count(channels: int) -> int:
    """Groups for GroupNorm: at most 8, at least 4 channels in each, and a divisor of ``channels``."""
    most = max(1, min(8, channels // 4))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class DomainNorm(nn.Module):
    """Batch normalisation with statistics, scale and offset of its own for the sources and for the target.

    Shape: (n, c, h, w) of one domain, `SOURCE` or `TARGET` → the same.

    Raises:
        InputError: the domain is not named. Guessing it would normalise images by another domain's numbers.

    Source: Chang et al., "Domain-specific batch normalization", CVPR 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x: Tensor, domain: int | None = None) -> Tensor:
        if domain is None:
            raise InputError(
                "norm=domain needs to know whose images these are: the method must call its networks with "
                "mstl.nn.SOURCE or TARGET behind the images; else choose norm=group"
            )
        return self.norms[domain](x)


class Layers(nn.Sequential):
    """Layers one after the other; those that normalise by domain are told it."""

    def forward(self, x: Tensor, domain: int | None = None) -> Tensor:
        for layer in self:
            x = layer(x, domain) if isinstance(layer, Layers | DomainNorm) else layer(x)
        return x


def normalisation(norm: str, channels: int) -> nn.Module:
    """The layer named by ``norm``: "group" (default everywhere), "batch", "domain" or "none".

    Batch statistics mix whatever domains share a batch; group statistics belong to one image; with "domain"
    source and target have batch statistics each.

    Raises:
        InputError: an unknown name.
    """
    if norm == "group":
        return nn.GroupNorm(group_count(channels), channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "domain":
        return DomainNorm(channels)
    if norm == "none":
        return nn.Identity()
    raise InputError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")


def convolution(inputs: int, outputs: int, norm: str, kernel: int = 3) -> Layers:
    """Convolution, normalisation, ReLU. The convolution has a bias only where nothing normalises after it."""
    return Layers(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=norm == "none"),
        normalisation(norm, outputs),
        nn.ReLU(inplace=True),
    )


def double_convolution(inputs: int, outputs: int, norm: str) -> Layers:
    """Two 3x3 convolutions, each normalised and rectified."""
    return Layers(convolution(inputs, outputs, norm), convolution(outputs, outputs, norm))


class MeanAndMax(nn.Module):
    """Mean and largest value over all places of each channel.

    The mean alone tells little where each image is normalised by itself: group normalisation gives every
    image's map the same mean, and what differs between two images is where, and how high, it stands out.

    Shape: (n, c, h, w) → (n, 2c, 1, 1).
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)), dim=1)


class Encoder(nn.Module):
    """The contracting half of a U-Net.

    Level l = 0 … depth−1 has ``width``·2^l channels at 1/2^l of the image's size: two 3x3 convolutions, with
    2x2 max-pooling between levels.

    Args:
        width: channels of the finest level.
        depth: number of levels.
        norm: "group", "batch", "domain" or "none".
        in_channels: channels of the images.

    Shape:
        images (n, in_channels, h, w), and `SOURCE` or `TARGET` where norm is "domain" → ``depth`` maps
        (n, channels[l], h/2^l, w/2^l), fine to coarse.

    Raises:
        InputError: sides of the images that are not multiples of ``stride``.

    Source: Ronneberger et al., "U-Net", MICCAI 2015, with padded convolutions and a normalisation.
    """

    stages = slice(None)

    def __init__(self, width: int = 16, depth: int = 4, norm: str = "group", in_channels: int = 3) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise InputError(f"width and depth of the encoder must be at least 1; got {width} and {depth}")
        if depth > 12 or width * 2 ** (depth - 1) > 4096:
            raise InputError(
                f"width={width} and depth={depth} give the coarsest level width·2^(depth−1) channels: "
                "4096 are the most"
            )
        self.channels = tuple(width * 2**level for level in range(depth))
        self.stride = 2 ** (depth - 1)
        self.stage_modules = tuple(f"levels.{level}" for level in range(depth))
        self.levels = nn.ModuleList(
            double_convolution(inputs, outputs, norm)
            for inputs, outputs in pairwise((in_channels, *self.channels))
        )

    def pooling(self) -> tuple[nn.Module, int]:
        """`MeanAndMax`, and the channels it leaves: what makes a classifier's encoder of this one."""
        return MeanAndMax(), 2 * self.channels[-1]

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        check_size(images.shape[-2:], self.stride)
        features: list[Tensor] = []
        for level in self.levels:
            features.append(level(F.max_pool2d(features[-1], 2) if features else images, domain))
        return tuple(features)


class Decoder(nn.Module):
    """The expanding half of a U-Net.

    From coarse to fine: double the size (nearest neighbour, deterministic on every device), concatenate the
    encoder's map of that level, two 3x3 convolutions.

    Args:
        channels: channels of the maps, fine to coarse (``encoder.channels``).
        norm: "group", "batch", "domain" or "none".

    Shape:
        tuple of maps (n, channels[l], h/2^l, w/2^l), fine to coarse → (n, channels[0], h, w).
    """

    def __init__(self, channels: tuple[int, ...], norm: str = "group") -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            double_convolution(fine + coarse, fine, norm)
            for coarse, fine in pairwise(reversed(tuple(channels)))
        )

    def forward(self, features: tuple[Tensor, ...], domain: int | None = None) -> Tensor:
        *skips, x = features
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = level(torch.cat((skip, x), dim=1), domain)
        return x


class Predictor(nn.Module):
    """Decoder and 1x1 head: maps of all levels to the logits of one mask, or of several.

    Shape:
        tuple of maps (n, channels[l], h/2^l, w/2^l), fine to coarse → logits (n, masks, h, w).
    """

    def __init__(self, channels: tuple[int, ...], norm: str = "group", masks: int = 1) -> None:
        super().__init__()
        self.decoder = Decoder(channels, norm)
        self.head = nn.Conv2d(channels[0], masks, 1)

    def expect(self, share: float) -> None:
        r"""Let a fresh head begin where the object covers a share π of an image, cut to [0.001, 0.999].

        The bias becomes :math:`\log\frac{\pi}{1 - \pi}`. Above a rectified map nothing but the bias can say
        background where no channel is active. From 0 it would have to creep there first, an object would be
        told by the absence of what pushes it, and small objects were never found.

        Source: Lin et al., "Focal loss for dense object detection", ICCV 2017, section 4.1, with one π for
        all data.
        """
        share = min(max(share, 0.001), 0.999)
        nn.init.constant_(self.head.bias, math.log(share / (1 - share)))

    def forward(self, features: tuple[Tensor, ...], domain: int | None = None) -> Tensor:
        return self.head(self.decoder(features, domain))
