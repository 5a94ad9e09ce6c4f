"""What every method is: losses to minimise, a prediction, and nothing about optimisers or clocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

from torch import Tensor, nn

from mstl.data.batches import Batch
from mstl.nn import SubNetworks
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Hyperparameters:
    """Of the network, shared by every method so that comparisons have one budget.

    Attributes:
        width: channels at full resolution; doubled at each of the ``depth`` levels.
        depth: resolutions of the U-Net; the coarsest is 2^(depth-1) times smaller than the image.
        norm: ``group`` (default), ``batch``, ``domain`` (batch statistics for each domain) or ``none``. Batch
            statistics over concatenated domains collapsed runs (design notes), so they are not the default.
        encoder: ``unet`` or a torchvision ResNet (``resnet18``, ``resnet34``, ``resnet50``).
        pretrained: load torchvision's ImageNet weights into a ResNet encoder.
    """

    width: int = 16
    depth: int = 4
    norm: str = "group"
    encoder: str = "unet"
    pretrained: bool = False

    def networks(self, sources: int, attention: str = "none", stem: int = 0) -> SubNetworks:
        """``sources`` fresh U-Nets of this size, with attention where a method asks for it."""
        return SubNetworks(
            sources,
            width=self.width,
            depth=self.depth,
            norm=self.norm,
            attention=attention,
            encoder=self.encoder,
            weights="DEFAULT" if self.pretrained else None,
            stem=stem,
        )


class Method(nn.Module, ABC):
    """A transfer-learning method.

    A subclass sets ``name`` and ``Hyperparameters`` and implements `losses` and `predict`. It never steps
    an optimiser and never counts steps: whatever changes during training is a function of ``progress``.

    Args:
        hyper: the method's own frozen dataclass.
        sources: number J of source domains.
        labelled: whether labelled target images exist (labels > 0).
    """

    name: str
    Hyperparameters: type[Hyperparameters] = Hyperparameters
    #: extra updates of the discriminators after each step, each with `discriminator_losses`
    discriminator_updates: int = 0
    #: whether all sub-networks receive the same target batch
    synchronised: bool = True
    #: train on the masks of all target training images (the upper reference)
    all_labels: bool = False
    #: weight of the consistency with the averaged weights (mean teacher) where the run does not set one
    teacher: float = 0.0

    def __init__(self, hyper: Hyperparameters, sources: int, labelled: bool) -> None:
        super().__init__()
        self.hyper, self.sources, self.labelled = hyper, sources, labelled

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named 0-d losses whose sum is minimised; ``progress`` in [0, 1] is the share of training done.

        Where ``batch.target.taught`` is set a method may return ``consistency``, its distance from the
        teacher, in a form of its own; the loop weighs it. Of other methods the loop compares `predict`.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits (n, 1, h, w) of images (n, 3, h, w)."""

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """Parameters that the loop gives an optimiser and a learning rate of their own."""
        return []

    def discriminator_losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Losses of one extra discriminator update; used when ``discriminator_updates`` > 0."""
        return {}

    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Diagnostics of one batch, written to the log and without effect on training."""
        return {}

    def adapt(self, observed: dict[str, float]) -> None:
        """React to what `observe` measured, once a log point; what changes must lie in buffers."""

    def source_features(self, images: Tensor, source: int) -> Tensor | None:
        """Feature map (n, c, h', w') in which source ``source`` and the target are compared, or None."""
        return None

    def attended_features(self, images: Tensor, source: int) -> Tensor | None:
        """The same feature map after attention, or None where there is no attention."""
        return None

    def attention_maps(self, images: Tensor) -> Tensor | None:
        """Attention weight at each place of the coarsest features, (J, n, 1, h', w'), or None."""
        return None


#: beyond these no hyper-parameter can be meant
LARGEST = {int: 10_000, float: 1e6}


def parse_overrides(text: str, options: type[Hyperparameters]) -> dict[str, object]:
    """``"attention=none strength=0.1"`` as keyword arguments for ``options``, typed like its defaults.

    Raises:
        InputError: unknown name, value of another type, or no ``=``.
    """
    known = {f.name: f.default for f in fields(options)}
    result: dict[str, object] = {}
    for item in text.split():
        key, equals, value = item.partition("=")
        if not equals or key not in known:
            names = ", ".join(known)
            raise InputError(f"overrides: {item!r} is not name=value with a name of this method: {names}")
        result[key] = _typed(key, value, known[key])
    return result


def _typed(key: str, value: str, default: object) -> object:
    kind = type(default)
    try:
        typed = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        expected = "true or false" if kind is bool else kind.__name__
        raise InputError(f"overrides: {key}={value} is not of type {expected} (default {default})") from None
    if kind in LARGEST and not min(default, 0) <= typed <= LARGEST[kind]:
        raise InputError(f"overrides: {key}={value} must be ≥ {min(default, 0)} and ≤ {LARGEST[kind]:g}")
    return typed
