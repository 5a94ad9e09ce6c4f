"""Channel and spatial attention."""

import pytest
import torch
from torch import nn

from mstl.nn import LocalAttention
from mstl.system.errors import InputError

MODES = ["both", "channel", "spatial", "none"]


def moved(mode, channels=8):
    """Attention after its parameters left their start."""
    torch.manual_seed(1)
    attention = LocalAttention(channels, mode)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention


@pytest.mark.trust("limits", "Untrained attention is the identity, bit for bit.")
@pytest.mark.parametrize("mode", MODES)
def test_untrained_attention_is_the_identity(mode):
    f = torch.randn(2, 8, 3, 5)
    weighted, total = LocalAttention(8, mode)(f)
    assert torch.equal(weighted, f)
    assert torch.equal(total, torch.ones(2, 1, 3, 5))


def test_none_returns_the_input_itself():
    f = torch.randn(2, 8, 3, 5)
    assert LocalAttention(8, "none")(f)[0] is f
    assert not list(LocalAttention(8, "none").parameters())


@pytest.mark.parametrize("mode", MODES)
def test_map_is_the_mean_weight_over_channels(mode):
    f = torch.randn(2, 8, 3, 5) + 3
    weighted, total = moved(mode)(f)
    torch.testing.assert_close(total, (weighted / f).mean(1, keepdim=True))
    weights = weighted / f
    assert weights.min() >= 0
    assert weights.max() <= (4 if mode == "both" else 2) + 1e-5


def test_channel_weights_ignore_where_and_spatial_weights_ignore_which():
    f = torch.randn(2, 8, 3, 5) + 3
    by_channel = moved("channel")(f)[0] / f
    torch.testing.assert_close(by_channel, by_channel[..., :1, :1].expand_as(f))
    by_location = moved("spatial")(f)[0] / f
    torch.testing.assert_close(by_location, by_location[:, :1].expand_as(f))
    assert by_channel[0, :, 0, 0].std() > 0.01
    assert by_location[0, 0].std() > 0.01


@pytest.mark.parametrize("mode", ["both", "channel", "spatial"])
def test_attention_learns_which_channel_carries_the_signal(mode):
    """One channel is signal, seven are noise; the weights are to keep the first and drop the others."""
    torch.manual_seed(0)
    attention = LocalAttention(8, mode)
    optimiser = torch.optim.Adam(attention.parameters(), 0.05)

    def error():
        signal = torch.rand(16, 1, 4, 4) * (torch.rand(16, 1, 4, 4) > 0.5)
        noise = torch.randn(16, 7, 4, 4) * (signal == 0)
        weighted, _ = attention(torch.cat((signal, noise), 1))
        return (weighted.sum(1, keepdim=True) - signal).square().mean()

    start = error().item()
    for _ in range(100):
        optimiser.zero_grad()
        error().backward()
        optimiser.step()
    assert error().item() < 0.5 * start


def test_unknown_mode():
    with pytest.raises(InputError, match="both, channel, spatial, none"):
        LocalAttention(8, "cbam")


def test_modes_have_the_branches_they_name_and_both_is_the_default():
    branches = {mode: LocalAttention(8, mode) for mode in MODES}
    assert {mode: (a.channel is not None, a.spatial is not None) for mode, a in branches.items()} == {
        "both": (True, True),
        "channel": (True, False),
        "spatial": (False, True),
        "none": (False, False),
    }
    assert LocalAttention(8).mode == "both"


@pytest.mark.parametrize(
    ("channels", "options", "hidden"), [(8, {}, 4), (64, {}, 16), (64, {"reduction": 8}, 8)]
)
def test_the_bottleneck_is_a_fraction_of_the_channels_and_at_least_four(channels, options, hidden):
    assert LocalAttention(channels, "channel", **options).channel[0].out_channels == hidden
