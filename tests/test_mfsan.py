"""MFSAN: kernel mean embeddings of places, and predictions that agree on the target."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conftest import toy_task
from small import gradients

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.nn import ramp
from mstl.nn.outputs import disagreement, mixture
from mstl.system.errors import InputError


def batch_of(sources=3, **options):
    # One size for all domains, so that a target can be a copy of a source.
    task = toy_task(sources, source_size=(32, 48), **options)
    return next(Batches(task, batch_size=4, target_batch_size=4, augment=Augment.none()))


def mfsan(sources=3, overrides="", labelled=True):
    torch.manual_seed(0)
    return build("mfsan", sources, labelled, f"depth=3 {overrides}", width=4)


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(sources, labels):
    method = mfsan(sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(sources, labels=labels), 0.5)
    assert set(losses) == {"source", "mmd", "disagreement"} | ({"target"} if labels else set())
    sum(losses.values()).backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.trust("limits", "Domains with the same images have no kernel discrepancy.")
def test_domains_with_the_same_images_have_no_discrepancy():
    batch = batch_of()
    same = replace(batch, source_x=batch.target.x.expand_as(batch.source_x))
    assert mfsan().losses(same, 0.5)["mmd"].abs() < 1e-6
    assert mfsan().losses(batch, 0.5)["mmd"] > 1e-4


def test_a_shifted_target_raises_the_discrepancy():
    method, features = mfsan(), torch.randn(4, 16, 8, 12)
    distances = [method.discrepancy(features, features + t, 0.5) for t in (0.0, 0.2, 0.5, 1.0)]
    assert distances[0].abs() < 1e-6
    assert all(a < b for a, b in pairwise(distances))


def test_equal_arguments_draw_equal_places_and_another_step_draws_others():
    method, source, target = (
        mfsan(overrides="places=32"),
        torch.randn(4, 16, 8, 12),
        torch.randn(4, 16, 8, 12),
    )
    now, again, later = (method.discrepancy(source, target, progress) for progress in (0.5, 0.5, 0.6))
    assert now == again != later


def test_with_fewer_places_than_the_limit_all_of_them_count():
    source, target = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 6)
    one, other = (mfsan(overrides=f"places={n}").discrepancy(source, target, 0.5) for n in (48, 1000))
    assert one == other


@pytest.mark.parametrize("name", ["mmd", "disagreement"])
def test_both_alignments_follow_the_ramp(name):
    method, batch = mfsan(overrides="weight=1 places=1000"), batch_of()
    early, late = (method.losses(batch, progress)[name] for progress in (0.1, 0.9))
    assert torch.allclose(early / ramp(0.1), late / ramp(0.9))
    assert method.losses(batch, 0.0)[name] == 0


def test_classifiers_that_are_one_agree():
    method, batch = mfsan(), batch_of()
    assert method.losses(batch, 0.5)["disagreement"] > 0
    for j in (1, 2):
        method.spaces[j].load_state_dict(method.spaces[0].state_dict())
        method.predictors[j].load_state_dict(method.predictors[0].state_dict())
    assert method.losses(batch, 0.5)["disagreement"] == 0


def test_disagreement_is_of_predictions_and_reaches_the_predictors_that_mmd_does_not():
    method = mfsan()
    losses = method.losses(batch_of(), 0.5)
    assert all((g == 0).all() for g in gradients(method.predictors, losses["mmd"]))
    assert any((g != 0).any() for g in gradients(method.spaces, losses["mmd"]))
    assert any((g != 0).any() for g in gradients(method.predictors, losses["disagreement"]))


def test_space_i_is_aligned_without_the_images_of_source_j():
    method, batch = mfsan(), batch_of()
    images = batch.source_x.clone()
    images[1] = images[1].flip(-1) + 0.3
    changed = replace(batch, source_x=images)
    for j, same in ((0, True), (1, False), (2, True)):
        left, right = (gradients(method.spaces[j], method.losses(b, 0.5)["mmd"]) for b in (batch, changed))
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True)) is same


def test_permuting_sources_with_their_spaces_and_predictors_changes_nothing():
    method, batch = mfsan().eval(), batch_of()
    images = torch.randn(2, 3, 32, 48)
    before, predicted = method.losses(batch, 0.5), method.predict(images)
    order = [2, 0, 1]
    for modules in (method.spaces, method.predictors):
        modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    permuted = replace(batch, source_x=batch.source_x[order], source_y=batch.source_y[order])
    after = method.losses(permuted, 0.5)
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-5)


@pytest.mark.parametrize("overrides", ["weight=-1", "places=1"])
def test_bad_hyperparameters_are_one_clear_error(overrides):
    with pytest.raises(InputError, match="must be ≥"):
        mfsan(overrides=overrides)


def test_the_mean_probability_is_exact_and_survives_certainty():
    logits = torch.tensor([[-2.0, 0.0, 300.0, -300.0], [3.0, 0.0, 300.0, 300.0]], dtype=torch.float64)
    logits = logits[:, :, None, None, None]  # four images of one place
    logits.requires_grad_()
    result = mixture(logits)
    assert torch.allclose(result.sigmoid(), logits.sigmoid().mean(0))
    assert result.isfinite().all()
    assert torch.allclose(result[2], torch.tensor(300.0, dtype=torch.float64))
    result.sum().backward()
    assert logits.grad.isfinite().all()
    # A network twice is that network once, and one network is itself.
    assert torch.allclose(mixture(logits[[0, 0]]), logits[0])
    assert torch.allclose(mixture(logits[[0, 1, 0, 1]]), result)
    assert mixture(logits.detach().bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("power", [1, 2])
def test_disagreement_averages_over_pairs(power):
    p = torch.tensor([0.2, 0.5, 0.9])
    logits = p.logit().reshape(3, 1, 1, 1, 1).expand(3, 2, 1, 4, 6)
    expected = (0.3**power + 0.7**power + 0.4**power) / 3
    assert disagreement(logits, power).item() == pytest.approx(expected, rel=1e-5)
    assert disagreement(logits[:1], power) == 0
