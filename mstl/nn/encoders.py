"""Which networks go with what is fed and what is asked: an encoder by its name, and the head that fits it."""

from __future__ import annotations

from torch import nn

from mstl.nn.classifier import Classifier, Pooled
from mstl.nn.lenet import LeNet
from mstl.nn.mlp import MLP
from mstl.nn.resnet import NAMES as RESNETS
from mstl.nn.resnet import ResNetEncoder
from mstl.nn.unet import Encoder, Predictor
from mstl.system.errors import InputError

NAMES = ("auto", "unet", "lenet", "mlp", *RESNETS)
SMALL = 32  # pixels a side, up to which an image of a class is a digit's


def choice(name: str, shape: tuple[int, int, int], classes: int) -> str:
    """The encoder that "auto" means: "mlp" for vectors, "lenet" for classes of small images, else "unet".

    Args:
        name: of the encoder.
        shape: (channels, height, width) of an input.
        classes: K, or 0 for masks.

    Raises:
        InputError: an unknown name, or a network that does not fit inputs or problem.
    """
    if name not in NAMES:
        raise InputError(f"encoder must be one of {', '.join(NAMES)}; got {name!r}")
    vectors = shape[1:] == (1, 1)
    if name == "auto":
        return "mlp" if vectors else "lenet" if classes and max(shape[1:]) <= SMALL else "unet"
    if (name == "mlp") != vectors:
        raise InputError(
            f"encoder={name} does not read {'vectors' if vectors else 'images'}; use encoder=auto"
        )
    if name == "lenet" and not classes:
        raise InputError("encoder=lenet gives classes, not masks; use encoder=auto")
    if name in RESNETS and classes:
        raise InputError(f"encoder={name} gives masks, not classes; use encoder=auto")
    return name


def extractor(
    name: str,
    shape: tuple[int, int, int] = (3, 0, 0),
    classes: int = 0,
    *,
    width: int = 16,
    depth: int | None = None,
    norm: str = "group",
    weights: str | None = None,
    hidden: tuple[int, ...] = (1000, 500, 100),
    pooled: bool = True,
) -> nn.Module:
    """A fresh encoder; for classes one that ends in the place where domains are compared.

    Args:
        name, shape, classes: as in `choice`.
        width, depth, norm, weights, hidden: of the encoder, as far as it has them.
        pooled: for classes, whether it pools, or leaves that to who attends to its map.

    Raises:
        InputError: as `choice`, or values the network refuses.
    """
    name = choice(name, shape, classes)
    if weights is not None and name not in RESNETS:
        raise InputError("pre-trained weights exist for ResNet encoders only; set weights=None")
    if name == "mlp":
        encoder = MLP(shape[0], hidden, norm)
    elif name == "lenet":
        encoder = LeNet(shape[0], norm)
    elif name == "unet":
        encoder = Encoder(width, depth or 4, norm, shape[0])
    else:
        encoder = ResNetEncoder(name, weights, depth or 5, None if weights else norm)
    return Pooled(encoder, pooled) if classes else encoder


def predictor(channels: tuple[int, ...], classes: int = 0, norm: str = "group") -> nn.Module:
    """A fresh head for maps of these channels, fine to coarse: a decoder to one mask, or K classes."""
    return Classifier(channels[-1], classes) if classes else Predictor(channels, norm)
