"""How far the features of a network have moved from those it started with, and what of that counts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class PlaceAttention(nn.Module):
    r"""Weights of the places of a map, from the map of the starting network.

    .. math:: a = \mathrm{softmax}_p\big(W_2 \max(0, W_1 \tfrac1C \textstyle\sum_c S_c) + b\big)

    Args:
        height, width: of the map; the n = height·width places are read at once, by ``height`` hidden units.

    Shape: S (n, C, h, w) → (n, h·w), sum 1.

    Source: Xie et al., "Towards effective deep transfer via attentive feature alignment", Neural Networks
    138, 2021, attentive spatial transfer.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        places = height * width
        self.inner = nn.Linear(places, height, bias=False)
        self.outer = nn.Linear(height, places)

    def forward(self, source: Tensor) -> Tensor:
        return self.outer(self.inner(source.mean(1).flatten(1)).relu()).softmax(1)


class ChannelAttention(nn.Module):
    r"""Weights of the channels of a map, from the map of the starting network.

    .. math:: w = \mathrm{softmax}_c\big(W_4 \max(0, W_3 S_c) + \beta_c\big)

    Args:
        height, width: of the map, which ``height`` hidden units read; the same for every channel.
        channels: C; each has an offset, 0 at first.

    Shape: S (n, C, h, w) → (n, C), sum 1.

    Source: as `PlaceAttention`, attentive channel transfer.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.inner = nn.Linear(height * width, height, bias=False)
        self.outer = nn.Linear(height, 1, bias=False)
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, source: Tensor) -> Tensor:
        return (self.outer(self.inner(source.flatten(2)).relu())[..., 0] + self.offset).softmax(1)


def place_distance(source: Tensor, target: Tensor, attention: Tensor) -> Tensor:
    r"""Distance of two maps where places count differently.

    .. math:: \frac1{2B} \sum_{b,p} \big\| n\, a_{bp} (T_{b,:,p} - S_{b,:,p}) \big\|^2

    The weight multiplies the difference and so counts squared. With a = 1/n this is
    :math:`\frac1{2B} \|T - S\|_F^2`.

    Args:
        source, target: S and T, (B, C, h, w), n = h·w.
        attention: a, (B, n), sum 1.

    Returns:
        0-d.

    Source: as `PlaceAttention`.
    """
    squares = (target - source).flatten(2).square().sum(1)
    return ((attention.shape[1] * attention).square() * squares).sum() / (2 * len(source))


def channel_distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    r"""Distance of two maps where channels count differently.

    .. math:: \frac1{2B} \sum_{b,c} C\, w_{bc} \| T_{bc} - S_{bc} \|^2

    The weight counts once. With w = 1/C this is :math:`\frac1{2B} \|T - S\|_F^2`.

    Args:
        source, target: S and T, (B, C, h, w).
        weights: w, (B, C), sum 1.

    Returns:
        0-d.

    Source: as `PlaceAttention`.
    """
    squares = (target - source).flatten(2).square().sum(2)
    return (weights.shape[1] * weights * squares).sum() / (2 * len(source))


def map_distance(source: Tensor, target: Tensor) -> Tensor:
    r""":math:`\tfrac12 \|T - S\|_F^2`, a sum over the batch, 0-d.

    Source: Li et al., "DELTA", ICLR 2019, the baseline without attention.
    """
    return (target - source).square().sum() / 2


def weighted_map_distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    r"""DELTA's distance, a sum over the batch.

    .. math:: \frac12 \sum_{b,c} \frac{C\, W_c}{h w} \| T_{bc} - S_{bc} \|^2

    Args:
        source, target: S and T, (B, C, h, w).
        weights: W, (C,), sum 1, the same for all images.

    Returns:
        0-d. It grows with the batch; with W = w = 1/C it is ``channel_distance`` · B/(h·w).

    Source: Li et al., "DELTA: deep learning transfer using feature map with attention", ICLR 2019.
    """
    squares = (target - source).flatten(2).square().mean(2)
    return (len(weights) * weights * squares).sum() / 2


def importance(increase: Tensor, temperature: float = 5.0) -> Tensor:
    r"""DELTA's weights of channels from how much the loss grows without each.

    .. math:: W = \mathrm{softmax}\Big(\frac{r - \bar r}{\tau\, \sigma_r}\Big)

    Args:
        increase: r, (C,).
        temperature: τ.

    Returns:
        W, (C,), sum 1; σ is that of the population, and equal increases give equal weights.

    Source: as `weighted_map_distance`, section 3.3.
    """
    spread = increase.std(correction=0)
    centred = increase - increase.mean()
    return torch.where(spread > 0, centred / (temperature * spread), 0.0).softmax(0)


def squared_norm(parameters: Iterable[Tensor], start: Iterable[Tensor] | None = None) -> Tensor:
    r""":math:`\tfrac12 \sum \|\theta - \theta_0\|^2`, 0-d; from zero, where nothing is named to start from.

    Source: with a start, Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with
    convolutional networks", ICML 2018.
    """
    pairs = ((p, 0.0) for p in parameters) if start is None else zip(parameters, start, strict=True)
    return torch.stack([(p - p0).square().sum() for p, p0 in pairs]).sum() / 2


def relative_entropy(weights: Tensor) -> Tensor:
    r""":math:`-\sum_k a_k \log a_k / \log K`, a mean over rows: 1 where all count alike, 0 where one counts.

    Args:
        weights: a, (n, K), sum 1.

    Returns:
        0-d; 1 for K = 1.
    """
    if weights.shape[1] == 1:
        return weights.new_ones(())
    entropy = torch.special.entr(weights).sum(1).mean()
    return entropy / torch.tensor(float(weights.shape[1])).log()
