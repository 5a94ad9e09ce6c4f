"""DCTN: one extractor, one head a source, and discriminators that also weigh the heads' votes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import largest, weighted_reversal
from mstl.methods.averaging import mean
from mstl.nn import SOURCE, TARGET, Predictor, first, segmentation_loss
from mstl.system.errors import InputError

PSEUDO_FROM = 0.5  # share of training before pseudo-labels are used
MEMORY = 0.01  # rate of the running mean of the discriminators' source losses
FLOOR = 1e-6  # of a score: discriminators that are certain of every image leave equal weights


@dataclass(frozen=True)
class Hyperparameters(adversary.Hyperparameters):
    """Those of the adversary, and the pseudo-labels.

    Attributes:
        pseudo: confidence from which a pixel of an unlabelled target image is used as its own label in the
            second half of training; 0 is off.
    """

    pseudo: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pseudo != 0 and not 0.5 <= self.pseudo <= 1:
            raise InputError(
                f"pseudo={self.pseudo} must be 0 (off) or lie in [0.5, 1], as max(p, 1 - p) does"
            )


class DCTN(base.Method):
    r"""Deep cocktail network: shared F, a discriminator :math:`D_j` and a head :math:`C_j` a source.

    .. math::

        \min_{F,C} \max_D \; \frac1J \sum_j \Big[\mathbb E_{S_j} \mathcal L_{seg}(C_j(F(x)), y)
        + \mathbb E_{T_l} \mathcal L_{seg}(C_j(F(x)), y) + \mathcal L_{pseudo}^j\Big]
        - \lambda(p)\, \delta_{j^*}, \qquad j^* = \arg\max_j \delta_j

    *Online hard domain batch mining*: of the domain losses :math:`\delta_j` only the largest reaches F,
    while every :math:`D_j` learns in every step.

    *Target prediction*: heads vote with the perplexity of their discriminators on that image,

    .. math::

        \hat p(x) = \sum_j \frac{S_j(x)}{\sum_k S_k(x)}\, \sigma\big(C_j(F(x))\big), \qquad
        S_j(x) = -\log\big(1 - D_j(F(x))\big) + \alpha_j, \quad
        \alpha_j = -\mathbb E_{S_j} \log D_j(F(x))

    so the head of the source that cannot be told from this image counts most. :math:`D_j` is the probability
    of the source; for a discriminator of places :math:`S_j` is the mean over the image's places.
    :math:`\alpha_j` is a running mean over training steps.

    *Pseudo-labels*: in the second half of training :math:`\mathcal L_{pseudo}^j` is the cross-entropy of head
    j with :math:`[\hat p > ½]`, a mean over the pixels of unlabelled target images where
    :math:`\max(\hat p, 1 - \hat p)` ≥ ``pseudo``.

    Changed: the paper's F descends a confusion loss against :math:`D_{j^*}`; here it meets the gradient
    reversal that all methods of this comparison share. The paper alternates adversarial and pseudo-label
    phases and selects whole images; here the terms are summed, and pixels are selected, because it is pixels
    that are classified. The released code has least-squares losses and one weight a source for all images;
    where the two differ the paper is followed.

    Source: Xu et al., "Deep cocktail network", CVPR 2018, the parts on the framework and on learning. The
    labelled target images are our setting.
    """

    Hyperparameters = Hyperparameters
    aligns = ("adversarial",)

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__(hyper, sources, labelled)
        self.encoder = hyper.networks(1)[0].encoder
        channels = self.encoder.channels
        self.heads = nn.ModuleList(Predictor(channels, hyper.norm) for _ in range(sources))
        self.adversary = hyper.adversary(sources, channels[-1])
        self.register_buffer("concentration", torch.zeros(sources))
        self.register_buffer("seen", torch.zeros(()))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        target, features, errors = self.encoder(batch.target.images, TARGET), [], []
        for head, images, masks in zip(self.heads, batch.source_images, batch.source_masks, strict=True):
            maps = self.encoder(images, SOURCE)
            errors.append(segmentation_loss(head(maps, SOURCE), masks))
            features.append((maps[-1], target[-1]))
        losses = {"source": mean(errors)} | self._target_losses(batch, target, progress)
        deltas = weighted_reversal(self.adversary, features, self.hyper.reversal(progress), largest)
        if self.training:
            self._concentrate([source for source, _ in features])
        return losses | {"adversarial": deltas.mean()}

    def predict(self, images: Tensor) -> Tensor:
        maps = self.encoder(images, TARGET)
        logits = torch.stack([head(maps, TARGET) for head in self.heads])
        return mixture_logits(logits, self.source_weights(maps[-1]))

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.encoder(images, domain)[-1]

    @torch.no_grad()
    def source_weights(self, features: Tensor) -> Tensor:
        r""":math:`S_j / \sum_k S_k` of each image, (n, J), from its coarsest features (n, c, h', w')."""
        scores = torch.stack(
            # -log(1 - D) is the softplus of D's logit.
            [
                F.softplus(logits.float()).flatten(1).mean(1)
                for logits in self._judge([features] * self.sources)
            ],
            dim=1,
        )
        scores = scores + self.concentration + FLOOR
        return scores / scores.sum(1, keepdim=True)

    def _target_losses(self, batch: Batch, target: tuple[Tensor, ...], progress: float) -> dict[str, Tensor]:
        masks, total = batch.target.masks, len(batch.target.images)
        known = len(masks)
        guessing = self.hyper.pseudo > 0 and progress >= PSEUDO_FROM and total > known
        used = first(target, total if guessing else known)
        if not len(used[0]):
            return {}
        logits = torch.stack([head(used, TARGET) for head in self.heads])
        losses = {}
        if known:
            losses["target"] = mean(segmentation_loss(z[:known], masks) for z in logits)
        if guessing:
            weights = self.source_weights(used[-1][known:])
            losses["pseudo"] = pseudo_loss(logits[:, known:], weights, self.hyper.pseudo)
        return losses

    @torch.no_grad()
    def _judge(self, features: list[Tensor]) -> list[Tensor]:
        """Logits of each discriminator, whose running moments they leave alone."""
        training = self.adversary.training
        self.adversary.eval()
        logits = [d(f) for d, f in zip(self.adversary.discriminators, features, strict=True)]
        self.adversary.train(training)
        return logits

    @torch.no_grad()
    def _concentrate(self, features: list[Tensor]) -> None:
        """Move the running means alpha_j towards the discriminators' losses on these source features."""
        losses = torch.stack([F.softplus(-logits.float()).mean() for logits in self._judge(features)])
        self.seen += 1
        self.concentration.lerp_(losses, (1 / self.seen).clamp_min(MEMORY))


def mixture_logits(logits: Tensor, weights: Tensor) -> Tensor:
    r"""Logits of :math:`\sum_j w_j \sigma(z_j)`, summed in the log domain.

    Args:
        logits: :math:`z`, (J, n, 1, h, w).
        weights: :math:`w`, (n, J), positive, sum 1 over j.

    Returns:
        (n, 1, h, w), float32 at least.
    """
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_weights = weights.to(z.dtype).log().T[:, :, None, None, None]
    return (F.logsigmoid(z) + log_weights).logsumexp(0) - (F.logsigmoid(-z) + log_weights).logsumexp(0)


def pseudo_loss(logits: Tensor, weights: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of every head with the mixture's own confident labels; 0 where no pixel is confident.

    Args:
        logits: of the heads, (J, n, 1, h, w).
        weights: of the heads in the mixture, (n, J).
        threshold: a pixel counts where max(p, 1 - p) of the mixture reaches it.

    Returns:
        0-d: mean over heads and confident pixels. The labels are constants.
    """
    p = mixture_logits(logits.detach(), weights).sigmoid()
    confident = (torch.maximum(p, 1 - p) >= threshold).to(p.dtype)
    labels = (p > 0.5).to(p.dtype).expand_as(logits)
    losses = F.binary_cross_entropy_with_logits(logits.to(p.dtype), labels, reduction="none")
    return (losses * confident).sum() / (len(logits) * confident.sum()).clamp_min(1)
