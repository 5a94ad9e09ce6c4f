"""SAN: a discriminator for each class, so that classes which the target lacks are aligned with nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import Adversary
from mstl.methods.hyperparameters import one_of
from mstl.nn import SOURCE, TARGET, reverse_gradient
from mstl.nn.outputs import entropy, full, probabilities
from mstl.system.errors import InputError

SCALES = ("mean", "max", "sum")


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Of the selection.

    Attributes:
        entropy: μ, weight of the entropy of target predictions; 0.05 to 0.2 on Office-31 in released code.
        scale: what the class weights are 1 in: their ``mean`` (ours, so that the limit is DANN for any number
            of classes), their ``max``, or their ``sum`` (the formula as it stands).
        memory: share of the class weights that is kept from step to step; 0 takes them from each batch.
    """

    entropy: float = 0.1
    scale: str = "mean"
    memory: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("scale", self.scale, SCALES)
        if self.entropy < 0:
            raise InputError(f"entropy={self.entropy} must be ≥ 0")
        if not 0 <= self.memory < 1:
            raise InputError(f"memory={self.memory} must be at least 0 and below 1")


class SAN(base.Method):
    r"""Selective adversarial networks.

    .. math::

        \min_{F,P} \max_{D_1 \dots D_K} \; \frac1J \sum_j \mathbb E_{S_j} \mathcal L(P(F(x)), y)
        + \mu\, \mathbb E_T H(P(F(x)))
        - \frac{\lambda(p)}{n_s + n_t} \sum_{k=1}^K w_k \sum_{x \in S \cup T}
          \hat y^k(x)\, \mathrm{BCE}(D_k(F(x)), d),
        \qquad w_k \propto \frac1{n_t} \sum_{x \in T} \hat y^k(x)

    with predictions :math:`\hat y` that send no gradient. A class that no target image is taken for has
    weight 0, and what the source has of it is aligned with nothing. With uniform predictions and equal
    :math:`D_k` this is DANN, where the weights are 1 on average (``scale``).

    Where sources differ: the released PyTorch code multiplies features by :math:`\hat y^k` in place of the
    losses, takes the class weights from source and target together and gives them to the extractor only; the
    released Caffe code sums them over all iterations. Here the formula is what is computed; the weights are
    averaged over steps (``memory``), because a batch is small.

    Source: Cao, Long, Wang, Jordan, "Partial transfer learning with selective adversarial networks", CVPR
    2018, equation 8.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        classes = len(self.problem.classes)
        # Extra updates would need the predictions of remembered features.
        self.adversary = Adversary(classes, self.network.channels[-1], self.hyper.discriminator, updates=0)
        self.register_buffer("shares", torch.full((classes,), 1 / classes))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        encode, decode, (x, y) = self.network.encoder, self.network.predictor, batch.pooled
        source, target = encode(x, SOURCE), encode(batch.target.x, TARGET)
        z_source, z_target = decode(source, SOURCE), decode(target, TARGET)
        guess_source, guess_target = (probabilities(z.detach()).flatten(1) for z in (z_source, z_target))
        self._remember(guess_target)
        strength = self.hyper.reversal(progress)
        judged = [self._judge(maps[-1], strength) for maps in (source, target)]
        each = selective_losses(*judged, guess_source, guess_target)
        return {
            "source": self.problem.loss(z_source, y),
            **self.on_labels(decode, target, batch.target.y),
            "entropy": self.hyper.entropy * entropy(z_target).mean(),
            "adversarial": (class_weights(self.shares, self.hyper.scale) * each).sum(),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]

    def _judge(self, features: Tensor, strength: float) -> Tensor:
        """Logits of every discriminator, (n, K)."""
        reversed_ = reverse_gradient(features, strength)
        return torch.cat([D(reversed_).flatten(1) for D in self.adversary.discriminators], 1)

    @torch.no_grad()
    def _remember(self, guesses: Tensor) -> None:
        if self.training:
            self.shares.lerp_(guesses.mean(0).to(self.shares), 1 - self.hyper.memory)


def class_weights(shares: Tensor, scale: str = "mean") -> Tensor:
    r"""Weights of the classes, (K,), from the shares of the target's images that are taken for them.

    .. math:: w_k = \frac{s_k}{\sum_l s_l} \; (\text{sum}), \qquad \frac{s_k}{\max_l s_l} \; (\text{max}),
        \qquad \frac{K s_k}{\sum_l s_l} \; (\text{mean})

    Args:
        shares: :math:`s_k = \frac1{n_t} \sum_T \hat y^k`, (K,).
        scale: one of `SCALES`.
    """
    one_of("scale", scale, SCALES)
    reduced = {"mean": shares.mean, "max": shares.max, "sum": shares.sum}[scale]()
    return shares / reduced


def selective_losses(
    source_logits: Tensor, target_logits: Tensor, source_guesses: Tensor, target_guesses: Tensor
) -> Tensor:
    r"""Loss of every class's discriminator, in which an image counts as far as it is taken for that class.

    .. math:: \ell_k = \frac1{n_s + n_t} \sum_{i \in S \cup T} \hat y_i^k\, \mathrm{BCE}(D_k(f_i), d_i)

    Args:
        source_logits, target_logits: of :math:`D_k`, (n_s, K) and (n_t, K).
        source_guesses, target_guesses: :math:`\hat y`, of the same shapes; no gradient flows through them.

    Returns:
        (K,), float32 at least.
    """
    logits = full(torch.cat((source_logits, target_logits)))
    domains = torch.zeros_like(logits)
    domains[: len(source_logits)] = 1
    guesses = torch.cat((source_guesses, target_guesses)).detach().to(logits)
    return F.binary_cross_entropy_with_logits(logits, domains, guesses, reduction="none").mean(0)
