"""Multi-layer perceptron, for feature vectors."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from mstl.nn.unet import normalisation
from mstl.system.errors import InputError


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

    def __init__(self, inputs: int, hidden: tuple[int, ...] = (1000, 500, 100), norm: str = "none") -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden={hidden} of an MLP must be one or more numbers of units ≥ 1")
        norm = norm if norm in ("batch", "domain") else "none"
        self.channels = (hidden[-1],)
        self.linear = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise((inputs, *hidden)))
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
