"""Fusion of J maps."""

import itertools
import math

import pytest
import torch
from torch import nn

from mstl.nn import Fusion
from mstl.system.errors import InputError


def maps(j, channels=4):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(j, 2, channels, 3, 5, generator=generator))


def moved(mode, j, channels=4, **options):
    """A fusion after its parameters left their start."""
    torch.manual_seed(1)
    fusion = Fusion(mode, j, channels, **options)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter)
    return fusion


@pytest.mark.parametrize("mode", ["concat", "gated"])
@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_j_maps_become_one_and_every_source_takes_part(mode, j):
    inputs = tuple(f.requires_grad_() for f in maps(j))
    fused = moved(mode, j)(inputs)
    assert fused.shape == (2, 4, 3, 5)
    fused.square().sum().backward()
    assert all(f.grad.abs().sum() > 0 for f in inputs)


@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_gate_weights_sum_to_one_at_every_location(j):
    weights = moved("gated", j).weights(maps(j))
    assert weights.shape == (j, 2, 1, 3, 5)
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 1, 3, 5))
    assert (weights > 0).all()


def test_untrained_gate_is_the_mean():
    torch.testing.assert_close(Fusion("gated", 3, 4)(maps(3)), torch.stack(maps(3)).mean(0))


@pytest.mark.trust("limits", "A gate of one source is the identity.")
def test_gate_of_one_source_is_the_identity():
    torch.testing.assert_close(moved("gated", 1)(maps(1)), maps(1)[0])


def test_gate_of_equal_maps_is_that_map():
    torch.testing.assert_close(moved("gated", 3)(maps(1) * 3), maps(1)[0])


@pytest.mark.trust("limits", "Permuting the sources permutes the gate's weights and leaves the fused map.")
def test_permuting_the_sources_permutes_gate_weights_and_leaves_the_fused_map():
    fusion, inputs, order = moved("gated", 3), maps(3), [2, 0, 1]
    permuted = tuple(inputs[j] for j in order)
    torch.testing.assert_close(fusion.weights(permuted), fusion.weights(inputs)[order])
    torch.testing.assert_close(fusion(permuted), fusion(inputs))
    assert fusion.weights(inputs).std(0).mean() > 0.01


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_permuting_sources_and_the_columns_of_the_concatenation_leaves_the_fused_map(norm):
    fusion, inputs, order = moved("concat", 3, norm=norm), maps(3), [2, 0, 1]
    expected = fusion(inputs)
    weight = fusion.combine[0].weight.data
    blocks = weight.chunk(3, dim=1)
    fusion.combine[0].weight.data = torch.cat([blocks[j] for j in order], 1)
    torch.testing.assert_close(fusion(tuple(inputs[j] for j in order)), expected)
    # It is a map of locations: shifting the image shifts the fused map.
    if norm == "none":
        shifted = fusion(tuple(inputs[j].roll(2, -1) for j in order))
        torch.testing.assert_close(shifted, expected.roll(2, -1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Fusion("sum", 3, 4), "concat, gated"),
        (lambda: Fusion("gated", 0, 4), "at least one source"),
        (lambda: Fusion("gated", 3, 4)(maps(2)), "built for 3 sources; got 2"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_cross_is_attention_between_sources_at_every_location():
    """The formula with loops, one location and one pair of sources at a time."""
    c = 3
    fusion, given = moved("cross", 3, c), maps(3, c)
    q, k, v = fusion.project.weight.detach().flatten(1).chunk(3)
    for image, y, x in itertools.product(range(2), range(3), range(5)):
        f = [m[image, :, y, x] for m in given]
        fused = torch.zeros(c)
        for query in f:
            scores = torch.stack([(q @ query) @ (k @ key) / math.sqrt(c) for key in f])
            fused += query + sum(w * (v @ value) for w, value in zip(scores.softmax(0), f, strict=True))
        torch.testing.assert_close(fusion(given)[image, :, y, x], fused / 3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("j", [1, 2, 3])
def test_an_untrained_cross_fusion_is_the_mean(j):
    torch.testing.assert_close(Fusion("cross", j, 4)(maps(j)), torch.stack(maps(j)).mean(0))
