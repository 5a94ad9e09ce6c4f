"""L2-SP: fine-tuning that is drawn back to its starting point, weight by weight."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor

from mstl.methods import fine_tuning
from mstl.nn.transfer import squared_norm


@dataclass(frozen=True)
class Hyperparameters(fine_tuning.Hyperparameters):
    """As of all fine-tuning; α is DELTA's for this baseline."""

    weight: float = 0.01


class L2SP(fine_tuning.FineTuning):
    r"""L2 to the starting point.

    .. math:: \Omega = \frac12 \|\theta_{extractor} - \theta_0\|^2

    Over every parameter of the extractor, those of normalisation layers included where they learn.

    Source: Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional
    networks", ICML 2018, equation 2.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        super().build()
        self.start = deepcopy(self.network.encoder)
        for parameter in self.start.parameters():
            parameter.requires_grad_(False)

    def regulariser(self, x: Tensor, stages: tuple[Tensor, ...]) -> Tensor:
        pairs = zip(self.network.encoder.parameters(), self.start.parameters(), strict=True)
        moving = [(p, p0) for p, p0 in pairs if p.requires_grad]
        return squared_norm(*zip(*moving, strict=True)) if moving else x.new_zeros(())
