"""J heads on the same images: the mean of their losses, of their predictions, and how far they disagree."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.nn import segmentation_loss


def head_losses(
    source_logits: Iterable[Tensor],
    source_masks: Iterable[Tensor],
    target_logits: Iterable[Tensor],
    target_masks: Tensor,
) -> dict[str, Tensor]:
    r"""Segmentation losses of J heads, each on its own source and all on the labelled target images.

    .. math::

        \frac1J \sum_j \mathcal L_{seg}(z_j^{s_j}, y^{s_j}), \qquad
        \frac1J \sum_j \mathcal L_{seg}(z_j^{t}, y^{t})

    Args:
        source_logits, source_masks: J of each, (b, 1, h', w').
        target_logits: J of (m, 1, h, w), the labelled images first.
        target_masks: (l, 1, h, w).

    Returns:
        ``source``, and ``target`` where l > 0.
    """
    losses = {"source": mean(map(segmentation_loss, source_logits, source_masks))}
    if count := len(target_masks):
        losses["target"] = mean(segmentation_loss(z[:count], target_masks) for z in target_logits)
    return losses


def mean_probability_logits(logits: Iterable[Tensor]) -> Tensor:
    r"""Logits of the mean probability of J predictions.

    .. math::

        \operatorname{logit}\Big(\frac1J \sum_j \sigma(z_j)\Big)
        = \log \sum_j \sigma(z_j) - \log \sum_j \sigma(-z_j)

    Both sums are taken in the log domain: certain predictions neither overflow nor lose their gradient.

    Args:
        logits: :math:`z`, J of (n, 1, h, w).

    Returns:
        (n, 1, h, w), float32 at least; for J = 1 the logits themselves, up to rounding.
    """
    z = _full(torch.stack(tuple(logits)))
    return F.logsigmoid(z).logsumexp(0) - F.logsigmoid(-z).logsumexp(0)


def disagreement(logits: Tensor, power: int) -> Tensor:
    r"""Mean over pairs of predictions and over pixels of their distance.

    .. math::

        \binom J2^{-1} \sum_{i<j} \operatorname{mean}\, |\sigma(z_i) - \sigma(z_j)|^{power}

    Args:
        logits: :math:`z`, (J, n, 1, h, w).
        power: 1 or 2.

    Returns:
        0-d, float32 at least; 0 for J = 1, where there is nobody to disagree with.
    """
    probabilities = _full(logits).sigmoid()
    pairs = list(combinations(probabilities, 2))
    if not pairs:
        return probabilities.new_zeros(())
    return mean((p - q).abs().pow(power).mean() for p, q in pairs)


def _full(x: Tensor) -> Tensor:
    """float32 at least: half precision has no room for small differences of probabilities."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean(losses: Iterable[Tensor]) -> Tensor:
    """The mean of 0-d losses, 0-d."""
    return torch.stack(tuple(losses)).mean()
