"""The segmentation loss, binary cross-entropy and soft Dice; and the loss of masks that are not whole."""

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


def positive_unlabelled_loss(logits: Tensor, marked: Tensor, prior: Tensor | float) -> Tensor:
    r"""Non-negative risk of a classifier of pixels, some marked as object, none as background.

    .. math::

        \pi\, \mathbb E_{P}\, \ell(z) + \max\big\{0,\;
        \mathbb E_{U}\, \ell(-z) - \pi\, \mathbb E_{P}\, \ell(-z)\big\}, \qquad \ell(z) = \log(1 + e^{-z})

    P are the marked pixels, U all pixels, and π is the share of the object among all. What is marked must be
    like the rest of the object. The second term is the risk of the background, which cannot be negative.
    Where everything is marked, π being the share of what is, this is binary cross-entropy.

    Args:
        logits: z, (n, 1, h, w).
        marked: (n, 1, h, w) in {0, 1}.
        prior: π in [0, 1].

    Returns:
        0-d, float32 at least; without a marked pixel :math:`\mathbb E_P` is 0.

    Raises:
        InputError: logits and marks of different shapes.

    Source: Kiryo et al., "Positive-unlabeled learning with non-negative risk estimator", NeurIPS 2017,
    equation 6, with the logistic loss. A term below 0 has no gradient here; their algorithm 1 steps back.
    """
    if logits.shape != marked.shape:
        raise InputError(
            f"logits and marks must have the same shape; got {tuple(logits.shape)} and {tuple(marked.shape)}"
        )
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    mark = marked.to(z.dtype)
    as_object, as_background = F.softplus(-z), F.softplus(z)
    count = mark.sum().clamp(min=1)
    found, missed = ((mark * loss).sum() / count for loss in (as_object, as_background))
    return prior * found + (as_background.mean() - prior * missed).clamp(min=0)
