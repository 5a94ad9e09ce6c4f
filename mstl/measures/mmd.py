"""Maximum mean discrepancy between two samples, with sums of Gaussian kernels.

A bandwidth b names the kernel k(x, y) = exp(−|x − y|²/b); several bandwidths name the *sum* of their kernels,
so k(x, x) = m for m bandwidths. In this unit

* σ of exp(−|x − y|²/2σ²) is b = 2σ², and γ of exp(−γ|x − y|²) is b = 1/γ;
* α of Transfer-Learning-Library is b = 2α·mean |x − y|² over all N² pairs of the joined sample;
* 2^k of Xlearn and MFSAN is b = 2^k·mean |x − y|² over its N² − N pairs of different rows.

Bandwidths that follow the data are functions of the joined sample's squared distances: see
:func:`mean_bandwidths`, which gives both of the last two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from mstl.system.errors import InputError

Bandwidths = float | Sequence[float] | Tensor | Callable[[Tensor], Tensor]

ESTIMATORS = ("unbiased", "biased", "linear", "linear_pairs")


class _SquaredDistances(torch.autograd.Function):
    """Distances and their gradient by one matrix product each: G of the distances gives
    2·(diag(S 1) − S)·z with S = G + Gᵀ; a Gram matrix differentiated by rote takes two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        squares = z.square().sum(1)
        distances = torch.addmm(squares, z, z.T, alpha=-2).add_(squares[:, None]).clamp_min_(0)
        return distances.fill_diagonal_(0)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        symmetric = gradient + gradient.T
        return 2 * (symmetric.sum(1, keepdim=True) * z - symmetric @ z)


def squared_distances(z: Tensor) -> Tensor:
    """|z_i − z_j|² of all rows, from one Gram matrix: (n, d) → (n, n), diagonal exactly 0."""
    # Distances do not change, and small ones keep their digits.
    centred = z - z.mean(0).detach()
    if torch.is_grad_enabled() and z.requires_grad:
        return _SquaredDistances.apply(centred)
    return _SquaredDistances.forward(centred)


def mean_bandwidths(
    multipliers: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0), diagonal: bool = False
) -> Callable[[Tensor], Tensor]:
    """Bandwidths proportional to the mean squared distance within the joined sample.

    Args:
        multipliers: one kernel each.
        diagonal: also count the N zero distances of rows to themselves in the mean.

    Returns:
        A function of the (N, N) squared distances, for the ``bandwidths`` of :func:`mmd2`. No gradient flows
        through it.
    """

    def bandwidths(distances: Tensor) -> Tensor:
        n = len(distances)
        mean = distances.sum() / (n * n if diagonal else n * (n - 1))
        # All rows equal: any bandwidth gives the right distance, 0, except 0 itself.
        factors = torch.tensor(multipliers, dtype=distances.dtype).to(distances.device, non_blocking=True)
        return factors * mean.clamp_min(torch.finfo(distances.dtype).eps)

    bandwidths.multipliers = tuple(multipliers)
    return bandwidths


def mmd2(x: Tensor, y: Tensor, bandwidths: Bandwidths, estimator: str = "unbiased") -> Tensor:
    """Estimate of the squared maximum mean discrepancy between the distributions of two samples.

    .. math::
        \\mathrm{MMD}^2 = E\\,k(x, x') + E\\,k(y, y') - 2 E\\,k(x, y), \\qquad
        k(x, y) = Σ_b e^{-|x - y|^2 / b}

    * "unbiased": means over pairs of different rows within each sample. It is *often negative* where the
      distributions are close: only its expectation cannot be.
    * "biased": means over all pairs, a squared norm and therefore ≥ 0.
    * "linear": O(n) instead of O(n²), unbiased: rows i and i+1 (the last with the first) replace all pairs.
    * "linear_pairs": the same with disjoint pairs (0, 1), (2, 3), …, Gretton's form.

    Args:
        x: (n, d).
        y: (m, d). n ≠ m is fine; the linear estimators use the first min(n, m) rows of both.
        bandwidths: in units of squared distance (conversions at the top of the module): a number, several, a
            tensor, or a function of the joined sample's squared distances such as :func:`mean_bandwidths`.
        estimator: one of the above.

    Returns:
        0-d; float32 at least also inside autocast, float64 for float64.

    Raises:
        InputError: samples that are not (n, d) and (m, d), fewer than 2 rows (1 for "biased"), a bandwidth
            ≤ 0, an unknown estimator.

    Source: Gretton et al., "A kernel two-sample test", JMLR 2012, lemma 6, equations 3 and 5.
    """
    return jmmd2((x,), (y,), (bandwidths,), estimator)


def jmmd2(
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    bandwidths: Sequence[Bandwidths],
    estimator: str = "unbiased",
) -> Tensor:
    """Joint maximum mean discrepancy: MMD² whose kernel is the product of one kernel a layer.

    .. math:: k((x^1, …, x^L), (y^1, …, y^L)) = Π_l k^l(x^l, y^l)

    Args:
        xs: L tensors (n, d_l), row i of each from the same example.
        ys: L tensors (m, d_l).
        bandwidths: L entries, each as in :func:`mmd2`.
        estimator: as in :func:`mmd2`.

    Returns, raises: as :func:`mmd2`, and InputError for unequal numbers of layers or of rows.

    Source: Long et al., "Deep transfer learning with joint adaptation networks", ICML 2017, section 4.
    """
    n, m = _check(xs, ys, bandwidths, estimator)
    joined = [torch.cat((x, y)) for x, y in zip(xs, ys, strict=True)]
    joined = [z.to(torch.promote_types(z.dtype, torch.float32)) for z in joined]
    with torch.autocast(joined[0].device.type, enabled=False):
        if estimator.startswith("linear"):
            return _linear(joined, bandwidths, n, m, ring=estimator == "linear")
        kernels = []
        for z, layer in zip(joined, bandwidths, strict=True):
            distances = squared_distances(z)
            kernels.append(_kernel(distances, _resolve(layer, distances.detach()), _doublings(layer)))
        kernel = reduce(torch.mul, kernels)
        return (kernel * _pair_weights(n, m, estimator == "unbiased", kernel)).sum()


def _linear(joined: Sequence[Tensor], bandwidths: Sequence[Bandwidths], n: int, m: int, ring: bool) -> Tensor:
    rows = min(n, m)
    first = torch.arange(0, rows if ring else rows - 1, 1 if ring else 2, device=joined[0].device)
    second = (first + 1) % rows
    left = torch.stack((first, n + first, first, second))
    right = torch.stack((second, n + second, n + second, n + first))
    kernels = []
    for z, layer in zip(joined, bandwidths, strict=True):
        chosen = _resolve(layer, squared_distances(z.detach()) if callable(layer) else z)
        kernels.append(_kernel((z[left] - z[right]).square().sum(-1), chosen, _doublings(layer)))
    within_x, within_y, forth, back = reduce(torch.mul, kernels)
    return (within_x + within_y - forth - back).mean()


class _KernelSum(torch.autograd.Function):
    """Σ_b exp(−distance/b) and its slope −Σ_b exp(−distance/b)/b, in place as far as possible.

    Where every bandwidth is half the next, each kernel is the square of the next one.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(distances: Tensor, bandwidths: Tensor, doubling: bool) -> tuple[Tensor, Tensor]:
        total = slope = None
        for rate, kernel in _kernels(distances, bandwidths, doubling):
            if total is None:
                total, slope = kernel.clone(), kernel * rate
            else:
                total.add_(kernel)
                slope.addcmul_(kernel, rate)
        return total, slope

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs[:2], output[1])

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        distances, bandwidths, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative the slope has to remember where it came from
            slope = sum(torch.exp(-distances / bandwidth) / -bandwidth for bandwidth in bandwidths)
        return gradient * slope, None, None


def _kernel(distances: Tensor, bandwidths: Tensor, doubling: bool) -> Tensor:
    if torch.is_grad_enabled() and distances.requires_grad:
        return _KernelSum.apply(distances, bandwidths, doubling)[0]
    total = None
    for _, kernel in _kernels(distances, bandwidths, doubling):
        total = kernel.clone() if total is None else total.add_(kernel)
    return total


def _kernels(distances: Tensor, bandwidths: Tensor, doubling: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """For each bandwidth b, the largest first, -1/b and exp(-distance/b), all in the same memory."""
    kernel = None
    for rate in -bandwidths.reciprocal().flip(0):
        kernel = (distances * rate).exp_() if kernel is None or not doubling else kernel.mul_(kernel)
        yield rate, kernel


def _doublings(bandwidths: Bandwidths) -> bool:
    """Whether every bandwidth is known to be half the next; asking a tensor would be to wait for it."""
    known = getattr(bandwidths, "multipliers", bandwidths)
    if not isinstance(known, list | tuple):
        return False
    return all(2 * one == other for one, other in pairwise(known))


def _resolve(bandwidths: Bandwidths, like: Tensor) -> Tensor:
    """Bandwidths as a 1-D tensor; ``like`` holds the squared distances where a function asks for them."""
    if callable(bandwidths):
        bandwidths = bandwidths(like)
    elif not isinstance(bandwidths, Tensor):
        numbers = (bandwidths,) if isinstance(bandwidths, int | float) else tuple(bandwidths)
        if not numbers or not all(number > 0 for number in numbers):
            raise InputError(f"bandwidths must be one or more numbers > 0; got {bandwidths}")
        bandwidths = torch.tensor(numbers, dtype=like.dtype).to(like.device, non_blocking=True)
    return bandwidths.detach().to(like).reshape(-1)


def _pair_weights(n: int, m: int, unbiased: bool, like: Tensor) -> Tensor:
    """What each pair of the joined sample counts: (n + m, n + m), of means within and between the samples."""
    weights = like.new_full((n + m, n + m), -1 / (n * m))
    weights[:n, :n] = 1 / (n * (n - unbiased))
    weights[n:, n:] = 1 / (m * (m - unbiased))
    return weights.fill_diagonal_(0) if unbiased else weights


def _check(
    xs: Sequence[Tensor], ys: Sequence[Tensor], bandwidths: Sequence[Bandwidths], estimator: str
) -> tuple[int, int]:
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator must be one of {', '.join(ESTIMATORS)}; got {estimator!r}")
    if not len(xs) == len(ys) == len(bandwidths) > 0:
        raise InputError(
            "both samples need the same layers and every layer its bandwidths; "
            f"got {len(xs)} and {len(ys)} layers and {len(bandwidths)} sets of bandwidths"
        )
    for x, y in zip(xs, ys, strict=True):
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
            raise InputError(
                f"samples must have shapes (n, d) and (m, d); got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        if len(x) != len(xs[0]) or len(y) != len(ys[0]):
            raise InputError("all layers of a sample must have the same number of rows")
    n, m = len(xs[0]), len(ys[0])
    least = 1 if estimator == "biased" else 2
    if min(n, m) < least:
        raise InputError(
            f"the {estimator} estimator needs at least {least} rows in each sample; got {n} and {m}"
            + (" (the biased one needs 1)" if least == 2 else "")
        )
    return n, m
