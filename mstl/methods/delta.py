"""DELTA: maps may not move, and channels count as the target needs them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import feature_map
from mstl.methods.once import Once
from mstl.nn import TARGET
from mstl.nn.rest import Rest
from mstl.nn.transfer import importance, squared_norm, weighted_map_distance
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(feature_map.Hyperparameters):
    """Of the two stages.

    Attributes:
        first: share of the training in which the head alone learns, before the channels are judged.
        judged: labelled images, of one batch, on which they are.
    """

    first: float = 0.1
    judged: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.first < 1:
            raise InputError(f"first={self.first} must lie between 0 and 1: both stages need steps")
        if self.judged < 1:
            raise InputError(f"judged={self.judged} must be ≥ 1")


class DELTA(feature_map.FeatureMap):
    r"""Feature maps with channel attention that is fixed beforehand.

    .. math:: \Omega = \frac12 \sum_l \sum_{b,c} \frac{C\, W^l_c}{h w} \|T^l_{bc} - S^l_{bc}\|^2, \qquad
        W^l = \mathrm{softmax}\Big(\frac{r^l - \bar r^l}{5\, \sigma_{r^l}}\Big)

    First the head alone learns. Then :math:`r_c` is by how much the loss grows when channel c is zero, and a
    fresh head learns with the network. Channels are those of the maps at the ends of stages, judged on one
    batch; the released code zeroes filters before their normalisation, on four.

    Source: Li et al., "DELTA: deep learning transfer using feature map with attention", ICLR 2019,
    equations 3 to 6.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        super().build()
        stages = self.held(self.start.encoder.channels[self.start.encoder.stages])
        for layer, channels in enumerate(stages):
            self.register_buffer(f"importance{layer}", torch.full((channels,), 1 / channels))
        self.second = Once()

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        y = batch.target.y
        x = batch.target.x[: len(y)]
        if progress >= self.hyper.first:
            self.second(lambda: self._enter(x[: self.hyper.judged], y[: self.hyper.judged]))
            return super().losses(batch, progress)
        with torch.no_grad():
            features = self.start(x)
        loss = self.problem.loss(self.network.predictor(features, TARGET), y)
        head = squared_norm(self.network.predictor.parameters())
        return {"target": loss, "regulariser": 0 * loss, "head": self.hyper.decay * head}

    def distance(self, layer: int, source: Tensor, target: Tensor) -> Tensor:
        return weighted_map_distance(source, target, getattr(self, f"importance{layer}"))

    def _enter(self, x: Tensor, y: Tensor) -> None:
        """The second stage begins with channels that are judged and a fresh head."""
        for layer, name in enumerate(self.held(self.start.stage_modules)):
            grown = self.increases(self.start.get_submodule(name), x, y)
            getattr(self, f"importance{layer}").copy_(importance(grown))
        for module in self.network.predictor.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()

    @torch.no_grad()
    def increases(self, stage: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """By how much the loss grows when one channel of a stage's map is zero, (C,)."""
        rest = Rest(self.start, stage, x)

        def loss(changed: Tensor) -> Tensor:
            return self.problem.loss(self.network.predictor(rest(changed), TARGET), y)

        full, grown = loss(rest.map), []
        for channel in range(rest.map.shape[1]):
            without = rest.map.clone()
            without[:, channel] = 0
            grown.append(loss(without) - full)
        return torch.stack(grown)
