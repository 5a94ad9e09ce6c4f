"""DCTN: hard-domain mining, the vote of the heads, and pseudo-labels."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import batch_of, close, gradients, reordered, total
from torch.nn import functional as F

from mstl.data.batches import Batches
from mstl.methods import build
from mstl.methods.dctn import pseudo_loss
from mstl.nn import domain_loss, ramp, segmentation_loss
from mstl.nn.outputs import mixture
from mstl.system.errors import InputError


def made(sources=3, overrides="", labelled=True, name="dctn"):
    torch.manual_seed(0)
    return build(name, sources, labelled, f"depth=3 {overrides}", width=4).eval()


def certain(method, logits):
    """Discriminators that give every place these logits."""
    for discriminator, value in zip(method.adversary.discriminators, logits, strict=True):
        for p in discriminator.parameters():
            torch.nn.init.zeros_(p)
        torch.nn.init.constant_(discriminator.layers[-1].bias, value)
    return method


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(labels, sources):
    method = made(sources, "pseudo=0.5", labelled=labels > 0).train()
    batch = next(Batches(toy_task(sources, labels), batch_size=3, target_batch_size=4))
    for progress in (0.2, 0.8):
        losses = method.losses(batch, progress)
        assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
        method.zero_grad()
        total(losses).backward()
        silent = [key for key, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert silent == []


def test_one_source_without_pseudo_labels_is_dann():
    method, batch = made(1, "strength=0.3 pseudo=0"), batch_of(toy_task(1))
    dann = made(1, "strength=0.3", name="dann")
    dann.network.encoder.load_state_dict(method.encoder.state_dict())
    dann.network.predictor.load_state_dict(method.heads[0].state_dict())
    dann.adversary.load_state_dict(method.adversary.state_dict())
    ours, theirs = method.losses(batch, 0.7), dann.losses(batch, 0.7)
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in ours)
    assert close(gradients(method.encoder, total(ours)), gradients(dann.network.encoder, total(theirs)))
    assert close(gradients(method.adversary, total(ours)), gradients(dann.adversary, total(theirs)))
    images = torch.randn(2, 3, 32, 48)
    assert torch.allclose(method.predict(images), dann.predict(images), atol=1e-5)


def test_only_the_hardest_pair_reaches_the_extractor_and_every_discriminator_learns():
    method, batch = made(overrides="strength=0.7"), batch_of(toy_task())
    # Discriminator 1 always answers wrongly for its source: its loss is the largest.
    torch.nn.init.constant_(method.adversary.discriminators[1].layers[-1].bias, -4.0)
    target = method.encoder(batch.target.x)[-1]
    deltas = torch.stack(
        [
            domain_loss(d(method.encoder(images)[-1]), d(target))
            for d, images in zip(method.adversary.discriminators, batch.source_x, strict=True)
        ]
    )
    assert deltas.argmax() == 1
    adversarial = method.losses(batch, 0.4)["adversarial"]
    assert torch.allclose(adversarial, deltas.mean(), atol=1e-6)
    wanted = [-0.7 * ramp(0.4) * g for g in gradients(method.encoder, deltas[1])]
    assert any(g.abs().max() > 1e-5 for g in wanted)
    assert close(gradients(method.encoder, adversarial), wanted)
    found = gradients(method.adversary, adversarial)
    assert close(found, gradients(method.adversary, deltas.mean()))
    assert all(g.abs().sum() > 0 for g in found)


def test_each_head_learns_from_its_own_source_and_from_the_labelled_target():
    method, batch = made(), batch_of(toy_task())
    other = batch.source_x.clone()
    other[1] = other[1].flip(-1) + 0.3
    changed = replace(batch, source_x=other)
    for j, same in ((0, True), (1, False), (2, True)):
        pairs = [gradients(method.heads[j], total(method.losses(b, 0.2))) for b in (batch, changed)]
        assert close(*pairs, atol=1e-7) is same
    maps = [level[:2] for level in method.encoder(batch.target.x)]
    wanted = torch.stack([segmentation_loss(head(maps), batch.target.y) for head in method.heads]).mean()
    assert torch.allclose(method.losses(batch, 0.2)["target"], wanted, atol=1e-6)


def test_the_weights_are_a_distribution_for_every_image():
    method = made()
    weights = method.source_weights(method.encoder(torch.randn(5, 3, 32, 48))[-1])
    assert weights.shape == (5, 3)
    assert (weights > 0).all()
    assert torch.allclose(weights.sum(1), torch.ones(5))
    assert not torch.allclose(weights[0], weights[1], atol=1e-4)


def test_the_source_that_cannot_be_told_from_the_target_weighs_most():
    # D_j is the probability of the source: on target images a deceived one is near 1, a sharp one near 0.
    method = certain(made(), [-5.0, 0.0, 3.0])
    weights = method.source_weights(method.encoder(torch.randn(2, 3, 32, 48))[-1])
    scores = F.softplus(torch.tensor([-5.0, 0.0, 3.0]))
    assert torch.allclose(weights, (scores / scores.sum()).expand(2, 3), atol=1e-5)
    assert (weights.argmax(1) == 2).all()


@pytest.mark.trust("limits", "Discriminators that are certain of every image leave DCTN's heads equal votes.")
def test_certain_discriminators_leave_equal_weights():
    method = certain(made(), [-500.0] * 3)
    weights = method.source_weights(method.encoder(torch.randn(2, 3, 32, 48))[-1])
    assert torch.allclose(weights, torch.full((2, 3), 1 / 3))


def test_the_concentration_is_the_mean_source_loss_of_each_discriminator():
    method = certain(made(), [-1.0, 0.0, 2.0])
    batch = batch_of(toy_task())
    method.losses(batch, 0.1)
    assert (method.concentration == 0).all()  # only training moves it
    method.train()
    for _ in range(3):
        method.losses(batch, 0.1)
    # -log D of a logit z is softplus(-z).
    assert torch.allclose(method.concentration, F.softplus(torch.tensor([1.0, 0.0, -2.0])), atol=1e-5)


def test_asking_for_weights_leaves_the_running_moments_alone():
    method = made().train()
    before = {key: value.clone() for key, value in method.adversary.state_dict().items()}
    method.predict(torch.randn(2, 3, 32, 48))
    assert all(torch.equal(value, method.adversary.state_dict()[key]) for key, value in before.items())
    assert all(module.training for module in method.modules())


def test_the_prediction_is_the_weighted_mean_of_the_heads_probabilities():
    method = certain(made(), [-2.0, 0.0, 1.0])
    images = torch.randn(2, 3, 32, 48)
    maps = method.encoder(images)
    scores = F.softplus(torch.tensor([-2.0, 0.0, 1.0]))
    weights = (scores / scores.sum()).tolist()
    mean = sum(w * head(maps).sigmoid() for w, head in zip(weights, method.heads, strict=True))
    assert torch.allclose(method.predict(images).sigmoid(), mean, atol=1e-5)


def test_a_mixture_lies_between_its_heads_and_is_exact_far_out():
    torch.manual_seed(0)
    z, w = 3 * torch.randn(3, 4, 1, 5, 6), torch.rand(4, 3).softmax(1)
    mixed = mixture(z, w)
    assert (z.amin(0) - 1e-5 <= mixed).all()
    assert (mixed <= z.amax(0) + 1e-5).all()
    mean = torch.einsum("nj,jnchw->nchw", w, z.sigmoid())
    assert torch.allclose(mixed.sigmoid(), mean, atol=1e-6)
    far = torch.tensor([200.0, 300.0]).view(2, 1, 1, 1, 1)
    half = torch.full((1, 2), 0.5)
    # log-odds of the mean: 1 - p is ½(e^-200 + e^-300), so 200 + ln 2.
    assert mixture(far, half).item() == pytest.approx(200.6931, abs=1e-3)
    assert mixture(-far, half).item() == pytest.approx(-200.6931, abs=1e-3)


def test_duplicating_every_source_changes_neither_loss_nor_prediction():
    method, more, batch = made(2), made(4), batch_of(toy_task(2))
    more.encoder.load_state_dict(method.encoder.state_dict())
    for modules, wanted in (
        (more.heads, method.heads),
        (more.adversary.discriminators, method.adversary.discriminators),
    ):
        for j, module in enumerate(modules):
            module.load_state_dict(wanted[j % 2].state_dict())
    once, twice = method.losses(batch, 0.7), more.losses(reordered(batch, [0, 1, 0, 1]), 0.7)
    assert all(torch.allclose(once[key], twice[key], atol=1e-6) for key in once)
    assert close(gradients(method.encoder, total(once)), gradients(more.encoder, total(twice)), 1e-5)
    images = torch.randn(2, 3, 32, 48)
    assert torch.allclose(method.predict(images), more.predict(images), atol=1e-5)


def test_permuting_sources_with_their_heads_changes_nothing():
    method, batch, order = made(), batch_of(toy_task()), [2, 0, 1]
    images = torch.randn(2, 3, 32, 48)
    method.concentration.copy_(torch.tensor([0.1, 0.5, 0.9]))
    before, predicted = method.losses(batch, 0.7), method.predict(images)
    for modules in (method.heads, method.adversary.discriminators):
        modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    method.concentration.copy_(method.concentration[order])
    after = method.losses(reordered(batch, order), 0.7)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-5)


def test_pseudo_labels_start_at_half_time_and_can_be_switched_off():
    batch = batch_of(toy_task())
    assert "pseudo" not in made().losses(batch, 0.49)
    assert "pseudo" in made().losses(batch, 0.5)
    assert "pseudo" not in made(overrides="pseudo=0").losses(batch, 0.9)


def test_pseudo_labels_are_those_of_confident_pixels():
    # Probabilities of the mixture: 0.95, 0.05 (confident), 0.7, 0.4 (not).
    p = torch.tensor([0.95, 0.05, 0.7, 0.4])
    z = p.logit().view(1, 1, 1, 2, 2).expand(2, -1, -1, -1, -1).clone().requires_grad_()
    loss = pseudo_loss(z, torch.full((1, 2), 0.5), 0.9)
    assert loss.item() == pytest.approx(-torch.tensor(0.95).log().item(), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, z)
    # Certain foreground is pushed up, certain background down, by (p - label) over heads and pixels.
    assert torch.allclose(gradient.flatten(1), torch.tensor([-0.05, 0.05, 0, 0]).expand(2, 4) / 4, atol=1e-6)


def test_no_confident_pixel_costs_nothing():
    z = torch.zeros(2, 1, 1, 2, 2, requires_grad=True)
    loss = pseudo_loss(z, torch.full((1, 2), 0.5), 0.9)
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, z)[0] == 0).all()


@pytest.mark.parametrize("pseudo", ["0.3", "1.2"])
def test_a_confidence_no_pixel_or_every_pixel_has_is_refused(pseudo):
    with pytest.raises(InputError, match="must be 0"):
        made(overrides=f"pseudo={pseudo}")
