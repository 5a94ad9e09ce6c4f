"""IWAN: a network learns from the sources, then a copy of its extractor brings the target to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import Adversary
from mstl.methods.once import Once
from mstl.nn import SOURCE, TARGET, domain_loss, importance_weights, ramp, reverse_gradient
from mstl.nn.outputs import entropy
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Of the two stages.

    Attributes:
        first: share of the training that is the first stage, of the sources alone.
        entropy: γ, weight of the entropy of target predictions in the second.
    """

    first: float = 0.5
    entropy: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.first < 1:
            raise InputError(f"first={self.first} must lie between 0 and 1: both stages need steps")
        if self.entropy < 0:
            raise InputError(f"entropy={self.entropy} must be ≥ 0")


class IWAN(base.Method):
    r"""Importance weighted adversarial nets.

    First the extractor :math:`F_s` and the classifier C learn from the sources. Then both stand still, a copy
    :math:`F_t` of the extractor goes on, and of two discriminators D only judges, while :math:`D_0` plays:

    .. math::

        \max_D \; \mathbb E_S \log D(F_s(x)) + \mathbb E_T \log(1 - D(F_t(x))), \qquad
        w(x) = \frac{1 - D(F_s(x))}{\mathbb E_S [1 - D(F_s(x))]}

    .. math::

        \min_{F_t} \max_{D_0} \; \gamma\, \mathbb E_T H\big(C(F_t(x))\big) + \lambda(p) \Big(\mathbb E_S\,
        w(x) \log D_0(F_s(x)) + \mathbb E_T \log(1 - D_0(F_t(x)))\Big)

    A source image that D tells from the target with ease has a class that the target lacks, or so it is
    hoped, and counts for nothing. The weights send no gradient. With a constant D this is DANN on
    :math:`F_t`. Both stages are one run: which one it is in follows from how far it is.

    Where labelled target images exist, :math:`F_t` learns from them, too: our setting.

    Source: Zhang, Ding, Li, Ogunbona, "Importance weighted adversarial nets for partial domain adaptation",
    CVPR 2018, equations 4 to 9.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.network, frozen = self.new_networks(2)
        self.source_encoder = frozen.encoder
        for parameter in self.source_encoder.parameters():
            parameter.requires_grad_(False)
        channels = self.network.channels[-1]
        self.adversary = Adversary(1, channels, self.hyper.discriminator, updates=0)
        self.judge = Adversary(1, channels, self.hyper.discriminator, updates=0)
        self.second = Once()

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if progress < self.hyper.first:
            return self._first(batch)
        self.second(lambda: self.source_encoder.load_state_dict(self.network.encoder.state_dict()))
        return self._second(batch, (progress - self.hyper.first) / (1 - self.hyper.first))

    def _first(self, batch: Batch) -> dict[str, Tensor]:
        maps = self.network.encoder(batch.pooled.x, SOURCE)
        nothing = 0 * maps[-1].float().sum()
        return {
            "source": self.problem.loss(self.network.predictor(maps, SOURCE), batch.pooled.y),
            **dict.fromkeys(("judge", "entropy", "adversarial"), nothing),
        }

    def _second(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        with torch.no_grad():
            source = self.source_encoder(batch.pooled.x, SOURCE)[-1]
        maps = self.network.encoder(batch.target.x, TARGET)
        target = maps[-1]
        (judge,), (player,) = self.judge.discriminators, self.adversary.discriminators
        judged = judge(source), judge(target.detach())
        strength = self.hyper.strength * ramp(progress, self.hyper.gain)
        played = player(source), player(reverse_gradient(target, strength))
        logits = self._classify(maps)
        losses = {
            "source": 0 * target.float().sum(),
            "judge": domain_loss(*judged),
            "entropy": self.hyper.entropy * entropy(logits).mean(),
            "adversarial": domain_loss(*played, importance_weights(judged[0], epsilon=0.0)),
        }
        if labelled := len(batch.target.y):
            losses["target"] = self.problem.loss(logits[:labelled], batch.target.y)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        encoder = self.network.encoder if domain == TARGET else self.source_encoder
        return encoder(images, domain)[-1]

    @torch.no_grad()
    def source_weights(self, images: Tensor) -> Tensor:
        """Weights of source images in the second stage, (n,), 1 on average."""
        (judge,) = self.judge.discriminators
        logits = judge(self.source_encoder(images, SOURCE)[-1])
        return importance_weights(logits.flatten(1).mean(1), epsilon=0.0)

    def _classify(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits of the classifier, which gets no gradient."""
        fixed = {name: p.detach() for name, p in self.network.predictor.named_parameters()}
        return functional_call(self.network.predictor, fixed, (maps, TARGET))
