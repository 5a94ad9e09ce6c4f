"""The family's formulas give the numbers of golden_family.json, most of which released code gives, too."""

import json
from pathlib import Path

import pytest
import torch
from test_golden import det
from torch.nn import functional as F

from mstl.measures import jmmd2, mean_bandwidths
from mstl.methods.jan import identity, through
from mstl.methods.pada import adversarial_weights, class_shares
from mstl.methods.san import class_weights, selective_losses
from mstl.nn import domain_loss, importance_weights, ramp
from mstl.nn.outputs import entropy
from mstl.problems import Classification

GOLDEN = json.loads((Path(__file__).parent / "golden_family.json").read_text(encoding="utf-8"))
S, T = det(6, 3, 0, 1, 0), det(6, 3, 0.5, 1.2, 0.3)


def vec(d, phase, scale=1.0, shift=0.0):
    return det(1, d, phase, scale, shift)[0]


def agree(found, group, name, tolerance=1e-10):
    expected = torch.tensor(GOLDEN[group][name]["value"], dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=tolerance)


GUESS_S, GUESS_T = det(6, 3, 1, 2, 0).softmax(1), det(6, 3, 2, 2, 0).softmax(1)
MAPS, BIAS = det(3, 3, 0.4, 0.8, 0), vec(3, 0.6, 0.3, 0)  # D_k(f) = sigmoid(MAPS_k f + BIAS_k)


def selected(s=S, t=T, bias=BIAS, guesses=(GUESS_S, GUESS_T), maps=MAPS):
    return selective_losses(s @ maps.T + bias, t @ maps.T + bias, *guesses)


@pytest.mark.parametrize(
    ("scale", "weights", "loss"),
    [
        ("sum", "class_weights_paper", "loss_paper"),
        ("max", "class_weights_max1", "loss_max1"),
        ("mean", "class_weights_mean1", "loss_mean1"),
    ],
)
def test_san_with_each_scale_of_the_class_weights(scale, weights, loss):
    found = class_weights(GUESS_T.mean(0), scale)
    agree(found, "san", weights)
    agree((found * selected()).sum(), "san", loss)


def test_san_class_by_class_and_its_gradients():
    s, t, bias = (x.clone().requires_grad_() for x in (S, T, BIAS))
    each = selected(s, t, bias)
    agree(each, "san", "loss_per_class")
    agree(each.sum(), "san", "loss_unweighted_classes")
    (class_weights(GUESS_T.mean(0), "sum") * each).sum().backward()
    agree(s.grad.sum(1), "san", "loss_paper_grad_Fs_row_sums")
    agree(t.grad.sum(1), "san", "loss_paper_grad_Ft_row_sums")
    agree(bias.grad, "san", "loss_paper_grad_b")


def test_san_with_domains_of_unequal_size():
    w = class_weights(GUESS_T[:4].mean(0), "sum")
    found = selected(t=T[:4], guesses=(GUESS_S, GUESS_T[:4]))
    agree((w * found).sum(), "san", "loss_paper_ragged")


def test_san_entropy_of_target_predictions():
    z = det(6, 3, 2, 2, 0)[..., None, None]
    agree(entropy(z).mean(), "san", "entropy_target")


def test_san_is_dann_where_nothing_is_selected_and_one_discriminator_where_one_class_is():
    uniform = torch.full((6, 3), 1 / 3, dtype=torch.float64)
    equal = MAPS[:1].expand(3, 3), BIAS[:1].expand(3)
    each = selected(bias=equal[1], guesses=(uniform, uniform), maps=equal[0])
    dann = domain_loss(S @ MAPS[0] + BIAS[0], T @ MAPS[0] + BIAS[0])
    agree(dann, "san", "limit_dann")
    for scale, name in (
        ("mean", "limit_uniform_mean1"),
        ("max", "limit_uniform_max1"),
        ("sum", "limit_uniform_paper"),
    ):
        agree((class_weights(uniform.mean(0), scale) * each).sum(), "san", name)

    bias = BIAS.clone().requires_grad_()
    one = F.one_hot(torch.ones(6, dtype=torch.int64), 3).double()
    loss = (class_weights(one.mean(0), "max") * selected(bias=bias, guesses=(one, one))).sum()
    agree(loss, "san", "limit_onehot_class1")
    loss.backward()
    assert bias.grad[1] != 0 and bias.grad[0] == bias.grad[2] == 0


def test_pada_weights_and_losses():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    gamma = class_shares(det(6, 4, 2, 0.3, 0), 0.1)
    agree(gamma, "pada", "gamma")
    agree(class_weights(gamma, "max"), "pada", "gamma_max1")
    agree(class_weights(gamma, "mean"), "pada", "gamma_mean1")
    of_image = class_weights(gamma, "max")[labels]
    logits = det(6, 4, 1, 2, 0)[..., None, None]
    loss = Classification(("a", "b", "c", "d")).loss
    agree(loss(logits, labels, of_image), "pada", "weighted_ce_paper")
    agree(loss(logits, labels, of_image / of_image.mean()), "pada", "weighted_ce_normalised")
    for form in ("official", "tllib"):
        found = domain_loss(S.sum(1), T.sum(1), *adversarial_weights(of_image, form))
        agree(found, "pada", f"adversarial_{form}")


TOWARDS = vec(3, 0.4, 0.8, 0)  # D(f) = sigmoid(sum f), D_0(f) = sigmoid(TOWARDS f + 0.1)


def test_iwan_weights_and_losses():
    weights = importance_weights(S.sum(1), epsilon=0.0)
    agree(weights, "iwan", "weights_exact")
    s, t = (x.requires_grad_() for x in (S @ TOWARDS + 0.1, T @ TOWARDS + 0.1))
    found = domain_loss(s, t, weights)
    agree(found, "iwan", "weighted_loss_D0")
    agree(torch.cat(torch.autograd.grad(found, (s, t))), "iwan", "weighted_loss_D0_grad_logits")
    agree(domain_loss(s, t, importance_weights(S.sum(1))), "iwan", "weighted_loss_D0_tllib")
    agree(entropy(det(6, 4, 2, 2)[..., None, None]).mean(), "iwan", "entropy_exact")


def test_iwan_ramps():
    def ramps(steps, of, gain, scale=1.0):
        found = [scale * ramp(min(1, i / of), gain) for i in steps]
        return torch.tensor(found, dtype=torch.float64)

    agree(ramps((0, 1, 1000, 5000, 10_000, 20_000), 10_000, 1, 0.1), "iwan", "lambda")
    agree(ramps((0, 1, 1000, 5000, 10_000, 20_000), 10_000, 1, 0.01), "iwan", "lambda_entropy")
    agree(ramps((0, 1, 1000, 2500, 5000, 10_000), 5000, 10), "iwan", "lambda_san_caffe")


S2, T2 = det(6, 4, 1, 2).softmax(1), det(6, 4, 2, 2).softmax(1)
TLLIB = (mean_bandwidths((0.25, 0.5, 1.0, 2.0, 4.0), diagonal=True), 2 * 0.92**2)
XLEARN = (mean_bandwidths(), 1.68)
KERNELS = {"tllib": TLLIB, "xlearn": XLEARN}


def worst(estimator, kernels, theta1=None, theta2=None, s=S, bandwidths=None):
    maps = [identity(3).double(), identity(4).double()]
    for module, given in zip(maps, (theta1, theta2), strict=True):
        if given is not None:
            module.weight.data.copy_(given)
    layers = [(through(maps[0], s), through(maps[0], T)), (through(maps[1], S2), through(maps[1], T2))]
    source, target = zip(*layers, strict=True)
    return jmmd2(source, target, bandwidths or KERNELS[kernels], estimator), maps


CASES = [("unbiased", "tllib"), ("biased", "tllib"), ("unbiased", "xlearn")]


@pytest.mark.parametrize(("estimator", "kernels"), CASES)
def test_jan_a_begins_as_jan_and_its_maps_ascend(estimator, kernels):
    s = S.clone().requires_grad_()
    found, maps = worst(estimator, kernels, s=s)
    case = f"{estimator}_{kernels}"
    agree(found, "jan_a", f"jmmd_{case}")
    found.backward()
    agree(-maps[0].weight.grad, "jan_a", f"grad_theta1_{case}")
    agree(-maps[1].weight.grad, "jan_a", f"grad_theta2_{case}")
    agree(s.grad.sum(1), "jan_a", f"grad_z1_source_row_sums_{case}")


def test_the_biased_joint_distance_with_the_other_kernels():
    agree(worst("biased", "xlearn")[0], "jan_a", "jmmd_biased_xlearn")


def test_one_ascent_step_of_jan_a_raises_the_distance():
    found, maps = worst("unbiased", "tllib")
    found.backward()
    stepped = [m.weight.data - 0.01 * m.weight.grad for m in maps]
    kept = TLLIB[0](torch.cdist(torch.cat((S, T)), torch.cat((S, T))).square())
    fixed, _ = worst("unbiased", "tllib", *stepped, bandwidths=(kept, TLLIB[1]))
    agree(fixed, "jan_a", "after_one_ascent_step_fixed_bandwidth")
    moving, _ = worst("unbiased", "tllib", *stepped)
    agree(moving, "jan_a", "after_one_ascent_step")
    assert fixed > found and moving > found
    doubled, _ = worst("unbiased", "tllib", 2 * torch.eye(3))
    agree(doubled, "jan_a", "scale_invariance_theta1")
