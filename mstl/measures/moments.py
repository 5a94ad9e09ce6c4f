"""Distance between the moments of several domains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from mstl.system.errors import InputError

PAIRS = ("balanced", "all")


def moment_distance(
    sources: Sequence[Tensor],
    target: Tensor,
    orders: Sequence[int] = (1, 2),
    *,
    central: bool = True,
    unbiased: bool = False,
    pairs: str = "balanced",
) -> Tensor:
    """Distance between the moments of J source samples and a target sample.

    .. math::
        MD^2 = Σ_{k ∈ orders} \\Big( \\frac1J Σ_j |M_k(X_j) - M_k(X_T)|_2
               + \\binom J2^{-1} Σ_{i<j} |M_k(X_i) - M_k(X_j)|_2 \\Big)

    M₁ is the mean over rows; M_k for k ≥ 2 is the mean of (x − M₁)^k, or of x^k where ``central`` is false,
    as printed in the paper. With J = 1 only the source-target term is left.

    Args:
        sources: J ≥ 1 tensors (n_j, d); the n_j may differ.
        target: (m, d).
        orders: k ≥ 1.
        central: centre before taking powers.
        unbiased: divide the second central moment by n − 1.
        pairs: "balanced" as above, or "all": the plain mean over all J(J+1)/2 pairs of domains, in which the
            source-source pairs outnumber the others for J > 3.

    Returns:
        0-d; float32 at least also inside autocast, float64 for float64. Zero only if all moments agree.

    Raises:
        InputError: no source, samples that are not (n, d) with one d, empty samples, one row with
            ``unbiased``, an order < 1, unknown ``pairs``.

    Source: Peng et al., "Moment matching for multi-source domain adaptation", ICCV 2019, equation 1. Public
    code uses "all" with central moments (pykale), or half the sum of mean and unbiased variance (Dassl).
    """
    domains = [*sources, target]
    _check(domains, orders, unbiased, pairs)
    with torch.autocast(target.device.type, enabled=False):
        domains = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in domains]
        total = domains[-1].new_zeros(())
        for order in orders:
            *of_sources, of_target = (_moment(x, order, central, unbiased) for x in domains)
            to_target = [torch.linalg.vector_norm(m - of_target) for m in of_sources]
            between = [torch.linalg.vector_norm(a - b) for a, b in combinations(of_sources, 2)]
            groups = [to_target, between] if pairs == "balanced" else [to_target + between]
            total = total + sum(torch.stack(group).mean() for group in groups if group)
        return total


def _moment(x: Tensor, order: int, central: bool, unbiased: bool) -> Tensor:
    if order == 1:
        return x.mean(0)
    if not central:
        return x.pow(order).mean(0)
    if order == 2:
        return x.var(0, correction=int(unbiased))
    return (x - x.mean(0)).pow(order).mean(0)


def _check(domains: list[Tensor], orders: Sequence[int], unbiased: bool, pairs: str) -> None:
    if pairs not in PAIRS:
        raise InputError(f"pairs must be one of {', '.join(PAIRS)}; got {pairs!r}")
    if not orders or min(orders) < 1:
        raise InputError(f"orders must be one or more integers ≥ 1; got {tuple(orders)}")
    if len(domains) < 2:
        raise InputError("the moment distance needs at least one source")
    least = 2 if unbiased else 1
    for x in domains:
        if x.ndim != 2 or x.shape[1:] != domains[-1].shape[1:] or len(x) < least:
            raise InputError(
                f"every sample must have shape (n, d) with one d and n ≥ {least}; "
                f"got {tuple(x.shape)} and a target {tuple(domains[-1].shape)}"
            )
