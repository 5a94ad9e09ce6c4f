"""MSTL: one adversarial, attentive sub-network per source on a synchronised target batch, fused."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.errors import InputError
from mstl.methods import base
from mstl.nn import (
    FeatureBank,
    Fusion,
    ImageDiscriminator,
    LocationDiscriminator,
    Predictor,
    SubNetworkOutput,
    domain_accuracy,
    domain_loss,
    ramp,
    reverse_gradient,
    segmentation_loss,
)


@dataclass(frozen=True)
class Hyperparameters(base.Hyperparameters):
    """Every ingredient of the paper is a switch.

    Attributes:
        adversarial: train F_j against a domain discriminator D_j.
        attention: ``both``, ``channel``, ``spatial`` or ``none``.
        synchronised: one target batch for all sub-networks. Without it features cannot be fused and the
            mean of the heads predicts.
        fusion: ``concat``, ``gated`` or ``mean`` (mean of the heads, no fused predictor).
        discriminator: ``location`` judges every place of the feature map, ``image`` its mean.
        strength: largest factor of the reversed gradient.
        gain: steepness of the ramp 2/(1+e^(-gain·progress)) - 1 of that factor.
        updates: extra updates of a location discriminator after each step, on features of recent steps.
        bank: feature vectors kept for them, per domain and sub-network.
        heads_see_target: heads P_j also learn from the labelled target images.
        prediction: ``all`` averages the fused predictor and the heads, ``fused`` and ``heads`` use one kind.
    """

    adversarial: bool = True
    attention: str = "both"
    synchronised: bool = True
    fusion: str = "concat"
    discriminator: str = "location"
    strength: float = 0.05
    gain: float = 10.0
    updates: int = 2
    bank: int = 2048
    heads_see_target: bool = True
    prediction: str = "all"

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "attention": ("both", "channel", "spatial", "none"),
            "fusion": ("concat", "gated", "mean"),
            "discriminator": ("location", "image"),
            "prediction": ("all", "fused", "heads"),
        }
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise InputError(f"{key}={getattr(self, key)!r} is unknown; choose from {', '.join(allowed)}")
        if self.strength < 0:
            raise InputError(f"strength={self.strength} must be ≥ 0: the reversal already turns the sign")
        if self.prediction == "fused" and (self.fusion == "mean" or not self.synchronised):
            raise InputError(
                "prediction=fused needs a fused predictor: fusion=concat or gated, and synchronised=true"
            )


class MSTL(base.Method):
    r"""Multi-source adversarial transfer learning on sources with local similarity.

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
    receive the same target tensor. With ``heads_see_target`` the loss holds the mean over j of
    :math:`\mathcal L_{seg}(P_j(\tilde f_j(x^t)), y^t)` as well.

    Source: Zhang et al. 2023, arXiv 2305.19067 (the abstract; everything it leaves open is our
    reconstruction, see the book's page on the paper).
    """

    name = "mstl"
    Hyperparameters = Hyperparameters

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.synchronised = hyper.synchronised
        self.subnetworks = hyper.networks(sources, attention=hyper.attention)
        channels = self.subnetworks.channels
        # A fused predictor learns from target masks alone: without any it would only add noise.
        self.fuses = hyper.fusion != "mean" and hyper.synchronised and labelled
        if self.fuses:
            self.fusions = nn.ModuleList(Fusion(hyper.fusion, sources, c, hyper.norm) for c in channels)
            self.predictor = Predictor(channels, hyper.norm)
        if hyper.adversarial:
            kind = {"location": LocationDiscriminator, "image": ImageDiscriminator}[hyper.discriminator]
            self.discriminators = nn.ModuleList(kind(channels[-1]) for _ in range(sources))
            # The bank keeps single places; a discriminator of whole images cannot learn from them.
            if hyper.discriminator == "location":
                self.discriminator_updates = hyper.updates
        if self.discriminator_updates:
            self.source_banks = nn.ModuleList(FeatureBank(hyper.bank, channels[-1]) for _ in range(sources))
            self.target_banks = nn.ModuleList(FeatureBank(hyper.bank, channels[-1]) for _ in range(sources))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        self._check_sources(batch)
        pairs = [self._pair(j, batch) for j in range(self.sources)]
        losses = self._task_losses(batch, pairs)
        if self.hyper.adversarial:
            losses["adversarial"] = self._adversarial_loss(
                [(s.features, t.features) for s, t in pairs], progress
            )
            if self.training and self.discriminator_updates:
                self._remember(pairs)
        return losses

    def predict(self, images: Tensor) -> Tensor:
        outputs = [subnetwork(images) for subnetwork in self.subnetworks]
        heads = [output.logits for output in outputs]
        if not self.fuses or self.hyper.prediction == "heads":
            return torch.stack(heads).mean(0)
        fused = self._fused_logits([output.attended for output in outputs])
        if self.hyper.prediction == "fused":
            return fused
        return torch.stack([fused, *heads]).mean(0)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return list(self.discriminators.parameters()) if self.hyper.adversarial else []

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Domain loss on 256 remembered feature vectors of each domain, mean over sub-networks."""
        return {
            "discriminator": _mean(
                domain_loss(discriminator(source.sample(256)), discriminator(target.sample(256)))
                for discriminator, source, target in zip(
                    self.discriminators, self.source_banks, self.target_banks, strict=True
                )
            )
        }

    @torch.enable_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        r"""Discriminator accuracy and the gradient ratio, each a mean over sub-networks.

        With :math:`\theta_F` the weights of the extractors, the ratio is

        .. math:: \|\nabla_{\theta_F} \mathcal L_{adv}\| \,/\, \|\nabla_{\theta_F} \mathcal L_{task}\|

        of the reversed and scaled gradient to that of all
        segmentation losses. Far below 0.1 no game is played, near 1 the adversary rules. It is not taken at
        the features: the decoder reaches the extractor through skip connections, too.
        """
        if not self.hyper.adversarial:
            return {}
        pairs = [self._pair(j, batch, together=False) for j in range(self.sources)]
        task = torch.stack(tuple(self._task_losses(batch, pairs).values())).sum()
        weights = [p for network in self.subnetworks for p in network.encoder.parameters()]
        adversarial = self._adversarial_loss([(s.features, t.features) for s, t in pairs], progress)
        task_gradient = torch.autograd.grad(task, weights, retain_graph=True)
        adversarial_gradient = torch.autograd.grad(adversarial, weights)
        accuracy = _mean(
            domain_accuracy(d(s.features), d(t.features))
            for d, (s, t) in zip(self.discriminators, pairs, strict=True)
        )
        ratio = _norm(adversarial_gradient) / _norm(task_gradient).clamp(min=1e-12)
        return {"discriminator_accuracy": accuracy.detach(), "gradient_ratio": ratio}

    def source_features(self, images: Tensor, source: int) -> Tensor:
        return self.subnetworks[source](images).features

    def attention_maps(self, images: Tensor) -> Tensor:
        """Mean attention weight at each place of the coarsest features, (J, n, 1, h', w')."""
        return torch.stack([subnetwork(images).maps[-1] for subnetwork in self.subnetworks])

    def _check_sources(self, batch: Batch) -> None:
        if self.sources != batch.J:
            raise InputError(f"the method was built for {self.sources} sources but the batch has {batch.J}")

    def _pair(self, j: int, batch: Batch, together: bool = True) -> tuple[SubNetworkOutput, SubNetworkOutput]:
        """Sub-network j on its source and on the target: one forward pass where both have one size."""
        source, target = batch.source_images[j], batch.targets[j].images
        one_size = source.shape[1:] == target.shape[1:]
        # Batch normalisation must not mix the statistics of two domains.
        if not (together and one_size) or self.hyper.norm == "batch":
            return self.subnetworks[j](source), self.subnetworks[j](target)
        both = self.subnetworks[j](torch.cat((source, target)))
        return _rows(both, slice(None, len(source))), _rows(both, slice(len(source), None))

    def _task_losses(
        self, batch: Batch, pairs: list[tuple[SubNetworkOutput, SubNetworkOutput]]
    ) -> dict[str, Tensor]:
        losses = {
            "source": _mean(
                segmentation_loss(source.logits, masks)
                for (source, _), masks in zip(pairs, batch.source_masks, strict=True)
            )
        }
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

    def _adversarial_loss(self, features: list[tuple[Tensor, Tensor]], progress: float) -> Tensor:
        strength = self.hyper.strength * ramp(progress, self.hyper.gain)
        return _mean(
            domain_loss(
                discriminator(reverse_gradient(source, strength)),
                discriminator(reverse_gradient(target, strength)),
            )
            for discriminator, (source, target) in zip(self.discriminators, features, strict=True)
        )

    @torch.no_grad()
    def _remember(self, pairs: list) -> None:
        for j, pair in enumerate(pairs):
            for bank, output in zip((self.source_banks[j], self.target_banks[j]), pair, strict=True):
                bank.push(output.features)


def _rows(output: SubNetworkOutput, rows: slice) -> SubNetworkOutput:
    features, attended, maps, logits = output
    levels = (tuple(level[rows] for level in group) for group in (attended, maps))
    return SubNetworkOutput(features[rows], *levels, logits[rows])


def _mean(losses) -> Tensor:
    return torch.stack(tuple(losses)).mean()


def _norm(gradients) -> Tensor:
    return torch.stack([g.float().square().sum() for g in gradients]).sum().sqrt()
