"""Fine-tuning: a trained network learns on from the labelled target images, held to where it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.nn import TARGET
from mstl.nn.transfer import squared_norm
from mstl.system.errors import InputError
from mstl.system.notes import note


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of what holds the network.

    Attributes:
        weight: α, of the regulariser Ω of the extractor.
        decay: β, of the squared norm of the head.
    """

    weight: float = 1e-4
    decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("weight", "decay"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be ≥ 0")


class FineTuning(Method):
    r"""L2: plain fine-tuning, and what the other methods of this kind share.

    .. math::

        \min_\theta \; \mathbb E_{T_l}\,\mathcal L(f_\theta(x), y) + \alpha\, \Omega(\theta)
        + \frac\beta2 \|\theta_{head}\|^2, \qquad \Omega = \frac12 \|\theta_{extractor}\|^2

    The sources of the task are not used: what they could tell lies in the weights that the run starts from
    (``weights=imagenet``, or the folder of a run that learned from them).

    Source: the baseline of Li et al., "DELTA", ICLR 2019, with its α and β.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        if self.hyper.weights == "none":
            note(
                "fine-tuning begins with random weights: there is nothing yet to hold on to; set "
                "weights=imagenet"
            )

    def expect(self, sources: Sequence[float], target: float | None) -> None:
        super().expect((), target)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        y = batch.target.y
        x = batch.target.x[: len(y)]
        stages, features = self.network.encoder.staged(x, TARGET)
        return {
            "target": self.problem.loss(self.network.predictor(features, TARGET), y),
            "regulariser": self.penalty(x, stages, progress),
            "head": self.hyper.decay * squared_norm(self.network.predictor.parameters()),
        }

    def penalty(self, x: Tensor, stages: tuple[Tensor, ...], progress: float) -> Tensor:
        """α Ω, 0-d; arguments as of `regulariser`, and the share of training done."""
        return self.hyper.weight * self.regulariser(x, stages).float()

    def regulariser(self, x: Tensor, stages: tuple[Tensor, ...]) -> Tensor:
        """Ω, 0-d.

        Args:
            x: labelled target images.
            stages: maps of the stages of the network for them, fine to coarse.
        """
        learning = [p for p in self.network.encoder.parameters() if p.requires_grad]
        return squared_norm(learning) if learning else x.new_zeros(())

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]
