"""Masks of images, and their scores, every one derived from four counts per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mstl.nn.losses import segmentation_loss
from mstl.problems.content import Content
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Segmentation:
    """The mask of one object an image."""

    name: ClassVar[str] = "segmentation"
    score: ClassVar[str] = "dice"
    classes: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[tuple[int, int, int]] = (3, 0, 0)  # of an input; any size
    moves: ClassVar[bool] = True  # labels move with the pixels
    reads: ClassVar[str] = "images"

    def labels(self, domain: Content) -> Tensor:
        """uint8 (n, 1, h, w)."""
        return domain.masks

    def check(self, domain: Content) -> None:
        """Raises:
        InputError: the domain has no masks.
        """
        if domain.masks is None:
            raise InputError(f"domain {domain.name!r} has no masks; a segmentation needs them")

    def loss(self, logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """`mstl.nn.segmentation_loss` of logits and masks (n, 1, h, w), 0-d.

        Args:
            logits, y: (n, 1, h, w).
            weights: of every image, (n,); 1 by default.
        """
        return segmentation_loss(logits, y, weights)

    def shares(self, y: Tensor) -> Tensor:
        """Share of the object among masks (..., b, 1, h, w), (..., 1)."""
        return y.mean(dim=(-4, -3, -2, -1)).unsqueeze(-1)

    def constant(self, logits: Tensor) -> str:
        """``nothing`` or ``everything`` where that is predicted at every place of all images, else ``""``."""
        found = logits > 0
        return (
            "" if bool(found.any()) != bool(found.all()) else "everything" if bool(found.any()) else "nothing"
        )

    def table(self, logits: Tensor, domain: Content) -> pd.DataFrame:
        """One row an image: car, view, counts, Dice, IoU and, where part maps exist, recall of each part."""
        count = counts(logits, domain.masks.cpu())
        table = pd.DataFrame(count.numpy(), columns=["tp", "fp", "fn", "tn"])
        table.insert(0, "car", np.asarray(domain.groups, dtype=str))
        table.insert(1, "view", domain.views)
        table["dice"] = dice(count).numpy()
        table["iou"] = iou(count).numpy()
        if domain.parts is not None:
            recall = part_recall(logits, domain.parts.cpu(), len(domain.part_names))
            for k, name in enumerate(domain.part_names):
                table[f"recall_{name}"] = recall[:, k].numpy()
        return table


def counts(logits: Tensor, masks: Tensor) -> Tensor:
    """True and false positives and negatives of each image, threshold at logit 0.

    Args:
        logits: float (n, 1, h, w); a pixel is predicted as object where the logit is > 0.
        masks: (n, 1, h, w), 1 is the object.

    Returns:
        int64 (n, 4): tp, fp, fn, tn in pixels.
    """
    if logits.shape != masks.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and masks {tuple(masks.shape)} differ in shape")
    predicted, true = logits.flatten(1) > 0, masks.flatten(1) > 0.5
    tp = (predicted & true).sum(1)
    fp = (predicted & ~true).sum(1)
    fn = (~predicted & true).sum(1)
    tn = (~predicted & ~true).sum(1)
    return torch.stack((tp, fp, fn, tn), dim=1)


def dice(count: Tensor) -> Tensor:
    """Dice coefficient 2·tp / (2·tp + fp + fn) of each row of ``counts``, float64 (n,).

    An empty mask predicted empty scores 1; an empty mask with any prediction scores 0.
    """
    tp, fp, fn, _ = count.double().unbind(1)
    return torch.where(tp + fp + fn == 0, 1.0, 2 * tp / (2 * tp + fp + fn).clamp(min=1))


def iou(count: Tensor) -> Tensor:
    """Jaccard index tp / (tp + fp + fn) of each row of ``counts``, float64 (n,); empty masks as in `dice`."""
    tp, fp, fn, _ = count.double().unbind(1)
    return torch.where(tp + fp + fn == 0, 1.0, tp / (tp + fp + fn).clamp(min=1))


def dice_mean_over_images(count: Tensor) -> Tensor:
    """Mean over images of the Dice of each image: the score Kaggle's Carvana challenge used."""
    return dice(count).mean()


def dice_pooled(count: Tensor) -> Tensor:
    """Dice of all pixels taken together: large objects weigh more."""
    return dice(count.sum(0, keepdim=True)).squeeze()


def iou_mean_over_images(count: Tensor) -> Tensor:
    """Mean over images of the Jaccard index of each image."""
    return iou(count).mean()


def part_recall(logits: Tensor, parts: Tensor, part_count: int) -> Tensor:
    """Share of each part's pixels that are predicted as object.

    Args:
        logits: (n, 1, h, w).
        parts: uint8 (n, 1, h, w), part index map, 0 is "no part".
        part_count: number of parts P.

    Returns:
        float64 (n, P); NaN where an image does not show the part.
    """
    predicted = logits.flatten(1) > 0
    index = parts.flatten(1)
    recalls = []
    for k in range(1, part_count + 1):
        inside = index == k
        total = inside.sum(1).double()
        recalls.append((predicted & inside).sum(1).double() / torch.where(total > 0, total, torch.nan))
    return torch.stack(recalls, dim=1) if recalls else torch.empty(len(predicted), 0, dtype=torch.float64)
