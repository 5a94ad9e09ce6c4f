"""MMD as it is written down: every difference of two rows, in an array of n²·d numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MULTIPLIERS = (0.25, 0.5, 1.0, 2.0, 4.0)


def mmd2(xs: Sequence[Tensor], ys: Sequence[Tensor], multipliers: Sequence[float] = MULTIPLIERS) -> Tensor:
    """Unbiased MMD² of L layers, their kernels multiplied: with one layer MK-MMD, with several JMMD.

    The bandwidths are ``multipliers`` times the mean squared distance of different rows, as in
    `mstl.measures.mean_bandwidths`. Memory and time grow with n²·d.

    Args:
        xs, ys: L tensors (n, d_l).
    """
    n, kernel = len(xs[0]), None
    for x, y in zip(xs, ys, strict=True):
        joined = torch.cat((x, y))
        count = len(joined)
        left = joined.unsqueeze(0).expand(count, count, -1)
        right = joined.unsqueeze(1).expand(count, count, -1)
        distance = ((left - right) ** 2).sum(2)
        mean = distance.detach().sum() / (count * count - count)
        layer = sum(torch.exp(-distance / (multiplier * mean)) for multiplier in multipliers)
        kernel = layer if kernel is None else kernel * layer
    within = sum(block.sum() - block.diagonal().sum() for block in (kernel[:n, :n], kernel[n:, n:]))
    return within / (n * (n - 1)) - 2 * kernel[:n, n:].mean()
