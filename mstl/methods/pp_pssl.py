"""PP + P-SSL: transfer from a source of which a classifier and a generator are left, and no image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.data.augment import Augment, to_pixels, transform
from mstl.data.batches import Batch
from mstl.methods import inherited
from mstl.methods.hyperparameters import one_of
from mstl.nn import TARGET
from mstl.nn.agreement import confident, fixmatch_consistency, uda_consistency
from mstl.system.errors import InputError
from mstl.system.notes import note

CONDITIONS = ("soft", "hard", "random")
STRONG = Augment(0, 0.25, 0.12, 15, brightness=0.4, contrast=0.4, saturation=0.4, tint=0.2)


@dataclass(frozen=True)
class Hyperparameters(inherited.Hyperparameters):
    """Of what is inherited, and of the two stages.

    Attributes:
        first: share of the rest after ``own`` that is the first stage, pseudo pre-training; 0 leaves it out.
        weight: λ, of the consistency of the second; 0 leaves it out.
        condition: what the generator is asked for: ``soft``, the source classifier's probabilities; ``hard``,
            its most probable class; ``random``, any class (controls).
        consistency: ``uda`` or ``fixmatch``.
        threshold: β, of the confidence.
        temperature: τ, of UDA's targets.
        pseudo: drawn images for each labelled one.
    """

    first: float = 0.4
    weight: float = 1.0
    condition: str = "soft"
    consistency: str = "uda"
    threshold: float = 0.8
    temperature: float = 0.4
    pseudo: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("condition", self.condition, CONDITIONS)
        one_of("consistency", self.consistency, ("uda", "fixmatch"))
        for name in ("first", "threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 0 and below 1")
        if self.weight < 0:
            raise InputError(f"weight={self.weight} must be ≥ 0")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be > 0")
        if self.pseudo < 1:
            raise InputError(f"pseudo={self.pseudo} must be ≥ 1")


class PPPSSL(inherited.Heir):
    r"""Pseudo pre-training and pseudo semi-supervised learning.

    What is left of the source is a classifier C and a conditional generator G. First the target's network g,
    with a head of the source's classes, learns from what G draws:

    .. math::

        \min_{g, h_s} \; \mathbb E_{y \sim U,\, z \sim N(0, I)}\; \mathrm{CE}\big(h_s(g(G(z, y))),\, y\big)

    Then that head is dropped. The target's classifier :math:`f = h \circ g` learns from the labelled images,
    and should say the same of a drawn image and of its strong variation A. What is drawn follows the target:
    G is asked for what C takes the target's images for, a mixture of source classes.

    .. math::

        \min_{g, h} \; \mathbb E_{T_l}\,\mathrm{CE}(f(x), y) + \lambda\, \mathbb E_{x \in T_l,\, z}\;
        \ell\big(f(\tilde x), f(A(\tilde x))\big), \qquad \tilde x = G\Big(z, \sum_k C(x)_k E_k\Big)

    ℓ is UDA's consistency or FixMatch's (`mstl.nn.agreement`). Label spaces need not have a class in common,
    architectures nothing at all. Unlabelled target images are not used.

    Source: Yamaguchi, Kanai, Kumagai, Chijiwa and Kashima, "Transfer learning with pre-trained conditional
    generative models", 2022, sections 3 and 4. λ, β, τ, the number of drawn images and their variation, for
    which the authors take RandAugment, are ours.
    """

    Hyperparameters = Hyperparameters

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        begun, pretrained = self._stages()
        nothing = 0 * next(self.network.parameters()).sum()
        losses = dict.fromkeys(("pretraining", "target", "pseudo"), nothing)
        if self.inherited.own:
            losses["inheritance"] = nothing
        if progress < begun:
            return losses | {"inheritance": self.inherited.losses(batch, progress)}
        if progress < pretrained:
            return losses | {"pretraining": self._pretraining(batch)}
        y = batch.target.y
        x = batch.target.x[: len(y)]
        losses["target"] = self.problem.loss(self.predict(x), y)
        if self.hyper.weight:
            losses["pseudo"] = self.hyper.weight * self._consistency(*self._drawn(x))
        return losses

    def _stages(self) -> tuple[float, float]:
        """Shares of the training at which pseudo pre-training begins and ends."""
        begun = self.hyper.own if self.inherited.own else 0.0
        return begun, begun + (1 - begun) * self.hyper.first

    def _pretraining(self, batch: Batch) -> Tensor:
        """Cross-entropy on as many drawn images as the batch has of the target."""
        x = batch.target.x
        y = torch.randint(self.inherited.classes, (len(x),)).to(x.device, non_blocking=True)
        drawn = self.inherited.model.draw(y)
        logits = self.source_head(self.network.encoder(drawn, TARGET), TARGET)
        return F.cross_entropy(logits.flatten(1).float(), y)

    def conditions(self, images: Tensor) -> Tensor:
        """What the generator is asked for, given target images: (n, K) of the source's classes, sum 1."""
        with torch.no_grad():
            p = self.inherited.model.predict(images).flatten(1).float().softmax(1)
        if self.hyper.condition == "soft":
            return p
        chosen = p.argmax(1) if self.hyper.condition == "hard" else torch.randint(p.shape[1], (len(p),))
        return F.one_hot(chosen.to(p.device), p.shape[1]).float()

    def _drawn(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images that follow target images, and their strong variations."""
        drawn = self.inherited.model.draw(self.conditions(images).repeat(self.hyper.pseudo, 1))
        pixels = to_pixels(drawn)
        return drawn, transform(pixels, STRONG.draw(len(pixels), torch.default_generator)).images

    def _consistency(self, weak: Tensor, strong: Tensor) -> Tensor:
        with torch.no_grad():
            towards = self.predict(weak).flatten(1)
        logits = self.predict(strong).flatten(1)
        if self.hyper.consistency == "fixmatch":
            return fixmatch_consistency(towards, logits, self.hyper.threshold)
        return uda_consistency(towards, logits, self.hyper.threshold, self.hyper.temperature)

    @torch.no_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """``confident``, the share of drawn images that take part in the consistency, once there is one."""
        if progress <= self._stages()[1]:
            return {}
        drawn, _ = self._drawn(batch.target.x[: len(batch.target.y)])
        return {"confident": confident(self.predict(drawn).flatten(1), self.hyper.threshold).mean()}

    def adapt(self, observed: dict[str, float]) -> None:
        if self.hyper.weight and not observed.get("confident", 1.0):
            note(
                f"nobody is confident: no drawn image is taken for a class with more than threshold="
                f"{self.hyper.threshold:g}, and the consistency is 0; a smaller threshold lets it begin"
            )
