"""Domains and tasks of noise: the cost of a step does not depend on the picture."""

from __future__ import annotations

import numpy as np
import torch

from mstl.data.augment import Augment
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.problems import Classification


def domain(name: str, n: int, height: int, width: int) -> Domain:
    """n images with random masks."""
    return Domain(
        name,
        images=torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8),
        masks=torch.randint(0, 2, (n, 1, height, width), dtype=torch.uint8),
        groups=np.arange(n).astype(str),
        views=np.zeros(n, dtype=np.int64),
    )


def task(sources: int, size: tuple[int, int], images: int = 32, labels: int = 8) -> Task:
    """J sources of ``images`` images and more, and a target, all of one size."""
    return Task(
        "noise",
        sources=tuple(domain(f"source {j}", images + 4 * j, *size) for j in range(sources)),
        labelled=domain("labelled", labels, *size),
        unlabelled=domain("unlabelled", images, *size),
        validation=domain("validation", 2, *size),
        test=domain("test", 2, *size),
    )


def of_classes(name: str, n: int, shape: tuple[int, int, int], classes: tuple[str, ...]) -> Domain:
    """n images, or vectors of counts of which one in a hundred is not 0, of random classes."""
    drawn = torch.randint(0, 256, (n, *shape), dtype=torch.uint8)
    counts = shape[1:] == (1, 1)
    return Domain(
        name,
        images=(drawn < 3).to(torch.uint8) * (1 + drawn % 3) if counts else drawn,
        masks=None,
        groups=np.arange(n).astype(str),
        views=np.zeros(n, dtype=np.int64),
        labels=torch.randint(0, len(classes), (n,), dtype=torch.uint8),
        classes=classes,
    )


def task_of_classes(sources: int, shape: tuple[int, int, int], classes: int, images: int = 2000) -> Task:
    """J sources and a target whose images have classes and are not varied."""
    names = tuple(f"class {k}" for k in range(classes))
    return Task(
        "noise",
        sources=tuple(of_classes(f"source {j}", images, shape, names) for j in range(sources)),
        labelled=of_classes("labelled", 8 * classes, shape, names),
        unlabelled=of_classes("unlabelled", images, shape, names),
        validation=of_classes("validation", 2, shape, names),
        test=of_classes("test", 2, shape, names),
        problem=Classification(names, shape),
        augment=Augment.none(),
    )
