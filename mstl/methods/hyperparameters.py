"""Hyper-parameters that every method has, and how a command line changes them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields

from mstl.data.appearance import CHOICES
from mstl.nn import SubNetworks, Weights
from mstl.problems import Problem, Segmentation
from mstl.system.errors import InputError

LARGEST = {int: 10_000, float: 1e6}  # beyond these no hyper-parameter can be meant


@dataclass(frozen=True)
class Hyperparameters:
    """Of the network and of what it is shown, the same for every method so that comparisons have one budget.

    Attributes:
        width: channels at full resolution; doubled at each of the ``depth`` levels.
        depth: resolutions of the U-Net, 0 means 4; the coarsest is 2^(depth-1) times smaller than the image.
            Of a network of timm's, for masks, how many levels are used; 0 means all.
        norm: ``group`` (default), ``batch``, ``domain`` (batch statistics for each domain) or ``none``. Batch
            statistics over concatenated domains collapsed runs (design notes), so they are not the default.
        encoder: ``unet``, ``lenet`` (classes of small images), ``mlp`` (vectors) or any network of timm's
            (``resnet18``, ``tf_efficientnet_lite0``); ``auto`` is that of the weights, else the one that
            fits.
        weights: what the encoder starts from: ``none`` (random), ``imagenet``, or a folder
            (`mstl.nn.weights.Weights`).
        frozen: what of the encoder stands still: ``none``, ``all``, or a number of stages, from the finest.
        encoder_rate: learning rate of what the weights are of, as a share of that of everything else; a tenth
            is usual where a fresh head or decoder learns beside it.
        hidden: units of the layers of an MLP.
        appearance: colours of the source images: ``own``, of the ``target``, of one target ``image``, or
            ``mixed`` among sources (`mstl.data.batches.Batches`).
        weights_dir: folder in which folders of weights lie; it is a parameter of the run, not an override.
    """

    width: int = 16
    depth: int = 0
    norm: str = "group"
    encoder: str = "auto"
    weights: str = "none"
    frozen: str = "none"
    encoder_rate: float = 1.0
    hidden: str = "1000-500-100"
    appearance: str = "own"
    weights_dir: str = "."

    def __post_init__(self) -> None:
        one_of("appearance", self.appearance, CHOICES)
        if self.encoder_rate != 1 and not self.started:
            raise InputError(
                "encoder_rate is of encoders that start from weights; name weights, or leave it at 1"
            )
        if not re.fullmatch(r"[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})*", self.hidden):
            raise InputError(
                f"hidden={self.hidden} must be numbers of units, joined by hyphens: 1000-500-100"
            )

    @property
    def origin(self) -> Weights:
        """What the encoder starts from."""
        return Weights(self.weights, self.weights_dir)

    @property
    def started(self) -> bool:
        """Whether any encoder starts from other than random weights."""
        return self.origin.given

    def weights_fingerprint(self) -> str:
        """Checksum of the files that a run starts from, ``""`` where they are part of the code."""
        return self.origin.fingerprint()

    def networks(
        self,
        sources: int,
        problem: Problem | None = None,
        attention: str = "none",
        stem: int = 0,
        shared: bool = False,
        pooled: bool = True,
    ) -> SubNetworks:
        """``sources`` fresh networks of this size for a problem, masks by default."""
        problem = problem or Segmentation()
        return SubNetworks(
            sources,
            shape=problem.shape,
            classes=len(problem.classes),
            pooled=pooled,
            hidden=tuple(map(int, self.hidden.split("-"))),
            width=self.width,
            depth=self.depth,
            norm=self.norm,
            attention=attention,
            encoder=self.encoder,
            weights=self.origin,
            frozen=self.frozen,
            stem=stem,
            shared=shared,
        )


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raises:
    InputError: ``value`` is not among ``allowed``; the message lists them.
    """
    if value not in allowed:
        raise InputError(f"{name}={value!r} is unknown; choose from {', '.join(allowed)}")


def parse_overrides(text: str, options: type[Hyperparameters]) -> dict[str, object]:
    """``"attention=none strength=0.1"`` as keyword arguments for ``options``, typed like its defaults.

    Raises:
        InputError: unknown name, a value of another type or out of range, or no ``=``.
    """
    known = {f.name: f.default for f in fields(options) if f.name != "weights_dir"}
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
