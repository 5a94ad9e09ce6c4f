"""Distances between domains: limits, edges and bad input.

Published values stand in test_golden.py, identities and other implementations in test_independent.py.
"""

import math
from itertools import combinations

import pytest
import torch

from mstl.measures import jmmd2, mean_bandwidths, mmd2, moment_distance
from mstl.measures.mmd import squared_distances
from mstl.system.errors import InputError


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


@pytest.mark.parametrize("estimator", ["unbiased", "linear", "linear_pairs"])
def test_a_bandwidth_made_from_the_data_is_no_way_for_the_gradient(estimator):
    measured = XLEARN(squared_distances(torch.cat((S, T))))

    def gradient(bandwidths):
        x = S.clone().requires_grad_()
        return torch.autograd.grad(mmd2(x, T, bandwidths, estimator), x)[0]

    torch.testing.assert_close(gradient(XLEARN), gradient(measured), rtol=1e-12, atol=0)


@pytest.mark.parametrize("bandwidths", [(0.5, 1.0, 2.0), (0.7, 2.0)])
def test_the_second_derivative_is_the_derivative_of_the_first(bandwidths):
    x = S[:3].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: mmd2(x, T, bandwidths, "unbiased"), x)


@pytest.mark.parametrize("bandwidths", [(0.5, 1.0, 2.0), (0.7, 2.0)])
def test_a_gradient_that_can_be_differentiated_again_is_the_same_gradient(bandwidths):
    x = S.clone().requires_grad_()
    plain, again = (
        torch.autograd.grad(mmd2(x, T, bandwidths), x, create_graph=create)[0] for create in (False, True)
    )
    torch.testing.assert_close(again, plain, rtol=1e-12, atol=1e-14)


def test_gradients_of_many_pairs_of_samples_at_once_are_those_of_each():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, 6, 4, dtype=torch.float64, generator=generator)

    def distance(x, y):
        return mmd2(x, y, (0.7, 2.0))

    together = torch.func.vmap(torch.func.grad(distance))(x, y)
    x.requires_grad_()
    each = torch.autograd.grad(sum(map(distance, x, y)), x)[0]
    torch.testing.assert_close(together, each, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("bandwidths", [(0.5, 1.0, 2.0), (0.5, 4.0), (2.0, 1.0), (0.3, 0.6, 1.3)])
@pytest.mark.parametrize("gradient", [False, True])
def test_the_kernels_of_several_bandwidths_are_summed_doublings_or_not(bandwidths, gradient):
    x = S.clone().requires_grad_(gradient)
    alone = sum(mmd2(x, T, bandwidth).item() for bandwidth in bandwidths)
    assert mmd2(x, T, bandwidths).item() == pytest.approx(alone, rel=1e-12, abs=1e-14)


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


def kernel(x, y, bandwidths=(0.5, 2.0)):
    return sum(math.exp(-float((x - y).square().sum()) / b) for b in bandwidths)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (6, 5), (4, 6)])
def test_linear_estimates_are_means_over_neighbours(n, m):
    """The definitions with loops, for even and odd numbers of rows, and fewer rows in either sample."""
    x, y, rows = S[:n], T[:m], min(n, m)

    def mean(pairs):
        return sum(
            kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
            for i, j in pairs
        ) / len(pairs)

    ring = [(i, (i + 1) % rows) for i in range(rows)]
    disjoint = [(i, i + 1) for i in range(0, rows - 1, 2)]
    assert mmd2(x, y, (0.5, 2.0), "linear").item() == pytest.approx(mean(ring), rel=1e-12, abs=1e-14)
    assert mmd2(x, y, (0.5, 2.0), "linear_pairs").item() == pytest.approx(mean(disjoint), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (6, 5), (3, 6)])
def test_quadratic_estimates_are_means_over_pairs(n, m):
    x, y = S[:n], T[:m]

    def mean(a, b, skip=False):
        values = [kernel(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return sum(values) / len(values)

    biased = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    unbiased = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y)
    assert mmd2(x, y, (0.5, 2.0), "biased").item() == pytest.approx(biased, rel=1e-12)
    assert mmd2(x, y, (0.5, 2.0)).item() == pytest.approx(unbiased, rel=1e-12)


def test_bandwidths_may_be_a_number_numbers_a_tensor_or_a_function_of_the_distances():
    wanted = mmd2(S, T, (2.0,)).item()
    assert mmd2(S, T, 2).item() == mmd2(S, T, 2.0).item() == wanted
    assert mmd2(S, T, torch.tensor(2.0)).item() == mmd2(S, T, torch.tensor([2.0])).item() == wanted
    z, seen, x = torch.cat((S, T)), [], S.clone().requires_grad_()
    for estimator in ("unbiased", "linear"):
        value = mmd2(x, T, lambda d: seen.append(d) or torch.tensor([2.0]), estimator)
        assert value.item() == pytest.approx(mmd2(S, T, 2.0, estimator).item(), rel=1e-12)
        torch.testing.assert_close(seen[-1], torch.cdist(z, z).square())
        assert not seen[-1].requires_grad
    # The weights of a sum of kernels are 1 each: k(x, x) is their number.
    far = torch.tensor([[0.0], [1e9]], dtype=torch.float64)
    assert mmd2(far[:1], far[1:], (1.0, 2.0, 3.0), "biased").item() == 6


def test_mean_bandwidths_are_multiples_of_the_mean_squared_distance():
    distances = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]], dtype=torch.float64)
    assert mean_bandwidths((1.0, 3.0))(distances).tolist() == [2.0, 6.0]
    assert mean_bandwidths((1.0, 3.0), diagonal=True)(distances).tolist() == pytest.approx([4 / 3, 4.0])
    assert mean_bandwidths()(distances).tolist() == [0.5, 1.0, 2.0, 4.0, 8.0]
    nothing = mean_bandwidths((1.0,))(torch.zeros(2, 2, dtype=torch.float64))
    assert nothing.item() == torch.finfo(torch.float64).eps


def test_squared_distances_keep_their_digits_far_from_the_origin_and_are_never_negative():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1e-3]])
    found = squared_distances(x + 1e4)
    assert found.diagonal().tolist() == [0, 0, 0]
    assert found[0, 1].item() == pytest.approx(25, rel=1e-3)
    assert (squared_distances(torch.randn(40, 3).mul_(1e-4) + 1) >= 0).all()
    torch.testing.assert_close(squared_distances(S), torch.cdist(S, S).square())
    # A shift of all rows is no change of a distance: its gradient is exactly 0.
    z = S.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squared_distances(z).sum(), z)
    torch.testing.assert_close(gradient.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, 4 * (len(S) * S - S.sum(0)))


@pytest.mark.parametrize("central", [True, False])
def test_moments_are_what_the_paper_prints(central):
    a, b = S, T[:4]

    def moment(x, k):
        middle = x.mean(0) if central and k > 1 else 0
        return ((x - middle) ** k).mean(0)

    for k in (1, 2, 3, 4):
        wanted = (moment(a, k) - moment(b, k)).square().sum().sqrt().item()
        assert moment_distance((a,), b, (k,), central=central).item() == pytest.approx(wanted, rel=1e-12)
    # The defaults are central moments of first and second order, divided by n, pairs balanced.
    two = moment_distance((a, S2[:, :3]), b, (1, 2), central=True, unbiased=False, pairs="balanced")
    assert torch.equal(moment_distance((a, S2[:, :3]), b), two)
    unbiased = moment_distance((a,), b, (2,), unbiased=True).item()
    assert unbiased == pytest.approx((a.var(0) - b.var(0)).norm().item(), rel=1e-12)


@pytest.mark.parametrize("j", [1, 2, 3, 4])
def test_all_pairs_weigh_alike_or_source_pairs_among_themselves(j):
    sources = [S * (i + 1) for i in range(j)]
    means = [x.mean(0) for x in (*sources, T)]
    to_target = [(m - means[-1]).norm().item() for m in means[:-1]]
    between = [(p - q).norm().item() for p, q in combinations(means[:-1], 2)]
    balanced = sum(to_target) / j + (sum(between) / len(between) if between else 0)
    every = to_target + between
    assert moment_distance(sources, T, (1,)).item() == pytest.approx(balanced, rel=1e-12)
    found = moment_distance(sources, T, (1,), pairs="all").item()
    assert found == pytest.approx(sum(every) / len(every), rel=1e-12)


def test_one_row_is_enough_where_nothing_is_divided_by_n_less_one():
    assert mmd2(S[:1], T[:1], 2.0, "biased").item() == pytest.approx(2 - 2 * kernel(S[0], T[0], (2.0,)))
    assert moment_distance((S[:1],), T[:1], (1,)).item() == pytest.approx((S[0] - T[0]).norm().item())
    assert moment_distance((S[:1],), T[:1], (2,)).item() == 0
    for estimator in ("unbiased", "linear", "linear_pairs"):
        assert mmd2(S[:2], T[:2], 2.0, estimator).isfinite()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mmd2(S[:1], T, 1.0),
            r"estimator needs at least 2 rows in each sample; got 1 and 6 \(the biased",
        ),
        (
            lambda: mmd2(S, T[:0], 1.0, "biased"),
            "^the biased estimator needs at least 1 rows .* got 6 and 0$",
        ),
        (lambda: mmd2(S[:, 0], T[:, 0], 1.0), r"got \(6,\) and \(6,\)"),
        (lambda: mmd2(S[None], T[None], 1.0), r"got \(1, 6, 3\)"),
        (lambda: mmd2(S, T, ()), r"one or more numbers > 0; got \(\)"),
        (lambda: mmd2(S, T, (1.0, -1.0)), "numbers > 0"),
        (lambda: mmd2(S, T, float("nan")), "numbers > 0"),
        (lambda: jmmd2((), (), ()), "got 0 and 0 layers and 0 sets"),
        (lambda: jmmd2((S,), (T,), (1.0, 2.0)), "got 1 and 1 layers and 2 sets"),
        (lambda: jmmd2((S, S2), (T, T2[:3]), (1.0, 1.0)), "same number of rows"),
        (lambda: moment_distance((S,), T[:, 0]), r"got \(6, 3\) and a target \(6,\)"),
        (lambda: moment_distance((S[:, 0],), T), r"got \(6,\)"),
        (lambda: moment_distance((S, S2), T), r"got \(6, 4\)"),
        (lambda: moment_distance((S[:0],), T), "n ≥ 1"),
        (lambda: moment_distance((S,), T[:1], unbiased=True), "n ≥ 2"),
        (lambda: moment_distance((S,), T, ()), r"integers ≥ 1; got \(\)"),
        (lambda: moment_distance((S,), T, (2, 0)), r"integers ≥ 1; got \(2, 0\)"),
    ],
)
def test_what_is_refused_is_named_with_what_was_found(call, message):
    with pytest.raises(InputError, match=message):
        call()
