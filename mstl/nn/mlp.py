"""Multi-layer perceptron, for feature vectors."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.unet import normalisation
from mstl.system.errors import InputError

SPARSE = 0.1  # share of entries that are not 0, below which a processor sums rows instead of multiplying


class Words(nn.Module):
    """Linear layer for vectors that are mostly zeros, such as counts of words.

    .. math:: y = V^\\top x + b = b + \\sum_{k:\\, x_k \\ne 0} x_k V_k

    On a processor the sum on the right, which is the faster the fewer words a review has, and differs from
    the product by rounding. On a GPU, where counting would have to wait, and for dense
    vectors the product. Initial weights are those of ``nn.Linear``.

    Shape: (n, inputs) → (n, outputs).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or int(x.count_nonzero()) > SPARSE * x.numel():
            return x @ self.weight + self.bias
        rows, words = x.nonzero(as_tuple=True)
        first = torch.searchsorted(rows, torch.arange(len(x)))
        return (
            F.embedding_bag(words, self.weight, first, mode="sum", per_sample_weights=x[rows, words])
            + self.bias
        )


class MLP(nn.Module):
    """Fully connected layers with ReLU, the last of which is the representation.

    Args:
        inputs: d, length of a vector.
        hidden: units of the layers, (1000, 500, 100) in the papers on the Amazon reviews.
        norm: "batch" or "domain" normalise after each layer; with "group" and "none" nothing does.

    Shape: vectors (n, d, 1, 1) → one map of one place (n, hidden[-1], 1, 1).

    Source: Zhao et al., "Adversarial multiple source domain adaptation", NeurIPS 2018, section 5.1.
    """

    stride = 1
    stages = slice(None)

    def __init__(self, inputs: int, hidden: tuple[int, ...] = (1000, 500, 100), norm: str = "none") -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden={hidden} of an MLP must be one or more numbers of units ≥ 1")
        norm = norm if norm in ("batch", "domain") else "none"
        self.channels = (hidden[-1],)
        self.linear = nn.ModuleList(
            [Words(inputs, hidden[0]), *(nn.Linear(n, m) for n, m in pairwise(hidden))]
        )
        self.stage_modules = (f"norms.{len(hidden) - 1}",)
        self.norms = nn.ModuleList(normalisation(norm, m) for m in hidden)
        self.by_domain = norm == "domain"

    def pooling(self) -> tuple[None, int]:
        """Nothing: there is one place."""
        return None, self.channels[-1]

    def forward(self, vectors: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        x = vectors.flatten(1)
        for linear, norm in zip(self.linear, self.norms, strict=True):
            x = linear(x)[:, :, None, None]
            x = (norm(x, domain) if self.by_domain else norm(x)).relu().flatten(1)
        return (x[:, :, None, None],)
