"""Encoders and decoder."""

import pytest
import torch
from torch import nn

from mstl.nn import Classifier, Decoder, Encoder, Pooled, Predictor, check_size
from mstl.system.errors import InputError


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
@pytest.mark.parametrize(("width", "depth"), [(8, 4), (12, 3), (3, 2), (5, 1)])
@pytest.mark.parametrize("size", [(32, 48), (64, 16)])
def test_features_halve_and_the_decoder_returns_to_the_size_of_the_image(width, depth, norm, size):
    encoder = Encoder(width, depth, norm)
    features = encoder(torch.randn(2, 3, *size))
    assert encoder.stride == 2 ** (depth - 1)
    assert encoder.channels == tuple(width * 2**level for level in range(depth))
    expected = [(2, c, size[0] >> l, size[1] >> l) for l, c in enumerate(encoder.channels)]
    assert [tuple(f.shape) for f in features] == expected
    assert Decoder(encoder.channels, norm)(features).shape == (2, width, *size)
    assert Predictor(encoder.channels, norm)(features).shape == (2, 1, *size)


@pytest.mark.parametrize(("norm", "biased"), [("group", False), ("batch", False), ("none", True)])
def test_bias_only_where_nothing_normalises(norm, biased):
    convolutions = [m for m in Encoder(8, 3, norm).modules() if isinstance(m, nn.Conv2d)]
    assert [c.bias is not None for c in convolutions] == [biased] * 6


def test_group_normalised_features_of_an_image_ignore_the_rest_of_the_batch():
    """Batch statistics would leak one domain into another."""
    images = torch.randn(2, 3, 16, 16)
    for norm, independent in [("group", True), ("none", True), ("batch", False)]:
        encoder = Encoder(8, 2, norm)
        alone, beside_another = (
            encoder(images[:1])[-1],
            encoder(images * torch.tensor([1.0, 9]).view(2, 1, 1, 1)),
        )
        assert torch.allclose(alone, beside_another[-1][:1], atol=1e-5) is independent


def test_every_level_reaches_the_output():
    encoder = Encoder(4, 3)
    features = [f.detach().requires_grad_() for f in encoder(torch.randn(1, 3, 16, 16))]
    Predictor(encoder.channels)(tuple(features)).square().sum().backward()
    assert all(f.grad.abs().sum() > 0 for f in features)


def test_bf16_and_channels_last_agree_with_float32():
    torch.manual_seed(0)
    encoder = Encoder(8, 3)
    predictor, images = Predictor(encoder.channels), torch.randn(2, 3, 32, 32)
    exact = predictor(encoder(images))
    encoder.to(memory_format=torch.channels_last)
    predictor.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        fast = predictor(encoder(images.to(memory_format=torch.channels_last)))
    assert (fast.float() - exact).abs().mean() < 0.03 * exact.std()


@pytest.mark.parametrize("size", [(60, 96), (64, 100), (4, 8), (0, 16)])
def test_size_that_does_not_halve_is_refused_with_one_that_does(size):
    with pytest.raises(InputError, match=r"multiple of 8.*use [0-9]+x[0-9]+") as error:
        Encoder(8, 4)(torch.zeros(1, 3, *size))
    suggested = str(error.value).rsplit("use ", 1)[1].split("x")
    check_size(tuple(int(side) for side in suggested), 8)


def test_a_pooled_map_is_the_mean_and_the_largest_value_of_each_channel_wherever_it_stands():
    pool, channels = Encoder(4, 3).pooling()
    x = torch.randn(2, 16, 5, 7, generator=torch.Generator().manual_seed(0))
    places = x.flatten(2)
    assert torch.allclose(pool(x)[..., 0, 0], torch.cat((places.mean(2), places.amax(2)), 1), atol=1e-6)
    assert torch.allclose(pool(x), pool(x.flip(2).roll(3, 3)), atol=1e-6) and pool(x).shape[1] == channels


def test_a_pooled_encoder_learns_what_differs_in_a_few_places():
    """Where every image is normalised by itself, the mean alone hides it: the loss stays above 0.6."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = 0.3 * torch.randn(64, 3, 32, 48, generator=generator)
    places = torch.randint(4, 24, (64, 2), generator=generator).tolist()
    colours = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])[..., None, None]
    for image, label, (y, x) in zip(images, labels, places, strict=True):
        image[:, y : y + 6, x : x + 6] += colours[label]
    torch.manual_seed(0)
    encoder = Pooled(Encoder(4, 4))
    head = Classifier(encoder.channels[-1], 2)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 4e-3)
    for _ in range(40):
        logits = head(encoder(images))[..., 0, 0]
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimiser.step()
    assert loss < 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Encoder(8, 2, "layer"), "norm must be one of"),
        (lambda: Encoder(0, 2), "at least 1"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()
