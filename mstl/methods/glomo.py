"""GLoMo: a graph of what belongs together, learned without labels, moves to another network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.methods.hyperparameters import one_of
from mstl.nn import TARGET
from mstl.nn.graphs import FeaturePredictor, GraphMixture, GraphPredictor
from mstl.nn.units import Patches, Words, spread_over, turned, turned_graph
from mstl.system.errors import InputError

GRAPHS = ("learned", "scratch", "random", "uniform", "identity", "none")


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of the graphs, and of the network that uses them.

    Attributes:
        patch: of images, pixels a side of a unit; units come in raster order. Those of a text are words.
        units: d, width of what a unit becomes.
        layers: L graphs.
        heads: of each; a divisor of ``units``.
        convolutions: before keys and before queries.
        ahead: D, units that are predicted from one.
        positions: at which, of a batch.
        scale: s at the start. What a graph brings is much alike at all units; with 1 it drowns at first what
            the unit itself says, and a network with a graph learns more slowly than one without.
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
    scale: float = 0.1
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
    """Graphs of a sequence read in one direction, and what pre-training needs beside them.

    Shape: a sequence of ``units``, valid (n, T) or None → L graphs (n, H, T, T).
    """

    def __init__(self, hyper: Hyperparameters, units: Patches | Words) -> None:
        super().__init__()
        self.embedding = units.embedding(hyper.units)
        self.places = units.places(hyper.units)
        self.graphs = GraphPredictor(hyper.units, hyper.layers, hyper.heads, hyper.convolutions)
        self.features = FeaturePredictor(hyper.units, hyper.layers)
        self.decoder = units.decoder(self.embedding, hyper.units, hyper.ahead)

    def forward(self, sequence: Tensor, valid: Tensor | None) -> list[Tensor]:
        return self.graphs(self.read(sequence, valid), valid)

    def read(self, sequence: Tensor, valid: Tensor | None) -> Tensor:
        """Embedded units; what is none is 0, whatever its row of the embedding has become."""
        units = self.embedding(sequence)
        if self.places is not None:
            units = units + self.places
        return units if valid is None else units * valid[:, :, None]

    def loss(self, sequence: Tensor, valid: Tensor | None, positions: Tensor) -> Tensor:
        """Of the context prediction, 0-d."""
        units = self.read(sequence, valid)
        return self.decoder(self.features(units, self.graphs(units, valid)), sequence, positions)


class GLoMo(Method):
    r"""Transferable relational graphs.

    An image is a sequence of patches, a text one of words. First, without labels, on the bridges of the task,
    or on its sources and its target where there are none, forwards and backwards: graphs G and features F
    predict from each unit the D that follow it. Then the graph predictors stand still, their features are
    dropped, and a network of the task reads its own features H of the units with what the graphs bring them,

    .. math:: H' = [H;\; s_\rightarrow M_\rightarrow H;\; s_\leftarrow M_\leftarrow H],

    M a learned mixture of graphs and their products (`mstl.nn.graphs`). It learns from the labelled target
    images.

    Source: Yang, Zhao, Dhingra, He, Cohen, Salakhutdinov and LeCun, "GLoMo: unsupervisedly learned relational
    graphs as transferable representations", NeurIPS 2018. For images patches in the place of pixels, with
    places added to them, and squares in the place of a softmax over words; one mixture for all units; a small
    s at the start; and a convolutional network behind H' are ours.
    """

    Hyperparameters = Hyperparameters
    reads_sources = False  # if there are bridges; and where there is neither it reads the target

    def build(self) -> None:
        hyper, problem = self.hyper, self.problem
        self.units = (
            Words(problem.shape[0], problem.words) if problem.words else Patches(problem.shape, hyper.patch)
        )
        count, d = self.units.count, hyper.units
        if count <= hyper.ahead:
            has = f"a text has {count}; make" if problem.words else f"an image has {count}; make patch or"
            raise InputError(f"ahead={hyper.ahead} units are to be predicted and {has} ahead smaller")
        self.directions = nn.ModuleList(Direction(hyper, self.units) for _ in range(2))
        self.embedding = self.units.embedding(d)
        self.places = nn.Parameter(0.02 * torch.randn(count, d))
        self.mixtures = nn.ModuleList(GraphMixture(hyper.layers, hyper.heads, hyper.scale) for _ in range(2))
        self.body = self.units.body(3 * d, d)
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
        sequence = self.units.sequence(self._read(batch))
        highest = self.units.count - self.hyper.ahead
        positions = torch.randint(highest, (self.hyper.positions,)).to(sequence.device, non_blocking=True)
        back = turned(sequence, self.units.backwards(sequence))
        losses = [
            direction.loss(read, self.units.valid(read), positions)
            for direction, read in zip(self.directions, (sequence, back), strict=True)
        ]
        return sum(losses) / 2

    def _read(self, batch: Batch) -> Tensor:
        """What is read without labels: the task's bridges if it has any, else sources and target.

        Of these as many as of the target alone: with J sources a step would cost J + 1 times as much.
        """
        if batch.bridges is not None:
            return batch.bridges
        x, own = batch.pooled.x, batch.target.x
        if x.shape[1:] != own.shape[1:]:
            return own
        drawn = torch.randperm(len(x) + len(own))[: len(own)]
        return torch.cat((x, own))[drawn.to(own.device, non_blocking=True)]

    def mixed(self, sequence: Tensor) -> list[Tensor]:
        """M of both directions, (n, T, T) each; rows draw on columns."""
        valid, kind = self.units.valid(sequence), self.hyper.graph
        if kind in ("uniform", "identity", "none"):
            even = spread_over(valid, sequence)
            eye = torch.eye(self.units.count, device=sequence.device).expand_as(even)
            made = {"uniform": even, "identity": eye, "none": torch.zeros_like(even)}
            return [made[kind]] * 2
        with torch.set_grad_enabled(torch.is_grad_enabled() and kind == "scratch"):
            forwards, backwards = self.directions
            places = self.units.backwards(sequence)
            found = backwards(turned(sequence, places), valid)
            graphs = forwards(sequence, valid), [turned_graph(graph, places) for graph in found]
        return [mixture(every) for mixture, every in zip(self.mixtures, graphs, strict=True)]

    def predict(self, images: Tensor) -> Tensor:
        sequence = self.units.sequence(images)
        valid = self.units.valid(sequence)
        h = self.embedding(sequence) + self.places
        if valid is not None:
            h = h * valid[:, :, None]
        pairs = zip(self.mixtures, self.mixed(sequence), strict=True)
        every = torch.cat((h, *(mixture.transferred(m, h) for mixture, m in pairs)), -1)
        return self.predictor((self.body(every, valid),), TARGET)

    @torch.no_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """``edges``, the share of pairs of units that the mixed graphs link."""
        sequence = self.units.sequence(batch.target.x)
        linked = (torch.stack(self.mixed(sequence)) > 0).float()
        valid = self.units.valid(sequence)
        if valid is None:
            return {"edges": linked.mean()}
        pairs = (valid[:, :, None] & valid[:, None]).expand_as(linked)
        return {"edges": (linked * pairs).sum() / pairs.sum()}
