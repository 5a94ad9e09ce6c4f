"""The plain controls: every source alone, and as many networks as sources on the pooled data."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import gradients

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.nn.outputs import mixture
from mstl.system.errors import InputError


def batch_of(sources=3, **options):
    return next(
        Batches(toy_task(sources, **options), batch_size=3, target_batch_size=4, augment=Augment.none())
    )


def fresh(name, sources=3, overrides="", labelled=True, seed=0):
    torch.manual_seed(seed)
    return build(name, sources, labelled, f"depth=3 {overrides}", width=4).eval()


def equal_gradients(module, left, right):
    pairs = zip(gradients(module, left), gradients(module, right), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["source_only", "pooled_ensemble", "multi_head", "positive_unlabelled"])
@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_parameter_learns(name, sources, labels):
    method = fresh(name, sources, labelled=labels > 0).train()
    losses = method.losses(batch_of(sources, labels=labels), 0.5)
    uses_labels = labels and name != "source_only"
    assert set(losses) == {"source"} | ({"target"} if uses_labels else set())
    sum(losses.values()).backward()
    assert [key for key, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.trust("limits", "Source-only never looks at the target: other target images change no gradient.")
@pytest.mark.parametrize("overrides", ["", "source=1"])
def test_source_only_never_looks_at_the_target(overrides):
    method, batch = fresh("source_only", overrides=overrides), batch_of()
    blank = replace(
        batch.target,
        x=1 - batch.target.x,
        y=1 - batch.target.y,
        plain=batch.target.plain * 0,
    )
    here, there = (
        method.losses(b, 0.5)["source"] for b in (batch, replace(batch, targets=(blank,) * batch.J))
    )
    assert here == there
    assert equal_gradients(method, here, there)


def test_network_j_of_source_only_learns_from_source_j_alone():
    method, batch = fresh("source_only"), batch_of()
    images = batch.source_x.clone()
    images[1] = images[1].flip(-1) + 0.3
    left, right = (method.losses(b, 0.5)["source"] for b in (batch, replace(batch, source_x=images)))
    assert [equal_gradients(method.networks[j], left, right) for j in range(3)] == [True, False, True]


@pytest.mark.parametrize("j", [0, 1, 2])
def test_a_source_alone_is_its_network_among_all(j):
    together, alone = fresh("source_only"), fresh("source_only", overrides=f"source={j}")
    images, batch = torch.randn(2, 3, 32, 48), batch_of()
    assert torch.allclose(alone.predict(images), together.networks[j](images).logits, atol=1e-5)
    # Among all it weighs 1/J, to which an optimiser that normalises gradients is indifferent.
    pairs = zip(
        gradients(alone, alone.losses(batch, 0.5)["source"]),
        gradients(together.networks[j], 3 * together.losses(batch, 0.5)["source"]),
        strict=True,
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_source_only_predicts_with_the_mean_of_the_single_sources():
    images = torch.randn(2, 3, 32, 48)
    single = torch.stack([fresh("source_only", overrides=f"source={j}").predict(images) for j in range(3)])
    assert torch.allclose(fresh("source_only").predict(images), mixture(single), atol=1e-5)


def test_every_source_twice_leaves_the_average_alone():
    once, twice = fresh("source_only", 2), fresh("source_only", 4)
    for j in range(4):
        twice.networks[j].load_state_dict(once.networks[j % 2].state_dict())
    batch, images = batch_of(2), torch.randn(2, 3, 32, 48)
    doubled = replace(
        batch,
        source_x=batch.source_x.repeat(2, 1, 1, 1, 1),
        source_y=batch.source_y.repeat(2, 1, 1, 1, 1),
        targets=batch.targets * 2,
    )
    assert torch.allclose(once.losses(batch, 0.5)["source"], twice.losses(doubled, 0.5)["source"], atol=1e-6)
    assert torch.allclose(once.predict(images), twice.predict(images), atol=1e-5)


@pytest.mark.parametrize("source", [-2, 3])
def test_a_source_that_does_not_exist_is_one_clear_error(source):
    with pytest.raises(InputError, match=r"choose from 0 … 2, or -1 for all|must be ≥ -1"):
        fresh("source_only", overrides=f"source={source}")


def check_equal(ours, combine, labels):
    """Losses and predictions of a method and of source-combine with the same weights, bit for bit."""
    batch, images = batch_of(1, labels=labels), torch.randn(2, 3, 32, 48)
    found, wanted = ours.losses(batch, 0.5), combine.losses(batch, 0.5)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[k], wanted[k]) for k in wanted)
    assert torch.equal(ours.predict(images), combine.predict(images))


@pytest.mark.trust("limits", "A pooled ensemble of one network is pooled training, bit for bit.")
@pytest.mark.parametrize("labels", [0, 4])
def test_one_pooled_network_is_source_combine(labels):
    pooled, combine = (fresh(name, 1, labelled=labels > 0) for name in ("pooled_ensemble", "source_combine"))
    combine.network.load_state_dict(pooled.networks[0].state_dict())
    check_equal(pooled, combine, labels)


def test_a_pooled_network_among_others_is_a_source_combine_too():
    pooled, combine = fresh("pooled_ensemble"), fresh("source_combine")
    combine.network.load_state_dict(pooled.networks[1].state_dict())
    batch = batch_of()
    pairs = zip(
        gradients(pooled.networks[1], 3 * sum(pooled.losses(batch, 0.5).values())),
        gradients(combine.network, sum(combine.losses(batch, 0.5).values())),
        strict=True,
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_pooled_networks_start_apart_and_do_not_care_about_the_order_of_sources():
    pooled, batch, images = fresh("pooled_ensemble"), batch_of(), torch.randn(2, 3, 32, 48)
    first, second = (pooled.networks[j](images).logits for j in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    order = [2, 0, 1]
    permuted = replace(batch, source_x=batch.source_x[order], source_y=batch.source_y[order])
    before, after = pooled.losses(batch, 0.5), pooled.losses(permuted, 0.5)
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)


def test_the_pooled_ensemble_has_the_parameters_of_the_sub_networks_of_mstl():
    mstl = fresh("mstl", overrides="attention=none fusion=mean adversarial=false")
    pooled = fresh("pooled_ensemble")
    counts = [sum(p.numel() for p in method.parameters()) for method in (mstl, pooled)]
    assert counts[0] == counts[1]


def test_the_mean_of_logits_predicts():
    pooled, images = fresh("pooled_ensemble"), torch.randn(2, 3, 32, 48)
    heads = torch.stack([network(images).logits for network in pooled.networks])
    assert torch.equal(pooled.predict(images), heads.mean(0))


# --- multi-head -------------------------------------------------------------------------------------------


def test_source_j_teaches_channel_j_alone():
    method, batch = fresh("multi_head"), batch_of(labels=0)
    masks = batch.source_y.clone()
    masks[1] = 1 - masks[1]
    left, right = (
        gradients(method.network.predictor.head, method.losses(b, 0.5)["source"])
        for b in (batch, replace(batch, source_y=masks))
    )
    for one, other in zip(left, right, strict=True):  # weight and bias, a row a source
        assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [True, False, True]


def test_the_source_loss_of_multi_head_is_the_mean_of_those_of_its_channels():
    method, batch = fresh("multi_head"), batch_of()
    alone = [
        method.problem.loss(method.network(x).logits[:, j : j + 1], y)
        for j, (x, y) in enumerate(batch.sources)
    ]
    torch.testing.assert_close(method.losses(batch, 0.5)["source"], torch.stack(alone).mean())


@pytest.mark.trust("limits", "Multi-head with one source is pooled training, bit for bit.")
@pytest.mark.parametrize("labels", [0, 4])
def test_one_channel_is_source_combine(labels):
    ours, theirs = (fresh(name, 1, labelled=labels > 0) for name in ("multi_head", "source_combine"))
    theirs.load_state_dict(ours.state_dict())
    check_equal(ours, theirs, labels)


def test_multi_head_costs_one_network_and_a_row_a_source():
    counts = [sum(p.numel() for p in fresh(name).parameters()) for name in ("multi_head", "source_combine")]
    assert counts[0] - counts[1] == 2 * (4 + 1)  # width and bias
