"""From the coarsest map of an encoder back to the image."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class Reconstruction(nn.Module):
    """Doubles a map until it is as large as the image; a vector's is read by one layer.

    Args:
        map_shape: of the map, (k, h', w').
        shape: of the image, (c, h, w).

    Shape: (n, k, h', w') → (n, c, h, w).
    """

    def __init__(self, map_shape: tuple[int, int, int], shape: tuple[int, int, int]) -> None:
        super().__init__()
        sizes = [tuple(map_shape[1:])]
        while sizes[-1] != tuple(shape[1:]):
            sizes.append(tuple(min(2 * a, b) for a, b in zip(sizes[-1], shape[1:], strict=True)))
        channels = [max(16, map_shape[0] // 2**i) for i in range(len(sizes))]
        self.sizes = sizes[1:]
        self.ups = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise([map_shape[0], *channels[1:]])
        )
        self.last = nn.Conv2d(channels[-1] if self.sizes else map_shape[0], shape[0], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for size, up in zip(self.sizes, self.ups, strict=True):
            x = F.relu(up(F.interpolate(x, size, mode="nearest")))
        return self.last(x)
