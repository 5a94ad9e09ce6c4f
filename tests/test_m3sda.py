"""M3SDA matches moments: what that distance must and must not react to."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import gradients

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.nn import segmentation_loss
from mstl.system.errors import InputError


def batch_of(sources=3, **options):
    # One size for all domains, so that a target can be a copy of a source.
    task = toy_task(sources, source_size=(32, 48), **options)
    return next(Batches(task, batch_size=4, target_batch_size=4, augment=Augment.none()))


def m3sda(sources=3, overrides="", labelled=True):
    torch.manual_seed(0)
    return build("m3sda", sources, labelled, f"depth=3 {overrides}", width=4)


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(sources, labels):
    method = m3sda(sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(sources, labels=labels), 0.5)
    assert set(losses) == {"source", "moments"} | ({"target"} if labels else set())
    sum(losses.values()).backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.trust("limits", "Domains with the same images have the moment distance 0.")
def test_domains_with_the_same_images_have_no_distance():
    batch = batch_of()
    same = replace(batch, source_x=batch.target.x.expand_as(batch.source_x))
    assert m3sda().losses(same, 0.5)["moments"] == 0
    assert m3sda().losses(batch, 0.5)["moments"] > 0


def test_the_distance_ignores_where_a_feature_stands_and_in_which_image():
    method = m3sda()
    features = torch.randn(4, 16, 8, 12)
    moved = features.flip(0, 2, 3)
    assert torch.allclose(method.moment_distance([features], moved), torch.zeros(()), atol=1e-5)


def test_a_shift_of_the_target_grows_the_first_moment_linearly():
    method = m3sda(overrides="orders=1")
    features, direction = torch.randn(4, 16, 8, 12), torch.randn(16, 1, 1)
    distances = torch.stack(
        [method.moment_distance([features] * 3, features + t * direction) for t in (0.0, 1.0, 2.0, 5.0)]
    )
    assert torch.allclose(distances, torch.tensor([0.0, 1.0, 2.0, 5.0]) * direction.norm(), atol=1e-4)


def test_equal_means_leave_the_second_moment_to_tell_domains_apart():
    features = torch.randn(4, 16, 8, 12)
    mean = features.mean((0, 2, 3), keepdim=True)
    wider = mean + 2 * (features - mean)
    first, both = (m3sda(overrides=f"orders={k}").moment_distance([features], wider) for k in (1, 2))
    assert first < 1e-5
    # E(m + 2d)² - E(m + d)² = 3 E d² in every channel.
    expected = 3 * (features - mean).square().mean((0, 2, 3)).norm()
    assert torch.allclose(both, expected, rtol=1e-4)


def test_a_source_twice_leaves_the_distance_to_the_target_alone():
    method, source, target = m3sda(), torch.randn(4, 16, 8, 12), torch.randn(4, 16, 8, 12)
    once, twice = (method.moment_distance([source] * j, target) for j in (1, 2))
    assert torch.allclose(once, twice)


def test_permuting_sources_and_their_predictors_changes_nothing():
    method, batch = m3sda().eval(), batch_of()
    images = torch.randn(2, 3, 32, 48)
    before, predicted = method.losses(batch, 0.5), method.predict(images)
    order = [2, 0, 1]
    method.predictors._modules = {str(k): method.predictors[j] for k, j in enumerate(order)}
    permuted = replace(batch, source_x=batch.source_x[order], source_y=batch.source_y[order])
    after = method.losses(permuted, 0.5)
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-5)


def test_weight_scales_the_distance_and_zero_leaves_segmentation_alone():
    batch = batch_of()
    once, thrice, never = (m3sda(overrides=f"weight={w}").losses(batch, 0.5) for w in (0.1, 0.3, 0.0))
    assert torch.allclose(3 * once["moments"], thrice["moments"])
    assert never["moments"] == 0
    assert once["source"] == thrice["source"] == never["source"]


def test_moments_train_the_encoder_and_no_predictor():
    method = m3sda()
    moments = method.losses(batch_of(), 0.5)["moments"]
    assert all((g == 0).all() for g in gradients(method.predictors, moments))
    assert any((g != 0).any() for g in gradients(method.encoder, moments))


def test_one_source_without_weight_is_source_combine():
    method, combine = m3sda(1, "weight=0"), build("source_combine", 1, True, "depth=3", width=4)
    combine.network.encoder.load_state_dict(method.encoder.state_dict())
    combine.network.predictor.load_state_dict(method.predictors[0].state_dict())
    batch, images = batch_of(1), torch.randn(2, 3, 32, 48)
    ours, theirs = method.losses(batch, 0.5), combine.losses(batch, 0.5)
    assert all(torch.allclose(ours[k], theirs[k], atol=1e-6) for k in theirs)
    assert torch.allclose(method.predict(images), combine.predict(images), atol=1e-5)


def test_each_predictor_learns_from_its_source_and_from_the_labelled_target():
    method, batch = m3sda(), batch_of()
    losses = method.losses(batch, 0.5)
    heads = [predict(method.encoder(batch.target.x)) for predict in method.predictors]
    count = len(batch.target.y)
    expected = torch.stack([segmentation_loss(z[:count], batch.target.y) for z in heads]).mean()
    assert torch.allclose(losses["target"], expected, atol=1e-6)


@pytest.mark.parametrize("overrides", ["weight=-1", "orders=0"])
def test_bad_hyperparameters_are_one_clear_error(overrides):
    with pytest.raises(InputError, match="must be ≥"):
        m3sda(overrides=overrides)
