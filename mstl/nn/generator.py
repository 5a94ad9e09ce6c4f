"""A conditional variational autoencoder: what draws images of a class after the images are gone."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.outputs import full


class Generator(nn.Module):
    r"""Images of classes, or of mixtures of classes.

    .. math:: x = G(z, e), \qquad e = \sum_k p_k E_k

    A class is a row of the table E, and p, one-hot or soft, says how much of each class is asked for: a
    one-hot p gives the class itself.

    Args:
        classes: K.
        shape: of an image, (c, h, w).
        latent: length of z.
        condition: length of e.
        units: of the two hidden layers.

    Shape: z (n, latent), p (n, K) → images (n, c, h, w) in [−2, 2], network input as of `mstl.data.augment`.

    Source: Sohn, Lee and Yan, "Learning structured output representation using deep conditional generative
    models", NeurIPS 2015; the mixture of embeddings is Yamaguchi et al.'s, "Transfer learning with
    pre-trained conditional generative models", 2022.
    """

    def __init__(
        self,
        classes: int,
        shape: tuple[int, int, int],
        latent: int = 16,
        condition: int = 16,
        units: int = 512,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.embedding = nn.Embedding(classes, condition)
        self.shape = shape
        self.layers = _layers(latent + condition, units, prod(shape))

    def forward(self, z: Tensor, p: Tensor) -> Tensor:
        return 4 * self.logits(z, p).sigmoid() - 2

    def logits(self, z: Tensor, p: Tensor) -> Tensor:
        """Of brightness between 0 and 1, (n, c, h, w)."""
        x = self.layers(torch.cat((z, mixed(self.embedding.weight, p)), 1))
        return full(x).unflatten(1, self.shape)

    def draw(self, p: Tensor) -> Tensor:
        """One image of each row of p, (n, K): z is normal, from torch's own generator on the CPU."""
        return self(torch.randn(len(p), self.latent).to(p.device, non_blocking=True), p)


class Recogniser(nn.Module):
    r"""The other half: where z of an image of a class may lie, a normal distribution.

    .. math:: q(z \mid x, y) = N\big(\mu(x, e), \operatorname{diag} \sigma^2(x, e)\big)

    Args:
        generator: whose other half this is; it reads the same table of classes.
        units: of its two hidden layers.

    Shape: images (n, c, h, w), e (n, condition) → μ and log σ², (n, latent) each.
    """

    def __init__(self, generator: Generator, units: int = 512) -> None:
        super().__init__()
        self.layers = _layers(
            prod(generator.shape) + generator.embedding.embedding_dim, units, 2 * generator.latent
        )

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = full(self.layers(torch.cat((x.flatten(1), e), 1))).chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)


def mixed(table: Tensor, p: Tensor) -> Tensor:
    r"""Conditions of mixtures of classes.

    .. math:: e = \sum_k p_k E_k

    Args:
        table: E, (K, d).
        p: (n, K), sum 1.

    Returns:
        (n, d); of a one-hot row that class's own.
    """
    return p.to(table.dtype) @ table


def negative_elbo(generator: Generator, recogniser: Recogniser, x: Tensor, y: Tensor) -> Tensor:
    r"""What a conditional variational autoencoder minimises, a mean over images, in nats.

    .. math::

        -\mathbb E_{q(z | x, y)} \log p(x \mid z, y) + \mathrm{KL}\big(q(z \mid x, y) \,\|\, N(0, I)\big)

    p(x | z, y) is Bernoulli in the brightness of every pixel, a mean over channels, which are not independent
    (of a grey image they are one); one z is drawn.

    Args:
        generator, recogniser: the two halves.
        x: images (n, c, h, w) in [−2, 2].
        y: classes, int64 (n,).

    Returns:
        0-d.

    Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, equation 10.
    """
    p = F.one_hot(y, generator.embedding.num_embeddings).float()
    mean, log_variance = recogniser(x, mixed(generator.embedding.weight, p))
    noise = torch.randn(mean.shape).to(mean.device, non_blocking=True)
    logits = generator.logits(mean + (log_variance / 2).exp() * noise, p)
    missed = F.binary_cross_entropy_with_logits(logits, full(x + 2) / 4, reduction="none")
    missed = missed.mean(1).flatten(1).sum(1)
    return (missed + divergence(mean, log_variance)).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Of a normal distribution from the standard one, in nats.

    .. math:: \tfrac12 \sum_i \big(\mu_i^2 + \sigma_i^2 - 1 - \log \sigma_i^2\big)

    Shape: (n, d), (n, d) → (n,); 0 where the two are equal.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def _layers(inputs: int, units: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, units), nn.SiLU(), nn.Linear(units, units), nn.SiLU(), nn.Linear(units, outputs)
    )
