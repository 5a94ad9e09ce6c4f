"""Domains and tasks of noise: the cost of a step does not depend on the picture."""

from __future__ import annotations

import numpy as np
import torch

from mstl.data.domain import Domain
from mstl.data.task import Task


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
