"""Digits 0 to 9, white on black at 28×28: some at hand, others fetched through torchvision.

| domain        | digits                                                     | images | test   |
|---------------|------------------------------------------------------------|--------|--------|
| `handwritten` | scikit-learn's, 8×8, enlarged (Alpaydin & Kaynak, 1998)    | 1,797  |        |
| `sans`        | drawn from typefaces without serifs (`typefaces`)          | 1,000  |        |
| `serif`       | drawn from typefaces with serifs                           | 1,000  |        |
| `mono`        | drawn from typefaces of one width                          | 1,000  |        |
| `mnist`       | LeCun et al., 1998                                         | 60,000 | 10,000 |
| `usps`        | Hull, 1994, 16×16, enlarged                                | 7,291  | 2,007  |
| `mnist2000`, `usps1800` | samples of the two to train on, as ADDA's protocol has | 2,000, 1,800 | all |
| `framed1800`  | those of `usps1800`, as large as MNIST's in their frame    | 1,800  | all    |
| `svhn`        | house numbers in colour, 32×32, shrunk (Netzer et al., 2011) | 73,257 | 26,032 |

The groups that no split parts: of drawn digits, the set, which shares face and look and holds each digit
once; of the others, whose writers nobody names, each image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mstl.data.chance import chance
from mstl.data.domain import Domain
from mstl.data.readers import typefaces
from mstl.data.readers.download import whole
from mstl.data.readers.listing import existing_folder
from mstl.system.errors import InputError

SIDE = typefaces.SIDE
CLASSES = tuple("0123456789")
# Data sets of their own, digits-low and digits-high: two sets of classes that have none in common.
HALVES = {"low": range(5), "high": range(5, 10)}
EMBEDDED = ("handwritten", *typefaces.FACES)  # at hand; sources where a recipe names none


class Fetched(NamedTuple):
    """What torchvision fetches.

    Attributes:
        train, test: make the data set from its folder; ``download`` as torchvision has it.
        files: that must lie in the folder, as torchvision puts them there.
        shape: of an image.
    """

    train: Callable
    test: Callable
    files: tuple[str, ...]
    shape: tuple[int, ...]


def _of(kind: str, **part: object) -> Callable:
    def made(folder: Path, download: bool = False) -> object:
        from torchvision import datasets  # here: it takes longer to import than torch

        return getattr(datasets, kind)(str(folder), download=download, **part)

    return made


FETCHED = {
    "mnist": Fetched(
        _of("MNIST", train=True),
        _of("MNIST", train=False),
        tuple(f"MNIST/raw/{a}-{b}-ubyte" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1")),
        (28, 28),
    ),
    "usps": Fetched(_of("USPS", train=True), _of("USPS", train=False), ("usps.bz2", "usps.t.bz2"), (16, 16)),
    "svhn": Fetched(
        _of("SVHN", split="train"),
        _of("SVHN", split="test"),
        ("train_32x32.mat", "test_32x32.mat"),
        (3, 32, 32),
    ),
}


# Of how many training images a domain is a sample, the same for every seed (Tzeng et al., CVPR 2017).
SAMPLES = {"mnist2000": ("mnist", 2000), "usps1800": ("usps", 1800)}
FRAMED = {"framed1800": "usps1800"}  # a digit of USPS fills its image, MNIST's have 20 of 28 pixels
BOX = 20


def names(data_dir: Path | None = None) -> tuple[str, ...]:
    """All domains; those after `EMBEDDED` are fetched on first use."""
    return (*EMBEDDED, *FETCHED, *SAMPLES, *FRAMED)


def read(name: str, data_dir: Path | None, cache: Path) -> tuple[Domain, Domain | None]:
    """A domain, and its test set where it has one of its own.

    Args:
        name: one of `names`.
        data_dir: where torchvision's files may lie; what is not there is fetched.
        cache: where fetched files are kept, in ``digits/<name>``.

    Raises:
        InputError: no network, or damaged files.
    """
    if name == "handwritten":
        return _handwritten(), None
    if name in typefaces.FACES:
        return _drawn(name), None
    if name in SAMPLES:
        whole_name, count = SAMPLES[name]
        train, test = read(whole_name, data_dir, cache)
        rows = sorted(range(len(train)), key=lambda row: chance(name, row))[:count]
        return train.select(sorted(rows), name), test
    if name in FRAMED:
        train, test = read(FRAMED[name], data_dir, cache)
        return _framed(train, name), _framed(test, name)
    source = FETCHED[name]
    folder = data_dir and existing_folder(data_dir, f"the folder that holds {', '.join(source.files)}")
    if not folder or not all((folder / file).is_file() for file in source.files):
        folder = _fetch(name, cache / "digits" / name)
    return _read(name, folder, source.train), _read(name, folder, source.test)


def some(parts: tuple[Domain | None, ...], kept: range) -> tuple[Domain | None, ...]:
    """Of each domain the digits in ``kept``, which are all its classes then."""
    return tuple(
        part
        and replace(
            chosen := part.select(np.flatnonzero(np.isin(part.labels.numpy(), kept))),
            labels=chosen.labels - kept.start,
            classes=CLASSES[kept.start : kept.stop],
        )
        for part in parts
    )


@once
def _handwritten() -> Domain:
    from sklearn.datasets import load_digits

    known = load_digits()
    grey = torch.from_numpy((known.images * 255 / 16).round().astype(np.uint8))[:, None]
    return _domain("handwritten", _in_frame(grey), known.target)


@once
def _drawn(name: str) -> Domain:
    made = typefaces.sets(name)
    groups = np.repeat([f"{name}-{number:02d}" for number in range(len(made))], 10)
    images = torch.from_numpy(made).flatten(0, 1)[:, None]
    return _domain(name, images, np.tile(np.arange(10), len(made)), groups)


def _fetch(name: str, place: Path) -> Path:
    """``place`` with torchvision's files, which torchvision compares with the MD5 sums that it knows."""
    source = FETCHED[name]

    def fill(folder: Path) -> None:
        try:
            for part in (source.train, source.test):
                part(folder, download=True)
        except Exception as error:  # urllib raises a dozen kinds for no network, torchvision plain ones
            raise InputError(
                f"cannot fetch digits {name!r} ({error}); connect to the network, or name by data_dir the "
                f"folder that holds {', '.join(source.files)}"
            ) from error

    return place if place.is_dir() else whole(place, fill)


def _read(name: str, folder: Path, part: Callable) -> Domain:
    try:
        made = part(folder)
        images = torch.as_tensor(np.asarray(made.data))
        labels = torch.as_tensor(np.asarray(made.labels if name == "svhn" else made.targets))
    except Exception as error:  # each of torchvision's readers fails in its own ways
        raise InputError(f"{folder}: digits {name!r} are damaged ({error}); get them again") from error
    expected = FETCHED[name].shape
    if tuple(images.shape[1:]) != expected or not ((labels >= 0) & (labels < 10)).all():
        raise InputError(
            f"{folder}: digits {name!r} must be of {'×'.join(map(str, expected))} with labels 0 to 9; found "
            f"{'×'.join(map(str, images.shape[1:]))} with labels {labels.min()} to {labels.max()}"
        )
    return _domain(name, images if images.ndim == 4 else images[:, None], labels)


def _domain(name: str, images: Tensor, labels: object, groups: np.ndarray | None = None) -> Domain:
    n = len(images)
    return Domain(
        name,
        _resized(images, SIDE).expand(-1, 3, -1, -1),
        None,
        np.array([f"{name}-{i:05d}" for i in range(n)]) if groups is None else groups,
        np.zeros(n, dtype=np.int64),
        labels=torch.as_tensor(labels).to(torch.uint8),
        classes=CLASSES,
    )


def _framed(domain: Domain, name: str) -> Domain:
    return replace(domain, name=name, images=_in_frame(domain.images))


def _in_frame(images: Tensor) -> Tensor:
    """In the middle 20×20, as MNIST's digits."""
    return F.pad(_resized(images, BOX), ((SIDE - BOX) // 2,) * 4)


def _resized(images: Tensor, side: int) -> Tensor:
    """uint8 (n, c, side, side), bilinear; where it shrinks, a pixel is a weighted mean of those it covers."""
    if images.shape[-1] == side:
        return images

    def one(some: Tensor) -> Tensor:
        made = F.interpolate(some.float(), (side, side), mode="bilinear", antialias=True)
        return made.round().to(torch.uint8)

    return torch.cat([one(some) for some in images.split(4096)])
