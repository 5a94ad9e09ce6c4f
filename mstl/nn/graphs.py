"""Relations instead of features: sparse graphs over units, learned apart from what they carry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.outputs import full

TINY = 1e-16  # under the sum of a row; scores below about 1e-7 are damped by it


def relations(
    queries: Tensor, keys: Tensor, threshold: Tensor | float, causal: bool, valid: Tensor | None = None
) -> Tensor:
    r"""Which units each unit draws on.

    .. math:: G_{tj} = \frac{\mathrm{ReLU}(q_t \cdot k_j - \theta_t)^2 m_{tj}}
        {\sum_i \mathrm{ReLU}(q_t \cdot k_i - \theta_t)^2 m_{ti} + 10^{-16}}, \qquad m_{tj} = \mathbb 1[j < t]

    A row is a query. ReLU makes rows sparse, squares make them uneven; a row that draws on nobody is zero,
    and so is its gradient. Without ``causal`` m is 1 everywhere. The paper writes this with an offset b = −θ
    and its transpose.

    Args:
        queries, keys: (…, T, w).
        threshold: θ, (…, T, 1) or a number.
        causal: whether units draw on earlier ones alone.
        valid: which units there are, bool (…, T); nobody draws on the others. All by default.

    Returns:
        (…, T, T), rows of sum 1 or 0, float32 at least.

    Source: Yang et al., "GLoMo: unsupervisedly learned relational graphs as transferable representations",
    NeurIPS 2018, section 3.2, with the learned threshold of the released code.
    """
    squares = (full(queries) @ full(keys).transpose(-1, -2) - threshold).relu().square()
    if causal:
        squares = squares.tril(-1)
    if valid is not None:
        squares = squares * valid.unsqueeze(-2)
    return squares / (squares.sum(-1, keepdim=True) + TINY)


def gathered(graph: Tensor, features: Tensor) -> Tensor:
    r"""What the graph brings to each unit, a head to each slice of the channels.

    .. math:: (G F)_t = \Big[\sum_j G^h_{tj} F^h_j\Big]_h

    Shape: G (n, H, T, T), F (n, T, d), H a divisor of d → (n, T, d).
    """
    slices = features.unflatten(-1, (graph.shape[1], -1)).transpose(1, 2)
    return (graph.to(slices.dtype) @ slices).transpose(1, 2).flatten(-2)


def with_products(graphs: Sequence[Tensor]) -> list[Tensor]:
    r"""G¹, G², Λ², G³, Λ³ …, where :math:`\Lambda^l = G^l \Lambda^{l-1}`, the later graph from the left.

    Source: as `relations`, section 3.3, in the order of the released code.
    """
    every, product = [graphs[0]], graphs[0]
    for graph in graphs[1:]:
        product = graph @ product
        every += [graph, product]
    return every


class CausalLayer(nn.Module):
    """Convolution of three units, the unit itself the last of them (or the middle one), and ReLU.

    Normalised unit by unit. Batch normalisation, as released, runs over the whole sequence: in training a
    change at its end moves its beginning.

    Args:
        width: d.
        causal: whether a unit sees earlier ones alone.

    Shape: (n, T, d) → (n, T, d).
    """

    def __init__(self, width: int, causal: bool = True) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv1d(width, width, 3), nn.LayerNorm(width)
        self.pad = (2, 0) if causal else (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(F.pad(x.transpose(1, 2), self.pad)).transpose(1, 2)).relu()


class GraphPredictor(nn.Module):
    """Graphs of every layer from the units alone: keys and queries, each by convolutions of its own.

    Args:
        width: d of a unit.
        layers: L.
        heads: H.
        convolutions: in front of keys and of queries.
        causal: as `relations`.
        head_width: of keys and queries; d/2 by default, as released.

    Shape: units (n, T, d), valid (n, T) or None → L graphs (n, H, T, T).

    Source: as `relations`.
    """

    def __init__(
        self,
        width: int,
        layers: int = 2,
        heads: int = 4,
        convolutions: int = 2,
        causal: bool = True,
        head_width: int = 0,
    ) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        inner = head_width or max(1, width // 2)

        def stack() -> nn.ModuleList:
            return nn.ModuleList(CausalLayer(width, causal) for _ in range(convolutions))

        self.before_keys, self.before_queries = stack(), stack()
        self.keys = nn.ModuleList(nn.Linear(width, heads * inner) for _ in range(layers))
        self.queries = nn.ModuleList(nn.Linear(width, heads * inner) for _ in range(layers))
        self.thresholds = nn.ModuleList(nn.Linear(inner, 1) for _ in range(layers))

    def forward(self, units: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        k, q = (_through(layers, units, valid) for layers in (self.before_keys, self.before_queries))
        there = None if valid is None else valid[:, None]
        graphs = []
        for key, query, threshold in zip(self.keys, self.queries, self.thresholds, strict=True):
            keys, queries = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (key(k), query(q)))
            graphs.append(relations(queries, keys, full(threshold(queries)), self.causal, there))
        return graphs


def _through(layers: nn.ModuleList, units: Tensor, valid: Tensor | None) -> Tensor:
    for layer in layers:
        units = layer(units) if valid is None else layer(units) * valid[:, :, None]
    return units


class FeaturePredictor(nn.Module):
    r"""Features that the graphs carry: what pre-training looks at, and what is thrown away after it.

    .. math:: F^l = F^{l-1} + G^l (V^l F^{l-1}) \qquad\text{or}\qquad
        F^l = \mathrm{GRU}\big([(G^l F^{l-1}) \odot F^{l-1};\; G^l F^{l-1}],\; F^{l-1}\big)

    Args:
        width: d.
        layers: L.
        recurrent: the second form, as the released run.

    Shape: units (n, T, d), L graphs → F^L (n, T, d).

    Source: as `relations`.
    """

    def __init__(self, width: int, layers: int = 2, recurrent: bool = True) -> None:
        super().__init__()
        self.recurrent = recurrent
        made = (nn.GRUCell(2 * width, width) if recurrent else nn.Linear(width, width) for _ in range(layers))
        self.layers = nn.ModuleList(made)

    def forward(self, units: Tensor, graphs: Sequence[Tensor]) -> Tensor:
        for layer, graph in zip(self.layers, graphs, strict=True):
            if self.recurrent:
                brought = gathered(graph, units)
                both = torch.cat((brought * units, brought), -1)
                units = layer(both.flatten(0, 1), units.flatten(0, 1)).view_as(units)
            else:
                units = units + gathered(graph, layer(units))
        return units


class GraphMixture(nn.Module):
    r"""One graph of many, and the features with what it brings to them.

    .. math:: M = \sum_l m_l G^l + \sum_{l > 1} m'_l \Lambda^l, \qquad H' = [H;\; s\, M H]

    Weights are a softmax over all graphs, products and heads; s is learned.

    Args:
        layers: L.
        heads: H of the graphs.
        scale: s at the start.

    Source: as `relations`, section 3.3; the released weights depend on the unit, ours do not.
    """

    def __init__(self, layers: int = 2, heads: int = 4, scale: float = 1.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2 * layers - 1, heads))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, graphs: Sequence[Tensor]) -> Tensor:
        """M, (n, T, T), of L graphs (n, H, T, T)."""
        weights = self.logits.flatten().softmax(0).view_as(self.logits)
        every = torch.stack(with_products(graphs), 1)
        return torch.einsum("lh,nlhij->nij", weights.to(every.dtype), every)

    def transferred(self, mixed: Tensor, features: Tensor) -> Tensor:
        """s M H of features H (n, T, d)."""
        return self.scale * (mixed.to(features.dtype) @ features)


class ContextDecoder(nn.Module):
    r"""Predicts from the features of a unit those that follow it, each from those before (teacher forcing).

    .. math::

        \frac{1}{D} \sum_{i=1}^{D} \big\| x_{t+i} - \hat x_{t+i}(F_t, x_{t+1}, \dots, x_{t+i-1}) \big\|^2

    averaged over the entries of a unit: for patches, where words have a softmax (`WordDecoder`).

    Args:
        width: d of the features.
        size: of a unit.
        ahead: D.

    Source: as `relations`, section 3.2, "sequence prediction".
    """

    def __init__(self, width: int, size: int, ahead: int = 3) -> None:
        super().__init__()
        self.ahead = ahead
        self.recurrent, self.last = nn.GRU(size, width, batch_first=True), nn.Linear(width, size)

    def forward(self, features: Tensor, units: Tensor, positions: Tensor) -> Tensor:
        """The loss, 0-d, at some positions t < T − D of all sequences: (n, T, d), (n, T, size), (m,)."""
        follow = units[:, positions[:, None] + torch.arange(1, self.ahead + 1, device=units.device)]
        given = F.pad(follow[:, :, :-1], (0, 0, 1, 0))
        start = features[:, positions].flatten(0, 1)[None].contiguous()
        found, _ = self.recurrent(given.flatten(0, 1), start)
        return (full(self.last(found)).view_as(follow) - full(follow)).square().mean()


class WordDecoder(nn.Module):
    r"""Predicts from the features of a word those that follow it, each from those before (teacher forcing).

    .. math::

        -\frac{1}{|\{(t, i)\}|} \sum_{t, i} \log \mathrm{softmax}\big(E\, r(F_t, x_{t+1}, \dots,
        x_{t+i-1})\big)_{x_{t+i}}, \qquad i = 1, \dots, D

    E is the embedding of the words themselves (tied). What is no word, 0, is predicted from nobody and by
    nobody.

    Args:
        embedding: E, (V, d), of the words and of the softmax.
        ahead: D.

    Source: as `relations`, section 3.2, "sequence prediction".
    """

    def __init__(self, embedding: nn.Embedding, ahead: int = 3) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.ahead, self.embedding = ahead, embedding
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    def forward(self, features: Tensor, words: Tensor, positions: Tensor) -> Tensor:
        """The loss, 0-d, at some positions t < T − D of all sequences: (n, T, d), int64 (n, T), (m,)."""
        follow = words[:, positions[:, None] + torch.arange(1, self.ahead + 1, device=words.device)]
        given = F.pad(self.embedding(follow[:, :, :-1]), (0, 0, 1, 0))
        start = features[:, positions].flatten(0, 1)[None].contiguous()
        found, _ = self.recurrent(given.flatten(0, 1), start)
        asked = (follow > 0) & (words[:, positions] > 0)[:, :, None]
        states = found.view(*follow.shape, -1)[asked]
        logits = full(F.linear(states, self.embedding.weight.to(states.dtype), self.bias.to(states.dtype)))
        return F.cross_entropy(logits, follow[asked], reduction="sum") / asked.sum().clamp_min(1)
