"""PADA: one discriminator, and classes that the target seems to lack count less, in both losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import Adversary
from mstl.methods.hyperparameters import one_of
from mstl.methods.san import class_weights
from mstl.nn import SOURCE, TARGET, domain_loss, reverse_gradient
from mstl.system.errors import InputError

FORMS = ("official", "tllib")


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Of the weights.

    Attributes:
        temperature: T, that divides target logits: 1 for Office-31 in the official code, 0.1 in TLlib.
        form: ``official`` weighs source images by their share of the batch's largest weight and target images
            by 1; ``tllib`` weighs source images as they are and target images by their mean.
        memory: share of the class weights that is kept from step to step. The official code takes them from
            all target images every 500 steps.
    """

    temperature: float = 1.0
    form: str = "official"
    memory: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("form", self.form, FORMS)
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be > 0")
        if not 0 <= self.memory < 1:
            raise InputError(f"memory={self.memory} must be at least 0 and below 1")


class PADA(base.Method):
    r"""Partial adversarial domain adaptation.

    .. math::

        \min_{F,P} \max_D \; \frac{\sum_S \gamma_y \mathcal L(P(F(x)), y)}{\sum_S \gamma_y}
        - \lambda(p)\, \mathcal L_D(\gamma), \qquad
        \gamma_k \propto \frac1{n_t} \sum_{x \in T} \mathrm{softmax}(P(F(x)) / T)_k

    with the domain loss of `adversarial_weights`. With :math:`\gamma = 1` it is DANN.

    Source: Cao, Ma, Long, Wang, "Partial adversarial domain adaptation", ECCV 2018, equation 4; the two forms
    of the weights are those of its released code and of the Transfer-Learning-Library.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def build(self) -> None:
        self.network = self.new_networks(1)[0]
        self.adversary = Adversary(1, self.network.channels[-1], self.hyper.discriminator, updates=0)
        classes = len(self.problem.classes)
        self.register_buffer("shares", torch.full((classes,), 1 / classes))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        encode, decode, (x, y) = self.network.encoder, self.network.predictor, batch.pooled
        source, target = encode(x, SOURCE), encode(batch.target.x, TARGET)
        z_target = decode(target, TARGET)
        self._remember(z_target.detach())
        of_image = class_weights(self.shares, "max")[y]
        weights = adversarial_weights(of_image, self.hyper.form)
        (discriminator,) = self.adversary.discriminators
        strength = self.hyper.reversal(progress)
        judged = [discriminator(reverse_gradient(m[-1], strength)).flatten() for m in (source, target)]
        return {
            "source": self.problem.loss(decode(source, SOURCE), y, of_image / of_image.mean()),
            **self.on_labels(decode, target, batch.target.y),
            "adversarial": domain_loss(*judged, *weights),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]

    @torch.no_grad()
    def _remember(self, logits: Tensor) -> None:
        if self.training:
            found = class_shares(logits.flatten(1), self.hyper.temperature)
            self.shares.lerp_(found.to(self.shares), 1 - self.hyper.memory)


def class_shares(logits: Tensor, temperature: float = 1.0) -> Tensor:
    r""":math:`\gamma_k = \frac1n \sum_i \mathrm{softmax}(z_i / T)_k`, (K,), of logits (n, K)."""
    return torch.softmax(logits / temperature, 1).mean(0)


def adversarial_weights(of_image: Tensor, form: str = "official") -> tuple[Tensor, Tensor | float]:
    r"""What source and target images count in the domain loss.

    .. math::

        w_i = \frac{\gamma_{y_i}}{\max_l \gamma_{y_l}}, \; w_t = 1 \quad (\text{official}), \qquad
        w_i = \gamma_{y_i}, \; w_t = \frac1{n_s} \sum_l \gamma_{y_l} \quad (\text{tllib})

    Args:
        of_image: :math:`\gamma_{y_i}`, the weight of every source image's class, 1 at most, (n,).
        form: one of `FORMS`.

    Returns:
        Weights of the source images, (n,), and of each target image, one number.
    """
    one_of("form", form, FORMS)
    if form == "official":
        return of_image / of_image.max(), 1.0
    return of_image, of_image.mean()
