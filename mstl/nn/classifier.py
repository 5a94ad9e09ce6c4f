"""Networks for classes: what pools an encoder's map to one place, and the head that reads it."""

from __future__ import annotations

from torch import Tensor, nn


class Pooled(nn.Module):
    """An encoder for classes: its coarsest map and, of one place, what pooling leaves of it.

    So ``maps[-1]`` is always what domains are compared in. Finer maps, which a decoder would read, are left
    out.

    Args:
        encoder: from images and domain to maps, with ``channels``, ``stride`` and ``pooling()``.
        pooled: also pool; without it the map alone is returned, and `pooling` is left to who attends to it.

    Shape: images (n, c, h, w) → maps (n, k, h', w') and, pooled, (n, d, 1, 1).
    """

    def __init__(self, encoder: nn.Module, pooled: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        pool, width = encoder.pooling() if pooled else (None, 0)
        self.pool = pool
        self.channels = (encoder.channels[-1], *([width] if pool is not None else []))
        self.stride = encoder.stride
        self.stage_modules = tuple(f"encoder.{name}" for name in encoder.stage_modules)

    def pooling(self) -> tuple[nn.Module | None, int]:
        """What is still to be done before a head reads the last map, and the channels that it then has."""
        return (None, self.channels[-1]) if self.pool is not None else self.encoder.pooling()

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        return self.staged(images, domain)[1]

    def staged(
        self, images: Tensor, domain: int | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Maps of the encoder's stages, fine to coarse, and what `forward` returns."""
        maps = self.encoder(images, domain)
        coarsest = maps[-1]
        last = (coarsest,) if self.pool is None else (coarsest, self.pool(coarsest))
        return maps[self.encoder.stages], last


class Classifier(nn.Module):
    """Linear head of K classes on the last of several maps.

    Args:
        channels: d of that map.
        classes: K.

    Shape: tuple of maps, the last (n, d, 1, 1) → logits (n, K, 1, 1).
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, features: tuple[Tensor, ...], domain: int | None = None) -> Tensor:
        return self.head(features[-1])
