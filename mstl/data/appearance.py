"""Appearance: images of the sources given the colours of the target, which needs none of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CHOICES = ("own", "target", "image", "mixed")


class Colours(NamedTuple):
    """Mean and standard deviation of each colour channel over places, in grey levels.

    Attributes:
        mean, deviation: float32 (n, c), of n images each; or (1, c), of all their places together.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Colours:
        """Of each of the images, uint8 (n, c, h, w)."""
        pieces = [torch.var_mean(part.flatten(2).float(), -1, correction=0) for part in images.split(64)]
        variance, mean = map(torch.cat, zip(*pieces, strict=True))
        return cls(mean, variance.sqrt())

    @classmethod
    def cat(cls, colours: Sequence[Colours]) -> Colours:
        """Those of several sets of images, one after the other."""
        return cls(*map(torch.cat, zip(*colours, strict=True)))

    def pooled(self) -> Colours:
        """Of all places of the n images, which are of one size."""
        variance = self.deviation.square().mean(0) + self.mean.var(0, correction=0)
        return Colours(self.mean.mean(0, keepdim=True), variance.sqrt()[None])

    def at(self, rows: Tensor) -> Colours:
        """Those of some of the images."""
        return Colours(self.mean[rows], self.deviation[rows])


def recoloured(images: Tensor, own: Colours, wanted: Colours) -> Tensor:
    r"""Images whose colours have other moments.

    .. math:: x' = \mu + \frac{\sigma}{\max(\sigma_x, 1)}\,(x - \mu_x)

    in each channel, rounded and cut to 0..255. A channel that is flat gets the mean alone.

    Args:
        images: uint8 (n, c, h, w).
        own: of each image, or of all: :math:`\mu_x`, :math:`\sigma_x`.
        wanted: likewise: :math:`\mu`, :math:`\sigma`.

    Source: Reinhard et al., "Color transfer between images", IEEE Computer Graphics and Applications 2001, of
    one image from another, there in a colour space without correlations. For several sources He et al., CVPR
    2021, match the colours of every source to the target's.
    """
    factor = wanted.deviation / own.deviation.clamp(min=1)
    offset = wanted.mean - factor * own.mean
    moved = images * factor[..., None, None] + offset[..., None, None]
    return moved.round_().clamp_(0, 255).to(torch.uint8)
