"""Domain: images, masks and where they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mstl.system.errors import InputError


@dataclass(frozen=True)
class Domain:
    """A set of segmented images that share one origin.

    Attributes:
        name: what figures and tables call the domain.
        images: uint8 (n, 3, h, w), RGB.
        masks: uint8 (n, 1, h, w), values in {0, 1}; 1 is the object.
        groups: str (n,), the car an image shows. Splits never cut through a group.
        views: int64 (n,), the view number (Carvana's 1..16), 0 where unknown.
        parts: uint8 (n, 1, h, w) part index map or None; 0 is "no part" and index
            k > 0 is ``part_names[k - 1]``.
        part_names: names of the part indices 1, 2, ...
    """

    name: str
    images: Tensor
    masks: Tensor
    groups: np.ndarray
    views: np.ndarray
    parts: Tensor | None = None
    part_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, _, h, w = self.images.shape if self.images.ndim == 4 else (0, 0, 0, 0)
        expected = {"images": (n, 3, h, w), "masks": (n, 1, h, w), "parts": (n, 1, h, w)}
        for field, shape in expected.items():
            value = getattr(self, field)
            if value is None:
                continue
            if value.dtype != torch.uint8 or tuple(value.shape) != shape or n == 0:
                raise InputError(
                    f"domain {self.name!r}: {field} must be uint8 of shape (n, {shape[1]}, h, w) with "
                    f"n ≥ 1 and the height and width of the images; got {value.dtype} {tuple(value.shape)}"
                )
        for field in ("groups", "views"):
            if len(getattr(self, field)) != n:
                raise InputError(
                    f"domain {self.name!r}: {field} has {len(getattr(self, field))} entries for {n} images"
                )
        if int(self.masks.max()) > 1:
            raise InputError(
                f"domain {self.name!r}: masks must hold 0 and 1 only; found {int(self.masks.max())}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[-2], self.images.shape[-1]

    def select(self, index: np.ndarray | list[int], name: str | None = None) -> Domain:
        """The images at ``index`` (integers or booleans), in that order.

        An empty selection is an error: a domain holds at least one image.
        """
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        if index.size == 0:
            raise InputError(f"domain {self.name!r}: the selection {name or self.name!r} is empty")
        rows = torch.as_tensor(index, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            name=name or self.name,
            images=self.images[rows],
            masks=self.masks[rows],
            groups=self.groups[index],
            views=self.views[index],
            parts=None if self.parts is None else self.parts[rows],
        )

    def join(self, other: Domain, name: str) -> Domain:
        """The images of both domains, this one's first."""
        both = self.parts is not None and other.parts is not None
        return replace(
            self,
            name=name,
            images=torch.cat((self.images, other.images)),
            masks=torch.cat((self.masks, other.masks)),
            groups=np.concatenate((self.groups, other.groups)),
            views=np.concatenate((self.views, other.views)),
            parts=torch.cat((self.parts, other.parts)) if both else None,
            part_names=self.part_names if both else (),
        )

    def to(self, device: torch.device | str) -> Domain:
        """The same domain with its tensors on ``device``."""
        parts = None if self.parts is None else self.parts.to(device)
        return replace(self, images=self.images.to(device), masks=self.masks.to(device), parts=parts)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, group, view or order."""
        digest = hashlib.blake2b(digest_size=8)
        for value in (self.images, self.masks, self.parts):
            if value is not None:
                digest.update(repr(tuple(value.shape)).encode())
                digest.update(value.cpu().contiguous().numpy().tobytes())
        digest.update("\0".join(map(str, self.groups)).encode())
        digest.update(np.ascontiguousarray(self.views, dtype=np.int64).tobytes())
        return digest.hexdigest()
