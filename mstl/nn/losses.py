"""The segmentation loss: binary cross-entropy and soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.system.errors import InputError


def soft_dice(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice of every image.

    .. math:: \\mathrm{Dice}_i = \\frac{2 Σ p y + ε}{Σ p + Σ y + ε}, \\qquad p = σ(\\text{logits})

    Both sums carry the same ε (in pixels). So an empty mask predicted empty scores 1, and an empty mask with
    Σp predicted pixels scores ε/(Σp + ε): a false alarm costs, also where there is nothing to find.

    Shape: logits and masks (n, 1, h, w) → (n,), float32 at least.

    Source: Milletari et al., "V-Net", 3DV 2016, section 3, with p and y instead of their squares.
    """
    p = torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32))).flatten(1)
    y = masks.to(p.dtype).flatten(1)
    return (2 * (p * y).sum(1) + smooth) / (p.sum(1) + y.sum(1) + smooth)


def segmentation_loss(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over pixels plus the mean over images of 1 − soft Dice.

    .. math:: L_{seg} = \\mathrm{BCE}(\\text{logits}, y) + \\frac1n Σ_i (1 - \\mathrm{Dice}_i)

    Args:
        logits: (n, 1, h, w).
        masks: (n, 1, h, w), values in [0, 1]; soft masks are allowed.
        weights: of every image in both means, (n,); 1 by default.

    Returns:
        0-d, float32 at least also inside autocast; 0 for n = 0.

    Raises:
        InputError: logits and masks of different shapes.
    """
    if logits.shape != masks.shape:
        raise InputError(
            f"logits and masks must have the same shape; got {tuple(logits.shape)} and {tuple(masks.shape)}"
        )
    full = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if not full.numel():
        return full.sum()
    by_pixel = None if weights is None else weights.view(-1, 1, 1, 1)
    cross_entropy = F.binary_cross_entropy_with_logits(full, masks.to(full.dtype), by_pixel)
    missed = 1 - soft_dice(full, masks)
    return cross_entropy + (missed if weights is None else weights * missed).mean()
