"""What logits say: a mask is a field of labels, and a class is a field of one place.

One channel is the logit of an object against its background, K channels are those of K classes. All results
are float32 at least: half precision has no room for the tails of a probability.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F


def probabilities(logits: Tensor) -> Tensor:
    """(n, 1, …) → of the object, (n, 1, …); (n, K, …) → of each class, (n, K, …), sum 1."""
    z = full(logits)
    return z.sigmoid() if z.shape[1] == 1 else z.softmax(1)


def log_probabilities(logits: Tensor) -> Tensor:
    r"""Of every class, also of the background: (n, 1, …) → (n, 2, …), (n, K, …) → (n, K, …).

    .. math:: (\log \sigma(-z), \log \sigma(z)) \qquad\text{or}\qquad z_k - \log \sum_l e^{z_l}
    """
    z = full(logits)
    return torch.cat((F.logsigmoid(-z), F.logsigmoid(z)), 1) if z.shape[1] == 1 else z.log_softmax(1)


def mixture(logits: Iterable[Tensor], weights: Tensor | None = None) -> Tensor:
    r"""Logits of the mean of J predictions, :math:`\sum_j w_j p_j`.

    Summed in the log domain: certain predictions neither overflow nor lose their gradient.

    Args:
        logits: J of (n, c, h, w).
        weights: w, (n, J), positive, sum 1 over j; the plain mean by default.

    Returns:
        (n, c, h, w), up to a constant that no softmax sees; for J = 1 the logits themselves, up to rounding.
    """
    logits = tuple(logits)
    log_p = torch.stack([log_probabilities(z) for z in logits])
    if weights is not None:
        log_p = log_p + weights.to(log_p.dtype).log().T[:, :, None, None, None]
    total = log_p.logsumexp(0)
    return total[:, 1:] - total[:, :1] if logits[0].shape[1] == 1 else total


def union(logits: Iterable[Tensor]) -> Tensor:
    r"""Logits of the union of J masks, a place being object where one head at least says so (noisy-or).

    .. math:: \hat y = 1 - \prod_j (1 - \sigma(P_j)), \qquad
        \frac{\hat y}{1 - \hat y} = \prod_j (1 + e^{P_j}) - 1

    Two at a time, :math:`a \cup b = \log(e^a + e^b + e^{a + b})`, in the log domain: nothing cancels, no head
    is too certain, and every gradient lies in [0, 1]. One head is its own union; a union is never below its
    largest head, and a head at :math:`-\infty` takes no part in it.

    Args:
        logits: J of (n, 1, h, w).

    Returns:
        (n, 1, h, w).

    Source: Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988, chapter 4.
    """
    first, *others = map(full, logits)
    return reduce(lambda a, b: torch.logaddexp(torch.logaddexp(a, b), a + b), others, first)


def disagreement(logits: Tensor, power: int) -> Tensor:
    r"""Mean over pairs of predictions, over classes and places, of their distance.

    .. math::

        \binom J2^{-1} \sum_{i<j} \operatorname{mean}\, |p_i - p_j|^{power}

    Args:
        logits: (J, n, c, h, w).
        power: 1 or 2.

    Returns:
        0-d; 0 for J = 1, where there is nobody to disagree with.
    """
    p = [probabilities(z) for z in logits]
    distances = [(a - b).abs().pow(power).mean() for a, b in combinations(p, 2)]
    return torch.stack(distances).mean() if distances else p[0].new_zeros(())


def entropy(logits: Tensor) -> Tensor:
    r""":math:`-\sum_k p_k \log p_k` in nats, (n, h, w)."""
    log_p = log_probabilities(logits)
    return -(log_p.exp() * log_p).sum(1)


def certain(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable class of every place, and its probability: int64 and float (n, h, w)."""
    p = probabilities(logits)
    if p.shape[1] > 1:
        p, label = p.max(1)
        return label, p
    p = p[:, 0]
    return (p > 0.5).long(), torch.maximum(p, 1 - p)


def label_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy at every place with hard labels: (n, c, h, w) and int64 (n, h, w) → (n, h, w)."""
    z = full(logits)
    if z.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(z[:, 0], labels.to(z.dtype), reduction="none")
    return F.cross_entropy(z, labels, reduction="none")


def full(x: Tensor) -> Tensor:
    """float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
