"""What MSTL+ adds: weights without labels, a game it may leave, a strength it leads."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from small import batch_of

from mstl.methods import build
from mstl.nn import transferable_weights
from mstl.system.errors import InputError


def plus(sources=3, labelled=True, overrides="", seed=0):
    torch.manual_seed(seed)
    return build("mstl_plus", sources, labelled, f"depth=3 {overrides}", width=4)


def test_equal_heads_have_equal_weights_and_a_head_that_disagrees_is_outvoted():
    method = plus(4)
    assert torch.allclose(method.weights, torch.full((4,), 0.25))
    method.distances.copy_(torch.tensor([0.02, 0.02, 0.02, 0.4]))
    assert method.weights.sum() == pytest.approx(1)
    assert method.weights[3] < 1e-6
    assert torch.allclose(method.weights[:3], torch.full((3,), 1 / 3), atol=1e-6)


@pytest.mark.trust("limits", "MSTL-plus weighs sources by relative distances: their scale does not matter.")
def test_weights_do_not_depend_on_the_scale_of_the_distances():
    method = plus(3)
    method.distances.copy_(torch.tensor([0.1, 0.2, 0.3]))
    before = method.weights.clone()
    method.distances.mul_(7)
    assert torch.allclose(before, method.weights)


def test_inverting_a_head_is_noticed_without_a_single_label():
    method, task = plus(3, labelled=False), toy_task(3, labels=0)
    method.train()
    with torch.no_grad():
        for network in method.subnetworks:  # three heads of one opinion ...
            network.load_state_dict(method.subnetworks[0].state_dict())
            network.predictor.head.weight.mul_(20)
        method.subnetworks[1].predictor.head.weight.neg_()  # ... but one says the opposite
        method.subnetworks[1].predictor.head.bias.neg_()
    method.losses(batch_of(task), 0.5)
    assert method.weights.argmin() == 1
    assert method.weights[1] < 1e-3


def test_without_consensus_the_prediction_is_the_mean_of_heads():
    method = plus(overrides="consensus=false prediction=heads").eval()
    method.distances.copy_(torch.tensor([0.0, 1.0, 9.0]))
    images = torch.randn(2, 3, 32, 48)
    heads = torch.stack([network(images).logits for network in method.subnetworks])
    assert torch.allclose(method.predict(images), heads.mean(0), atol=1e-6)


def test_the_game_is_played_only_without_labels_unless_asked_for():
    assert plus(labelled=True).adversary is None
    assert plus(labelled=False).adversary is not None
    assert plus(labelled=True, overrides="with_labels=true").adversary is not None
    assert plus(labelled=False, overrides="adversarial=false").adversary is None


def test_domains_of_other_foreground_share_are_not_aligned():
    method = plus(labelled=False)
    method.target_share.fill_(0.2)
    method.source_shares.copy_(torch.tensor([[0.2], [0.25], [0.45]]))
    strength = method.strength(1.0)
    full = method.hyper.strength
    assert strength[0] == pytest.approx(full, rel=1e-3)
    assert strength[1] == pytest.approx(full / 2, rel=1e-3)
    assert strength[2] == 0


def test_strength_follows_the_gradient_ratio_in_small_steps_and_stays_in_its_bounds():
    method = plus(labelled=False, overrides="aim=0.15")
    method.adapt({"gradient_ratio": 0.3})
    assert method.scale == pytest.approx(0.5)
    method.adapt({"gradient_ratio": 0.15})
    assert method.scale == pytest.approx(0.5)
    method.adapt({"gradient_ratio": 1e-6})
    assert method.scale == pytest.approx(1.0)
    for _ in range(20):
        method.adapt({"gradient_ratio": 1e-6})
    assert method.scale == pytest.approx(20.0)
    method.adapt({})
    fixed = plus(labelled=False, overrides="aim=0")
    fixed.adapt({"gradient_ratio": 3.0})
    assert fixed.scale == 1


def test_heads_that_say_what_the_teacher_says_have_no_consistency_loss():
    method, batch = plus(), batch_of(toy_task())
    with torch.no_grad():
        for network in method.subnetworks:
            network.load_state_dict(method.subnetworks[0].state_dict())
        unlabelled = batch.target.x[batch.target.unlabelled]
        taught = method.subnetworks[0](unlabelled).logits.sigmoid()
    target = replace(batch.target, taught=taught)
    losses = method.losses(replace(batch, targets=(target,) * 3), 0.5)
    assert losses["consistency"].item() == pytest.approx(0, abs=1e-10)
    other = replace(target, taught=1 - taught)
    assert method.losses(replace(batch, targets=(other,) * 3), 0.5)["consistency"] > 1e-4
    assert "consistency" not in method.losses(batch, 0.5)


def test_transferable_attention_is_uniform_where_the_discriminator_knows_nothing():
    method = plus(overrides="attention=transferable").eval()
    images = torch.randn(2, 3, 32, 48)
    maps = method.attention_maps(images)
    assert maps.shape == (3, 2, 1, 8, 12)
    assert torch.allclose(maps.mean(dim=(-2, -1)), torch.ones(3, 2, 1), atol=1e-5)
    with torch.no_grad():
        for d in method.adversary.discriminators:
            d.layers[-1].weight.zero_()
            d.layers[-1].bias.zero_()
    assert torch.allclose(method.attention_maps(images), torch.ones(3, 2, 1, 8, 12))
    plain = torch.stack([network.predictor(network.encoder(images)) for network in method.subnetworks])
    assert torch.allclose(method.head_logits(images), plain, atol=1e-6)


def test_heads_asked_alone_say_what_they_say_in_the_prediction():
    # Also with an attention that lies outside their networks.
    method = plus(overrides="attention=transferable consensus=false prediction=heads").eval()
    images = torch.randn(2, 3, 32, 48)
    assert not torch.allclose(method.attention_maps(images), torch.ones(3, 2, 1, 8, 12), atol=1e-4)
    assert torch.allclose(method.head_logits(images).mean(0), method.predict(images), atol=1e-6)


def test_places_the_discriminator_is_sure_about_weigh_less():
    method = plus(1, overrides="attention=transferable").eval()
    features = torch.zeros(1, method.subnetworks.channels[-1], 1, 2)
    features[..., 1] = 3.0
    discriminator = method.adversary.discriminators[0]
    p = discriminator(features).sigmoid().flatten()
    unsure = (p - 0.5).abs().argmin()
    assert transferable_weights(discriminator, features).flatten().argmax() == unsure


def test_mixing_gives_every_sub_network_its_share_of_the_other_sources():
    batch = batch_of(toy_task(3))
    marked = replace(
        batch,
        source_x=torch.arange(3.0)[:, None].repeat(1, 8)[..., None, None, None].expand(3, 8, 3, 16, 16),
        source_y=torch.arange(3.0)[:, None].repeat(1, 8)[..., None, None, None].expand(3, 8, 1, 16, 16),
    )
    mixed = plus(3, overrides="mixing=0.5")._mixed(marked)
    origin = mixed.source_x[:, :, 0, 0, 0]
    for j in range(3):
        assert [int((origin[j] == k).sum()) for k in range(3)] == [4 if k == j else 2 for k in range(3)]
    assert torch.equal(origin, mixed.source_y[:, :, 0, 0, 0])
    assert plus(3, overrides="mixing=0")._mixed(marked) is marked
    assert plus(1, labelled=False)._mixed(marked) is marked


def test_without_labels_all_sources_are_shared_and_with_labels_none():
    assert plus(4, labelled=False).mixing == 0.75
    assert plus(4).mixing == 0
    with pytest.raises(InputError, match="mixing=2"):
        plus(overrides="mixing=2")


@pytest.mark.parametrize("source_size", [(32, 32), (32, 48)])
def test_a_piece_is_pasted_with_its_mask_and_nothing_else_changes(source_size):
    method, batch = plus(overrides="paste=true"), batch_of(toy_task(source_size=source_size))
    unlabelled = batch.target.x[batch.target.unlabelled]
    target = replace(batch.target, taught=torch.full((len(unlabelled), 1, 32, 48), 0.5))
    batch = replace(batch, targets=(target,) * 3)
    pasted = method._pasted(batch, 0.5).target
    labelled = len(target.y)
    assert torch.equal(pasted.x[:labelled], target.x[:labelled])
    h, w = source_size if source_size != (32, 48) else (16, 24)
    for image, before, taught in zip(pasted.x[labelled:], unlabelled, pasted.taught, strict=True):
        changed = taught[0] != 0.5  # masks are 0 or 1
        assert int(changed.sum()) == h * w
        rows, columns = changed.nonzero().T
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (h, w)
        assert torch.equal(image[:, ~changed], before[:, ~changed])
        piece = (image[:, changed].view(3, h, w), taught[:, changed].view(1, h, w))
        assert any(
            torch.equal(piece[0], images[:, y : y + h, x : x + w])
            and torch.equal(piece[1], masks[:, y : y + h, x : x + w])
            for images, masks in zip(batch.source_x.flatten(0, 1), batch.source_y.flatten(0, 1), strict=True)
            for y, x in ([(0, 0)] if source_size != (32, 48) else [(int(rows.min()), int(columns.min()))])
        )
    again = method._pasted(batch, 0.5).target
    assert torch.equal(again.x, pasted.x)


def test_an_outvoted_source_is_not_pasted():
    method, batch = plus(overrides="paste=true"), batch_of(toy_task())
    method.distances.copy_(torch.tensor([0.01, 0.01, 3.0]))
    marked = torch.stack([torch.full_like(batch.source_x[0], float(j + 7)) for j in range(3)])
    unlabelled = batch.target.x[batch.target.unlabelled]
    target = replace(batch.target, taught=torch.full((len(unlabelled), 1, 32, 48), 0.5))
    batch = replace(batch, source_x=marked, targets=(target,) * 3)
    seen = set()
    for step in range(40):
        seen |= set(method._pasted(batch, step / 40).target.x.unique().tolist()) & {7.0, 8.0, 9.0}
    assert seen == {7.0, 8.0}


def test_one_source_has_weight_one():
    method = plus(1)
    method.distances.fill_(0.3)
    assert method.weights.tolist() == [1.0]
