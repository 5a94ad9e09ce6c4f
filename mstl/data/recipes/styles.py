"""Styles: how a source was photographed. Integer arithmetic, so the same bytes on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Style:
    """One photographic style; shares are in 1/256.

    Attributes:
        name: what figures call it.
        gain: of red, green and blue.
        lift: added to all, for haze.
        slope: how much brighter the right edge is than the middle, and darker the left; negative turns it.
        backdrop: colour put behind the object.
        texture: of the backdrop: "plain", "stripes", "checks" or "bricks".
        cover: how much of the backdrop covers the background there was.
        blur: how often the image is smoothed by (1, 2, 1)/4 both ways.
    """

    name: str
    gain: tuple[int, int, int] = (256, 256, 256)
    lift: int = 0
    slope: int = 0
    backdrop: tuple[int, int, int] = (128, 128, 128)
    texture: str = "plain"
    cover: int = 0
    blur: int = 0

    def __call__(self, images: Tensor, masks: Tensor) -> Tensor:
        """Images uint8 (n, 3, h, w) in this style; masks (n, 1, h, w) tell object from background."""
        height, width = images.shape[-2:]
        x = images.to(torch.int32)
        colour = torch.tensor(self.backdrop, dtype=torch.int32).view(3, 1, 1)
        wall = colour + _texture(self.texture, height, width)
        behind = (x * (256 - self.cover) + wall * self.cover) // 256
        x = torch.where(masks > 0, x, behind)
        across = torch.arange(width, dtype=torch.int32) * 2 - (width - 1)
        light = 256 + self.slope * across // max(width - 1, 1)
        x = x * torch.tensor(self.gain, dtype=torch.int32).view(3, 1, 1) // 256 * light // 256 + self.lift
        x = x.clamp(0, 255)
        for _ in range(self.blur):
            x = _smooth(_smooth(x, -1), -2)
        return x.to(torch.uint8)


def _smooth(x: Tensor, axis: int) -> Tensor:
    length = x.shape[axis]
    before = torch.arange(-1, length - 1).clamp(min=0)
    after = torch.arange(1, length + 1).clamp(max=length - 1)
    return (x.index_select(axis, before) + 2 * x + x.index_select(axis, after) + 2) // 4


def _texture(kind: str, height: int, width: int) -> Tensor:
    """Brightness pattern int32 (h, w), −40..40."""
    y, x = torch.arange(height, dtype=torch.int32)[:, None], torch.arange(width, dtype=torch.int32)[None]
    if kind == "stripes":
        pattern = (x + y) // 4 % 2
    elif kind == "checks":
        pattern = (x // 6 + y // 6) % 2
    elif kind == "bricks":
        pattern = ((y % 6 != 0) & ((x + 6 * (y // 6 % 2)) % 12 != 0)).to(torch.int32)
    else:
        return torch.zeros(height, width, dtype=torch.int32)
    return 80 * pattern.to(torch.int32) - 40


# Source j takes style j; the target keeps the photographs' own.
STYLES = (
    Style("night", gain=(120, 150, 220), slope=70, backdrop=(40, 60, 120), texture="plain", cover=150),
    Style("tungsten", gain=(280, 225, 140), slope=-60, backdrop=(190, 110, 60), texture="bricks", cover=170),
    Style(
        "fog", gain=(130, 140, 135), lift=95, backdrop=(170, 190, 170), texture="stripes", cover=120, blur=1
    ),
    Style(
        "foliage", gain=(215, 270, 190), slope=40, backdrop=(60, 120, 50), texture="checks", cover=160, blur=1
    ),
)
