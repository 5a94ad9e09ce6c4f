"""Domain: images or vectors, their masks or classes, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mstl.system.errors import InputError

MOST_CLASSES = 256  # a class is one byte
COUNTS = (torch.uint8, torch.int16, torch.int32)


@dataclass(frozen=True)
class Domain:
    """A set of labelled images, or of feature vectors, that share one origin.

    A vector is an image of one place: what is true of maps is true of it.

    Attributes:
        name: what figures and tables call the domain.
        images: uint8 (n, 3, h, w), RGB; or vectors (n, d, 1, 1), integers (counts) or float32; or texts,
            integers (n, T, 1, 1), indices of ``vocabulary``, of which 0 is no word.
        masks: uint8 (n, 1, h, w), values in {0, 1}, 1 is the object; None where images have classes alone.
        groups: str (n,), the car an image shows. Splits never cut through a group.
        views: int64 (n,), the view number (Carvana's 1..16), 0 where unknown.
        parts: uint8 (n, 1, h, w) part index map or None; 0 is "no part" and index
            k > 0 is ``part_names[k - 1]``.
        part_names: names of the part indices 1, 2, ...
        labels: uint8 (n,), the class of each image, an index of ``classes``; None where there are masks only.
        classes: names of the classes.
        partial: whether masks mark a part of the object only. What they leave unmarked is unknown then: it
            is background, or another part.
        vocabulary: the words of texts; empty where there are none.
        known: uint8 (n,), 1 where the image has a mask or class and 0 where it has none, which then holds
            zeros; None where all have one. Only unlabelled images of a target may lack it.
    """

    name: str
    images: Tensor
    masks: Tensor | None
    groups: np.ndarray
    views: np.ndarray
    parts: Tensor | None = None
    part_names: tuple[str, ...] = ()
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    partial: bool = False
    vocabulary: tuple[str, ...] = ()
    known: Tensor | None = None

    def __post_init__(self) -> None:
        n, _, h, w = self.images.shape if self.images.ndim == 4 else (0, 0, 0, 0)
        expected = {"masks": (n, 1, h, w), "parts": (n, 1, h, w), "labels": (n,), "known": (n,)}
        if self.is_vectors:
            self._check_vectors()
        else:
            expected = {"images": (n, 3, h, w), **expected}
        for field, shape in expected.items():
            value = getattr(self, field)
            if value is None:
                continue
            if value.dtype != torch.uint8 or tuple(value.shape) != shape or n == 0:
                wanted = "(n,)" if len(shape) == 1 else f"(n, {shape[1]}, h, w)"
                size = "" if len(shape) == 1 else " and the height and width of the images"
                raise InputError(
                    f"domain {self.name!r}: {field} must be uint8 of shape {wanted} with n ≥ 1{size}; "
                    f"got {value.dtype} {tuple(value.shape)}"
                )
        for field in ("groups", "views"):
            if len(getattr(self, field)) != n:
                raise InputError(
                    f"domain {self.name!r}: {field} has {len(getattr(self, field))} entries for {n} images"
                )
        if self.masks is None and self.labels is None:
            raise InputError(f"domain {self.name!r} has neither masks nor labels; give it one of them")
        if self.masks is not None and int(self.masks.max()) > 1:
            raise InputError(
                f"domain {self.name!r}: masks must hold 0 and 1 only; found {int(self.masks.max())}"
            )
        if self.labels is not None and not int(self.labels.max()) < len(self.classes) <= MOST_CLASSES:
            raise InputError(
                f"domain {self.name!r}: labels are indices of its {len(self.classes)} classes, of which "
                f"{MOST_CLASSES} are the most; found label {int(self.labels.max())}"
            )
        if self.known is not None:
            self._check_known()

    def _check_known(self) -> None:
        """Nobody can read what nobody gave: it is zero. Where nothing is missing, nothing needs saying."""
        if int(self.known.max()) > 1:
            raise InputError(f"domain {self.name!r}: known must hold 0 and 1 only")
        missing = self.known == 0
        for field in ("masks", "parts", "labels"):
            value = getattr(self, field)
            if value is not None and bool(value[missing].any()):
                raise InputError(
                    f"domain {self.name!r}: {field} of images that are not known must be 0; found others"
                )
        if not bool(missing.any()):
            object.__setattr__(self, "known", None)

    def _check_vectors(self) -> None:
        kind = self.images.dtype
        if kind not in (*COUNTS, torch.float32):
            raise InputError(f"domain {self.name!r}: vectors must be integers or float32; got {kind}")
        if kind == torch.float32 and not bool(self.images.isfinite().all()):
            row = int((~self.images.isfinite()).flatten(1).any(1).nonzero()[0])
            raise InputError(f"domain {self.name!r}: vector {row} holds a number that is not finite")
        if self.vocabulary and not 0 <= int(self.images.min()) <= int(self.images.max()) < len(
            self.vocabulary
        ):
            raise InputError(
                f"domain {self.name!r}: words are indices of the {len(self.vocabulary)} of its vocabulary; "
                f"found {int(self.images.min())} to {int(self.images.max())}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_vectors(self) -> bool:
        """Whether the domain holds feature vectors rather than images."""
        return self.images.ndim == 4 and tuple(self.images.shape[2:]) == (1, 1) and len(self.images) > 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def has_label(self) -> np.ndarray:
        """bool (n,), whether an image has a mask or class."""
        return np.ones(len(self), bool) if self.known is None else self.known.cpu().numpy() == 1

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
        return self._each(
            lambda tensor: tensor[rows],
            name=name or self.name,
            groups=self.groups[index],
            views=self.views[index],
        )

    def join(self, other: Domain, name: str) -> Domain:
        """The images of both domains, this one's first; what only one of them has is dropped."""
        tensors = {
            field: torch.cat((own, theirs))
            for field in TENSORS
            if (own := getattr(self, field)) is not None and (theirs := getattr(other, field)) is not None
        }
        if self.known is not None or other.known is not None:
            known = np.concatenate((self.has_label, other.has_label))
            tensors["known"] = torch.from_numpy(known.astype(np.uint8)).to(self.images.device)
        return replace(
            self,
            name=name,
            **{field: tensors.get(field) for field in TENSORS},
            groups=np.concatenate((self.groups, other.groups)),
            views=np.concatenate((self.views, other.views)),
            part_names=self.part_names if "parts" in tensors else (),
        )

    def labelled(self) -> Domain | None:
        """The images that have a mask or class, or None where none has."""
        if self.known is None:
            return self
        return self.select(self.has_label) if self.has_label.any() else None

    def to(self, device: torch.device | str) -> Domain:
        """The same domain with its tensors on ``device``."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor], **others: object) -> Domain:
        tensors = {field: getattr(self, field) for field in TENSORS}
        changed = {field: None if value is None else change(value) for field, value in tensors.items()}
        return replace(self, **changed, **others)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, class, group, view, order, or `partial`."""
        digest = hashlib.blake2b(digest_size=8)
        for value in (getattr(self, field) for field in TENSORS):
            if value is not None:
                digest.update(repr(tuple(value.shape)).encode())
                digest.update(value.cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update("\0".join((str(self.images.dtype), *self.classes)).encode())
        if self.partial:
            digest.update(b"partial")
        if self.vocabulary:
            digest.update("\0".join(self.vocabulary).encode())
        digest.update("\0".join(map(str, self.groups)).encode())
        digest.update(np.ascontiguousarray(self.views, dtype=np.int64).tobytes())
        return digest.hexdigest()


TENSORS = ("images", "masks", "parts", "labels", "known")
