"""Source-only: what each source teaches without any look at the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import base
from mstl.methods.base import mean
from mstl.nn import SOURCE, TARGET
from mstl.nn.outputs import mixture
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Which sources take part.

    Attributes:
        source: the one source to train on and to predict with, from 0; -1 trains one network a source and
            averages their predictions. The best single source is named after the fact, in the tables.
    """

    source: int = -1


class SourceOnly(base.Method):
    r"""One network a source, trained on that source alone: no target images, no target labels.

    .. math:: \min_{\theta_j} \; \mathbb E_{S_j}\,\mathcal L(f_{\theta_j}(x), y), \qquad j = 1, \dots, J

    The mean of the probabilities predicts. Network j starts from the same weights with ``source=j`` as it
    does among all J: the average is that of the single runs.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        source, J = self.hyper.source, self.sources
        if not -1 <= source < J:
            raise InputError(f"source={source} does not exist; choose from 0 … {J - 1}, or -1 for all")
        self.chosen = list(range(J)) if source == -1 else [source]
        # All are made, the others dropped: network j must not start elsewhere when it is alone.
        networks = self.new_networks(J)
        self.networks = nn.ModuleList(networks[j] for j in self.chosen)

    def networks_of_sources(self) -> Iterable[tuple[int, nn.Module]]:
        return zip(self.chosen, self.networks, strict=True)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        chosen = zip(self.networks, (batch.sources[j] for j in self.chosen), strict=True)
        return {"source": mean(self.problem.loss(network(x, SOURCE).logits, y) for network, (x, y) in chosen)}

    def predict(self, images: Tensor) -> Tensor:
        return mixture(network(images, TARGET).logits for network in self.networks)

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        network = self.networks[self.chosen.index(source) if source in self.chosen else 0]
        return network.represent(images, domain).features
