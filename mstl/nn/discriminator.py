"""Domain discriminators, their loss, and a bank of recent features for extra updates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.system.errors import InputError


class Standardise(nn.Module):
    """Per-channel (x − μ)/σ with running moments, no learnt scale or offset.

    A batch is never standardised by its own moments: a batch of one domain would lose exactly the shift a
    discriminator is to see. Instead every batch seen in training mode, source and target alike, first updates
    one pair of running moments, and all of them are standardised by that pair. Differences between domains
    survive; the scale of the features, which the extractor could shrink to hide them, does not matter.

    Moments are cumulative averages at first and exponential ones (rate ``momentum``) later. A channel's
    variance counts as at least 1 % of the mean variance, so that a channel that was silent cannot return as
    an enormous value.

    Shape: (n, c, …) → the same, float32 at least.
    """

    def __init__(self, channels: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training:
            self._update(x.detach())
        shape = (-1, *[1] * (x.ndim - 2))
        variance = self.variance.maximum(0.01 * self.variance.mean()) + 1e-6
        return (x - self.mean.view(shape)) * variance.rsqrt().view(shape)

    @torch.no_grad()
    def _update(self, x: Tensor) -> None:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        self.seen += 1
        rate = (1 / self.seen).clamp_min(self.momentum)
        offset = x.mean(dims).to(self.mean) - self.mean
        # The variance of the mixture: within both parts, and between them.
        spread = x.var(dims, correction=0).to(self.mean) + (1 - rate) * offset.square()
        self.variance.lerp_(spread, rate)
        self.mean.add_(rate * offset)


class LocationDiscriminator(nn.Module):
    """One domain logit a location: is this feature vector a source's (positive) or the target's?

    Standardised input, then three 1x1 convolutions with leaky ReLU. It sees one location at a time, so it may
    train on single vectors of a :class:`FeatureBank` as well as on maps. No dropout, no sigmoid.

    Shape: features (n, channels, h, w) → logits (n, 1, h, w).

    Source: the role is D of Ganin & Lempitsky, ICML 2015; reading local features follows Long et al.'s fully
    convolutional view; depth and standardisation are ours, because a weak discriminator only looks fooled.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Standardise(channels),
            nn.Conv2d(channels, hidden, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, hidden, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class ImageDiscriminator(nn.Module):
    """One domain logit an image: positive for a source, negative for the target.

    Standardised input, a 1x1 convolution with leaky ReLU, the mean over locations, two linear layers with a
    leaky ReLU between: it sees which local features an image holds, not where.

    Shape: features (n, channels, h, w) → logits (n, 1).
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.local = nn.Sequential(Standardise(channels), nn.Conv2d(channels, hidden, 1), nn.LeakyReLU(0.2))
        self.image = nn.Sequential(nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.image(self.local(features).mean(dim=(-2, -1)))


def domain_loss(
    source_logits: Tensor,
    target_logits: Tensor,
    weights: Tensor | None = None,
    target_weight: Tensor | float = 1.0,
) -> Tensor:
    """Binary cross-entropy of a domain discriminator, both domains weighing the same.

    .. math::
        L_D = ½[\\mathrm{mean}\\,w\\,\\mathrm{BCE}(D(f_s), 1)
        + w_t\\,\\mathrm{mean}\\,\\mathrm{BCE}(D(f_t), 0)]

    ln 2 where D knows nothing. Unequal numbers of source and target logits are fine; computed in float32 at
    least.

    Args:
        source_logits, target_logits: two tensors of logits of any shape.
        weights: w of every source logit, of the same shape, such as :func:`importance_weights`; 1 by default.
        target_weight: :math:`w_t`, one number.

    Returns:
        0-d.

    Raises:
        InputError: weights of another shape than the source logits.

    Source: Ganin & Lempitsky, ICML 2015, equation 9, averaged over domains; with weights Zhang et al.,
    "Importance weighted adversarial nets for partial domain adaptation", CVPR 2018.
    """
    source, target = _full(source_logits), _full(target_logits)
    if weights is not None and weights.shape != source.shape:
        raise InputError(
            f"weights must have the shape of the source logits, {tuple(source.shape)}; "
            f"got {tuple(weights.shape)}"
        )
    return 0.5 * (
        F.binary_cross_entropy_with_logits(source, torch.ones_like(source), weights)
        + target_weight * F.binary_cross_entropy_with_logits(target, torch.zeros_like(target))
    )


@torch.no_grad()
def importance_weights(logits: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Weights of source examples: how much each resembles the target, 1 on average.

    .. math:: w_i = \\frac{1 - D(f_i)}{\\frac1n \\sum_k (1 - D(f_k)) + ε}

    What D takes for the target counts, what only the source has does not. The discriminator that judges is
    not the one that plays: it sees the features and sends them no gradient.

    Args:
        logits: of D for source examples, positive for "source"; any shape.
        epsilon: ε. Weights vanish, rather than become 0/0, where D is certain of every example; otherwise
            their mean lies below 1 by less than ε over the mean of 1 − D.

    Returns:
        Weights ≥ 0 of the same shape, float32 at least, without gradient.

    Source: Zhang et al., CVPR 2018 (IWAN); ε is that of the public PyTorch code.
    """
    alike = torch.sigmoid(-_full(logits))  # 1 − D, exact where D is near 1
    return alike / (alike.mean() + epsilon)


@torch.no_grad()
def domain_accuracy(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """Mean of the two domains' accuracies; ½ for any constant discriminator, whatever the batch sizes.

    Shape: two tensors of logits of any shape → 0-d, no gradient.
    """
    return 0.5 * ((source_logits > 0).float().mean() + (target_logits <= 0).float().mean())


class FeatureBank(nn.Module):
    """Recent feature vectors, for discriminator updates that need no new forward pass of the extractor.

    A ring buffer of single locations, stored detached in float32. Each push keeps at most
    ``capacity // pushes`` locations chosen at random, so a full bank spans at least ``pushes`` steps.

    Args:
        capacity: vectors held.
        channels: length of a vector.
        pushes: number of pushes a full bank spans.

    Raises:
        InputError: capacity smaller than ``pushes``; a sample from an empty bank; features of other width.
    """

    def __init__(self, capacity: int, channels: int, pushes: int = 16) -> None:
        super().__init__()
        if not 1 <= pushes <= capacity:
            raise InputError(f"a feature bank of capacity {capacity} cannot span {pushes} pushes; enlarge it")
        self.share = capacity // pushes
        self.register_buffer("vectors", torch.zeros(capacity, channels))
        self.pushed = 0

    def __len__(self) -> int:
        """Vectors held now."""
        return min(self.pushed, len(self.vectors))

    def push(self, features: Tensor, generator: torch.Generator | None = None) -> None:
        """Keep some locations of features (n, c, h, w); equal generators keep equal locations."""
        capacity, channels = self.vectors.shape
        if features.ndim != 4 or features.shape[1] != channels:
            raise InputError(
                f"the feature bank expects maps of shape (n, {channels}, h, w); got {tuple(features.shape)}"
            )
        locations = features.detach().permute(0, 2, 3, 1).reshape(-1, channels)
        device = generator.device if generator is not None else "cpu"
        chosen = torch.randperm(len(locations), generator=generator, device=device)[: self.share]
        slots = torch.arange(self.pushed, self.pushed + len(chosen)) % capacity
        slots, chosen = (rows.to(self.vectors.device, non_blocking=True) for rows in (slots, chosen))
        self.vectors[slots] = locations[chosen].to(self.vectors)
        self.pushed += len(chosen)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` vectors drawn with replacement, as maps of one location (n, c, 1, 1)."""
        if not len(self):
            raise InputError("the feature bank is empty; push features before sampling")
        device = generator.device if generator is not None else "cpu"
        rows = torch.randint(len(self), (n,), generator=generator, device=device)
        return self.vectors[rows.to(self.vectors.device, non_blocking=True)][:, :, None, None]

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.pushed)

    def set_extra_state(self, state: Tensor) -> None:
        self.pushed = int(state)


def _full(x: Tensor) -> Tensor:
    """float32 at least: half precision has no room for the tails of a cross-entropy."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
