"""MFSAN: a space for each (source, target) pair, aligned by kernel means, and classifiers that agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch, stream_generator
from mstl.measures import mean_bandwidths, mmd2
from mstl.methods import base
from mstl.methods.base import mean
from mstl.nn import SOURCE, TARGET, Layers, ramp
from mstl.nn.outputs import disagreement, mixture
from mstl.nn.unet import convolution
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Of the two alignments.

    Attributes:
        weight: λ = γ, of both, after the ramp: the paper's 1, which tuning confirmed by a hair over 0.1.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1.
        places: rows of each domain in one kernel matrix, at most.
    """

    weight: float = 1.0
    gain: float = 10.0
    places: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise InputError(f"weight={self.weight} of the alignments must be ≥ 0")
        if self.places < 2:
            raise InputError(f"places={self.places} must be ≥ 2: a discrepancy needs samples")


class MFSAN(base.Method):
    r"""Multiple feature spaces adaptation network.

    With a shared encoder F, and for source j a sub-network :math:`H_j` and a predictor :math:`C_j`:

    .. math::

        \min \; \tfrac1J \textstyle\sum_j \mathcal L(C_j H_j F(x^{s_j}), y^{s_j})
        + \tfrac1J \sum_j \mathcal L(C_j H_j F(x^{t_l}), y^{t_l})
        + \lambda(p)\, \tfrac1J \sum_j \mathrm{MMD}^2(H_j F(X_{s_j}), H_j F(X_t))
        + \gamma(p)\, \tbinom J2^{-1} \sum_{i<j}
          \mathbb E_{x \sim X_t} |\sigma C_i H_i F(x) - \sigma C_j H_j F(x)|

    with five Gaussian kernels in the biased estimator. The mean of the J probabilities predicts.

    :math:`H_j` is the paper's 1x1-3x3-1x1 block, on the coarsest map; the finer maps reach :math:`C_j` from F
    directly. The paper pools :math:`H_j`'s map over each image; here its places are the rows. A decoder needs
    the map itself, sources that show parts of an object share local features with the target and not the
    composition of whole images, and places are what the discriminators of the adversarial methods compare,
    too. They are drawn anew at each step by a generator that depends on ``progress`` alone: equal arguments,
    equal losses.

    Where sources differ: the released code compares softmaxed *features* in the last term, the paper
    predictions, as here. Sums over sources are means, and all sources share one target batch, where the paper
    draws one for each. The labelled target images are ours, as in every method here.

    Source: Zhu et al., AAAI 2019, equations 3 to 6.
    """

    Hyperparameters = Hyperparameters
    aligns = ("mmd", "disagreement")

    def build(self) -> None:
        self.encoder = self.new_networks(1)[0].encoder
        kernel = 1 if self.problem.classes else 3  # of one place there are no neighbours
        self.spaces = nn.ModuleList(
            _space(self.encoder.channels[-1], self.hyper.norm, kernel) for _ in range(self.sources)
        )
        self.predictors = nn.ModuleList(
            self.new_predictor(self.encoder.channels) for _ in range(self.sources)
        )

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        maps, shared = self.encoded(self.encoder, batch)
        sources = [self._own(j, own, SOURCE) for j, own in enumerate(maps)]
        targets = [self._own(j, shared, TARGET) for j in range(self.sources)]
        target_logits = [P(maps, TARGET) for P, maps in zip(self.predictors, targets, strict=True)]
        weight = self.hyper.weight * ramp(progress, self.hyper.gain)
        return {
            **self.of_heads(
                [P(maps, SOURCE) for P, maps in zip(self.predictors, sources, strict=True)],
                target_logits,
                batch,
            ),
            "mmd": weight
            * mean(self.discrepancy(s[-1], t[-1], progress) for s, t in zip(sources, targets, strict=True)),
            "disagreement": weight * disagreement(torch.stack(target_logits), power=1),
        }

    def predict(self, images: Tensor) -> Tensor:
        shared = self.encoder(images, TARGET)
        return mixture(P(self._own(j, shared, TARGET), TARGET) for j, P in enumerate(self.predictors))

    def discrepancy(self, source: Tensor, target: Tensor, progress: float) -> Tensor:
        """MMD² of sampled places of two maps (n, c, h', w'); 0-d."""
        rows = (_rows(features, self.hyper.places, progress) for features in (source, target))
        return mmd2(*rows, mean_bandwidths(), estimator="biased")

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self._own(source, self.encoder(images, domain), domain)[-1]

    def _own(self, j: int, maps: tuple[Tensor, ...], domain: int) -> tuple[Tensor, ...]:
        """F's maps with the coarsest in space j."""
        *finer, coarsest = maps
        return (*finer, self.spaces[j](coarsest, domain))


def _space(channels: int, norm: str, kernel: int) -> Layers:
    inner = max(1, channels // 2)
    return Layers(
        convolution(channels, inner, norm, kernel=1),
        convolution(inner, inner, norm, kernel),
        convolution(inner, channels, norm, kernel=1),
    )


def _rows(features: Tensor, limit: int, progress: float) -> Tensor:
    """(n, c, h', w') → at most ``limit`` of its n·h'·w' places, (rows, c)."""
    rows = features.movedim(1, -1).flatten(0, -2)
    if len(rows) <= limit:
        return rows
    chosen = torch.randperm(len(rows), generator=stream_generator(0, "places", f"{progress:.9f}"))[:limit]
    return rows[chosen.to(rows.device, non_blocking=True)]
