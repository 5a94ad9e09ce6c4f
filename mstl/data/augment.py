"""Joint augmentation of images, masks and part maps: one random draw per image, one pass per batch.

A draw is an affine map (horizontal flip, scale, shift, rotation) and a colour map (gain per channel,
contrast, saturation). It is drawn on the CPU and applied on whatever device the pixels live on.

torchvision's v2 transforms draw *one* set of parameters for a whole batch, from the global generator, and
its functional kernels take scalars, so images can only differ in a Python loop. Both maps are small
matrices, so one grid and one multiply-add serve the whole batch, several times faster than the loop
(measured by ``benchmarks/bench_augment.py``). The conventions stay torchvision's, and the tests compare
with its kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mstl.system.errors import InputError

# Largest value of each field; the smallest is 0, which switches the change off.
LIMITS = {
    "flip": 1.0,
    "scale": 1.0,
    "shift": 0.5,
    "rotate": 180.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "tint": 1.0,
}


def to_float(images: Tensor) -> Tensor:
    """Network input, float32.

    Of pixels, uint8 x of any shape, 4·(x/255 − ½) in [−2, 2], where mid-grey is 0. Vectors (n, d, 1, 1) are
    fed as they are: counts as counts.
    """
    if images.ndim == 4 and images.shape[-2:] == (1, 1):
        return images.to(torch.float32)
    if images.dtype != torch.uint8:
        raise InputError(f"to_float: images must be uint8 in 0..255; got {images.dtype}")
    return images.to(torch.float32).mul_(4 / 255).sub_(2)


def to_pixels(images: Tensor) -> Tensor:
    """The pixels, uint8, of network input in [−2, 2]: `to_float`'s inverse, rounded to the nearest level."""
    return ((images + 2) * (255 / 4)).round().clamp(0, 255).to(torch.uint8)


class Draw(NamedTuple):
    """What happens to each of n images: float32 tensors (flip: bool) on the CPU.

    The object moves by p ↦ scale · R(angle) · p + shift about the centre of the image, after the flip.
    The colour x in [0, 1] becomes v = gain ∘ x, then s·v + (1 − s)·grey(v), then c·(v − ½) + ½.
    """

    flip: Tensor  # (n,) mirror left and right
    scale: Tensor  # (n,) above 1 enlarges the object
    shift: Tensor  # (n, 2) right and down, as a share of width and height
    angle: Tensor  # (n,) degrees, clockwise as seen
    gain: Tensor  # (n, 3) brightness times tint, for red, green, blue
    contrast: Tensor  # (n,) c
    saturation: Tensor  # (n,) s

    @classmethod
    def cat(cls, draws: list[Draw]) -> Draw:
        """The draws one after the other."""
        return cls(*(torch.cat(values) for values in zip(*draws, strict=True)))


class Augmented(NamedTuple):
    """Augmented tensors on the device of the input."""

    images: Tensor  # float32 (n, 3, h, w) in [−2, 2], geometry and colour
    plain: Tensor  # float32 (n, 3, h, w) in [−2, 2], geometry only
    masks: Tensor | None  # float32 (l, 1, h, w)
    parts: Tensor | None  # uint8 (l, 1, h, w)


@dataclass(frozen=True)
class Augment:
    """How strongly images are varied; 0 switches a change off.

    Attributes:
        flip: probability of a mirror image.
        scale: the object's size is multiplied by a factor in [1/(1 + scale), 1 + scale], log-uniform.
        shift: largest displacement as a share of width and of height.
        rotate: largest rotation in degrees.
        brightness, contrast, saturation, tint: factors lie in [1 − value, 1 + value]; tint is drawn for
            each colour channel.
    """

    flip: float = 0.5
    scale: float = 0.1
    shift: float = 0.06
    rotate: float = 4.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.3
    tint: float = 0.08

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= limit:
                raise InputError(f"augment: {name} must be a number from 0 to {limit:g}; got {value!r}")

    @classmethod
    def none(cls) -> Augment:
        """Leaves every image as it is."""
        return cls(**{field.name: 0.0 for field in fields(cls)})

    def draw(self, n: int, generator: torch.Generator) -> Draw:
        """Parameters for n images from a CPU ``generator``; image i's do not depend on n."""
        u = torch.rand(n, 11, generator=generator)
        signed = 2 * u - 1
        factor = 1 + signed[:, 5:] * torch.tensor(
            [self.brightness, self.contrast, self.saturation, self.tint, self.tint, self.tint]
        )
        return Draw(
            flip=u[:, 0] < self.flip,
            scale=torch.exp(signed[:, 1] * math.log1p(self.scale)),
            shift=signed[:, 2:4] * self.shift,
            angle=signed[:, 4] * self.rotate,
            gain=factor[:, :1] * factor[:, 3:],
            contrast=factor[:, 1],
            saturation=factor[:, 2],
        )


def transform(
    images: Tensor, draw: Draw, masks: Tensor | None = None, parts: Tensor | None = None
) -> Augmented:
    """Apply a draw to uint8 images (n, 3, h, w) and to the masks and part maps of the first l of them.

    Images are sampled bilinearly, masks and parts by the nearest pixel of the same grid, so
    ``mask == (parts > 0)`` survives. Beyond the edge all three repeat their border pixel: an object cut
    by the edge continues in the image and in its mask alike. A draw that changes nothing gives exactly
    :func:`to_float`.
    """
    n, _, height, width = images.shape
    if len(draw.flip) != n:
        raise InputError(f"augment: {len(draw.flip)} draws for {n} images; draw one per image")
    if bool(draw.flip.any()):
        images, masks, parts = (_mirrored(x, draw.flip) for x in (images, masks, parts))
    plain = to_float(images)
    if _moves(draw):
        grid = sampling_grid(draw, height, width, images.device)
        plain = F.grid_sample(plain, grid, "bilinear", "border", align_corners=False)
        masks, parts = (_nearest(x, grid) for x in (masks, parts))
    return Augmented(
        images=recolour(plain, draw) if _recolours(draw) else plain,
        plain=plain,
        masks=None if masks is None else masks.to(torch.float32),
        parts=parts,
    )


def sampling_grid(draw: Draw, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Where each output pixel is read: (n, height, width, 2) in the coordinates of ``grid_sample``.

    p_in = R(−angle) · (p_out − shift) / scale in pixels from the centre. Broadcasting keeps it float32;
    ``affine_grid`` is a matrix product, which TF32 or autocast would round to a tenth of a pixel.
    """
    angle = torch.deg2rad(draw.angle)
    cos, sin = torch.cos(angle) / draw.scale, torch.sin(angle) / draw.scale
    by_x = torch.stack([cos, -sin * (width / height)], dim=1)
    by_y = torch.stack([sin * (height / width), cos], dim=1)
    offset = -2 * (by_x * draw.shift[:, :1] + by_y * draw.shift[:, 1:])
    by_x, by_y, offset = torch.stack([by_x, by_y, offset]).to(device, non_blocking=True)[..., None]
    x = (torch.arange(width, device=device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=device) * 2 + 1) / height - 1
    planes = (by_x * x)[:, :, None, :] + (by_y * y + offset)[:, :, :, None]
    return planes.permute(0, 2, 3, 1)


def recolour(images: Tensor, draw: Draw) -> Tensor:
    """Apply the colour map of :class:`Draw` to float images (n, 3, h, w) in [−2, 2], clipped at the end.

    Mid-grey is 0 here, so gain g takes z to g·z + 2(g − 1) and contrast is a plain factor.
    """
    own = (draw.contrast * draw.saturation)[:, None]
    grey = (draw.contrast * (1 - draw.saturation))[:, None]
    packed = torch.cat([draw.gain, own, grey], dim=1).to(images.device, non_blocking=True)
    gain, own, grey = packed[:, :, None, None].split([3, 1, 1], dim=1)
    lit = (images * gain).add_(2 * gain - 2)
    grey = luma(lit).mul_(grey)
    return lit.mul_(own).add_(grey).clamp_(-2, 2)


def luma(images: Tensor) -> Tensor:
    r"""Brightness of RGB images (n, 3, h, w): (n, 1, h, w).

    .. math:: Y = 0.2989\,R + 0.587\,G + 0.114\,B

    Bit for bit torchvision's, whose import takes longer than torch's own.

    Source: ITU-R BT.601.
    """
    red, green, blue = images.split(1, dim=1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _mirrored(x: Tensor | None, flip: Tensor) -> Tensor | None:
    if x is None:
        return None
    rows = torch.arange(len(x)) + len(x) * flip[: len(x)]
    return torch.cat([x, x.flip(-1)]).index_select(0, rows.to(x.device, non_blocking=True))


def _nearest(x: Tensor | None, grid: Tensor) -> Tensor | None:
    if x is None or len(x) == 0:
        return x
    moved = F.grid_sample(x.to(torch.float32), grid[: len(x)], "nearest", "border", align_corners=False)
    return moved.to(x.dtype)


def _moves(draw: Draw) -> bool:
    return bool((draw.scale != 1).any() or (draw.shift != 0).any() or (draw.angle != 0).any())


def _recolours(draw: Draw) -> bool:
    return bool((draw.gain != 1).any() or (draw.contrast != 1).any() or (draw.saturation != 1).any())
