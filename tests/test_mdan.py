"""MDAN: limits, weights and signs of its two objectives."""

import pytest
import torch
from conftest import toy_task
from small import batch_of, close, gradients, reordered, total

from mstl.methods import build
from mstl.nn import domain_loss, ramp, segmentation_loss
from mstl.system.errors import InputError

BOTH = ["mdan_hard", "mdan_soft"]


def made(name, sources=3, overrides="", labelled=True):
    torch.manual_seed(0)
    return build(name, sources, labelled, f"depth=3 strength=0.1 {overrides}", width=4).eval()


def like(method, name, overrides="", sources=None):
    other = made(name, sources or method.sources, overrides)
    other.load_state_dict(method.state_dict(), strict=False)
    return other


def terms(method, batch):
    """ℓ_j and δ_j of every source, computed plainly."""
    target = method.network(batch.target.x).features
    outputs = [method.network(images) for images in batch.source_x]
    errors = [
        segmentation_loss(output.logits, masks) for output, masks in zip(outputs, batch.source_y, strict=True)
    ]
    deltas = [
        domain_loss(d(output.features), d(target))
        for d, output in zip(method.adversary.discriminators, outputs, strict=True)
    ]
    return torch.stack(errors), torch.stack(deltas)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(name, labels, sources):
    method = made(name, sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(toy_task(sources, labels)), 0.5)
    assert set(losses) == {"source", "adversarial"} | ({"target"} if labels else set())
    total(losses).backward()
    silent = [key for key, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.trust("limits", "With one source both forms of MDAN are DANN, in gradients and predictions.")
@pytest.mark.parametrize("name", BOTH)
def test_one_source_is_dann(name):
    method, batch = made(name, 1, "strength=0.3"), batch_of(toy_task(1))
    dann = like(method, "dann", "strength=0.3")
    ours, theirs = method.losses(batch, 0.5), dann.losses(batch, 0.5)
    mu = 0.3 * ramp(0.5)
    # The objective holds -μδ as a value, without gradient; what is left of it is DANN's error.
    assert torch.allclose(ours["source"] + mu * ours["adversarial"], theirs["source"], atol=1e-6)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in ("target", "adversarial"))
    assert close(gradients(method, total(ours)), gradients(dann, total(theirs)))
    images = torch.randn(2, 3, 32, 48)
    assert torch.equal(method.predict(images), dann.predict(images))


@pytest.mark.parametrize("name", BOTH)
def test_the_gradient_is_that_of_the_objective(name):
    # ∇_F Φ(ℓ - μδ), with every discriminator descending the mean of δ whatever the weights.
    method, batch = made(name, overrides="strength=2"), batch_of(toy_task())
    losses, (errors, deltas) = method.losses(batch, 0.4), terms(method, batch)
    mu = 2 * ramp(0.4)
    objective = method.worst(errors - mu * deltas)
    assert torch.allclose(losses["source"], objective, atol=1e-6)
    found = losses["source"] + losses["adversarial"]
    assert close(gradients(method.network, found), gradients(method.network, objective), 1e-5)
    assert close(gradients(method.adversary, found), gradients(method.adversary, deltas.mean()))


@pytest.mark.trust("limits", "A step of hard MDAN trains the extractor on the worst source alone.")
def test_hard_trains_the_extractor_on_the_worst_source_alone():
    method, batch = made("mdan_hard", overrides="strength=2"), batch_of(toy_task())
    errors, deltas = terms(method, batch)
    mu = 2 * ramp(0.4)
    worst = int((errors - mu * deltas).argmax())
    losses = method.losses(batch, 0.4)
    found = gradients(method.network, losses["source"] + losses["adversarial"])
    assert close(found, gradients(method.network, errors[worst] - mu * deltas[worst]), 1e-5)


def test_the_domain_loss_decides_between_sources_of_equal_error():
    method = made("mdan_hard")
    errors, deltas = torch.tensor([1.0, 1.0]), torch.tensor([0.7, 0.1])
    # The source that the discriminator tells from the target (small δ) is the worse one.
    assert method.weights(errors - 0.05 * deltas).tolist() == [0, 1]


@pytest.mark.trust("limits", "Soft MDAN's objective lies above the maximum, by at most log(J)/gamma.")
@pytest.mark.parametrize("gamma", [0.1, 1, 10, 1e4])
def test_soft_lies_above_the_maximum_by_at_most_log_j_over_gamma(gamma):
    method = made("mdan_soft", overrides=f"gamma={gamma}")
    values = torch.randn(20, 5, dtype=torch.float64)
    for row in values:
        excess = (method.worst(row) - row.max()).item()
        assert -1e-12 <= excess <= torch.tensor(5.0).log().item() / gamma + 1e-9


def test_gamma_to_infinity_is_hard():
    hard, batch = made("mdan_hard"), batch_of(toy_task())
    soft = like(hard, "mdan_soft", "gamma=1e6")
    ours, theirs = soft.losses(batch, 0.5), hard.losses(batch, 0.5)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-4) for key in theirs)
    assert close(gradients(soft, total(ours)), gradients(hard, total(theirs)), 1e-5)


def test_gamma_to_zero_is_the_mean_over_sources():
    method, batch = made("mdan_soft", overrides="gamma=1e-4"), batch_of(toy_task())
    errors, deltas = terms(method, batch)
    wanted = gradients(method.network, (errors - method.hyper.strength * ramp(0.5) * deltas).mean())
    losses = method.losses(batch, 0.5)
    assert close(gradients(method.network, losses["source"] + losses["adversarial"]), wanted, 1e-4)


def test_large_losses_do_not_overflow():
    method = made("mdan_soft")
    values = torch.tensor([1e4, 2e4], requires_grad=True)
    worst = method.worst(values)
    assert worst.item() == pytest.approx(2e4)
    assert torch.autograd.grad(worst, values)[0].tolist() == [0, 1]


@pytest.mark.parametrize("name", BOTH)
def test_the_weights_are_the_gradient_of_the_objective(name):
    method = made(name)
    for values in (torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0.9, 0.9, 0.5])):
        values.requires_grad_()
        (gradient,) = torch.autograd.grad(method.worst(values), values)
        weights = method.weights(values.detach())
        assert torch.allclose(weights, gradient, atol=1e-6)
        assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", BOTH)
def test_duplicating_every_source_leaves_the_gradient_alone(name):
    method, batch = made(name), batch_of(toy_task(2))
    method = made(name, 2)
    more = made(name, 4)
    more.network.load_state_dict(method.network.state_dict())
    for j, discriminator in enumerate(more.adversary.discriminators):
        discriminator.load_state_dict(method.adversary.discriminators[j % 2].state_dict())
    once, twice = method.losses(batch, 0.5), more.losses(reordered(batch, [0, 1, 0, 1]), 0.5)
    assert close(gradients(method.network, total(once)), gradients(more.network, total(twice)), 1e-5)
    offset = 0 if name == "mdan_hard" else torch.tensor(2.0).log().item() / 10
    assert (twice["source"] - once["source"]).item() == pytest.approx(offset, abs=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_permuting_sources_with_their_discriminators_changes_nothing(name):
    method, batch, order = made(name), batch_of(toy_task()), [2, 0, 1]
    before = method.losses(batch, 0.5)
    wanted = gradients(method.network, total(before))
    modules = method.adversary.discriminators
    modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    after = method.losses(reordered(batch, order), 0.5)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)
    assert close(gradients(method.network, total(after)), wanted, 1e-5)


@pytest.mark.parametrize("gamma", ["0", "-1", "inf"])
def test_a_gamma_without_meaning_is_refused(gamma):
    with pytest.raises(InputError, match="must be"):
        made("mdan_soft", overrides=f"gamma={gamma}")
