"""DAN: features and predictions of source and target have the same kernel means, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mstl.data.batches import Batch
from mstl.measures import jmmd2, mean_bandwidths
from mstl.measures.mmd import ESTIMATORS, Bandwidths
from mstl.methods import base
from mstl.methods.hyperparameters import one_of
from mstl.nn import SOURCE, TARGET, ramp
from mstl.nn.outputs import probabilities
from mstl.system.errors import InputError

SOFTMAX = 1.68  # bandwidth of the one kernel on probabilities, in units of squared distance (Xlearn)


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Of the alignment.

    Attributes:
        weight: λ, after the ramp.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1.
        estimator: of the discrepancy; ``biased`` cannot become negative, so that it has a smallest value.
        outputs: align the predictions, too.
    """

    weight: float = 1.0
    gain: float = 10.0
    estimator: str = "biased"
    outputs: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("estimator", self.estimator, ESTIMATORS)
        if self.weight < 0:
            raise InputError(f"weight={self.weight} of the alignment must be ≥ 0")


class DAN(base.Method):
    r"""Deep adaptation network.

    .. math::

        \min \; \frac1J \sum_j \mathbb E_{S_j} \mathcal L(P(F(x)), y)
        + \lambda(p) \sum_{l} \mathrm{MMD}^2_{k_l}\big(Z^l_S, Z^l_T\big)

    over the layers l: the last features, with five Gaussian kernels around the mean distance, and the softmax
    outputs, with one. All sources together are one sample.

    Source: Long, Cao, Wang, Jordan, "Learning transferable features with deep adaptation networks", ICML
    2015, equation 5. There each fully connected layer is aligned; here there are two.
    """

    Hyperparameters = Hyperparameters
    aligns = ("mmd",)

    def build(self) -> None:
        self.network = self.new_networks(1)[0]

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        encode, decode, (x, y) = self.network.encoder, self.network.predictor, batch.pooled
        source, target = encode(x, SOURCE), encode(batch.target.x, TARGET)
        logits = decode(source, SOURCE)
        layers = [(rows(source[-1]), rows(target[-1]))]
        if self.hyper.outputs:
            layers.append((guesses(logits), guesses(decode(target, TARGET))))
        weight = self.hyper.weight * ramp(progress, self.hyper.gain)
        return {
            "source": self.problem.loss(logits, y),
            **self.on_labels(decode, target, batch.target.y),
            "mmd": weight * self.discrepancy(layers),
        }

    def discrepancy(self, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The sum over layers of their MMD², 0-d."""
        kernels = bandwidths(len(layers))
        return base.mean(
            jmmd2((s,), (t,), (kernel,), self.hyper.estimator)
            for (s, t), kernel in zip(layers, kernels, strict=True)
        ) * len(layers)

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]


def bandwidths(layers: int) -> list[Bandwidths]:
    """Of the kernels on features, and of the one on probabilities where that layer is there."""
    return [mean_bandwidths(), SOFTMAX][:layers]


def rows(features: Tensor) -> Tensor:
    """Features (n, c, 1, 1) as (n, c)."""
    return features.flatten(1)


def guesses(logits: Tensor) -> Tensor:
    """Probabilities (n, K) of logits (n, K, 1, 1)."""
    return probabilities(logits).flatten(1)
