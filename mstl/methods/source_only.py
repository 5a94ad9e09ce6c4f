"""Source-only: what each source teaches without any look at the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import base
from mstl.methods.averaging import head_losses, mean_probability_logits
from mstl.nn import SOURCE, TARGET
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
    r"""One U-Net a source, trained on that source alone: no target images, no target labels.

    .. math:: \min_{\theta_j} \; \mathbb E_{S_j}\,\mathcal L_{seg}(f_{\theta_j}(x), y), \qquad j = 1, \dots, J

    The mean of the probabilities predicts. Network j starts from the same weights with ``source=j`` as it
    does among all J: the average is that of the single runs.
    """

    Hyperparameters = Hyperparameters

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        if not -1 <= hyper.source < sources:
            raise InputError(
                f"source={hyper.source} does not exist; choose from 0 … {sources - 1}, or -1 for all"
            )
        self.chosen = list(range(sources)) if hyper.source == -1 else [hyper.source]
        # All are made, the others dropped: network j must not start elsewhere when it is alone.
        networks = hyper.networks(sources)
        self.networks = nn.ModuleList(networks[j] for j in self.chosen)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = [
            network(batch.source_images[j], SOURCE).logits
            for j, network in zip(self.chosen, self.networks, strict=True)
        ]
        masks = torch.stack([batch.source_masks[j] for j in self.chosen])
        return head_losses(logits, masks, [], masks.new_empty(0))

    def predict(self, images: Tensor) -> Tensor:
        return mean_probability_logits(network(images, TARGET).logits for network in self.networks)

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        network = self.networks[self.chosen.index(source) if source in self.chosen else 0]
        return network.represent(images, domain).features
