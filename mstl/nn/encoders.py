"""Which networks go with what is fed and what is asked: an encoder by its name, and the head that fits it."""

from __future__ import annotations

import re

from torch import nn

from mstl.nn.classifier import Classifier, Pooled
from mstl.nn.frozen import freeze, freeze_stages
from mstl.nn.lenet import LeNet
from mstl.nn.mlp import MLP
from mstl.nn.timm_encoder import TimmEncoder, check_reduction
from mstl.nn.unet import Encoder, Predictor
from mstl.nn.weights import RANDOM, Weights, architecture_only, load_run, reading, weights_of_run
from mstl.system.errors import InputError

OURS = ("unet", "lenet", "mlp")
SMALL = 32  # pixels a side, up to which an image of a class is a digit's


def choice(name: str, shape: tuple[int, int, int], classes: int) -> str:
    """The encoder that "auto" means: "mlp" for vectors, "lenet" for classes of small images, else "unet".

    Args:
        name: of the encoder; of what is none of ours timm will say whether it is its own.
        shape: (channels, height, width) of an input.
        classes: K, or 0 for masks.

    Raises:
        InputError: a network of ours that does not fit inputs or problem.
    """
    vectors = shape[1:] == (1, 1)
    if name == "auto":
        return "mlp" if vectors else "lenet" if classes and max(shape[1:]) <= SMALL else "unet"
    if (name == "mlp") != vectors:
        raise InputError(
            f"encoder={name} does not read {'vectors' if vectors else 'images'}; use encoder=auto"
        )
    if name == "lenet" and not classes:
        raise InputError("encoder=lenet gives classes, not masks; use encoder=auto")
    return name


def extractor(
    name: str,
    shape: tuple[int, int, int] = (3, 0, 0),
    classes: int = 0,
    *,
    width: int = 16,
    depth: int = 0,
    norm: str = "group",
    weights: Weights | str = RANDOM,
    frozen: str = "none",
    hidden: tuple[int, ...] = (1000, 500, 100),
    pooled: bool = True,
) -> nn.Module:
    """A fresh encoder; for classes one that ends in the place where domains are compared.

    Args:
        name: ``unet``, ``lenet``, ``mlp``, any network of timm's, or ``auto``: that of the weights, else the
            one that fits.
        shape, classes: as in `choice`.
        width, depth, norm, hidden: of the encoder, as far as it has them; depth 0 is its own.
        weights: what it starts from, or the name of it.
        frozen: what of it stands still: ``none``, ``all``, or how many of its stages, from the finest. Their
            normalisation keeps its statistics.
        pooled: for classes, whether it pools, or leaves that to who attends to its map.

    Raises:
        InputError: as `choice`, or values the network refuses.
    """
    weights = Weights(weights) if isinstance(weights, str) else weights
    made = _made(name, shape, classes, width, depth, norm, weights, hidden, pooled)
    if frozen == "all":
        return freeze(made)
    if frozen != "none":
        if not re.fullmatch("[0-9]{1,4}", frozen):
            raise InputError(f"frozen={frozen} must be none, all, or a number of stages of the encoder")
        freeze_stages(made, int(frozen))
    return made


def _made(name, shape, classes, width, depth, norm, weights, hidden, pooled) -> nn.Module:
    if name == "auto":
        name = weights.encoder()
    name = choice(name, shape, classes)
    if weights.run is not None:
        # Built as the run's was; only then is it known what its state must look like.
        with architecture_only():
            before = weights_of_run(weights.run, weights.place)
            made = _made(name, shape, classes, width, depth, norm, before, hidden, pooled)
        if reading():
            load_run(made, weights.run)
        return made
    if weights.given and name in OURS:
        raise InputError(
            f"weights={weights.name} are of a network of timm's, and encoder={name} is ours; name one "
            "of timm's (encoder=tf_efficientnet_lite0), or the folder of a finished run as weights"
        )
    if name == "mlp":
        encoder = MLP(shape[0], hidden, norm)
    elif name == "lenet":
        encoder = LeNet(shape[0], norm)
    elif name == "unet":
        encoder = Encoder(width, depth or 4, norm, shape[0])
    else:
        options = {"width": width, "depth": depth, "norm": norm, "channels": shape[0]}
        encoder = TimmEncoder(name, weights, masks=not classes, **options)
        if shape[1]:
            check_reduction(name, encoder.reduction, shape[1:])
    return Pooled(encoder, pooled) if classes else encoder


def predictor(channels: tuple[int, ...], classes: int = 0, norm: str = "group") -> nn.Module:
    """A fresh head for maps of these channels, fine to coarse: a decoder to one mask, or K classes."""
    return Classifier(channels[-1], classes) if classes else Predictor(channels, norm)
