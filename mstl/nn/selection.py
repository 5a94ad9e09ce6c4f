"""Which instances of distant domains take part: scores, the closed form, and its objective."""

from __future__ import annotations

from torch import Tensor

from mstl.nn.outputs import entropy, full, label_losses


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    r""":math:`\|\hat x - x\|^2` of every instance, (n, …) → (n,)."""
    return (full(reconstructions) - full(images)).flatten(1).square().sum(1)


def source_scores(logits: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
    r"""What a labelled instance costs.

    .. math:: \ell\big(y, f_c(f_e(x))\big) + \|\hat x - x\|^2

    Args:
        logits: (n, K, 1, 1), or (n, 1, 1, 1) of two classes.
        labels: y, int64 (n,).
        errors: of the reconstruction, (n,).

    Returns:
        (n,).

    Source: Tan, Zhang, Pan and Yang, "Distant domain transfer learning", AAAI 2017, the selection of source
    instances.
    """
    return label_losses(logits, labels.view(-1, 1, 1)).flatten(1).mean(1) + errors


def bridge_scores(logits: Tensor, errors: Tensor) -> Tensor:
    r"""What an unlabelled instance of an intermediate domain costs.

    .. math:: \|\hat x - x\|^2 + g\big(f_c(f_e(x))\big), \qquad g(p) = -\sum_k p_k \log p_k

    Args:
        logits: as of `source_scores`.
        errors: of the reconstruction, (n,).

    Returns:
        (n,).

    Source: as `source_scores`.
    """
    return entropy(logits).flatten(1).mean(1) + errors


def selected(scores: Tensor, threshold: float) -> Tensor:
    r""":math:`v_i = \mathbb 1[s_i < \lambda]`, where :math:`v_i (s_i - \lambda)` is least: (n,) → (n,).

    Source: as `source_scores`; 1/n cancels.
    """
    return (scores < threshold).to(scores.dtype)


def objective(
    target: Tensor,
    chosen: tuple[tuple[Tensor, Tensor, float], ...],
) -> Tensor:
    r"""J₁ + J₂: reconstruction, classification and entropy, and what leaving instances out costs.

    .. math:: \frac1{n_T} \sum_i s_i^T + \sum_{D \in \{S, I\}} \frac1{n_D} \sum_i v_i^D (s_i^D - \lambda_D)

    Args:
        target: scores of the labelled target instances, which are never left out.
        chosen: of the source and of the intermediate domains their scores, v and λ.

    Returns:
        0-d.

    Source: as `source_scores`, equations 1 to 4.
    """
    return target.mean() + sum((v * (scores - threshold)).mean() for scores, v, threshold in chosen)
