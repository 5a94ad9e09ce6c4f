"""The fast MMD is the textbook's: values, gradients, doubled bandwidths or not."""

from __future__ import annotations

import pytest
import textbook_mmd
import torch

from mstl.measures import jmmd2, mean_bandwidths, mmd2

DOUBLING, OTHER = (0.25, 0.5, 1.0, 2.0), (0.3, 1.0, 2.0)


def samples(layers: int, n: int, seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        [
            (torch.randn(n, 5 + layer, dtype=torch.float64, generator=generator) + shift).requires_grad_()
            for layer in range(layers)
        ]
        for shift in (0.0, 0.5)
    )


@pytest.mark.parametrize("multipliers", [DOUBLING, OTHER, (1.0,)])
@pytest.mark.parametrize(("layers", "n"), [(1, 2), (1, 9), (2, 6), (3, 4)])
def test_value_and_gradient_are_those_of_all_differences(layers, n, multipliers):
    xs, ys = samples(layers, n)
    fast = jmmd2(xs, ys, [mean_bandwidths(multipliers)] * layers)
    slow = textbook_mmd.mmd2(xs, ys, multipliers)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-14)
    fast_gradients = torch.autograd.grad(fast, [*xs, *ys])
    slow_gradients = torch.autograd.grad(slow, [*xs, *ys])
    for one, other in zip(fast_gradients, slow_gradients, strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear", "linear_pairs"])
def test_bandwidths_that_double_give_what_the_same_ones_in_a_tensor_give(estimator):
    (x,), (y,) = samples(1, 8)
    doubling = mmd2(x, y, [1.0, 2.0, 4.0, 8.0], estimator)
    one_by_one = mmd2(x, y, torch.tensor([1.0, 2.0, 4.0, 8.0]), estimator)
    torch.testing.assert_close(doubling, one_by_one, rtol=1e-12, atol=1e-14)


def test_the_last_of_bandwidths_that_almost_double_is_not_taken_for_a_double():
    (x,), (y,) = samples(1, 8)
    almost = mmd2(x, y, [1.0, 2.0, 4.5])
    assert almost == mmd2(x, y, torch.tensor([1.0, 2.0, 4.5]))
    assert almost != mmd2(x, y, [1.0, 2.0, 4.0])


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear"])
def test_gradient_is_that_of_small_differences(estimator):
    (x,), (y,) = samples(1, 4)
    assert torch.autograd.gradcheck(lambda x, y: mmd2(x, y, [1.0, 2.0, 4.0], estimator), (x, y))


def test_many_pairs_of_samples_at_once_give_what_each_gives():
    x, y = (torch.randn(3, 6, 4, dtype=torch.float64) for _ in range(2))
    together = torch.func.vmap(lambda x, y: mmd2(x, y, (1.0, 2.0)))(x, y)
    each = torch.stack([mmd2(a, b, (1.0, 2.0)) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(together, each)


def test_second_derivatives_are_those_of_small_differences():
    (x,), (y,) = samples(1, 4)
    assert torch.autograd.gradgradcheck(lambda x, y: mmd2(x, y, [1.0, 2.0, 4.0]), (x, y))
