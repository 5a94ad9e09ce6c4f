"""MDAN: one network for all sources, trained for the source that is worst off."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import largest, weighted_reversal
from mstl.nn import SOURCE, TARGET
from mstl.system.errors import InputError


class MDAN(base.Method):
    r"""Multi-source domain adversarial network: one extractor and head, one discriminator a source.

    .. math::

        \min_{F,P} \; \Phi\big(\ell_1 - \mu\,\delta_1^*, \dots, \ell_J - \mu\,\delta_J^*\big)
        + \mathbb E_{T_l} \mathcal L(P(F(x)), y), \qquad
        \ell_j = \mathbb E_{S_j} \mathcal L(P(F(x)), y), \quad \delta_j^* = \min_{D_j} \delta_j

    :math:`\delta_j` is the domain loss of `Adversary` between source j and the target, and
    :math:`\Phi` the maximum (hard) or a smooth maximum (soft). The gradient is

    .. math::

        \nabla_{\theta_F}: \; \sum_j w_j \big(\nabla \ell_j - \mu \nabla \delta_j\big), \qquad
        w = \nabla\Phi, \quad \textstyle\sum_j w_j = 1

    and each :math:`D_j` descends its own :math:`\delta_j` at full loss, as :math:`\min_{D_j}` asks. With
    J = 1 both forms are DANN. :math:`\mu` is ``strength`` times the ramp all methods here use.

    The paper is followed, not the authors' released code, where they differ. The code *adds*
    :math:`\mu\,\delta_j` to :math:`\ell_j` and leaves the sign to the reversal. Given the weights, the
    extractor sees the same; but the weights then grow, not fall, with a source's likeness to the target. In
    its hard form the code takes :math:`\max_j \ell_j` and :math:`\min_j \delta_j` apart, in general of two
    different sources; and only one discriminator learns in a step.

    Source: Zhao et al., "Adversarial multiple source domain adaptation", NeurIPS 2018, section 4.
    The labelled target images, and the ramp, are ours.
    """

    Hyperparameters = adversary.Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        self.adversary = self.hyper.adversary(self.sources, self.network.channels[-1])

    @abstractmethod
    def worst(self, values: Tensor) -> Tensor:
        r""":math:`\Phi` of J values, 0-d."""

    @abstractmethod
    def weights(self, values: Tensor) -> Tensor:
        r""":math:`\nabla\Phi`, (J,): not negative, sum 1."""

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        encode, decode, loss = self.network.encoder, self.network.predictor, self.problem.loss
        mu, (maps, target) = self.hyper.reversal(progress), self.encoded(encode, batch, target_first=True)
        error = torch.stack([loss(decode(f, SOURCE), y) for f, y in zip(maps, batch.source_y, strict=True)])
        delta = weighted_reversal(
            self.adversary,
            [(f[-1], target[-1]) for f in maps],
            mu,
            lambda delta: self.weights(error.detach() - mu * delta),
        )
        return {
            "source": self.worst(error - mu * delta.detach()),
            **self.on_labels(decode, target, batch.target.y),
            "adversarial": delta.mean(),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]


class MDANHard(MDAN):
    r"""`MDAN` with :math:`\Phi(v) = \max_j v_j`: a step trains on the worst source alone (ties share)."""

    def worst(self, values: Tensor) -> Tensor:
        return worst_case(values)

    def weights(self, values: Tensor) -> Tensor:
        return worst_case_weights(values)


@dataclass(frozen=True)
class SoftHyperparameters(adversary.Hyperparameters):
    """Those of `MDAN`, and the smoothing.

    Attributes:
        strength: μ at the end of the ramp.
        gamma: inverse temperature of the smooth maximum; ∞ is the maximum, 0 the mean of the gradients.
    """

    strength: float = 0.5
    gamma: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma < math.inf:
            raise InputError(f"gamma={self.gamma} must be a positive finite number; mdan_hard is gamma = ∞")


class MDANSoft(MDAN):
    r"""`MDAN` with :math:`\Phi(v) = \frac1\gamma \log \sum_j e^{\gamma v_j}`: all sources, the worst most."""

    Hyperparameters = SoftHyperparameters
    hyper: SoftHyperparameters

    def worst(self, values: Tensor) -> Tensor:
        return worst_case(values, self.hyper.gamma)

    def weights(self, values: Tensor) -> Tensor:
        return worst_case_weights(values, self.hyper.gamma)


def worst_case(values: Tensor, gamma: float = math.inf) -> Tensor:
    r"""The largest of J values, or a smooth upper bound of it.

    .. math:: \Phi_\gamma(v) = \frac1\gamma \log \sum_j e^{\gamma v_j}, \qquad
        \max_j v_j \le \Phi_\gamma(v) \le \max_j v_j + \tfrac1\gamma \log J

    Summed in the log domain: it overflows only where :math:`\gamma v` does, not where its exponential does.

    Args:
        values: (J,).
        gamma: inverse temperature > 0; ∞ is the maximum.

    Returns:
        0-d.

    Raises:
        InputError: gamma not above 0.

    Source: Zhao et al., NeurIPS 2018, section 4 (hard-max and soft-max version).
    """
    if _is_hard(gamma):
        return values.amax()
    return torch.logsumexp(gamma * values, 0) / gamma


def worst_case_weights(values: Tensor, gamma: float = math.inf) -> Tensor:
    r"""Gradient of `worst_case`: :math:`\mathrm{softmax}(\gamma v)`, (J,), sum 1; at ∞ ties share evenly."""
    if _is_hard(gamma):
        return largest(values)
    return torch.softmax(gamma * values, 0)


def _is_hard(gamma: float) -> bool:
    if not gamma > 0:
        raise InputError(f"gamma={gamma} must be above 0; math.inf is the maximum itself")
    return math.isinf(gamma)
