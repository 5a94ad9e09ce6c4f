"""Feature vectors with classes: reviews as svmlight files, histograms of photographs as MATLAB files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mstl.data.domain import Domain
from mstl.data.readers.listing import existing_folder, plain_file
from mstl.system.errors import InputError

WORDS = 5000  # uni- and bigrams of the reviews
SENTIMENTS = ("negative", "positive")
OBJECTS = (
    *("back_pack", "bike", "calculator", "headphones", "keyboard"),
    *("laptop_computer", "monitor", "mouse", "mug", "projector"),
)
_AMAZON = "<domain>_train.svmlight and <domain>_test.svmlight, as in the repository of the DANN paper"
_SURF = "<domain>_SURF_L10.mat, histograms of 800 visual words"


def amazon_names(place: Path | None) -> tuple[str, ...]:
    """Domains of which a folder has the training file.

    Raises:
        InputError: no folder, or none of these files.
    """
    files = _files(place, "amazon", _AMAZON, "*_train.svmlight")
    return tuple(file.name.removesuffix("_train.svmlight") for file in files)


def amazon(name: str, place: Path | None) -> tuple[Domain, Domain]:
    """Training and test reviews of one domain, as counts of 5,000 uni- and bigrams; labels −1 and 1.

    Raises:
        InputError: a file is missing or damaged, has other features, or labels that are not −1 and 1.

    Source: Blitzer et al., ACL 2007, in the form of Chen et al., ICML 2012.
    """
    folder = _folder(place, "amazon", _AMAZON)
    return tuple(_review_file(name, folder / f"{name}_{part}.svmlight") for part in ("train", "test"))


def _review_file(name: str, file: Path) -> Domain:
    vectors, labels = read_svmlight(file, WORDS)
    if not set(labels.tolist()) <= {-1, 1}:
        found = ", ".join(f"{label:g}" for label in sorted(set(labels.tolist()))[:5])
        raise InputError(f"{file}: labels must be -1 (negative) and 1 (positive); found {found}")
    return _domain(name, vectors, (labels > 0).astype(np.uint8), SENTIMENTS, file.stem)


def surf_names(place: Path | None) -> tuple[str, ...]:
    """Domains of which a folder has the file, in lower case.

    Raises:
        InputError: no folder, or none of these files.
    """
    files = _files(place, "surf", _SURF, "*_SURF_L10.mat")
    return tuple(file.name.removesuffix("_SURF_L10.mat").lower() for file in files)


def surf(name: str, place: Path | None) -> Domain:
    """Photographs of ten kinds of objects as histograms, in the field's usual scaling; labels 1 to 10.

    .. math:: x \\mapsto \\frac{x / \\sum_k x_k - \\mu}{s}

    with mean and deviation (n in the denominator) of each feature over all rows of the domain: that of a
    target is scaled by its own unlabelled rows.

    Raises:
        InputError: the file is missing or damaged, or holds other features or labels.

    Source: Gong et al., "Geodesic flow kernel", CVPR 2012, section 4.
    """
    files = {
        file.name.removesuffix("_SURF_L10.mat").lower(): file
        for file in _files(place, "surf", _SURF, "*_SURF_L10.mat")
    }
    if name not in files:
        raise InputError(f"{place} holds no domain {name!r}; it has {', '.join(files)}")
    from scipy.io import loadmat

    file = plain_file(files[name])
    try:
        stored = loadmat(file)
        counts, labels = stored["fts"].astype(np.float64), stored["labels"].ravel().astype(np.int64)
    except Exception as error:  # a dozen kinds for a damaged file
        raise InputError(
            f"{file} cannot be read ({error}); expected fts (n, 800) and labels (n, 1)"
        ) from error
    if counts.ndim != 2 or counts.shape[1] != 800 or len(counts) != len(labels) or not len(labels):
        raise InputError(
            f"{file}: fts {counts.shape} and labels {labels.shape} must be (n, 800) and (n, 1), n ≥ 1"
        )
    _check_finite(file, counts)
    if (counts < 0).any() or (counts.sum(1) == 0).any():
        raise InputError(f"{file}: a histogram must be ≥ 0 and not all 0")
    if not 1 <= labels.min() <= labels.max() <= len(OBJECTS):
        raise InputError(
            f"{file}: labels must be 1 to {len(OBJECTS)}; found {labels.min()} to {labels.max()}"
        )
    shares = counts / counts.sum(1, keepdims=True)
    deviation = shares.std(0)
    scaled = (shares - shares.mean(0)) / np.where(deviation > 0, deviation, 1)
    return _domain(
        name, _vectors(scaled.astype(np.float32)), (labels - 1).astype(np.uint8), OBJECTS, file.stem
    )


def read_svmlight(file: Path, width: int) -> tuple[Tensor, np.ndarray]:
    """Vectors (n, width, 1, 1) and labels (n,) of an svmlight file whose indices begin at 0.

    Counts stay integers, of one byte where they fit; other numbers become float32. Sparse rows are filled
    only after that: 27,000 rows of 5,000 counts take 135 MB.

    Raises:
        InputError: the file is missing or damaged, has features beyond ``width``, or one that is not finite.
    """
    from sklearn.datasets import load_svmlight_file

    plain_file(file)
    try:
        rows, labels = load_svmlight_file(str(file), zero_based=True)
    except Exception as error:
        raise InputError(f"{file} is no svmlight file ({error}); expected `label index:value ...`") from error
    if not rows.shape[0]:
        raise InputError(f"{file} is empty; expected a line `label index:value ...` for each example")
    if rows.shape[1] > width:
        raise InputError(f"{file} has features up to {rows.shape[1] - 1}; expected 0 to {width - 1}")
    rows.resize(rows.shape[0], width)
    _check_finite(file, rows.data, np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)))
    whole = bool((rows.data == np.rint(rows.data)).all())
    low, high = (rows.data.min(), rows.data.max()) if rows.nnz else (0, 0)
    kinds = (np.uint8, np.int16, np.int32) if whole else ()
    fits = (k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
    return _vectors(rows.astype(next(fits, np.float32)).toarray()), labels


def _vectors(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))[:, :, None, None]


def _check_finite(file: Path, values: np.ndarray, rows: np.ndarray | None = None) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.flatnonzero(bad.reshape(len(values), -1).any(1))[0])
        row = first if rows is None else int(rows[first])
        raise InputError(f"{file}: example {row + 1} holds a number that is not finite; mend or remove it")


def _domain(name: str, vectors: Tensor, labels: np.ndarray, classes: tuple[str, ...], stem: str) -> Domain:
    n = len(vectors)
    return Domain(
        name=name,
        images=vectors,
        masks=None,
        groups=np.array([f"{stem}-{row}" for row in range(n)]),
        views=np.zeros(n, dtype=np.int64),
        labels=torch.from_numpy(labels),
        classes=classes,
    )


def _folder(place: Path | None, data: str, expected: str) -> Path:
    if place is None:
        raise InputError(f"data {data!r} needs data_dir: a folder with {expected}")
    return existing_folder(place, expected)


def _files(place: Path | None, data: str, expected: str, pattern: str) -> list[Path]:
    folder = _folder(place, data, expected)
    files = sorted(folder.glob(pattern), key=lambda file: file.name.lower())
    if not files:
        raise InputError(f"{folder} holds no {pattern}; expected {expected}")
    return [file for file in files if re.fullmatch(r"[\w-]+", file.name.split(".")[0])]
