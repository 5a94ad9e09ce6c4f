"""Small real things that many tests share."""

from __future__ import annotations

import os

# One thread a worker: pytest runs one worker a core, and reductions stay bit-identical.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import torch

from mstl.data.augment import Augment
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.methods import METHODS
from mstl.problems import Classification

# pytest --trust FOLDER; a server of the tests' own; no other network
pytest_plugins = ("trust_report", "local_https", "offline")

# A busy machine is no reason to fail: time is measured in benchmarks/.
hypothesis.settings.register_profile("mstl", deadline=None)
hypothesis.settings.load_profile("mstl")


# What can be trained for masks, most of it for classes, too; tests/test_problems.py is of those.
OF_MASKS = tuple(name for name, entry in METHODS.items() if "segmentation" in entry.problems)


def blobs(name: str, n: int, size: tuple[int, int], seed: int) -> Domain:
    """Bright rectangles on dark noise, two images a car; part 1 is the left half, part 2 the right."""
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    masks = torch.zeros(n, 1, h, w, dtype=torch.uint8)
    parts = torch.zeros_like(masks)
    for i in range(n):
        top = int(torch.randint(0, h // 2, (1,), generator=generator))
        left = int(torch.randint(0, w // 2, (1,), generator=generator))
        masks[i, 0, top : top + h // 2, left : left + w // 2] = 1
        parts[i, 0, top : top + h // 2, left : left + w // 4] = 1
        parts[i, 0, top : top + h // 2, left + w // 4 : left + w // 2] = 2
    noise = torch.randint(0, 80, (n, 3, h, w), generator=generator, dtype=torch.uint8)
    cars = np.array([f"{name}-{i // 2}" for i in range(n)])
    return Domain(name, noise + 120 * masks, masks, cars, np.arange(n) % 16 + 1, parts, ("left", "right"))


def toy_task(
    sources: int = 3, labels: int = 4, size: tuple[int, int] = (32, 48), source_size=(32, 32)
) -> Task:
    """A task of `blobs` whose sources have unequal numbers of images."""
    return Task(
        name="toy/blobs",
        sources=tuple(blobs(f"source {j}", 10 + 3 * j, source_size, seed=j) for j in range(sources)),
        labelled=blobs("labelled", labels, size, seed=100) if labels else None,
        unlabelled=blobs("unlabelled", 12, size, seed=101),
        validation=blobs("validation", 6, size, seed=102),
        test=blobs("test", 10, size, seed=103),
    )


def textures(name: str, n: int, shape: tuple[int, int, int], classes: tuple[str, ...], seed: int) -> Domain:
    """One texture a class, the same in every domain, under noise; every image is a group of its own."""
    k = len(classes)
    generator = np.random.default_rng(seed)
    pattern = np.random.default_rng(7).integers(0, 3, (k, *shape))
    labels = np.arange(n) % k
    counts = (40 if shape[1:] != (1, 1) else 1) * (pattern[labels] + generator.integers(0, 3, (n, *shape)))
    return Domain(
        name,
        torch.from_numpy(counts.astype(np.uint8)),
        None,
        np.array([f"{name}-{i}" for i in range(n)]),
        np.zeros(n, dtype=np.int64),
        labels=torch.from_numpy(labels.astype(np.uint8)),
        classes=classes,
    )


def toy_classes(shape=(3, 28, 28), classes: int = 3, sources: int = 3, labels: int = 6) -> Task:
    """A task of `textures`, images or vectors (d, 1, 1), whose sources have unequal numbers of images."""
    names = ("NA", *"bcdefghij")[:classes]  # pandas alone would take the first for a missing one

    def domain(name: str, n: int, seed: int) -> Domain:
        return textures(name, n, shape, names, seed)

    return Task(
        name="toy/textures",
        sources=tuple(domain(f"source {j}", 10 + 3 * j, j) for j in range(sources)),
        labelled=domain("labelled", labels, 100) if labels else None,
        unlabelled=domain("unlabelled", 12, 101),
        validation=domain("validation", 7, 102),
        test=domain("test", 10, 103),
        problem=Classification(names, shape),
        augment=Augment.none(),
    )


@pytest.fixture
def task() -> Task:
    return toy_task()
