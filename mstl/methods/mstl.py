"""MSTL: one adversarial, attentive sub-network per source on a synchronised target batch, fused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch, TargetBatch
from mstl.methods import base
from mstl.methods.adversary import Adversary, gradient_ratio
from mstl.nn import Fusion, Predictor, Representation, SubNetworkOutput, ramp, segmentation_loss
from mstl.system.errors import InputError

Pair = tuple[SubNetworkOutput, SubNetworkOutput]


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Every ingredient of the paper is a switch; the defaults are the literal reading of its abstract.

    Attributes:
        adversarial: train F_j against a domain discriminator D_j.
        attention: ``both``, ``channel``, ``spatial`` or ``none``.
        synchronised: one target batch for all sub-networks. Without it features cannot be fused and the
            mean of the heads predicts.
        fusion: ``concat``, ``gated``, ``cross`` (attention between sources) or ``mean`` (mean of the
            heads, no fused predictor).
        discriminator: ``location`` judges every place of the feature map, ``image`` its mean.
        discriminator_reads: ``features``, before attention as in the paper, or ``attended`` ones.
        strength: largest factor of the reversed gradient.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1 of that factor.
        updates: extra updates of a location discriminator after each step, on features of recent steps.
        bank: feature vectors kept for them, per domain and sub-network.
        stem: levels of the encoder, from the finest, that the sub-networks share.
        heads_see_target: heads P_j also learn from the labelled target images.
        prediction: ``fused``, ``heads`` (their mean) or ``all`` (the mean of both kinds).
    """

    adversarial: bool = True
    attention: str = "both"
    synchronised: bool = True
    fusion: str = "concat"
    discriminator: str = "location"
    discriminator_reads: str = "features"
    strength: float = 0.02
    gain: float = 10.0
    updates: int = 2
    bank: int = 2048
    stem: int = 0
    heads_see_target: bool = False
    prediction: str = "fused"

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "attention": self.attentions(),
            "fusion": ("concat", "gated", "cross", "mean"),
            "discriminator": ("location", "image"),
            "discriminator_reads": ("features", "attended"),
            "prediction": ("all", "fused", "heads"),
        }
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise InputError(f"{key}={getattr(self, key)!r} is unknown; choose from {', '.join(allowed)}")
        if self.strength < 0:
            raise InputError(f"strength={self.strength} must be ≥ 0: the reversal already turns the sign")

    @staticmethod
    def attentions() -> tuple[str, ...]:
        """Names ``attention`` may take."""
        return ("both", "channel", "spatial", "none")


class MSTL(base.Method):
    r"""Multi-source adversarial transfer learning on sources with local similarity, read literally.

    For source j with extractor :math:`F_j`, attention :math:`a_j`, head :math:`P_j` and discriminator
    :math:`D_j`:

    .. math::

        f_j = F_j(x), \qquad \tilde f_j = f_j \odot a_j(f_j), \qquad
        \hat y^t = P_T(\mathrm{Fuse}(\tilde f_1(x^t), \dots, \tilde f_J(x^t)))

    .. math::

        \min_{F, A, P} \max_D \; \mathcal L_{tgt}
        + \tfrac1J \textstyle\sum_j \mathcal L_{seg}(P_j(\tilde f_j(x^{s_j})), y^{s_j})
        - \lambda(p)\, \tfrac1J \textstyle\sum_j \mathcal L_{adv}^j

    with :math:`\mathcal L_{seg}` = BCE + (1 - Dice) and :math:`\mathcal L_{adv}^j` the cross-entropy of
    :math:`D_j`, which reads :math:`f_j` *before* attention, behind a gradient reversal. All sub-networks
    receive the same target tensor. The fused prediction is the method's; without labelled target images
    there is nothing to train it with, and the mean of the heads predicts.

    Source: Zhang et al. 2023, arXiv 2305.19067 (the abstract; everything it leaves open is our
    reconstruction, see the book's page on the paper). `MSTLPlus` is our best reading within its ideas.
    """

    name = "mstl"
    Hyperparameters = Hyperparameters

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.synchronised = hyper.synchronised
        self.subnetworks = hyper.networks(sources, attention=self._layers(), stem=hyper.stem)
        channels = self.subnetworks.channels
        # A fused predictor learns from target masks alone: without any it would only add noise.
        self.fuses = hyper.fusion != "mean" and hyper.synchronised and labelled
        if self.fuses:
            norm = "batch" if hyper.norm == "domain" else hyper.norm  # it sees target images alone
            self.fusions = nn.ModuleList(Fusion(hyper.fusion, sources, c, norm) for c in channels)
            self.predictor = Predictor(channels, norm)
        self.adversary = self._make_adversary(channels[-1])
        if self.adversary is not None:
            self.discriminator_updates = self.adversary.updates

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        self._check_sources(batch)
        pairs = [self._pair(j, batch) for j in range(self.sources)]
        losses = self._task_losses(batch, pairs)
        if self.adversary is not None:
            losses["adversarial"] = self._adversarial_loss(pairs, progress)
            self.adversary.remember(self._judged(pairs))
        return losses

    def predict(self, images: Tensor) -> Tensor:
        attended = [self._represent(j, images).attended for j in range(self.sources)]
        if self.fuses and self.hyper.prediction == "fused":
            return self._fused_logits(attended)
        heads = torch.stack([self._decoded(j, maps) for j, maps in enumerate(attended)])
        if not self.fuses or self.hyper.prediction == "heads":
            return self._mean_of_heads(heads)
        fused = self._fused_logits(attended)
        return (fused + self.sources * self._mean_of_heads(heads)) / (self.sources + 1)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return [] if self.adversary is None else list(self.adversary.discriminators.parameters())

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.adversary.extra_losses()

    @torch.enable_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Discriminator accuracy, and the gradient ratio over the weights of the extractors."""
        if self.adversary is None:
            return {}
        pairs = [self._pair(j, batch, together=False) for j in range(self.sources)]
        task = torch.stack(tuple(self._task_losses(batch, pairs).values())).sum()
        weights = {id(p): p for network in self.subnetworks for p in network.encoder.parameters()}
        ratio = gradient_ratio(self._adversarial_loss(pairs, progress), task, weights.values())
        return {
            "discriminator_accuracy": self.adversary.accuracy(self._judged(pairs)),
            "gradient_ratio": ratio,
        }

    def source_features(self, images: Tensor, source: int) -> Tensor:
        return self._represent(source, images).features

    def attended_features(self, images: Tensor, source: int) -> Tensor | None:
        return None if self.hyper.attention == "none" else self._represent(source, images).attended[-1]

    def attention_maps(self, images: Tensor) -> Tensor | None:
        """Mean attention weight at each place of the coarsest features, (J, n, 1, h', w')."""
        if self.hyper.attention == "none":
            return None
        return torch.stack([self._represent(j, images).maps[-1] for j in range(self.sources)])

    def _layers(self) -> str:
        """Attention layers the sub-networks hold."""
        return self.hyper.attention

    def _make_adversary(self, channels: int) -> Adversary | None:
        if not self.hyper.adversarial:
            return None
        hyper = self.hyper
        return Adversary(self.sources, channels, hyper.discriminator, hyper.updates, hyper.bank)

    def _represent(self, j: int, images: Tensor, domain: int = 1) -> Representation:
        """Extractor and attention j on images of the source (domain 0) or the target (1)."""
        return self.subnetworks[j].represent(images, domain)

    def _decoded(self, j: int, attended: tuple[Tensor, ...]) -> Tensor:
        """Logits of head j; in the domain that `_represent` ran in last."""
        return self.subnetworks[j].predictor(attended)

    def _mean_of_heads(self, heads: Tensor) -> Tensor:
        """(J, n, 1, h, w) → (n, 1, h, w)."""
        return heads.mean(0)

    def _strength(self, progress: float) -> float | Tensor:
        """Strength of the reversal, one number or one a source."""
        return self.hyper.strength * ramp(progress, self.hyper.gain)

    def _source_loss(self, losses: Tensor) -> Tensor:
        """From the J losses of the heads on their sources to one."""
        return losses.mean()

    def _check_sources(self, batch: Batch) -> None:
        if self.sources != batch.J:
            raise InputError(f"the method was built for {self.sources} sources but the batch has {batch.J}")

    def _read(self, target: TargetBatch) -> int:
        """Of how many target images, from the first, a loss reads the heads' logits."""
        return len(target.masks) if self.hyper.heads_see_target else 0

    def _pair(self, j: int, batch: Batch, together: bool = True) -> Pair:
        """Sub-network j on its source and on the target: one pass through what both need where sizes agree.

        Of the target the logits are those of the first `_read` images: a decoder costs twice what its
        encoder does, and gradients and losses are the same without what nobody reads.
        """
        source, target = batch.source_images[j], batch.targets[j].images
        count, read = len(source), self._read(batch.targets[j])
        by_batch = self.hyper.norm in ("batch", "domain")
        if by_batch:  # statistics of the decoder's layers are those of the whole target batch
            read = len(target)
        # Batch normalisation must not mix the statistics of two domains.
        if not together or by_batch or source.shape[1:] != target.shape[1:]:
            return self._side(j, source, 0, count), self._side(j, target, 1, read)
        both = self._represent(j, torch.cat((source, target)))
        logits = self._decoded(j, both.rows(slice(count + read)).attended)
        return (
            SubNetworkOutput(*both.rows(slice(count)), logits[:count]),
            SubNetworkOutput(*both.rows(slice(count, None)), logits[count:]),
        )

    def _side(self, j: int, images: Tensor, domain: int, read: int) -> SubNetworkOutput:
        """Sub-network j on images of one domain, its head on the first ``read`` of them."""
        seen = self._represent(j, images, domain)
        if read == 0:
            return SubNetworkOutput(*seen, images.new_empty(0, 1, *images.shape[-2:]))
        return SubNetworkOutput(*seen, self._decoded(j, seen.rows(slice(read)).attended))

    def _task_losses(self, batch: Batch, pairs: list[Pair]) -> dict[str, Tensor]:
        on_sources = [
            segmentation_loss(source.logits, masks)
            for (source, _), masks in zip(pairs, batch.source_masks, strict=True)
        ]
        losses = {"source": self._source_loss(torch.stack(on_sources))}
        count = len(batch.target.masks)
        if count == 0:
            return losses
        outputs = [target for _, target in pairs]
        if self.hyper.heads_see_target:
            losses["target_heads"] = _mean(
                segmentation_loss(output.logits[:count], target.masks)
                for output, target in zip(outputs, batch.targets, strict=True)
            )
        if self.fuses:
            attended = [tuple(f[:count] for f in output.attended) for output in outputs]
            losses["target_fused"] = segmentation_loss(self._fused_logits(attended), batch.target.masks)
        return losses

    def _fused_logits(self, attended: list[tuple[Tensor, ...]]) -> Tensor:
        scales = zip(*attended, strict=True)
        return self.predictor(tuple(fuse(maps) for fuse, maps in zip(self.fusions, scales, strict=True)))

    def _judged(self, pairs: list[Pair]) -> list[tuple[Tensor, Tensor]]:
        """What the discriminators read: for each sub-network its source's and the target's coarsest map."""
        if self.hyper.discriminator_reads == "attended":
            return [(source.attended[-1], target.attended[-1]) for source, target in pairs]
        return [(source.features, target.features) for source, target in pairs]

    def _adversarial_loss(self, pairs: list[Pair], progress: float) -> Tensor:
        return self.adversary.losses(self._judged(pairs), self._strength(progress)).mean()


def _mean(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(tuple(losses)).mean()
