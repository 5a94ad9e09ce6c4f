"""GLoMo: a graph of what belongs together in an image, learned without labels, moves to another network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.methods.hyperparameters import one_of
from mstl.nn import TARGET
from mstl.nn.graphs import ContextDecoder, FeaturePredictor, GraphMixture, GraphPredictor
from mstl.system.errors import InputError

GRAPHS = ("learned", "scratch", "random", "uniform", "identity", "none")


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of the graphs, and of the network that uses them.

    Attributes:
        patch: pixels a side of a unit; units come in raster order.
        units: d, width of what a unit becomes.
        layers: L graphs.
        heads: of each; a divisor of ``units``.
        convolutions: before keys and before queries.
        ahead: D, units that are predicted from one.
        positions: at which, of a batch.
        first: share of the training that is pre-training.
        graph: ``learned``, and the controls: ``scratch``, learned with the task alone; ``random``, of a
            network that never learned; ``uniform``; ``identity``; ``none``, zeros for what it brings.
    """

    patch: int = 4
    units: int = 64
    layers: int = 2
    heads: int = 4
    convolutions: int = 2
    ahead: int = 3
    positions: int = 16
    first: float = 0.5
    graph: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("graph", self.graph, GRAPHS)
        for name in ("patch", "units", "layers", "heads", "ahead", "positions"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be ≥ 1")
        for name, usual in {"encoder": "auto", "weights": "none", "frozen": "none", "norm": "group"}.items():
            if getattr(self, name) != usual:
                raise InputError(f"{name} is of encoders, and glomo has none: leave it out")
        if self.units % self.heads:
            raise InputError(f"heads={self.heads} must divide units={self.units}")
        if not 0 < self.first < 1:
            raise InputError(f"first={self.first} must lie between 0 and 1: both stages need steps")


class Direction(nn.Module):
    """Graphs of a sequence read in one direction, and what pre-training needs beside them."""

    def __init__(self, hyper: Hyperparameters, size: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(size, hyper.units)
        self.graphs = GraphPredictor(hyper.units, hyper.layers, hyper.heads, hyper.convolutions)
        self.features = FeaturePredictor(hyper.units, hyper.layers)
        self.decoder = ContextDecoder(hyper.units, size, hyper.ahead)

    def forward(self, sequence: Tensor) -> list[Tensor]:
        return self.graphs(self.embedding(sequence))

    def loss(self, sequence: Tensor, positions: Tensor) -> Tensor:
        """Of the context prediction, 0-d."""
        units = self.embedding(sequence)
        return self.decoder(self.features(units, self.graphs(units)), sequence, positions)


class GLoMo(Method):
    r"""Transferable relational graphs.

    An image is a sequence of patches x. First, without labels, on images of sources and target, forwards and
    backwards: graphs G and features F predict from each unit the D that follow it. Then the graph predictors
    stand still, their features are dropped, and a network of the task reads its own features H of the patches
    with what the graphs bring to them,

    .. math:: H' = [H;\; s_\rightarrow M_\rightarrow H;\; s_\leftarrow M_\leftarrow H],

    M a learned mixture of graphs and their products (`mstl.nn.graphs`). It learns from the labelled target
    images.

    Source: Yang, Zhao, Dhingra, He, Cohen, Salakhutdinov and LeCun, "GLoMo: unsupervisedly learned relational
    graphs as transferable representations", NeurIPS 2018. Patches in the place of pixels, squares in the
    place of a softmax over words, and a convolutional network behind H' are ours.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        hyper, (channels, height, width) = self.hyper, self.problem.shape
        p, d = hyper.patch, hyper.units
        if height % p or width % p:
            raise InputError(
                f"patch={p}: an image of {height}×{width} does not fall into patches of {p}×{p}; choose a "
                "divisor of both sides"
            )
        self.grid = height // p, width // p
        count, size = self.grid[0] * self.grid[1], channels * p * p
        if count <= hyper.ahead:
            raise InputError(
                f"ahead={hyper.ahead} units are to be predicted and an image has {count}; make patch or "
                "ahead smaller"
            )
        self.directions = nn.ModuleList(Direction(hyper, size) for _ in range(2))
        self.embedding = nn.Linear(size, d)
        self.places = nn.Parameter(0.02 * torch.randn(count, d))
        self.mixtures = nn.ModuleList(GraphMixture(hyper.layers, hyper.heads) for _ in range(2))
        self.body = nn.Sequential(
            nn.Conv2d(3 * d, d, 3, padding=1), nn.ReLU(), nn.Conv2d(d, d, 3, padding=1), nn.ReLU()
        )
        self.predictor = self.new_predictor((d,))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        y = batch.target.y
        nothing = 0 * self.places.sum()
        if progress < self.hyper.first:
            loss = self._pretraining(batch) if self.hyper.graph == "learned" else nothing
            return {"context": loss, "target": nothing}
        logits = self.predict(batch.target.x[: len(y)])
        return {"context": nothing, "target": self.problem.loss(logits, y)}

    def _pretraining(self, batch: Batch) -> Tensor:
        x, own = batch.pooled.x, batch.target.x
        sequence = self.patches(torch.cat((x, own)) if x.shape[1:] == own.shape[1:] else own)
        highest = sequence.shape[1] - self.hyper.ahead
        positions = torch.randint(highest, (self.hyper.positions,)).to(own.device, non_blocking=True)
        forwards, backwards = self.directions
        return (forwards.loss(sequence, positions) + backwards.loss(sequence.flip(1), positions)) / 2

    def patches(self, images: Tensor) -> Tensor:
        """The units of images, in raster order: (n, c, h, w) → (n, T, c·p·p)."""
        return F.unfold(images, self.hyper.patch, stride=self.hyper.patch).transpose(1, 2)

    def mixed(self, sequence: Tensor) -> list[Tensor]:
        """M of both directions, (n, T, T) each; rows draw on columns."""
        n, count, _ = sequence.shape
        if self.hyper.graph in ("uniform", "identity", "none"):
            eye = torch.eye(count, device=sequence.device)
            made = {
                "uniform": torch.full_like(eye, 1 / count),
                "identity": eye,
                "none": torch.zeros_like(eye),
            }
            return [made[self.hyper.graph].expand(n, -1, -1)] * 2
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.hyper.graph == "scratch"):
            forwards, backwards = self.directions
            graphs = forwards(sequence), [g.flip(-1, -2) for g in backwards(sequence.flip(1))]
        return [mixture(every) for mixture, every in zip(self.mixtures, graphs, strict=True)]

    def predict(self, images: Tensor) -> Tensor:
        sequence = self.patches(images)
        h = self.embedding(sequence) + self.places
        pairs = zip(self.mixtures, self.mixed(sequence), strict=True)
        every = torch.cat((h, *(mixture.transferred(m, h) for mixture, m in pairs)), -1)
        maps = self.body(every.transpose(1, 2).unflatten(-1, self.grid))
        return self.predictor((maps.mean((-2, -1), keepdim=True),), TARGET)

    @torch.no_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """``edges``, the share of pairs of units that the mixed graphs link."""
        mixed = torch.stack(self.mixed(self.patches(batch.target.x)))
        return {"edges": (mixed > 0).float().mean()}
