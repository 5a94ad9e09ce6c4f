"""What a problem reads of a domain."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor


class Content(Protocol):
    """A `mstl.data.domain.Domain`, which stands above this room."""

    name: str
    masks: Tensor | None
    labels: Tensor | None
    classes: tuple[str, ...]
    groups: np.ndarray
    views: np.ndarray
    parts: Tensor | None
    part_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
