"""What every method is: losses to minimise, a prediction, and nothing about optimisers or clocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.methods.adversary import Adversary, gradient_ratio
from mstl.methods.hyperparameters import Hyperparameters
from mstl.nn import ENCODERS, SOURCE, TARGET, Predictor, SubNetworks, first, predictor
from mstl.problems import Problem, Segmentation


class Method(nn.Module, ABC):
    """A transfer-learning method.

    A subclass sets ``Hyperparameters``, where it has its own, and implements `build`, `losses` and `predict`.
    It never steps an optimiser and never counts steps: what changes during training is a function of
    ``progress``. Whether it is masks or classes that are predicted is the business of ``problem``: the same
    lines do for both.

    Args:
        hyper: the method's own frozen dataclass.
        sources: number J of source domains.
        labelled: whether labelled target images exist (labels > 0).
        problem: what is predicted; masks by default.
        partial: for each source whether it marks a part of the object only (`Domain.partial`).
    """

    Hyperparameters: type[Hyperparameters] = Hyperparameters
    #: names of the losses that compare domains, which `observe` weighs against the others
    aligns: tuple[str, ...] = ()
    #: whether all sub-networks receive the same target batch
    synchronised: bool = True
    #: whether it learns from sources: without, a task may have none
    reads_sources: bool = True
    #: train on the masks of all target training images (the upper reference)
    all_labels: bool = False
    #: weight of the consistency with the averaged weights (mean teacher) where the run does not set one
    teacher: float = 0.0

    def __init__(
        self,
        hyper: Hyperparameters,
        sources: int,
        labelled: bool,
        problem: Problem | None = None,
        partial: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.hyper, self.sources, self.labelled = hyper, sources, labelled
        self.problem, self.partial = problem or Segmentation(), tuple(partial)
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Make the networks; ``hyper``, ``sources``, ``labelled``, ``problem`` and ``partial`` are set."""

    def new_networks(self, count: int, **options) -> SubNetworks:
        """``count`` fresh networks for this problem, as `Hyperparameters.networks` makes them."""
        return self.hyper.networks(count, self.problem, **options)

    def new_predictor(self, channels: tuple[int, ...], norm: str | None = None) -> nn.Module:
        """A fresh head for maps of these channels."""
        return predictor(channels, len(self.problem.classes), norm or self.hyper.norm)

    def expect(self, sources: Sequence[float], target: float | None) -> None:
        """Let every head of masks begin at the share of an image that is marked in what teaches it.

        A network of one source begins at that source's, so that it does not depend on the others, and every
        other at the mean of all (`mstl.nn.Predictor.expect`).

        Args:
            sources: share of the marked pixels in each source.
            target: in the labelled target images; None without any.
        """
        known = [*sources, *([] if target is None else [target])]
        expect(self, sum(known) / len(known))
        for j, network in self.networks_of_sources():
            expect(network, sources[j])

    def networks_of_sources(self) -> Iterable[tuple[int, nn.Module]]:
        """The networks that see one source each, and which."""
        return enumerate(getattr(self, "subnetworks", ()))

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named 0-d losses whose sum is minimised; ``progress`` in [0, 1] is the share of training done.

        Where ``batch.target.taught`` is set a method may return ``consistency``, its distance from the
        teacher, in a form of its own; the loop weighs it. Of other methods the loop compares `predict`. No
        other loss may have that name.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits, (n, 1, h, w) of masks or (n, K, 1, 1) of classes, of images (n, c, h, w)."""

    def encoded(
        self, encoder: nn.Module, batch: Batch, target_first: bool = False
    ) -> tuple[Sequence[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """Maps of each source, and of the target.

        One source at a time, so that batch normalisation never mixes domains. Classes without it all pass
        together, which changes nothing but the rounding and saves time where images are small.

        Args:
            encoder: from images and domain to maps.
            batch: with the images.
            target_first: order of the passes; it decides the last bit of the gradient's sums.
        """
        x, target = batch.pooled.x, batch.target.x
        if self.problem.classes and self.hyper.norm in ("group", "none") and x.shape[1:] == target.shape[1:]:
            sizes = [len(x) // batch.J] * batch.J + [len(target)]
            levels = (level.split(sizes) for level in encoder(torch.cat((x, target))))
            *sources, target = zip(*levels, strict=True)
            return sources, target
        maps = encoder(target, TARGET) if target_first else None
        sources = [encoder(x, SOURCE) for x, _ in batch.sources]
        return sources, maps or encoder(target, TARGET)

    def on_labels(
        self, head: Callable[[tuple[Tensor, ...], int], Tensor], maps: tuple[Tensor, ...], y: Tensor
    ) -> dict[str, Tensor]:
        """``target``, the loss of a head on the labelled target images; {} where there are none.

        Args:
            head: from maps of all levels, and the domain, to logits.
            maps: of the target batch, whose first images are the labelled ones.
            y: of the labelled ones.
        """
        if not len(y):
            return {}
        return {"target": self.problem.loss(head(first(maps, len(y)), TARGET), y)}

    def of_heads(
        self, source_logits: Iterable[Tensor], target_logits: Iterable[Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        r"""Losses of J heads, each on its own source and all on the labelled target images.

        .. math::

            \frac1J \sum_j \mathcal L(z_j^{s_j}, y^{s_j}), \qquad \frac1J \sum_j \mathcal L(z_j^{t}, y^{t})

        Args:
            source_logits: J of (b, c, h', w').
            target_logits: J of (≥ l, c, h, w), the labelled images first.
            batch: whose labels they are compared with.

        Returns:
            ``source``, and ``target`` where l > 0.
        """
        loss, y = self.problem.loss, batch.target.y
        losses = {"source": mean(map(loss, source_logits, batch.source_y))}
        if count := len(y):
            losses["target"] = mean(loss(z[:count], y) for z in target_logits)
        return losses

    @property
    def _adversaries(self) -> list[Adversary]:
        """The adversaries among the modules: to own one is to play."""
        return [module for module in self.modules() if isinstance(module, Adversary)]

    @property
    def discriminator_updates(self) -> int:
        """Extra updates of the discriminators after each step, each with `discriminator_losses`."""
        return max((adversary.updates for adversary in self._adversaries), default=0)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """Parameters that the loop gives an optimiser and a learning rate of their own."""
        return [p for adversary in self._adversaries for p in adversary.discriminators.parameters()]

    def started_parameters(self) -> list[nn.Parameter]:
        """Parameters that began with weights: they may have a learning rate of their own."""
        if not self.hyper.started:
            return []
        encoders = [module for module in self.modules() if isinstance(module, ENCODERS)]
        return list({p: None for e in encoders for p in getattr(e, "network", e).parameters()})

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Losses of one extra discriminator update; used when ``discriminator_updates`` > 0."""
        return {"discriminator": torch.stack([a.extra_loss() for a in self._adversaries]).sum()}

    @torch.enable_grad()
    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Diagnostics of one batch in evaluation mode, written to the log and without effect on training.

        ``gradient_ratio`` of the losses that compare domains (``aligns``) to all others, over the weights of
        the extractors, and ``discriminator_accuracy``, the mean over adversaries. Empty where a method
        compares nothing.
        """
        if not self.aligns:
            return {}
        losses = self.losses(batch, progress)
        aligning = [losses.pop(name) for name in self.aligns]
        extractors = (module for module in self.modules() if isinstance(module, ENCODERS))
        weights = dict.fromkeys(p for e in extractors for p in e.parameters() if p.requires_grad)
        ratio = gradient_ratio(_sum(aligning), _sum(losses.values()), weights)
        accuracies = [a.accuracy for a in self._adversaries if a.accuracy is not None]
        accuracy = {"discriminator_accuracy": torch.stack(accuracies).mean()} if accuracies else {}
        return {**accuracy, "gradient_ratio": ratio}

    def adapt(self, observed: dict[str, float]) -> None:
        """React to what `observe` measured, once a log point; what changes must lie in buffers."""

    def head_logits(self, images: Tensor) -> Tensor | None:
        """Logits of every sub-network's own head, (J, n, c, h, w), or None where there are none."""
        return None

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor | None:
        """Feature map (n, c, h', w') in which source ``source`` and the target are compared, or None.

        ``domain`` says whose the images are, `mstl.nn.SOURCE` or `TARGET`; norm "domain" must know.
        """
        return None

    def attended_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor | None:
        """The same feature map after attention, or None where there is no attention."""
        return None

    def attention_maps(self, images: Tensor) -> Tensor | None:
        """Attention weight at each place of the coarsest features, (J, n, 1, h', w'), or None."""
        return None


def mean(losses: Iterable[Tensor]) -> Tensor:
    """The mean of 0-d losses, 0-d."""
    return torch.stack(tuple(losses)).mean()


def _sum(losses) -> Tensor:
    return torch.stack(tuple(losses)).sum()


def expect(network: nn.Module, share: float) -> None:
    """Let every head of masks in a network begin at that share."""
    for module in network.modules():
        if isinstance(module, Predictor):
            module.expect(share)
