"""Gradient reversal and ramp. Published values: test_golden.py."""

import pytest
import torch
from torch.func import grad, hessian, vmap

from mstl.nn import ramp, reverse_gradient
from mstl.system.errors import InputError

X = torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(2, 3)


@pytest.mark.trust(
    "adversaries", "The reversal is the identity forwards and multiplies the gradient by minus its strength."
)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, torch.tensor(0.3), torch.tensor(2.0)])
def test_identity_forwards_and_minus_strength_backwards(strength):
    x = X.clone().requires_grad_()
    y = reverse_gradient(x, strength)
    assert torch.equal(y, x)
    y.pow(3).sum().backward()
    torch.testing.assert_close(x.grad, -float(strength) * 3 * X**2)


@pytest.mark.trust(
    "adversaries",
    "The reversal uses the strength of its forward pass, whatever happens to it before the backward pass.",
)
def test_strength_is_captured_in_the_forward_pass():
    x, strength = X.clone().requires_grad_(), torch.tensor(0.5)
    y = reverse_gradient(x, strength)
    strength.fill_(100.0)
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(X, -0.5))
    assert not strength.requires_grad


@pytest.mark.trust("adversaries", "The reversal differentiates twice and under vmap, grad and hessian.")
@pytest.mark.parametrize("strength", [0.3, torch.tensor(0.3, dtype=torch.float64)])
def test_differentiates_twice_and_under_function_transforms(strength):
    def cube(x):
        return reverse_gradient(x, strength).pow(3).sum()

    x = X.clone().requires_grad_()
    (first,) = torch.autograd.grad(cube(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    # The chain −λ·3R(x)² passes the reversal once more: (−λ)²·6x.
    torch.testing.assert_close(second, 0.09 * 6 * X)
    torch.testing.assert_close(grad(cube)(X), -0.3 * 3 * X**2)
    torch.testing.assert_close(vmap(grad(cube))(X), -0.3 * 3 * X**2)
    torch.testing.assert_close(hessian(cube)(X[0]), torch.diag(0.09 * 6 * X[0]))


def test_one_strength_per_example_under_vmap():
    strengths = torch.tensor([0.0, 2.0], dtype=torch.float64)
    gradients = vmap(grad(lambda x, s: reverse_gradient(x, s).sum()))(X, strengths)
    torch.testing.assert_close(gradients, -strengths[:, None].expand(2, 3))


def test_half_precision_gradients_keep_their_type():
    x = X.to(torch.bfloat16).requires_grad_()
    reverse_gradient(x, torch.tensor(0.5)).sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_ramp_rises_from_zero_towards_one():
    values = [ramp(p / 20) for p in range(21)]
    assert values[0] == 0
    assert values == sorted(values)
    assert 0.999 < values[-1] < 1
    assert ramp(0.5, gain=1.0) < ramp(0.5, gain=10.0)


@pytest.mark.parametrize("progress", [-0.01, 1.01, float("nan"), float("inf")])
def test_ramp_refuses_progress_outside_the_run(progress):
    with pytest.raises(InputError, match="progress"):
        ramp(progress)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_bad_strength_and_gain(bad):
    with pytest.raises(InputError, match="strength"):
        reverse_gradient(X, bad)
    with pytest.raises(InputError, match="gain"):
        ramp(0.5, gain=bad)


def test_a_ramp_needs_a_slope():
    with pytest.raises(InputError, match="gain"):
        ramp(0.5, gain=0)
