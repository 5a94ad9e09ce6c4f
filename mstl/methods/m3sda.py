"""M3SDA (moments): sources and target share an encoder in which their moments are matched."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.measures import moment_distance
from mstl.methods import base
from mstl.nn import SOURCE, TARGET, first
from mstl.nn.outputs import mixture
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Of the moment matching.

    Attributes:
        weight: λ of the moment distance, constant over training as in the paper.
        orders: moments 1 … ``orders`` are matched.
    """

    weight: float = 0.1
    orders: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise InputError(f"weight={self.weight} of the moment distance must be ≥ 0")
        if self.orders < 1:
            raise InputError(f"orders={self.orders} must be ≥ 1: the highest moment that is matched")


class M3SDA(base.Method):
    r"""Moment matching for multi-source domain adaptation.

    With a shared encoder F and one predictor :math:`C_j` a source:

    .. math::

        \min_{F, C} \; \tfrac1J \textstyle\sum_j \mathcal L(C_j F(x^{s_j}), y^{s_j})
        + \tfrac1J \sum_j \mathcal L(C_j F(x^{t_l}), y^{t_l}) + \lambda\, MD^2,

    .. math::

        MD^2 = \sum_{k=1}^{K} \Big( \tfrac1J \sum_j \|\mathbb E X_j^k - \mathbb E X_T^k\|_2
        + \tbinom J2^{-1} \sum_{i<j} \|\mathbb E X_i^k - \mathbb E X_j^k\|_2 \Big)

    The mean of the J probabilities predicts (the paper's uniform weights).

    X has one row for each place of F's coarsest map, where the paper has one an image. Sources that show
    parts of an object share local features with the target and not the composition of whole images, and
    places are what the discriminators of the adversarial methods compare, too.

    Where sources differ: powers are raw as printed, not central as in the public ports; the released digit
    code leaves its fourth source unaveraged. Losses are means over sources, where the paper has sums. The
    labelled target images are ours, as in every method here. The variant M3SDA-β is left out: its adversarial
    pairs of classifiers need optimisers of their own.

    Source: Peng et al., ICCV 2019, equations 1 and 2.
    """

    Hyperparameters = Hyperparameters
    aligns = ("moments",)

    def build(self) -> None:
        self.encoder = self.new_networks(1)[0].encoder
        self.predictors = nn.ModuleList(
            self.new_predictor(self.encoder.channels) for _ in range(self.sources)
        )

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        sources, target = self.encoded(self.encoder, batch)
        count = len(batch.target.y)
        labelled = first(target, count)
        return {
            **self.of_heads(
                [predict(maps, SOURCE) for predict, maps in zip(self.predictors, sources, strict=True)],
                [predict(labelled, TARGET) for predict in self.predictors] if count else [],
                batch,
            ),
            "moments": self.hyper.weight * self.moment_distance([f[-1] for f in sources], target[-1]),
        }

    def predict(self, images: Tensor) -> Tensor:
        maps = self.encoder(images, TARGET)
        return mixture(predict(maps, TARGET) for predict in self.predictors)

    def moment_distance(self, sources: list[Tensor], target: Tensor) -> Tensor:
        """MD² of J source maps and a target map (n, c, h', w'), each place a row; 0-d."""
        orders = range(1, self.hyper.orders + 1)
        return moment_distance([_rows(f) for f in sources], _rows(target), orders, central=False)

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.encoder(images, domain)[-1]


def _rows(features: Tensor) -> Tensor:
    """(n, c, h', w') → (n·h'·w', c)."""
    return features.movedim(1, -1).flatten(0, -2)
