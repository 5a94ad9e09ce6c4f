"""MSTL: one adversarial, attentive sub-network per source on a synchronised target batch, fused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.base import mean
from mstl.methods.hyperparameters import one_of
from mstl.nn import (
    TARGET,
    Fusion,
    Representation,
    SubNetwork,
    SubNetworkOutput,
    first,
)
from mstl.nn.outputs import union
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Every ingredient of the paper is a switch; the defaults are the literal reading of its abstract.

    Attributes:
        adversarial: train F_j against a domain discriminator D_j.
        attention: ``both``, ``channel``, ``spatial`` or ``none``.
        synchronised: one target batch for all sub-networks. Without it features cannot be fused and the
            mean of the heads predicts.
        fusion: ``concat``, ``gated``, ``cross`` (attention between sources), ``mean`` (mean of the heads, no
            fused predictor) or ``union`` (of the heads' masks, no fused predictor): for sources that label
            parts.
        discriminator_reads: ``features``, before attention as in the paper, or ``attended`` ones.
        stem: levels of the encoder, from the finest, that the sub-networks share.
        shared: one encoder for all, each sub-network with a scale and shift of its own at every level.
        heads_see_target: heads P_j also learn from the labelled target images; of a union they always do,
            together, and never one by one.
        prediction: ``fused``, ``heads`` (their mean) or ``all`` (the mean of both kinds), where there is a
            fused predictor.
    """

    adversarial: bool = True
    attention: str = "both"
    synchronised: bool = True
    fusion: str = "concat"
    discriminator_reads: str = "features"
    stem: int = 0
    shared: bool = False
    heads_see_target: bool = False
    prediction: str = "fused"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("attention", self.attention, self.attentions())
        one_of("fusion", self.fusion, self.fusions())
        one_of("discriminator_reads", self.discriminator_reads, ("features", "attended"))
        one_of("prediction", self.prediction, ("all", "fused", "heads"))

    @staticmethod
    def attentions() -> tuple[str, ...]:
        """Names ``attention`` may take."""
        return ("both", "channel", "spatial", "none")

    @staticmethod
    def fusions() -> tuple[str, ...]:
        """Names ``fusion`` may take."""
        return ("concat", "gated", "cross", "mean", "union")

    def plays(self, labelled: bool) -> bool:
        """Whether extractors are trained against discriminators."""
        return self.adversarial


class MSTL(base.Method):
    r"""Multi-source adversarial transfer learning on sources with local similarity, read literally.

    For source j with extractor :math:`F_j`, attention :math:`a_j`, head :math:`P_j` and discriminator
    :math:`D_j`:

    .. math::

        f_j = F_j(x), \qquad \tilde f_j = f_j \odot a_j(f_j), \qquad
        \hat y^t = P_T(\mathrm{Fuse}(\tilde f_1(x^t), \dots, \tilde f_J(x^t)))

    .. math::

        \min_{F, A, P} \max_D \; \mathcal L_{tgt}
        + \tfrac1J \textstyle\sum_j \mathcal L(P_j(\tilde f_j(x^{s_j})), y^{s_j})
        - \lambda(p)\, \tfrac1J \textstyle\sum_j \mathcal L_{adv}^j

    with :math:`\mathcal L` = BCE + (1 - Dice) of masks or the cross-entropy of classes, and
    :math:`\mathcal L_{adv}^j` the cross-entropy of :math:`D_j`, which reads :math:`f_j` *before* attention,
    behind a gradient reversal. All sub-networks receive the same target tensor. Of classes, attention and
    :math:`D_j` act on the coarsest map; what attention leaves is pooled, and fused then: a fused predictor
    that has to learn the pooling, too, from ten labelled images learns little. The fused prediction is the
    method's; without labelled target images there is nothing to train it with, and the mean of the heads
    predicts.

    Where source j labels only part j of the object, ``fusion=union`` completes it by the union of the heads'
    masks (`mstl.nn.outputs.union`),

    .. math:: \hat y^t = 1 - \prod_j \big(1 - \sigma(P_j(\tilde f_j(x^t)))\big),

    which predicts with target labels or without. With them it is what the target's masks teach: no head is
    told that the whole is its part.

    Source: Zhang et al. 2023, arXiv 2305.19067 (the abstract; everything it leaves open is our
    reconstruction, see the book's page on the paper). `MSTLPlus` is our best reading within its ideas.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        hyper, sources = self.hyper, self.sources
        self.synchronised = hyper.synchronised
        # Of classes attention and discriminators see places; what they leave is pooled, then fused.
        self.subnetworks = self.new_networks(
            sources, attention=hyper.attention, stem=hyper.stem, shared=hyper.shared, pooled=False
        )
        channels = self.subnetworks[0].attended_channels
        # A fused predictor learns from target labels alone: without any it would only add noise.
        fusion = self.fusion
        self.unites = fusion == "union"
        if self.unites and self.problem.classes:
            raise InputError("fusion=union joins masks; of classes choose concat, gated, cross or mean")
        self.fuses = fusion not in ("mean", "union") and hyper.synchronised and self.labelled
        if self.fuses:
            norm = "batch" if hyper.norm == "domain" else hyper.norm  # it sees target images alone
            self.fusions = nn.ModuleList(Fusion(fusion, sources, c, norm) for c in channels)
            self.predictor = self.new_predictor(channels, norm)
        self.adversary = None
        # Transferable attention needs discriminators even where nobody plays against them.
        if hyper.plays(self.labelled) or hyper.attention == "transferable":
            attended = hyper.discriminator_reads == "attended"
            if attended and hyper.attention == "transferable" and self.problem.classes:
                raise InputError(
                    "discriminator_reads=attended goes without attention=transferable on classes: the "
                    "discriminators would weigh places that are pooled before they read them"
                )
            self.adversary = hyper.adversary(
                sources, (channels if attended else self.subnetworks.channels)[-1]
            )
            self.aligns = ("adversarial",)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        read = len(batch.target.y) if self.hyper.heads_see_target or self.unites else 0
        return self.objective(batch, *self.outputs(batch, read), progress)

    @property
    def fusion(self) -> str:
        """How what the sub-networks make of the target becomes one prediction."""
        return self.hyper.fusion

    def outputs(
        self, batch: Batch, read: int
    ) -> tuple[Sequence[SubNetworkOutput], Sequence[SubNetworkOutput]]:
        """All sub-networks on their sources and on the target, with logits of its first ``read`` images."""
        seen = self.subnetworks.seen_together(batch.source_x, [target.x for target in batch.targets])
        pairs = (
            network.pair(x, target, read, judge)
            for (network, judge), x, target in zip(self._members(), *seen, strict=True)
        )
        return tuple(zip(*pairs, strict=True))

    def objective(
        self,
        batch: Batch,
        sources: Sequence[SubNetworkOutput],
        targets: Sequence[SubNetworkOutput],
        progress: float,
    ) -> dict[str, Tensor]:
        """The three terms of the objective from the outputs of all sub-networks."""
        loss, labelled = self.problem.loss, len(batch.target.y)
        losses = {
            "source": self.over_sources(
                torch.stack([loss(s.logits, y) for s, y in zip(sources, batch.source_y, strict=True)])
            )
        }
        if labelled and self.unites:
            if self.synchronised:  # masks of other images have no union
                united = union(t.logits[:labelled] for t in targets)
                losses["target_union"] = loss(united, batch.target.y)
        elif labelled and self.hyper.heads_see_target:
            losses["target_heads"] = mean(
                loss(t.logits[:labelled], own.y) for t, own in zip(targets, batch.targets, strict=True)
            )
        if labelled and self.fuses:
            losses["target_fused"] = loss(self.fused(targets, labelled), batch.target.y)
        if self.adversary is not None:
            features = [(self._judged(s), self._judged(t)) for s, t in zip(sources, targets, strict=True)]
            losses["adversarial"] = self.adversary.losses(features, self.strength(progress)).mean()
        return losses

    def fused(self, outputs: Sequence[SubNetworkOutput], count: int | None = None) -> Tensor:
        """Logits of the target predictor on the fused features of the first ``count`` images, or of all."""
        levels = zip(*(first(output.attended, count) for output in outputs), strict=True)
        return self.predictor(tuple(fuse(maps) for fuse, maps in zip(self.fusions, levels, strict=True)))

    def predict(self, images: Tensor) -> Tensor:
        alone = self.fuses and self.hyper.prediction == "fused"
        seen = self.subnetworks.seen(images, TARGET)
        outputs = [network(seen, TARGET, 0 if alone else None, judge) for network, judge in self._members()]
        if alone:
            return self.fused(outputs)
        heads = self.over_heads(torch.stack([output.logits for output in outputs]))
        if not self.fuses or self.hyper.prediction == "heads":
            return heads
        return (self.fused(outputs) + self.sources * heads) / (self.sources + 1)

    def strength(self, progress: float) -> float | Tensor:
        """Strength of the reversal, one number or one a source."""
        return self.hyper.reversal(progress)

    def over_sources(self, losses: Tensor) -> Tensor:
        """From the J losses of the heads on their sources to one."""
        return losses.mean()

    def over_heads(self, logits: Tensor) -> Tensor:
        """From the logits of J heads, (J, n, c, h, w), to one prediction (n, c, h, w)."""
        return union(logits) if self.unites else logits.mean(0)

    def head_logits(self, images: Tensor) -> Tensor:
        seen = self.subnetworks.seen(images, TARGET)
        return torch.stack([network(seen, TARGET, None, judge).logits for network, judge in self._members()])

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self._represent(source, images, domain).features

    def attended_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor | None:
        return (
            None if self.hyper.attention == "none" else self._represent(source, images, domain).attended[-1]
        )

    def attention_maps(self, images: Tensor) -> Tensor | None:
        if self.hyper.attention == "none":
            return None
        return torch.stack([self._represent(j, images, TARGET).maps[-1] for j in range(self.sources)])

    def _members(self) -> Iterator[tuple[SubNetwork, nn.Module | None]]:
        """Every sub-network with its discriminator."""
        judges = [None] * self.sources if self.adversary is None else self.adversary.discriminators
        return zip(self.subnetworks, judges, strict=True)

    def _represent(self, j: int, images: Tensor, domain: int) -> Representation:
        network, judge = list(self._members())[j]
        return network.represent(images, domain, judge)

    def _judged(self, output: SubNetworkOutput) -> Tensor:
        """The map that a discriminator reads."""
        return output.attended[-1] if self.hyper.discriminator_reads == "attended" else output.features
