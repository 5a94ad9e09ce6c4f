"""DCTN: one extractor, one head a source, and discriminators that also weigh the heads' votes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.data.batches import Batch
from mstl.methods import adversary, base
from mstl.methods.adversary import largest, weighted_reversal
from mstl.methods.base import mean
from mstl.nn import SOURCE, TARGET, first
from mstl.nn.outputs import certain, label_losses, mixture
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

        \min_{F,C} \max_D \; \frac1J \sum_j \Big[\mathbb E_{S_j} \mathcal L(C_j(F(x)), y)
        + \mathbb E_{T_l} \mathcal L(C_j(F(x)), y) + \mathcal L_{pseudo}^j\Big]
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
    j with the most probable class of :math:`\hat p`, a mean over the pixels of unlabelled target images (of
    classes over the images) where its probability is ≥ ``pseudo``.

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

    def build(self) -> None:
        self.encoder = self.new_networks(1)[0].encoder
        self.heads = nn.ModuleList(self.new_predictor(self.encoder.channels) for _ in range(self.sources))
        self.adversary = self.hyper.adversary(self.sources, self.encoder.channels[-1])
        self.register_buffer("concentration", torch.zeros(self.sources))
        self.register_buffer("seen", torch.zeros(()))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss, (maps, target) = self.problem.loss, self.encoded(self.encoder, batch, target_first=True)
        heads = zip(self.heads, maps, batch.source_y, strict=True)
        losses = {
            "source": mean(loss(head(f, SOURCE), y) for head, f, y in heads),
            **self._on_target(batch, target, progress),
        }
        pairs = [(f[-1], target[-1]) for f in maps]
        delta = weighted_reversal(self.adversary, pairs, self.hyper.reversal(progress), largest)
        if self.training:
            self._concentrate([source for source, _ in pairs])
        return {**losses, "adversarial": delta.mean()}

    def predict(self, images: Tensor) -> Tensor:
        maps = self.encoder(images, TARGET)
        return mixture([head(maps, TARGET) for head in self.heads], self.source_weights(maps[-1]))

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

    def _on_target(self, batch: Batch, target: tuple[Tensor, ...], progress: float) -> dict[str, Tensor]:
        """Losses of the heads on labelled images and, in the second half, on sure places of the others."""
        y, total = batch.target.y, len(batch.target.x)
        known = len(y)
        guessing = self.hyper.pseudo > 0 and progress >= PSEUDO_FROM and total > known
        used = first(target, total if guessing else known)
        if not len(used[0]):
            return {}
        logits = torch.stack([head(used, TARGET) for head in self.heads])
        losses = {"target": mean(self.problem.loss(z[:known], y) for z in logits)} if known else {}
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


def pseudo_loss(logits: Tensor, weights: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of every head with the mixture's own confident labels; 0 where no place is confident.

    Args:
        logits: of the heads, (J, n, c, h, w).
        weights: of the heads in the mixture, (n, J).
        threshold: a place counts where the mixture's most probable class reaches it.

    Returns:
        0-d: mean over heads and confident places. The labels are constants.
    """
    labels, p = certain(mixture(logits.detach(), weights))
    confident = (p >= threshold).to(p.dtype)
    losses = torch.stack([label_losses(z, labels) for z in logits])
    return (losses * confident).sum() / (len(logits) * confident.sum()).clamp_min(1)
