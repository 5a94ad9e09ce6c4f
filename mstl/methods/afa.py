"""AFA: attention learns which places, then which channels, of the starting network are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import feature_map
from mstl.methods.hyperparameters import one_of
from mstl.methods.once import Once
from mstl.nn.transfer import (
    ChannelAttention,
    PlaceAttention,
    channel_distance,
    place_distance,
    relative_entropy,
)
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(feature_map.Hyperparameters):
    """Of the two stages.

    Attributes:
        weight: α of the first, of places; the released one of MobileNetV2.
        weight_channels: α of the second, of channels; likewise.
        first: share of the training that is the first stage.
        attention: ``learned``, or the control ``uniform``.
    """

    weight: float = 0.09
    weight_channels: float = 0.04
    first: float = 0.5
    attention: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("attention", self.attention, ("learned", "uniform"))
        if not 0 < self.first < 1:
            raise InputError(f"first={self.first} must lie between 0 and 1: both stages need steps")
        if self.weight_channels < 0:
            raise InputError(f"weight_channels={self.weight_channels} must be ≥ 0")


class AFA(feature_map.FeatureMap):
    r"""Attentive feature alignment.

    First attention over places, then attention over channels, each read off the starting network's maps:

    .. math::

        \Omega_{sp} = \sum_l \frac1{2B} \sum_{b,p} \|n\, a^l_{bp} (T^l_{b,:,p} - S^l_{b,:,p})\|^2, \qquad
        \Omega_{ch} = \sum_l \frac1{2B} \sum_{b,c} C\, w^l_{bc} \|T^l_{bc} - S^l_{bc}\|^2

    The second stage begins with the network of the first, and is held to that one. Both are one run.

    Attention learns from the loss that it weighs, so it can lower it by looking away: the minimum over all a
    is at :math:`a_p \propto 1/\|T_p - S_p\|^2`, where what moved most counts least. Hence the entropy of both
    in the log, and uniform attention as control. Ω is a mean over the batch and a sum over places, where
    DELTA's is a sum over the batch and a mean over places: their α are not comparable. The weight of a place
    counts squared, that of a channel once.

    Source: Xie, Wen, Wang, Wu and Tan, "Towards effective deep transfer via attentive feature alignment",
    Neural Networks 138, 2021. The released second stage learns at a tenth of the first's rate; here one
    schedule runs through both.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        super().build()
        with torch.no_grad():
            stages, _ = self.start.staged(torch.zeros(1, *self.problem.shape))
        shapes = [stage.shape[1:] for stage in self.held(stages)]
        self.places = nn.ModuleList(PlaceAttention(h, w) for _, h, w in shapes)
        self.channels = nn.ModuleList(ChannelAttention(h, w, c) for c, h, w in shapes)
        self.second = Once()

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if progress >= self.hyper.first:
            self.second(lambda: self.start.load_state_dict(self.network.encoder.state_dict()))
        return super().losses(batch, progress)

    def penalty(self, x: Tensor, stages: tuple[Tensor, ...], progress: float) -> Tensor:
        pairs = [(s.float(), t.float()) for s, t in self.pairs(x, stages)]
        if progress < self.hyper.first:
            parts = (place_distance(s, t, self.places_of(l, s)) for l, (s, t) in enumerate(pairs))
            return self.hyper.weight * sum(parts)
        parts = (channel_distance(s, t, self.channels_of(l, s)) for l, (s, t) in enumerate(pairs))
        return self.hyper.weight_channels * sum(parts)

    def places_of(self, layer: int, source: Tensor) -> Tensor:
        """Weights a of the places of a layer's map S, (n, h·w)."""
        if self.hyper.attention == "learned":
            return self.places[layer](source)
        places = source[0, 0].numel()
        return source.new_full((len(source), places), 1 / places)

    def channels_of(self, layer: int, source: Tensor) -> Tensor:
        """Weights w of its channels, (n, C)."""
        if self.hyper.attention == "learned":
            return self.channels[layer](source)
        return source.new_full(source.shape[:2], 1 / source.shape[1])

    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.entropies(batch.target.x)

    @torch.no_grad()
    def entropies(self, images: Tensor) -> dict[str, Tensor]:
        """Entropies of both attentions on images, means over layers, 1 where all count alike."""
        maps = self.held(self.start.staged(images)[0])
        kinds = {"place_entropy": self.places_of, "channel_entropy": self.channels_of}
        return {
            name: torch.stack([relative_entropy(of(l, s.float())) for l, s in enumerate(maps)]).mean()
            for name, of in kinds.items()
        }
