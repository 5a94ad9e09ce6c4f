"""Knowledge distillation from a source classifier of other classes: logit matching, and soft targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.data.batches import Batch
from mstl.methods import inherited
from mstl.methods.hyperparameters import one_of
from mstl.nn import TARGET
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(inherited.Hyperparameters):
    """Of the teacher.

    Attributes:
        weight: λ.
        match: ``logits``, or ``soft``, probabilities at a temperature.
        temperature: τ, of these.
    """

    weight: float = 1.0
    match: str = "soft"
    temperature: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("match", self.match, ("logits", "soft"))
        if self.weight < 0:
            raise InputError(f"weight={self.weight} must be ≥ 0")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be > 0")


class Distillation(inherited.Heir):
    r"""A second head says of the target's images what the source classifier C says of them.

    .. math::

        \min_{g, h, h_s} \; \mathbb E_{T_l}\,\mathrm{CE}(h(g(x)), y) + \lambda\, \mathbb E_{T_l}\,
        d\big(C(x), h_s(g(x))\big)

    d is half the squared distance of the logits, or :math:`\tau^2\, \mathrm{KL}` of probabilities at
    temperature τ. The baselines of `mstl.methods.pp_pssl`: they need no class in common and no source image.

    Source: Ba and Caruana, "Do deep nets really need to be deep?", NeurIPS 2014, equation 1 (logits); Hinton,
    Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, section 2 (soft).
    """

    Hyperparameters = Hyperparameters

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        nothing = 0 * next(self.network.parameters()).sum()
        losses = {"target": nothing, "distillation": nothing}
        if self.inherited.own:
            losses["inheritance"] = nothing
            if progress < self.hyper.own:
                return losses | {"inheritance": self.inherited.losses(batch, progress)}
        y = batch.target.y
        x = batch.target.x[: len(y)]
        maps = self.network.encoder(x, TARGET)
        with torch.no_grad():
            teacher = self.inherited.model.predict(x).flatten(1).float()
        student = self.source_head(maps, TARGET).flatten(1).float()
        losses["target"] = self.problem.loss(self.network.predictor(maps, TARGET), y)
        losses["distillation"] = self.hyper.weight * self.distance(teacher, student)
        return losses

    def distance(self, teacher: Tensor, student: Tensor) -> Tensor:
        """d of the logits of teacher and student, (n, K), a mean over images, 0-d."""
        if self.hyper.match == "logits":
            return (teacher - student).square().sum(1).mean() / 2
        t = self.hyper.temperature
        log_q, log_p = (teacher / t).log_softmax(1), (student / t).log_softmax(1)
        return t * t * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
