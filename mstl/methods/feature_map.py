"""Feature maps: fine-tuning in which maps may not move, whatever the weights do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.methods import fine_tuning
from mstl.nn.frozen import frozen_copy
from mstl.nn.transfer import map_distance
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(fine_tuning.Hyperparameters):
    """Of what holds the maps.

    Attributes:
        weight: α; DELTA's.
        layers: how many stages, from the coarsest, are held.
    """

    weight: float = 0.01
    layers: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise InputError(f"layers={self.layers} must be ≥ 1: with none held this is fine_tuning")


class FeatureMap(fine_tuning.FineTuning):
    r"""The maps :math:`T^l` of the network stay near those that it began with, :math:`S^l`, of the same
    image.

    .. math:: \Omega = \frac12 \sum_l \|T^l - S^l\|_F^2

    A sum over the batch, as released: Ω grows with it. The maps are those at the ends of the encoder's
    stages, where the papers' code takes the last convolution in each, before its normalisation.

    Source: the baseline "fea-map" of Li et al., "DELTA", ICLR 2019.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        super().build()
        self.start = frozen_copy(self.network.encoder)

    def regulariser(self, x: Tensor, stages: tuple[Tensor, ...]) -> Tensor:
        return sum(self.distance(l, s, t) for l, (s, t) in enumerate(self.pairs(x, stages)))

    def pairs(self, x: Tensor, stages: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
        """S and T of every stage that is held."""
        with torch.no_grad():
            start, _ = self.start.staged(x)
        return list(zip(self.held(start), self.held(stages), strict=True))

    def held(self, stages: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of the maps of all stages those that are held."""
        return stages[-self.hyper.layers :]

    def distance(self, layer: int, source: Tensor, target: Tensor) -> Tensor:
        """The layer's part of Ω, 0-d."""
        return map_distance(source, target)
