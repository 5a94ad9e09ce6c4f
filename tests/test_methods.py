"""What the equations of the methods promise, whatever the weights."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import batch_of, gradients, in_float64

from mstl.methods import build
from mstl.methods.adversary import gradient_ratio
from mstl.nn import SubNetwork, domain_loss, ramp, segmentation_loss
from mstl.system.errors import InputError

SMALL = "depth=3"


def mstl(sources=3, labelled=True, overrides="", seed=0):
    torch.manual_seed(seed)
    return build("mstl", sources, labelled, f"{SMALL} {overrides}", width=4).eval()


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "fusion=gated",
        "fusion=cross",
        "attention=none",
        "adversarial=false",
        "discriminator=image",
        "stem=2",
        "norm=domain",
        "discriminator_reads=attended",
    ],
)
def test_every_parameter_of_mstl_learns(overrides):
    method = mstl(overrides=f"heads_see_target=true {overrides}").train()
    losses = method.losses(batch_of(toy_task()), 0.5)
    torch.stack(tuple(losses.values())).sum().backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_without_labels_the_mean_of_the_heads_predicts_and_no_target_mask_is_used():
    method, task = mstl(labelled=False), toy_task(labels=0)
    losses = method.losses(batch_of(task), 0.5)
    assert set(losses) == {"source", "adversarial"}
    images = torch.randn(2, 3, 32, 48)
    heads = torch.stack([network(images).logits for network in method.subnetworks]).mean(0)
    assert torch.equal(method.predict(images), heads)


def test_prediction_all_is_the_mean_of_fused_and_heads():
    images = torch.randn(2, 3, 32, 48)
    everything, fused, heads = (
        mstl(overrides=f"prediction={kind}").predict(images) for kind in ("all", "fused", "heads")
    )
    assert torch.allclose(everything, (fused + 3 * heads) / 4, atol=1e-6)


def test_the_extractor_receives_the_reversed_gradient_and_the_discriminator_the_plain_one():
    method, batch = mstl(sources=1, overrides="strength=0.7 updates=0"), batch_of(toy_task(1))
    adversarial = method.losses(batch, 0.4)["adversarial"]
    source, target = (method.subnetworks[0](x).features for x in (batch.source_x[0], batch.target.x))
    plain = domain_loss(
        method.adversary.discriminators[0](source), method.adversary.discriminators[0](target)
    )
    assert torch.allclose(adversarial, plain, atol=1e-6)
    factor = -0.7 * ramp(0.4)
    for reversed_, straight in zip(
        gradients(method.subnetworks[0].encoder, adversarial),
        gradients(method.subnetworks[0].encoder, plain),
        strict=True,
    ):
        assert torch.allclose(reversed_, factor * straight, atol=1e-6)
    for left, right in zip(
        gradients(method.adversary.discriminators, adversarial),
        gradients(method.adversary.discriminators, plain),
        strict=True,
    ):
        assert torch.allclose(left, right, atol=1e-6)


def test_strength_zero_leaves_the_extractor_alone():
    method = mstl(overrides="strength=0")
    adversarial = method.losses(batch_of(toy_task()), 0.9)["adversarial"]
    assert all((g == 0).all() for g in gradients(method.subnetworks, adversarial))


def test_subnetwork_i_does_not_depend_on_the_images_of_source_j():
    method, task = mstl(), toy_task()
    batch = batch_of(task)
    other = batch.source_x.clone()
    other[1] = other[1].flip(-1) + 0.3
    changed = replace(batch, source_x=other)
    for j, same in ((0, True), (1, False), (2, True)):
        pairs = zip(
            gradients(method.subnetworks[j], sum(method.losses(batch, 0.5).values())),
            gradients(method.subnetworks[j], sum(method.losses(changed, 0.5).values())),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs) is same


def test_permuting_sources_and_their_subnetworks_changes_nothing():
    # Gated fusion shares its score among sources; concatenation has one weight block a source instead.
    method, batch = mstl(overrides="fusion=gated"), batch_of(toy_task())
    images = torch.randn(2, 3, 32, 48)
    before, predicted = method.losses(batch, 0.5), method.predict(images)
    order = [2, 0, 1]
    for modules in (method.subnetworks, method.adversary.discriminators):
        modules._modules = {str(k): modules[j] for k, j in enumerate(order)}
    permuted = replace(batch, source_x=batch.source_x[order], source_y=batch.source_y[order])
    after = method.losses(permuted, 0.5)
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    assert torch.allclose(predicted, method.predict(images), atol=1e-6)


def test_one_plain_source_reduces_mstl_to_source_combine():
    options = "adversarial=false attention=none fusion=mean heads_see_target=true"
    method, combine = mstl(1, overrides=options), build("source_combine", 1, True, SMALL, width=4).eval()
    combine.network.load_state_dict(method.subnetworks[0].state_dict())
    batch = batch_of(toy_task(1))
    ours, theirs = method.losses(batch, 0.5), combine.losses(batch, 0.5)
    assert torch.allclose(ours["source"], theirs["source"], atol=1e-6)
    assert torch.allclose(ours["target_heads"], theirs["target"], atol=1e-6)
    images = torch.randn(2, 3, 32, 48)
    assert torch.allclose(method.predict(images), combine.predict(images), atol=1e-6)


def test_source_combine_pools_all_sources():
    combine, batch = build("source_combine", 3, True, SMALL, width=4).eval(), batch_of(toy_task())
    per_source = [
        segmentation_loss(combine.predict(x), y) for x, y in zip(batch.source_x, batch.source_y, strict=True)
    ]
    assert torch.allclose(combine.losses(batch, 0.0)["source"], torch.stack(per_source).mean(), atol=1e-6)


@pytest.mark.trust("equalities", "one forward pass over source and target equals two")
def test_one_forward_for_source_and_target_equals_two():
    network, passed = mstl().subnetworks[0], []
    network.encoder.register_forward_pre_hook(lambda module, args: passed.append(len(args[0])))
    batch = batch_of(toy_task(source_size=(32, 48)))
    source, target = batch.source_x[0], batch.target.x
    outputs = [network.train(training).pair(source, target) for training in (True, False)]
    assert passed == [len(source) + len(target), len(source), len(target)]
    for together, apart in zip(*outputs, strict=True):
        assert torch.allclose(together.logits, apart.logits, atol=1e-5)
        assert torch.allclose(together.features, apart.features, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 24), (32, 48)])
@pytest.mark.parametrize(
    ("name", "labelled", "overrides", "decoded"),
    [
        ("mstl", True, "", "source"),
        ("mstl", True, "heads_see_target=true", "labelled"),
        ("mstl", False, "discriminator_reads=attended", "source"),
        ("mstl_plus", True, "", "labelled"),
        ("mstl_plus", False, "attention=transferable", "source"),
        ("mstl_plus", True, "norm=batch", "all"),
    ],
)
@pytest.mark.trust("equalities", "masks that nobody reads need not be computed: equal losses and gradients")
def test_what_no_loss_reads_is_not_decoded(name, labelled, overrides, decoded, size, monkeypatch):
    task = toy_task(source_size=size, labels=2 if labelled else 0)
    batch = in_float64(batch_of(task))
    counts = {"source": 0, "labelled": len(batch.target.y), "all": len(batch.target.x)}

    def state(everything: bool):
        torch.manual_seed(0)
        method = build(name, 3, labelled, overrides, width=4).double().train()
        if everything:
            pair = SubNetwork.pair
            monkeypatch.setattr(
                SubNetwork, "pair", lambda self, x, y, read, judge: pair(self, x, y, None, judge)
            )
        rows = []
        for network in method.subnetworks:
            network.predictor.register_forward_hook(
                lambda module, args, out: rows.append(len(out) if out.requires_grad else 0)
            )
        losses = method.losses(batch, 0.5)
        sum(losses.values()).backward()
        monkeypatch.undo()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        return losses, gradients, dict(method.named_buffers()), sum(rows)

    losses, gradients, buffers, rows = state(everything=False)
    assert rows == 3 * (batch.source_x.shape[1] + counts[decoded])
    for ours, theirs in zip((losses, gradients, buffers), state(everything=True)[:3], strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-9, atol=1e-12)


def test_the_gradient_ratio_counts_a_weight_that_a_loss_does_not_reach_as_zero():
    shared, of_task, of_adversary = (torch.ones((), requires_grad=True) for _ in range(3))
    ratio = gradient_ratio(
        3 * shared + 4 * of_adversary, 6 * shared + 8 * of_task, [shared, of_task, of_adversary]
    )
    assert ratio.item() == pytest.approx(0.5)


def test_unsynchronised_sub_networks_draw_their_own_target_and_do_not_fuse():
    method = mstl(overrides="synchronised=false")
    batch = batch_of(toy_task(), synchronised=method.synchronised)
    assert "target_fused" not in method.losses(batch, 0.5)
    assert not torch.equal(batch.targets[0].x, batch.targets[1].x)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("mslt", "", "choose from target_only"),
        ("mstl", "atention=none", "names are|not name=value"),
        ("mstl", "attention=loud", "choose from both"),
        ("mstl", "strength=strong", "not of type float"),
        ("mstl", "adversarial=1", "true or false"),
        ("mstl", "strength=-1", "must be ≥ 0"),
        ("mstl", "discriminator_reads=everything", "choose from features"),
        ("mstl", "attention=transferable", "choose from both"),
        ("mstl", "stem=9", "stem=9 must be 0 to"),
        ("mstl_plus", "aim=-1", "must be ≥ 0"),
        ("mstl", "strength=nan", "must be ≥ 0"),
        ("mfsan", "weight=inf", "must be ≥ 0"),
        ("source_combine", "depth=12", "4096 are the most"),
        ("mstl", "adversarial=false discriminator=loud", "choose from location, image"),
        ("mdan_hard", "gain=0", "gain of the ramp"),
        ("dctn", "updates=-1", "must be ≥ 0"),
    ],
)
def test_bad_methods_and_overrides_are_one_clear_error(name, overrides, message):
    with pytest.raises(InputError, match=message):
        build(name, 3, True, overrides)
