"""Sub-networks: one a source, with nothing shared but the target images."""

import pytest
import torch
from conftest import toy_task
from small import batch_of, close, gradients, total
from torch import nn

from mstl.methods import build
from mstl.nn import Encoder, SubNetwork, SubNetworks, TimmEncoder, Weights, segmentation_loss
from mstl.system.errors import InputError


@pytest.mark.parametrize("attention", ["both", "none"])
@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_one_target_batch_through_j_subnetworks(j, attention):
    networks = SubNetworks(j, width=4, depth=3, attention=attention)
    outputs = networks(torch.randn(2, 3, 16, 24))
    assert len(networks) == len(outputs) == j
    assert (networks.stride, networks.channels) == (4, (4, 8, 16))
    for network, output in zip(networks, outputs, strict=True):
        assert isinstance(network, SubNetwork)
        assert output.features.shape == (2, 16, 4, 6)
        assert output.logits.shape == (2, 1, 16, 24)
        assert [f.shape[1] for f in output.attended] == [4, 8, 16]
        assert [tuple(m.shape) for m in output.maps] == [(2, 1, 16, 24), (2, 1, 8, 12), (2, 1, 4, 6)]


def test_logits_are_logits():
    """A sigmoid or a Softmax at the end would leave one side of zero empty."""
    torch.manual_seed(0)
    logits = SubNetworks(1, width=4, depth=3)(5 * torch.randn(8, 3, 16, 16))[0].logits
    assert logits.min() < 0 < logits.max()


def test_discriminator_features_come_before_attention():
    torch.manual_seed(0)
    network, images = SubNetworks(1, width=4, depth=3)[0], torch.randn(1, 3, 16, 16)
    before = network(images)
    assert torch.equal(before.features, before.attended[-1])  # untrained attention is the identity
    for parameter in network.attention.parameters():
        nn.init.normal_(parameter)
    after = network(images)
    assert torch.equal(after.features, before.features)
    assert all(not torch.equal(a, b) for a, b in zip(after.attended, before.attended, strict=True))
    assert not torch.equal(after.logits, before.logits)


def test_gradient_of_a_subnetwork_ignores_the_other_sources():
    torch.manual_seed(0)
    networks = SubNetworks(3, width=4, depth=3)
    images, masks = torch.randn(3, 2, 3, 16, 16), (torch.rand(3, 2, 1, 16, 16) > 0.5).float()

    def gradients(images):
        networks.zero_grad()
        losses = [segmentation_loss(n(x).logits, y) for n, x, y in zip(networks, images, masks, strict=True)]
        torch.stack(losses).sum().backward()
        return [[p.grad.clone() for p in n.parameters()] for n in networks]

    before = gradients(images)
    images[1] = 3 * torch.randn(2, 3, 16, 16)
    after = gradients(images)
    for j in range(3):
        unchanged = [torch.equal(a, b) for a, b in zip(before[j], after[j], strict=True)]
        assert all(unchanged) == (j != 1)


def test_every_parameter_learns_and_none_is_shared():
    networks = SubNetworks(3, width=4, depth=3)
    loss = sum(
        segmentation_loss(o.logits, torch.ones(2, 1, 16, 16)) for o in networks(torch.randn(2, 3, 16, 16))
    )
    loss.backward()
    assert all(p.grad is not None for p in networks.parameters())
    assert len({p.data_ptr() for p in networks.parameters()}) == sum(
        1 for n in networks for _ in n.parameters()
    )
    assert not torch.equal(networks[0].predictor.head.weight, networks[1].predictor.head.weight)


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_a_subnetwork_fits_a_few_images(norm):
    torch.manual_seed(0)
    network = SubNetworks(1, width=8, depth=3, norm=norm)[0]
    masks = torch.zeros(4, 1, 16, 16)
    for i, mask in enumerate(masks):
        mask[:, i + 2 : i + 10, 3 : 12 - i] = 1
    images = 2 * masks - 1 + 0.5 * torch.randn(4, 3, 16, 16)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        loss = segmentation_loss(network(images).logits, masks)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2


def test_an_extractor_of_timms():
    networks = SubNetworks(2, encoder="resnet18", attention="spatial")
    assert isinstance(networks[0].encoder, TimmEncoder)
    output = networks[0](torch.randn(1, 3, 32, 32))
    assert output.features.shape == (1, 512, 1, 1)
    assert output.logits.shape == (1, 1, 32, 32)


def test_own_encoder():
    class OneLevel(nn.Module):
        channels, stride = (5,), 1

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 1)

        def forward(self, images, domain=None):
            return (self.layer(images),)

    assert SubNetwork(OneLevel())(torch.zeros(1, 3, 7, 9)).logits.shape == (1, 1, 7, 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SubNetworks(0), "at least 1"),
        (lambda: SubNetworks(1, weights=Weights("imagenet")), "encoder=unet is ours"),
        (lambda: SubNetworks(1, encoder="vgg"), "neither ours nor a network of timm's; near are"),
        (lambda: SubNetworks(1, encoder="resnet18", stem=1), "needs the U-Net encoder"),
        (lambda: SubNetwork(Encoder(4, 2), attention="gate"), "attention"),
        (lambda: SubNetworks(1, width=4)(torch.zeros(1, 3, 20, 24)), "multiple of 8"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("source_size", [(32, 48), (16, 24)])  # in one pass with the target, or not
def test_sub_networks_that_share_an_encoder_begin_as_those_with_equal_ones(source_size, labels):
    task = toy_task(3, labels, (32, 48), source_size)
    batch = batch_of(task)

    def made(overrides):
        torch.manual_seed(0)
        return build("mstl", 3, labels > 0, f"depth=3 {overrides}", width=4).train()

    shared, apart = made("shared=true"), made("")
    state = {k: v for k, v in shared.state_dict().items() if ".own." not in k}
    assert state.keys() == apart.state_dict().keys()
    apart.load_state_dict(state)
    mine, theirs = (m.losses(batch, 0.7) for m in (shared, apart))
    assert mine.keys() == theirs.keys()
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-5) for k in mine)
    gradient = gradients(shared.subnetworks[0].encoder, total(mine))
    of_each = [gradients(network.encoder, total(theirs)) for network in apart.subnetworks]
    assert close(gradient, [sum(parts) for parts in zip(*of_each, strict=True)], 1e-5)
    x = batch.target.x
    assert torch.allclose(shared.eval().predict(x), apart.eval().predict(x), atol=1e-5)


def test_the_target_passes_a_shared_encoder_once():
    torch.manual_seed(0)
    method, batch = build("mstl", 3, True, "depth=2 shared=true", width=4).train(), batch_of(toy_task(3))
    seen = []
    encoder = method.subnetworks[0].encoder
    encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    method.losses(batch, 0.5)
    assert sum(seen) == batch.source_x.shape[0] * batch.source_x.shape[1] + len(batch.target.x)
    seen.clear()
    method.predict(batch.target.x)
    assert seen == [len(batch.target.x)]
    scales = [network.own.scale[0] for network in method.subnetworks]
    assert len({id(scale) for scale in scales}) == 3
