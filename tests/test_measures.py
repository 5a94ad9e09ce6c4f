"""Distances between domains: limits, edges and bad input.

Published values stand in test_golden.py, identities and other implementations in test_independent.py.
"""

import pytest
import torch

from mstl.errors import InputError
from mstl.measures import jmmd2, mean_bandwidths, mmd2, moment_distance


def det(n, d, phase, scale, shift):
    return scale * torch.sin(1.7 * torch.arange(n * d, dtype=torch.float64).reshape(n, d) + phase) + shift


S, T = det(6, 3, 0, 1, 0), det(6, 3, 0.5, 1.2, 0.3)
S2, T2 = (det(6, 4, phase, 2, 0).softmax(1) for phase in (1, 2))
XLEARN = mean_bandwidths()


def three_sources():
    return S, det(6, 3, 0.7, 1.1, 0.2), det(6, 3, 1.4, 0.9, -0.1)


@pytest.mark.trust(
    "formulas", "The biased MMD equals the distance of mean embeddings, integrated numerically."
)
@pytest.mark.parametrize(("n", "m"), [(1, 4), (4, 7)])
def test_biased_estimate_is_the_squared_distance_of_mean_embeddings(n, m):
    """In one dimension, ∫ (mean φ_x − mean φ_y)² on a grid, with φ the square root of the kernel."""
    x, y = det(n, 1, 0, 1, 0), det(m, 1, 0.5, 1.2, 0.3)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)

    def embedding(z):
        # exp(−(z−g)²·2/b) convolved with itself is proportional to exp(−(z−z')²/b).
        return torch.exp(-2 * (z - grid).square() / 3.0).mean(0)

    integral = torch.trapezoid((embedding(x) - embedding(y)).square(), grid)
    constant = (torch.pi * 3.0 / 4) ** 0.5
    assert mmd2(x, y, 3.0, "biased").item() == pytest.approx(integral.item() / constant, rel=1e-9)


@pytest.mark.trust("formulas", "Unbiased estimators of the MMD average to zero between equal distributions.")
@pytest.mark.parametrize("estimator", ["unbiased", "linear", "linear_pairs"])
def test_estimators_without_bias_average_to_zero_between_equal_distributions(estimator):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2, 400, 8, 2, generator=generator, dtype=torch.float64)
    values = torch.stack([mmd2(x, y, 2.0, estimator) for x, y in zip(*draws, strict=True)])
    assert abs(values.mean()) < 4 * values.std() / 20
    assert (values < 0).any()
    assert torch.stack([mmd2(x, y, 2.0, "biased") for x, y in zip(*draws, strict=True)]).min() >= 0


@pytest.mark.trust("formulas", "The MMD of two Gaussians comes out at its closed form.")
def test_estimators_agree_on_large_samples_of_different_size():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(1300, 2, generator=generator, dtype=torch.float64) + 1
    # E k = b'/(b' + 4)·exp(−|δ|²/(b' + 4)) for two standard normals in 2-D, with b' = b = 2 and |δ|² = 2.
    exact = 2 * (2 / 6) * (1 - torch.tensor(-2 / 6).exp().item())
    for estimator, tolerance in [("unbiased", 0.03), ("biased", 0.03), ("linear", 0.1)]:
        assert mmd2(x, y, 2.0, estimator).item() == pytest.approx(exact, abs=tolerance)


def test_joint_kernel_is_the_product():
    constant = torch.zeros(6, 2, dtype=torch.float64)
    assert jmmd2((S, constant), (T, constant), (2.0, 1.0)).item() == pytest.approx(mmd2(S, T, 2.0).item())
    # A product of two Gaussians of one bandwidth is the Gaussian of the concatenated features.
    together = mmd2(torch.cat((S, S2), 1), torch.cat((T, T2), 1), 2.0)
    assert jmmd2((S, S2), (T, T2), (2.0, 2.0)).item() == pytest.approx(together.item(), rel=1e-12)


@pytest.mark.trust("formulas", "Gradients of the distances equal finite differences.")
@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear"])
def test_gradient_is_the_derivative(estimator):
    x, y = S.clone().requires_grad_(), T.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: mmd2(a, b, (0.5, 2.0), estimator), (x, y))
    assert torch.autograd.gradcheck(
        lambda a, b: moment_distance((a, S2[:, :3]), b, (1, 2, 3), unbiased=True), (x, y)
    )


def test_equal_samples_have_distance_zero_and_a_finite_gradient():
    x = torch.ones(4, 3, requires_grad=True)
    value = mmd2(x, torch.ones(5, 3), XLEARN) + moment_distance((x,), torch.ones(5, 3))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(x.grad).all()


def test_single_precision_within_autocast():
    x, y = S.float() + 50, T.float() + 50
    exact = mmd2(S, T, XLEARN).item()
    with torch.autocast("cpu", torch.bfloat16):
        value = mmd2(x, y, XLEARN)
        assert moment_distance((x.bfloat16(),), y.bfloat16()).dtype == torch.float32
        assert mmd2(S, T, XLEARN).dtype == torch.float64
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact, abs=1e-4)
    assert mmd2(S.half(), T.half(), XLEARN).item() == pytest.approx(exact, abs=1e-2)


@pytest.mark.parametrize("pairs", ["balanced", "all"])
def test_moments_see_every_source_and_every_order(pairs):
    base = moment_distance(three_sources(), T, pairs=pairs).item()
    shuffled = moment_distance(three_sources()[::-1], T, pairs=pairs).item()
    assert shuffled == pytest.approx(base, rel=1e-12)
    for j in range(3):
        shifted = list(three_sources())
        shifted[j] = shifted[j] + 3
        assert moment_distance(shifted, T, pairs=pairs).item() > base + 1
    same = det(6, 3, 0, 1, 0)
    assert moment_distance((same, same), same + 3, (1,)).item() == pytest.approx(3 * 3**0.5)
    assert moment_distance((same, same), 2 * (same - same.mean(0)) + same.mean(0), (1,)).item() < 1e-12
    assert moment_distance((same, same), 2 * same, (2,)).item() == pytest.approx(
        3 * same.var(0, correction=0).norm().item()
    )


@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_pairs_of_sources_are_averaged(j):
    sources = [S + i for i in range(j)]
    one = sum(moment_distance((x,), T).item() for x in sources) / j
    between = moment_distance(sources, T).item() - one
    expected = 0.0
    if j > 1:
        gaps = [abs(a - b) * 3**0.5 for a in range(j) for b in range(a)]
        expected = sum(gaps) / len(gaps)
    assert between == pytest.approx(expected, abs=1e-12)


def test_ragged_samples():
    assert torch.isfinite(moment_distance((S, S[:2], S[:1]), T[:4]))
    assert torch.isfinite(mmd2(S, T[:2], XLEARN))
    assert torch.isfinite(mmd2(S[:3], T, XLEARN, "linear_pairs"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mmd2(S[:1], T, 1.0), "at least 2 rows"),
        (lambda: mmd2(S, T[:1], 1.0, "linear"), "at least 2 rows"),
        (lambda: mmd2(S[:0], T, 1.0, "biased"), "at least 1 rows"),
        (lambda: mmd2(S, T2, 1.0), r"\(n, d\) and \(m, d\)"),
        (lambda: mmd2(S, T, 0.0), "bandwidths"),
        (lambda: mmd2(S, T, 1.0, "median"), "estimator"),
        (lambda: jmmd2((S, S2), (T,), (1.0, 1.0)), "layers"),
        (lambda: jmmd2((S, S2[:3]), (T, T2), (1.0, 1.0)), "number of rows"),
        (lambda: moment_distance((), T), "at least one source"),
        (lambda: moment_distance((S,), T2), "shape"),
        (lambda: moment_distance((S[:1],), T, unbiased=True), "n ≥ 2"),
        (lambda: moment_distance((S,), T, (0,)), "orders"),
        (lambda: moment_distance((S,), T, pairs="some"), "pairs"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()
