"""CVAE: a classifier and a conditional generator of the sources, which are all that is kept of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.nn import SOURCE, TARGET
from mstl.nn.generator import Generator, Recogniser, negative_elbo
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of the generator.

    Attributes:
        latent: length of its noise z.
        condition: length of what a class is for it.
        units: of its hidden layers.
        elbo: weight of the generator's loss, which is in nats an image, beside the classifier's.
    """

    latent: int = 16
    condition: int = 16
    units: int = 512
    elbo: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "condition", "units"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be ≥ 1")


class CVAE(Method):
    r"""Source classifier C and conditional generator G, trained side by side; no weight is shared.

    .. math::

        \min_{C, G, q} \; \frac1J \sum_j \mathbb E_{S_j} \Big[ \mathrm{CE}(C(x), y) - \kappa\, \big(
        \mathbb E_{q(z|x,y)} \log p_G(x \mid z, y) - \mathrm{KL}(q(z|x,y) \,\|\, N(0, I)) \big) \Big]

    A run of it is what `mstl.methods.pp_pssl` and `mstl.methods.distillation` inherit from: neither sees a
    source image. Labelled target images are not used.

    Source: `mstl.nn.generator`; the pair (C, G) is what Yamaguchi et al., "Transfer learning with pre-trained
    conditional generative models", 2022, assume to be given.
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        hyper, problem = self.hyper, self.problem
        self.network = self.new_networks(1)[0]
        self.generator = Generator(
            len(problem.classes), problem.shape, hyper.latent, hyper.condition, hyper.units
        )
        self.recogniser = Recogniser(self.generator, hyper.units)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        x, y = batch.pooled
        return {
            "source": self.problem.loss(self.network(x, SOURCE).logits, y),
            "elbo": self.hyper.elbo * negative_elbo(self.generator, self.recogniser, x, y),
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    @torch.no_grad()
    def draw(self, classes: Tensor) -> Tensor:
        """An image of each class, (n, c, h, w): int64 (n,), or mixtures (n, K) of them."""
        if classes.ndim == 1:
            classes = torch.nn.functional.one_hot(classes, len(self.problem.classes)).float()
        return self.generator.draw(classes)

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]
