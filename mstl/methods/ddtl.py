"""DDTL: a distant source reaches the target over unlabelled images that are chosen on the way."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.methods.hyperparameters import one_of
from mstl.nn import SOURCE, TARGET
from mstl.nn.reconstruction import Reconstruction
from mstl.nn.selection import bridge_scores, selected, source_scores, squared_errors
from mstl.system.errors import InputError
from mstl.system.notes import note

CHOICES = ("scores", "random", "all", "none")


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of the selection.

    Attributes:
        source_threshold: λ_S; 0 leaves the source out.
        bridge_threshold: λ_I. Both are compared with a loss in nats plus the mean squared error of a pixel,
            of network input in [−2, 2].
        rounds: how often instances are chosen anew; in the first round all of the source take part, and no
            bridge.
        bridges: which take part: ``scores``, those below the threshold; ``random``, as many, drawn (control);
            ``all`` (self-taught learning, with ``source_threshold=0``); or ``none``.
    """

    source_threshold: float = 1.0
    bridge_threshold: float = 0.8
    rounds: int = 5
    bridges: str = "scores"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("bridges", self.bridges, CHOICES)
        for name in ("source_threshold", "bridge_threshold"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}={getattr(self, name)} must be ≥ 0")
        if self.rounds < 1:
            raise InputError(f"rounds={self.rounds} must be ≥ 1")


class DDTL(Method):
    r"""Distant domain transfer learning by a selective learning algorithm (SLA).

    A supervised autoencoder, :math:`h = f_e(x)`, :math:`\hat x = f_d(h)`, :math:`f_c(h)`, learns from the
    labelled target images and from those instances of the source S and of the unlabelled intermediate
    domains I (the bridges) that cost it little:

    .. math::

        \min_{f_e, f_d, f_c,\, v} \; \frac1{n_T} \sum_i s_i^T + \frac1{n_S} \sum_i v_i^S (s_i^S - \lambda_S)
        + \frac1{n_I} \sum_i v_i^I (s_i^I - \lambda_I)

    .. math::

        s^T, s^S = \ell(y, f_c(h)) + \|\hat x - x\|^2, \qquad s^I = g(f_c(h)) + \|\hat x - x\|^2, \qquad
        v_i = \mathbb 1[s_i < \lambda]

    Block by block: within a round v stands still and the network descends; between rounds v is the closed
    form. It is asked of a copy of the network as the round began, when an instance comes up in a batch, which
    gives the same v as asking for the whole pool at once. Where images are varied it is the varied image that
    is asked: one near λ may take part at one step and not at the next.

    Errors are means over pixels, so that thresholds do not depend on the size of images. Bridges are the
    task's (`mstl.data.task.Task.bridges`); without them source and target are left.

    Source: Tan, Zhang, Pan and Yang, "Distant domain transfer learning", AAAI 2017, equations 1 to 4 and
    algorithm 1; g is the entropy of two classes there, of any number here.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        network = self.new_networks(1)[0]
        with torch.no_grad():
            coarsest = network.encoder(torch.zeros(1, *self.problem.shape), TARGET)[0]
        decoder = Reconstruction(tuple(coarsest.shape[1:]), self.problem.shape)
        self.model = nn.ModuleDict({"network": network, "decoder": decoder})
        self.begun = deepcopy(self.model)
        for parameter in self.begun.parameters():
            parameter.requires_grad_(False)
        self.register_buffer("round", torch.zeros((), dtype=torch.int64))
        self._round: int | None = None  # what the buffer says, without waiting for a GPU at every step

    @property
    def network(self) -> nn.Module:
        """Encoder and classifier."""
        return self.model["network"]

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        now = self._enter(min(int(progress * self.hyper.rounds), self.hyper.rounds - 1))
        y = batch.target.y
        target = self._scores(self.model, batch.target.x[: len(y)], TARGET, y)
        losses = {"target": target.mean(), "source": 0 * target.mean(), "bridges": 0 * target.mean()}
        # What nobody can be chosen from is not computed: it would take half of a step.
        if self.hyper.source_threshold > 0:
            source, v_source = self._source(batch, now)
            losses["source"] = (v_source * source).mean()
        first = 0 if self.hyper.bridges == "all" else 1
        if batch.bridges is not None and self.hyper.bridges != "none" and now >= first:
            bridges, v_bridges = self._bridges(batch.bridges, now)
            losses["bridges"] = (v_bridges * bridges).mean()
        return losses

    def _enter(self, now: int) -> int:
        """The round; at its first step the copy that chooses becomes the network of this moment."""
        if self._round is None or not self.training:
            self._round = int(self.round)
        if now > self._round and self.training:
            self.begun.load_state_dict(self.model.state_dict())
            self.round.fill_(now)
            self._round = now
        return self._round

    def _source(self, batch: Batch, now: int) -> tuple[Tensor, Tensor]:
        """Scores of the batch's source instances, and v."""
        x, y = batch.pooled
        scores = self._scores(self.model, x, SOURCE, y)
        if not now:
            return scores, torch.full_like(scores, float(self.hyper.source_threshold > 0))
        with torch.no_grad():
            before = self._scores(self.begun.eval(), x, SOURCE, y)
        return scores, selected(before, self.hyper.source_threshold)

    def _bridges(self, x: Tensor, now: int) -> tuple[Tensor, Tensor]:
        """Scores of the batch's bridges, and v."""
        scores, kind = self._scores(self.model, x, TARGET), self.hyper.bridges
        if kind == "all":
            return scores, torch.ones_like(scores)
        if kind == "none" or not now:
            return scores, torch.zeros_like(scores)
        with torch.no_grad():
            chosen = selected(self._scores(self.begun.eval(), x, TARGET), self.hyper.bridge_threshold)
        if kind == "random":
            chosen = chosen[torch.randperm(len(chosen)).to(chosen.device)]
        return scores, chosen

    def _scores(self, model: nn.ModuleDict, x: Tensor, domain: int, y: Tensor | None = None) -> Tensor:
        """s of every image, (n,); of unlabelled ones where y is None."""
        maps = model["network"].encoder(x, domain)
        errors = squared_errors(x, model["decoder"](maps[0])) / x[0].numel()
        logits = model["network"].predictor(maps, domain)
        return bridge_scores(logits, errors) if y is None else source_scores(logits, y, errors)

    @torch.no_grad()
    def chosen(self, images: Tensor) -> Tensor:
        """Which images would take part as bridges now, (n,) of 0 and 1, and their order: v and s."""
        scores = self._scores(self.model, images, TARGET)
        return torch.stack((selected(scores, self.hyper.bridge_threshold), scores))

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    @torch.no_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Shares of the source and of the bridges that take part."""
        now = int(self.round)
        seen = {"selected_source": self._source(batch, now)[1].mean()}
        if batch.bridges is not None:
            seen["selected_bridges"] = self._bridges(batch.bridges, now)[1].mean()
        return seen

    def adapt(self, observed: dict[str, float]) -> None:
        if int(self.round) and observed.get("selected_bridges", 1.0) == 0 and self.hyper.bridges == "scores":
            note(
                f"round {int(self.round)}: bridge_threshold={self.hyper.bridge_threshold:g} selects no "
                "bridge of the last batch; a larger one lets them in"
            )

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]
