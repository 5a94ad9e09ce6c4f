"""The layer that sums rows is the linear layer, forwards and backwards."""

import pytest
import torch
from torch import nn

from mstl.nn.mlp import MLP, SPARSE, Words
from mstl.system.errors import InputError


def counts(n: int = 6, d: int = 400, share: float = 0.03) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(n, d, generator=generator) < share
    return torch.randint(1, 9, (n, d), generator=generator).float() * kept


@pytest.mark.parametrize("share", [0.0, 0.03, SPARSE + 0.3])
def test_words_is_linear(share):
    torch.manual_seed(0)
    words, linear = Words(400, 30), nn.Linear(400, 30)
    with torch.no_grad():
        linear.weight.copy_(words.weight.t())
        linear.bias.copy_(words.bias)
    x = counts(share=share)
    x[2] = 0  # a review without a known word
    ours, theirs = words(x), linear(x)
    torch.testing.assert_close(ours, theirs)
    push = torch.randn(6, 30)
    ours.backward(push), theirs.backward(push)
    torch.testing.assert_close(words.weight.grad.t(), linear.weight.grad)
    torch.testing.assert_close(words.bias.grad, linear.bias.grad)


def test_the_last_vector_may_be_empty():
    words, x = Words(400, 3), counts()
    x[-1] = 0
    torch.testing.assert_close(words(x)[-1], words.bias)
    torch.testing.assert_close(words(torch.zeros(2, 400)), words.bias.expand(2, 3))


def test_an_mlp_is_its_layers_and_one_place():
    mlp = MLP(400, (20, 7))
    (out,) = mlp(counts()[:, :, None, None])
    assert out.shape == (6, 7, 1, 1) and mlp.channels == (7,)
    with pytest.raises(InputError, match="hidden"):
        MLP(400, ())
