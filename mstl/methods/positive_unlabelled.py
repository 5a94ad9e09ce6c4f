"""Positive-unlabelled: source-combine that does not take a source's background for background."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import base
from mstl.nn import SOURCE, TARGET
from mstl.nn.losses import positive_unlabelled_loss
from mstl.system.errors import InputError

MOMENTUM = 0.98  # of running shares


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """What is known of the object.

    Attributes:
        prior: share of the object among the pixels of the sources; -1 estimates it from their masks.
    """

    prior: float = -1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.prior == -1 or 0 <= self.prior <= 1):
            raise InputError(f"prior={self.prior} must lie in [0, 1], or be -1 to be estimated")


class PositiveUnlabelled(base.Method):
    r"""One network on all sources, whose marked pixels are object and whose other pixels are unlabelled.

    .. math::

        \min_\theta \; R_{pu}(f_\theta; S_1 \cup \dots \cup S_J, \pi)
        + \mathbb E_{T_l}\,\mathcal L(f_\theta(x), y)

    with the non-negative risk of `mstl.nn.positive_unlabelled_loss`; the second term is dropped when
    labels = 0. Pooled over sources that mark one part each, the marked pixels are of all parts, as the method
    asks. For want of another estimate the prior is what the sources' masks say: the sum of their shares where
    each marks a part, for parts that do not overlap and leave nothing out; the mean share of those that mark
    the whole object where there are any. Then every mark is where it should be, and :math:`R_{pu}` is binary
    cross-entropy.

    Source: Kiryo et al., NeurIPS 2017; on the sources of a multi-source problem it is our control.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        partial = self.partial or (False,) * self.sources
        # Of sources that mark the whole object the mean share counts, else the sum of all.
        whole = partial.count(False)
        self.weights = [1.0 if not whole else 0.0 if part else 1 / whole for part in partial]
        self.register_buffer("source_shares", torch.zeros(self.sources, 1))
        self.register_buffer("seen", torch.zeros(()))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if self.training:
            self._estimate(batch)
        x, y = batch.pooled
        losses = {"source": positive_unlabelled_loss(self.network(x, SOURCE).logits, y, self.prior)}
        if labelled := len(batch.target.y):
            losses["target"] = self.problem.loss(self.predict(batch.target.x[:labelled]), batch.target.y)
        return losses

    @property
    def prior(self) -> Tensor | float:
        r"""π, the share of the object among all pixels of the sources."""
        if self.hyper.prior >= 0:
            return self.hyper.prior
        shares = zip(self.weights, self.source_shares[:, 0], strict=True)
        return sum(weight * share for weight, share in shares).clamp(max=1)

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    @torch.no_grad()
    def _estimate(self, batch: Batch) -> None:
        """Running shares of what each source marks."""
        rate = torch.clamp(1 / (self.seen + 1), min=1 - MOMENTUM)
        self.seen += 1
        self.source_shares.lerp_(self.problem.shares(batch.source_y), rate)
