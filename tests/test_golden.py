"""Every value of golden.json, reached through public functions in float64.

Which independent code each value agrees with (the file's keys say it, too):

=============================  ==========================================================================
mmd2, one Gaussian             pytorch-adapt ``MMDLoss(quadratic)``, Xlearn ``DAN``; biased: formula
mkmmd, tllib bandwidths        Transfer-Learning-Library MK-MMD − 2/(n−1), quadratic and linear
mkmmd, xlearn bandwidths       Xlearn ``DAN``, ``DAN_Linear``; biased: MFSAN
mmd2, median bandwidth         pytorch-adapt ``MMDLoss``, quadratic and linear
jmmd                           Transfer-Learning-Library JMMD − 2/(n−1); Xlearn ``JAN``, ``JAN_Linear``
lambda                         Transfer-Learning-Library ``WarmStartGradientReverseLayer``
dann                           Transfer-Learning-Library ``DomainAdversarialLoss`` behind its reversal
iwan                           Transfer-Learning-Library ``ImportanceWeightModule``
mdan                           formula (the authors' code with a stable logarithm of the sum)
m3sda                          pykale ``_moment_k`` (orders 1 to 3); Dassl's form: formula
=============================  ==========================================================================

Where released code and these values cannot both be right, the tests at the end show which is, and why.
"""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from mstl.measures import jmmd2, mean_bandwidths, mmd2, moment_distance
from mstl.methods.adversary import Adversary
from mstl.methods.mdan import worst_case, worst_case_weights
from mstl.nn import domain_loss, importance_weights, ramp
from mstl.system.errors import InputError

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))
# The one tolerance: float64 in another order of summation. The absolute part is for the value 0.
RELATIVE, ABSOLUTE = 1e-12, 1e-14


def det(n, d, phase, scale=1.0, shift=0.0):
    return scale * torch.sin(1.7 * torch.arange(n * d, dtype=torch.float64).reshape(n, d) + phase) + shift


def inputs():
    """The samples, as golden.json itself spells them."""
    found = {}
    for name, softmax, numbers in re.findall(r"(\w+)=(softmax\()?det\(([\d.,]+)\)", GOLDEN["inputs"]):
        n, d, *rest = map(float, numbers.split(","))
        x = det(int(n), int(d), *rest)
        found[name] = x.softmax(1) if softmax else x
    return found


SAMPLES = inputs()
S, T, S2, T2 = (SAMPLES[name] for name in ("S", "T", "S2", "T2"))
SOURCES = (det(6, 3, 0), det(6, 3, 0.7, 1.1, 0.2), det(6, 3, 1.4, 0.9, -0.1))
POWERS = (0.25, 0.5, 1, 2, 4)
TLLIB = mean_bandwidths(POWERS, diagonal=True)  # 2α for α = 2^-3 … 2^1
XLEARN = mean_bandwidths(POWERS)
MEDIAN = torch.cdist(S, S).square().median()
# Task errors e + 0.01·domain losses d of MDAN's three sources: e = (0.7, 0.2, 1.1), d = (1.3, 1.4, 0.9).
ERRORS = torch.tensor([0.713, 0.214, 1.109], dtype=torch.float64)


def dann():
    """The adversary of all methods with D(f) = σ(Σ f): its loss and the features' gradients."""
    adversary = Adversary(1, 3, updates=0).double()
    adversary.discriminators[0] = nn.Conv2d(3, 1, 1, dtype=torch.float64)
    nn.init.ones_(adversary.discriminators[0].weight)
    nn.init.zeros_(adversary.discriminators[0].bias)
    maps = [x[:, :, None, None].clone().requires_grad_() for x in (S, T)]
    (loss,) = adversary.losses([tuple(maps)], 1.0)
    gradients = [g[:, :, 0, 0] for g in torch.autograd.grad(loss, maps)]
    assert all(torch.equal(g, g[:, :1].expand(6, 3)) for g in gradients)  # Σ treats all columns alike
    return loss, *(g[:, 0] for g in gradients)


def moments(**options):
    return moment_distance(SOURCES, T, pairs="all", **options)


# Beginning of a key → the value by our public functions.
VALUES = {
    "mmd2_unbiased_gauss_sigma1": lambda: mmd2(S, T, 2.0),
    "mmd2_biased_gauss_sigma1": lambda: mmd2(S, T, 2.0, "biased"),
    "mkmmd_unbiased_tllib": lambda: mmd2(S, T, TLLIB),
    "mkmmd_linear_wrap_tllib": lambda: mmd2(S, T, TLLIB, "linear"),
    "mkmmd_unbiased_xlearn": lambda: mmd2(S, T, XLEARN),
    "mkmmd_linear_xlearn": lambda: mmd2(S, T, XLEARN, "linear"),
    "mkmmd_biased_sum5": lambda: mmd2(S, T, XLEARN, "biased"),
    "jmmd_unbiased_tllib": lambda: jmmd2((S, S2), (T, T2), (TLLIB, 2 * 0.92**2)),
    "jmmd_linear_tllib": lambda: jmmd2((S, S2), (T, T2), (TLLIB, 2 * 0.92**2), "linear"),
    "jmmd_unbiased_xlearn": lambda: jmmd2((S, S2), (T, T2), (XLEARN, 1.68)),
    "jmmd_linear_xlearn": lambda: jmmd2((S, S2), (T, T2), (XLEARN, 1.68), "linear"),
    "mmd2_unbiased_median_xx": lambda: mmd2(S, T, MEDIAN),
    "mmd2_linear_pairs_median_xx": lambda: mmd2(S, T, MEDIAN, "linear_pairs"),
    **{
        f"lambda 2/(1+exp(-10 i/10000))-1 at i={i} ": lambda i=i: ramp(i / 10_000)
        for i in (0, 1, 100, 1000, 5000, 10_000)
    },
    "dann_loss": lambda: dann()[0],
    "dann_reversed_grad_S_per_row": lambda: dann()[1],
    "dann_reversed_grad_T_per_row": lambda: dann()[2],
    "iwan_weights": lambda: importance_weights(S.sum(1)),
    "iwan_weighted_adv_loss": lambda: domain_loss(S.sum(1), T.sum(1), importance_weights(S.sum(1))),
    "mdan_hard_official": lambda: worst_case(ERRORS),
    "mdan_soft_official": lambda: worst_case(ERRORS, gamma=10),
    "mdan_soft_weights": lambda: worst_case_weights(ERRORS, gamma=10),
    "m3sda_moment_dassl": lambda: moments(unbiased=True) / 2,
    "m3sda_moments_pykale": lambda: torch.stack([moments(orders=(k,)) for k in (1, 2, 3)]),
}


def test_no_key_of_the_file_is_left_untested():
    assert set(SAMPLES) == {"S", "T", "S2", "T2"}
    owners = {key: [start for start in VALUES if key.startswith(start)] for key in GOLDEN}
    assert owners.pop("inputs") == []
    assert all(len(starts) == 1 for starts in owners.values()), owners
    assert {starts[0] for starts in owners.values()} == set(VALUES)
    assert len(owners) == len(VALUES) == 29


@pytest.mark.trust(
    "formulas", "Every published value is reproduced in float64 to a relative difference below 1e-12."
)
@pytest.mark.parametrize("start", VALUES)
def test_the_published_value_is_reproduced(start, record_property):
    (published,) = (value for key, value in GOLDEN.items() if key.startswith(start))
    ours = torch.as_tensor(VALUES[start](), dtype=torch.float64)
    published = torch.tensor(published, dtype=torch.float64)
    assert ours.shape == published.shape
    record_property("largest difference", (ours - published).abs().max().item())
    torch.testing.assert_close(ours, published, rtol=RELATIVE, atol=ABSOLUTE)


# --- Where released code is not the reference -----------------------------------------------------------


def weighted_sum_of_kernels(x, y, bandwidths, linear=False):
    """MMD² as Σ w_ij k(z_i, z_j) with a matrix of weights, in the manner of Transfer-Learning-Library."""
    n, z = len(x), torch.cat((x, y))
    distances = (z[:, None] - z[None]).square().sum(-1)
    kernel = sum(torch.exp(-distances / b) for b in bandwidths(distances))
    if linear:
        within = torch.roll(torch.eye(n, dtype=z.dtype), 1, 1) / n
        weights = torch.cat((torch.cat((within, -within), 1), torch.cat((-within, within), 1)))
    else:
        within = (1 - torch.eye(n, dtype=z.dtype)) / (n * (n - 1))
        between = torch.full_like(within, -1 / n**2)
        weights = torch.cat((torch.cat((within, between), 1), torch.cat((between, within), 1)))
    return (weights * kernel).sum().item()


@pytest.mark.trust(
    "formulas",
    "Transfer-Learning-Library's MK-MMD is ours plus 2/(n−1), a constant that cannot keep it positive; "
    "2m/(n−1) with m kernels does.",
)
@pytest.mark.parametrize("linear", [False, True])
def test_the_offset_of_mk_mmd_is_too_small_for_several_kernels(linear):
    library = weighted_sum_of_kernels(S, T, TLLIB, linear) + 2 / (len(S) - 1)
    assert library == pytest.approx(mmd2(S, T, TLLIB, "linear" if linear else "unbiased").item() + 0.4)
    # Equal samples of n points far apart: only k(x, x) = 1 of each of the m kernels is left.
    n, kernels = 8, (1e-3, 1e-2, 0.1)
    far = 10 * torch.arange(n, dtype=torch.float64)[:, None]
    value = mmd2(far, far, kernels).item()
    assert value == pytest.approx(-2 * len(kernels) / n)
    assert value + 2 / (n - 1) < 0 <= value + 2 * len(kernels) / (n - 1)


def released_m3sda(s1, s2, s3, s4, target, orders=5):
    """The released digit code's distance: source 4 raw in every term, the other domains centred first."""
    s1, s2, s3, target = (x - x.mean(0) for x in (s1, s2, s3, target))

    def distance(a, b):
        return (a - b).square().sum().sqrt()

    total = 0
    for k in range(1, orders + 1):
        a, b, c, t = ((x**k).mean(0) if k > 1 else x for x in (s1, s2, s3, target))
        total = total + sum(distance(x, t) for x in (a, b, c, s4))
        total = total + distance(a, b) + distance(b, c) + distance(c, a)
        total = total + distance(s4, a) + 2 * distance(s4, b)
    return (total / 6).item()


@pytest.mark.trust(
    "formulas",
    "The released M3SDA distance does not see a shift of the target; ours grows by the shift's length.",
)
def test_the_released_moment_distance_is_blind_to_a_shift_of_the_target():
    sources = (*SOURCES, det(6, 3, 2.1, 1.0, 0.1))
    released = [released_m3sda(*sources, T + shift) for shift in (0, 3)]
    assert released[1] == pytest.approx(released[0], rel=1e-12)
    same = (T,) * 4
    ours = [moment_distance(same, T + shift).item() for shift in (0.0, 3.0, 6.0)]
    assert ours == pytest.approx([0, 3 * math.sqrt(3), 6 * math.sqrt(3)], abs=1e-12)
    # And its four equal sources, equal to the target, are not at distance 0.
    assert released_m3sda(*same, T) > 1


@pytest.mark.trust("formulas", "MDAN's smooth maximum stays exact where the released code overflows.")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smooth_maximum_does_not_overflow(dtype):
    values = torch.tensor([9.0, 2.0, 100.0], dtype=dtype)
    naive = (10 * values).exp().sum().log() / 10
    assert naive.isinf()
    assert worst_case(values, gamma=10).item() == 100
    assert worst_case_weights(values, gamma=10).tolist() == [0, 0, 1]
    low = torch.full((3,), -100.0, dtype=dtype)
    assert ((10 * low).exp().sum().log() / 10).isinf()
    assert worst_case(low, gamma=10).item() == pytest.approx(-100 + math.log(3) / 10)


@pytest.mark.trust(
    "formulas", "MDAN's hard form takes both losses of one source; the released code mixes two sources."
)
def test_the_hard_maximum_is_that_of_one_source():
    errors, deltas = torch.tensor([1.0, 0.8]), torch.tensor([0.6, 0.1])
    released = errors.max() + deltas.min()
    values = errors + deltas
    assert worst_case(values) == values[0]
    assert not torch.isin(released, values)
    assert worst_case_weights(values).tolist() == [1, 0]


# --- The weights of IWAN ----------------------------------------------------------------------------------


def test_importance_weights_average_to_one_and_fall_with_the_logit():
    logits = det(5, 4, 0.2, 3.0).requires_grad_()
    weights = importance_weights(logits)
    assert weights.shape == logits.shape and not weights.requires_grad
    assert importance_weights(logits, epsilon=0).mean().item() == pytest.approx(1, rel=1e-12)
    alike = 1 - logits.sigmoid()
    torch.testing.assert_close(weights, (alike / (alike.mean() + 1e-5)).detach())
    assert (weights.flatten()[logits.flatten().argsort()].diff() <= 0).all()


def test_a_discriminator_that_knows_nothing_weighs_all_alike_and_leaves_the_domain_loss():
    logits, target = torch.zeros(6, 1, dtype=torch.float64), T.sum(1)
    weights = importance_weights(logits, epsilon=0)
    assert torch.equal(weights, torch.ones_like(weights))
    assert torch.equal(domain_loss(S.sum(1)[:, None], target, weights), domain_loss(S.sum(1), target))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_importance_weights_stay_finite_for_certain_discriminators(dtype):
    for logit in (-1e4, 1e4):
        weights = importance_weights(torch.full((4,), logit, dtype=dtype))
        assert weights.isfinite().all() and (weights >= 0).all()
        assert weights.dtype == torch.promote_types(dtype, torch.float32)
    # 1 − D is 2e-9 and 4e-18: in float32 a plain 1 − σ would be 0 for both.
    near = importance_weights(torch.tensor([20.0, 40.0]), epsilon=0)
    assert near[0].item() == pytest.approx(2, rel=1e-6) and 0 < near[1] < 1e-8


def test_the_weighted_domain_loss_is_linear_in_its_weights():
    logits, target = S.sum(1), T.sum(1)
    none, one, two = (domain_loss(logits, target, torch.full_like(logits, w)).item() for w in (0, 1, 2))
    assert two - one == pytest.approx(one - none)
    assert one == domain_loss(logits, target).item()
    # A weight of zero silences its source example.
    weights = torch.ones_like(logits)
    weights[2] = 0
    changed = logits.clone()
    changed[2] = 50
    assert domain_loss(changed, target, weights).item() == domain_loss(logits, target, weights).item()


def test_weights_of_another_shape_are_refused():
    with pytest.raises(InputError, match="shape of the source logits"):
        domain_loss(torch.zeros(4, 1), torch.zeros(4, 1), torch.ones(4))


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_a_smooth_maximum_without_a_positive_gamma_is_refused(gamma):
    with pytest.raises(InputError, match="must be above 0"):
        worst_case(ERRORS, gamma)
