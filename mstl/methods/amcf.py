"""AMCF: several networks, each from another source, are fine-tuned together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.nn import TARGET, SubNetwork
from mstl.nn.frozen import freeze_before
from mstl.nn.outputs import full
from mstl.nn.transfer import squared_norm
from mstl.problems import Problem
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of the networks and of what ties them together.

    Attributes:
        models: the networks, joined by commas: ``tf_efficientnet_lite0@imagenet,birds``. Each is an encoder
            and its weights, or the folder of weights alone, which says what they are of; ``auto`` is the one
            that ``encoder`` and ``weights`` say.
        weight: λ, of the collaboration.
        cuts: for each network how many convolutions stand still, joined by hyphens (``12-0``); ``none`` stand
            still by default. `mstl.run.layers` searches them.
        decay: of the squared norm of all weights.
    """

    models: str = "auto"
    weight: float = 0.2
    cuts: str = "none"
    decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("weight", "decay"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be ≥ 0")
        if not all(name.strip("@ ") for name in self.models.split(",")):
            raise InputError(
                f"models={self.models!r} must name one network at least, joined by commas: "
                "tf_efficientnet_lite0@imagenet,birds"
            )
        if self.cuts != "none" and not re.fullmatch(r"[0-9]{1,4}(-[0-9]{1,4})*", self.cuts):
            raise InputError(
                f"cuts={self.cuts} must be none, or a number for each network, joined by hyphens: 12-0"
            )
        if self.cuts != "none" and len(self.cuts.split("-")) != len(self.each()):
            raise InputError(
                f"cuts={self.cuts} must have a number for each of the {len(self.each())} networks"
            )

    def each(self) -> list[Hyperparameters]:
        """Of one network each."""
        if self.models == "auto":
            return [replace(self, cuts="none", encoder_rate=1.0)]
        pairs = (name.rpartition("@")[::2] for name in self.models.split(","))
        return [
            replace(
                self, models="auto", cuts="none", encoder_rate=1.0, encoder=encoder or "auto", weights=weights
            )
            for encoder, weights in pairs
        ]

    @property
    def started(self) -> bool:
        return any(one.origin.given for one in self.each()) if self.models != "auto" else super().started

    def weights_fingerprint(self) -> str:
        return ",".join(one.origin.fingerprint() for one in self.each()).strip(",")

    def networks(self, sources: int, problem: Problem | None = None, **options) -> Sequence[SubNetwork]:
        """The networks, whatever the number of sources."""
        if self.models == "auto":
            return super().networks(1, problem, **options)
        try:
            return [one.networks(1, problem, **options)[0] for one in self.each()]
        except InputError as error:
            raise InputError(f"models={self.models}: {error}") from error


class AMCF(Method):
    r"""Adaptive multi-source domain collaborative fine-tuning.

    .. math::

        \min \; \sum_{j=1}^J \mathrm{CE}(o_j, y) + \lambda\, \frac1B \sum_b \frac1J \sum_j
        \| o_{jb} - \bar o_b \|_2, \qquad \bar o = \frac1J \sum_j o_j

    The norm is not squared, and cross-entropies are summed. The mean of the logits predicts. Networks need
    not be alike, nor the classes they were trained on: each gets a fresh head. With λ = 0 they are an
    ensemble of networks that know nothing of each other; with J = 1 this is fine-tuning.

    Layers in front of the cut stand still, statistics of their normalisation included, which the released
    code leaves running.

    Source: Feng et al., "Adaptive multi-source domain collaborative fine-tuning for transfer learning", PeerJ
    Computer Science 10, 2024, e2107.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        self.networks = nn.ModuleList(self.hyper.networks(0, self.problem))
        if self.hyper.cuts != "none":
            for network, cut in zip(self.networks, self.hyper.cuts.split("-"), strict=True):
                freeze_before(network.encoder, int(cut))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        y = batch.target.y
        logits = self.each(batch.target.x[: len(y)])
        learning = (p for p in self.networks.parameters() if p.requires_grad)
        return {
            "target": torch.stack([self.problem.loss(o, y) for o in logits]).sum(),
            "collaboration": self.hyper.weight * collaboration(logits.flatten(2)),
            "decay": self.hyper.decay * squared_norm(learning),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.each(images).mean(0)

    def each(self, images: Tensor) -> Tensor:
        """Logits of every network, (J, n, K, 1, 1): one a source model, not one a source of the task."""
        return torch.stack([network(images, TARGET).logits for network in self.networks])

    def networks_of_sources(self) -> Iterable[tuple[int, nn.Module]]:
        return ()

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.networks[0].encoder(images, domain)[-1]


def collaboration(logits: Tensor) -> Tensor:
    r"""Mean distance of J networks from their mean.

    .. math:: \frac1B \sum_b \frac1J \sum_j \| o_{jb} - \bar o_b \|_2

    Its gradient is 0 where networks agree. For J = 2 it is the mean of :math:`\|o_1 - o_2\| / 2`.

    Args:
        logits: o, (J, B, K).

    Returns:
        0-d, float32 at least.
    """
    o = full(logits)
    return torch.linalg.vector_norm(o - o.mean(0), dim=-1).mean()
