"""DANN, combined and per source: what the reversed gradient and the averages promise."""

import math

import pytest
import torch
from conftest import toy_task
from small import batch_of, close, gradients, reordered, total
from torch import nn

from mstl.methods import build
from mstl.methods.adversary import Adversary, largest, weighted_reversal
from mstl.nn import ENCODERS, domain_loss, ramp, segmentation_loss
from mstl.system.errors import InputError

BOTH = ["dann", "dann_per_source"]


def made(name, sources=3, overrides="", labelled=True):
    torch.manual_seed(0)
    # One strength for all: their own are tuned, each to its method.
    strength = "" if name == "source_combine" else "strength=0.1"
    return build(name, sources, labelled, f"depth=3 {strength} {overrides}", width=4).eval()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(name, labels, sources):
    method = made(name, sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(toy_task(sources, labels)), 0.5)
    assert set(losses) == {"source", "adversarial"} | ({"target"} if labels else set())
    total(losses).backward()
    assert [key for key, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", ["location", "image"])
def test_the_extractor_ascends_what_the_discriminator_descends(kind):
    method = made("dann", overrides=f"strength=0.7 discriminator={kind}")
    batch = batch_of(toy_task())
    adversarial = method.losses(batch, 0.4)["adversarial"]
    source, target = (method.network.encoder(x)[-1] for x in (batch.source_x.flatten(0, 1), batch.target.x))
    (discriminator,) = method.adversary.discriminators
    plain = domain_loss(discriminator(source), discriminator(target))
    assert torch.allclose(adversarial, plain, atol=1e-6)
    straight = gradients(method.network.encoder, plain)
    assert any(g.abs().max() > 1e-6 for g in straight)
    factor = -0.7 * ramp(0.4)
    assert close(gradients(method.network.encoder, adversarial), [factor * g for g in straight])
    assert close(gradients(discriminator, adversarial), gradients(discriminator, plain))


@pytest.mark.parametrize("name", BOTH)
def test_the_adversary_is_silent_at_the_start_of_the_ramp_and_at_strength_zero(name):
    batch = batch_of(toy_task())
    for overrides, progress in (("strength=0", 0.9), ("", 0.0)):
        method = made(name, overrides=overrides)
        adversarial = method.losses(batch, progress)["adversarial"]
        extractors = nn.ModuleList(m for m in method.modules() if isinstance(m, ENCODERS))
        assert all((g == 0).all() for g in gradients(extractors, adversarial))
        assert any((g != 0).any() for g in gradients(method.adversary, adversarial))


@pytest.mark.trust("limits", "All sources of combined DANN together weigh as much as the target.")
def test_all_sources_together_weigh_as_much_as_the_target():
    method, batch = made("dann"), batch_of(toy_task())
    twice = reordered(batch, [0, 1, 2, 0, 1, 2])
    more = made("dann", 6)
    more.load_state_dict(method.state_dict())
    once, again = method.losses(batch, 0.5), more.losses(twice, 0.5)
    assert all(torch.allclose(once[key], again[key], atol=1e-6) for key in once)
    source, target = (method.network.encoder(x)[-1] for x in (batch.source_x.flatten(0, 1), batch.target.x))
    d = method.adversary.discriminators[0]
    halves = -0.5 * (d(source).sigmoid().log().mean() + (1 - d(target).sigmoid()).log().mean())
    assert torch.allclose(once["adversarial"], halves, atol=1e-5)


def test_combined_dann_does_not_care_which_source_is_which():
    method, batch = made("dann"), batch_of(toy_task())
    before, after = method.losses(batch, 0.5), method.losses(reordered(batch, [2, 0, 1]), 0.5)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_permuting_sources_with_their_networks_changes_nothing():
    method, batch = made("dann_per_source"), batch_of(toy_task())
    images, order = torch.randn(2, 3, 32, 48), [2, 0, 1]
    before, predicted = method.losses(batch, 0.5), method.predict(images)
    for modules in (method.subnetworks, method.adversary.discriminators):
        modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    after = method.losses(reordered(batch, order), 0.5)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-5)


def copied(per_source, dann, j):
    dann.network.load_state_dict(per_source.subnetworks[j].state_dict())
    dann.adversary.discriminators[0].load_state_dict(per_source.adversary.discriminators[j].state_dict())
    return dann


def test_per_source_is_the_mean_of_dann_on_each_pair():
    method, batch = made("dann_per_source"), batch_of(toy_task())
    alone = [copied(method, made("dann", 1), j) for j in range(3)]
    parts = [dann.losses(reordered(batch, [j]), 0.5) for j, dann in enumerate(alone)]
    whole = method.losses(batch, 0.5)
    for key in whole:
        assert torch.allclose(whole[key], torch.stack([p[key] for p in parts]).mean(), atol=1e-6)
    for j, dann in enumerate(alone):
        own = gradients(dann, total(parts[j]))
        assert close(
            gradients(method.subnetworks[j], total(whole)),
            [g / 3 for g in own[: -len(list(dann.adversary.parameters()))]],
        )
    images = torch.randn(2, 3, 32, 48)
    mean = torch.stack([dann.predict(images).sigmoid() for dann in alone]).mean(0)
    assert torch.allclose(method.predict(images).sigmoid(), mean, atol=1e-6)


def test_per_source_is_mstl_without_attention_and_fusion():
    method, batch = made("dann_per_source"), batch_of(toy_task())
    mstl = made("mstl", overrides="attention=none fusion=mean heads_see_target=true")
    mstl.subnetworks.load_state_dict(method.subnetworks.state_dict())
    wanted = mstl.losses(batch, 0.5)
    found = method.losses(batch, 0.5)
    assert torch.allclose(found["source"], wanted["source"], atol=1e-6)
    assert torch.allclose(found["target"], wanted["target_heads"], atol=1e-6)


def test_strength_zero_is_source_combine_with_a_spectator():
    method, batch = made("dann", overrides="strength=0"), batch_of(toy_task())
    combine = made("source_combine")
    combine.network.load_state_dict(method.network.state_dict())
    wanted = combine.losses(batch, 0.5)
    found = method.losses(batch, 0.5)
    assert all(torch.allclose(found[key], wanted[key], atol=1e-6) for key in wanted)
    assert close(gradients(method.network, total(found)), gradients(combine.network, total(wanted)), 1e-5)


def test_masks_of_the_target_beyond_the_labelled_are_never_needed():
    method, batch = made("dann"), batch_of(toy_task())
    logits = method.predict(batch.target.x)[: len(batch.target.y)]
    wanted = segmentation_loss(logits, batch.target.y)
    assert torch.allclose(method.losses(batch, 0.5)["target"], wanted, atol=1e-6)


@pytest.mark.parametrize("name", [*BOTH, "mdan_hard", "mdan_soft", "dctn"])
def test_extra_updates_teach_the_discriminators_and_nobody_else(name):
    method, batch = made(name).train(), batch_of(toy_task())
    for _ in range(4):
        method.losses(batch, 0.5)
    assert method.discriminator_updates == 2
    optimiser = torch.optim.Adam(method.discriminator_parameters(), 0.01)
    first = None
    for _ in range(30):
        optimiser.zero_grad()
        loss = total(method.discriminator_losses(batch, 0.5))
        first = first if first is not None else loss.detach()
        loss.backward()
        optimiser.step()
    assert loss < first
    own = {id(p) for p in method.discriminator_parameters()}
    assert all(p.grad is None for p in method.parameters() if id(p) not in own)


def test_a_negative_strength_is_refused():
    with pytest.raises(InputError, match="must be ≥ 0"):
        made("dann", overrides="strength=-1")


def test_the_largest_takes_all_and_ties_share():
    assert largest(torch.tensor([0.1, 0.9, 0.3])).tolist() == [0, 1, 0]
    assert largest(torch.tensor([0.9, 0.1, 0.9])).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
def test_the_weighted_reversal_weighs_the_extractor_and_not_the_discriminators(weights):
    torch.manual_seed(1)
    adversary, w = Adversary(3, 4, updates=0).eval(), torch.tensor(weights)
    shared = nn.Conv2d(3, 4, 1)
    images = torch.randn(4, 2, 3, 5, 6)

    def features():
        target = shared(images[3])
        return [(shared(x), target) for x in images[:3]]

    plain = torch.stack(
        [domain_loss(d(s), d(t)) for d, (s, t) in zip(adversary.discriminators, features(), strict=True)]
    )
    seen = []
    deltas = weighted_reversal(adversary, features(), 0.3, lambda values: seen.append(values) or w)
    assert torch.equal(deltas, plain)
    assert torch.equal(seen[0], plain)
    assert not seen[0].requires_grad
    wanted = [-0.3 * g for g in gradients(shared, (w * plain).sum())]
    assert close(gradients(shared, deltas.mean()), wanted)
    assert close(gradients(adversary, deltas.mean()), gradients(adversary, plain.mean()))


@pytest.mark.trust("limits", "A discriminator that knows nothing has the loss ln 2.")
def test_knowing_nothing_costs_ln_2():
    method = made("dann")
    for p in method.discriminator_parameters():
        nn.init.zeros_(p)
    adversarial = method.losses(batch_of(toy_task()), 0.5)["adversarial"]
    assert adversarial.item() == pytest.approx(math.log(2))
