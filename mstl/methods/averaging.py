"""Averages of the predictions of several networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_probability_logits(logits: Tensor) -> Tensor:
    r"""Logits of the mean probability of J predictions.

    .. math::

        \operatorname{logit}\Big(\frac1J \sum_j \sigma(z_j)\Big)
        = \log \sum_j \sigma(z_j) - \log \sum_j \sigma(-z_j)

    Both sums are taken in the log domain: certain predictions neither overflow nor lose their gradient.

    Args:
        logits: :math:`z`, (J, n, 1, h, w).

    Returns:
        (n, 1, h, w), float32 at least; for J = 1 the logits themselves, up to rounding.
    """
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.logsigmoid(z).logsumexp(0) - F.logsigmoid(-z).logsumexp(0)
