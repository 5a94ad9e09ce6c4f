"""Multi-model consistency: sub-networks that play their own adversaries and agree on the target."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import gradients

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.nn import ramp
from mstl.system.errors import InputError


def batch_of(sources=3, **options):
    return next(
        Batches(toy_task(sources, **options), batch_size=3, target_batch_size=4, augment=Augment.none())
    )


def consistency(sources=3, overrides="", labelled=True):
    torch.manual_seed(0)
    return build("consistency", sources, labelled, f"depth=3 {overrides}", width=4).eval()


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(sources, labels):
    method = consistency(sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(sources, labels=labels), 0.5)
    assert set(losses) == {"source", "adversarial", "disagreement"} | ({"target"} if labels else set())
    sum(losses.values()).backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_extra_updates_teach_every_discriminator_and_nothing_else():
    method, batch = consistency().train(), batch_of()
    method.losses(batch, 0.5)
    sum(method.discriminator_losses(batch, 0.5).values()).backward()
    taught = {id(p) for p in method.parameters() if p.grad is not None}
    assert taught == {id(p) for p in method.discriminator_parameters()}
    assert method.discriminator_updates == 2


@pytest.mark.trust("limits", "Models with the same weights disagree by 0.")
def test_models_that_are_one_agree():
    method, batch = consistency(), batch_of()
    assert method.losses(batch, 0.5)["disagreement"] > 0
    for j in (1, 2):
        method.subnetworks[j].load_state_dict(method.subnetworks[0].state_dict())
    assert method.losses(batch, 0.5)["disagreement"] == 0


def test_a_lone_model_agrees_with_itself():
    assert consistency(1).losses(batch_of(1), 0.9)["disagreement"] == 0


def test_consistency_follows_weight_and_ramp():
    batch = batch_of()
    base = consistency().losses(batch, 0.2)["disagreement"]
    assert torch.allclose(consistency(overrides="weight=3").losses(batch, 0.2)["disagreement"], 3 * base)
    late = consistency().losses(batch, 0.8)["disagreement"]
    assert torch.allclose(late / ramp(0.8), base / ramp(0.2))


def test_consistency_compares_the_unlabelled_target_images_too():
    method, batch = consistency(), batch_of()
    images = batch.target.x.clone()
    images[-1] = 1 - images[-1]
    other = replace(batch, targets=(replace(batch.target, x=images),) * 3)
    assert method.losses(batch, 0.5)["disagreement"] != method.losses(other, 0.5)["disagreement"]
    assert method.losses(batch, 0.5)["target"] == method.losses(other, 0.5)["target"]


@pytest.mark.parametrize(("sources", "weight"), [(1, 1), (3, 0)])
def test_at_one_level_with_nobody_to_agree_with_it_is_dann_per_source(sources, weight):
    method = consistency(sources, f"levels=1 strength=0.3 weight={weight}")
    dann = build("dann_per_source", sources, True, "depth=3 strength=0.3", width=4).eval()
    dann.subnetworks.load_state_dict(method.subnetworks.state_dict())
    dann.adversary.load_state_dict(method.adversaries[0].state_dict())
    batch = batch_of(sources)
    ours, theirs = method.losses(batch, 0.5), dann.losses(batch, 0.5)
    assert ours.pop("disagreement") == 0
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[k], theirs[k], atol=1e-6) for k in theirs)
    pairs = zip(
        gradients(method.subnetworks, sum(ours.values())),
        gradients(dann.subnetworks, sum(theirs.values())),
        strict=True,
    )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    images = torch.randn(2, 3, 32, 48)
    assert torch.allclose(method.predict(images), dann.predict(images), atol=1e-5)


def test_the_finer_adversary_reads_the_finer_map():
    method = consistency()
    widths = [next(d.parameters()).shape[1] for a in method.adversaries for d in a.discriminators]
    assert widths == [8, 8, 8, 16, 16, 16]
    # The deepest level hears nothing of the finer game, the level it is played at does.
    batch = batch_of()
    sources = [f(x) for f, x in zip(method.subnetworks, batch.source_x, strict=True)]
    outputs = list(zip(sources, method.subnetworks(batch.target.x), strict=True))
    fine, coarse = (
        a.losses([(s.attended[level], t.attended[level]) for s, t in outputs], 1.0).mean()
        for a, level in zip(method.adversaries, (-2, -1), strict=True)
    )
    *_, finer, deepest = method.subnetworks[0].encoder.levels
    assert all((g == 0).all() for g in gradients(deepest, fine))
    assert any((g != 0).any() for g in gradients(finer, fine))
    assert any((g != 0).any() for g in gradients(deepest, coarse))
    assert torch.allclose(method.losses(batch, 0.5)["adversarial"], fine + coarse)


def test_strength_zero_leaves_the_extractors_alone():
    method = consistency(overrides="strength=0")
    adversarial = method.losses(batch_of(), 0.9)["adversarial"]
    assert all((g == 0).all() for g in gradients(method.subnetworks, adversarial))


def test_without_weight_a_sub_network_does_not_depend_on_other_sources():
    batch = batch_of()
    images = batch.source_x.clone()
    images[1] = images[1].flip(-1) + 0.3
    changed = replace(batch, source_x=images)
    method = consistency(overrides="weight=0")
    for j, same in ((0, True), (1, False), (2, True)):
        left, right = (
            gradients(method.subnetworks[j], sum(method.losses(b, 0.5).values())) for b in (batch, changed)
        )
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True)) is same


def test_permuting_sources_with_sub_networks_and_discriminators_changes_nothing():
    method, batch = consistency(), batch_of()
    images = torch.randn(2, 3, 32, 48)
    before, predicted = method.losses(batch, 0.5), method.predict(images)
    order = [2, 0, 1]
    for modules in (method.subnetworks, *(adversary.discriminators for adversary in method.adversaries)):
        modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    permuted = replace(batch, source_x=batch.source_x[order], source_y=batch.source_y[order])
    after = method.losses(permuted, 0.5)
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("weight=-1", "must be ≥ 0"),
        ("strength=-1", "must be ≥ 0"),
        ("levels=4", "must lie in 1"),
        ("discriminator=loud", "choose from location, image"),
    ],
)
def test_bad_hyperparameters_are_one_clear_error(overrides, message):
    with pytest.raises(InputError, match=message):
        consistency(overrides=overrides)
