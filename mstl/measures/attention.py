"""What attention looks at, in numbers: its entropy, and how often it ranks a part above the rest."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mstl.data.domain import Domain
from mstl.data.recipes import regions as car
from mstl.data.recipes import spoil
from mstl.data.task import Task
from mstl.system.errors import InputError

# Sources of no one part of the object: those added (`TrainConfig.extra`), and the last of recipe masks-mixed.
EXTRA = (*spoil.EXTRA, "whole")


class Watched(NamedTuple):
    """Images on which attention is measured.

    Attributes:
        domain: at most 24 validation images.
        regions: bool (R, n, H, W), disjoint, where each region of ``layout`` lies.
        layout: names of the regions.
        sources: names of the task's sources, as `attention_maps` orders them.
    """

    domain: Domain
    regions: Tensor
    layout: tuple[str, ...]
    sources: tuple[str, ...]


def watched(task: Task, images: int = 24) -> Watched | None:
    """A fixed choice of validation images with the regions that the sources are named after.

    None where the validation images have no part maps, or where a source (but those of `EXTRA`) is not named
    after a region: then there is nothing that its attention should light up.
    """
    names = tuple(source.name for source in task.sources)
    true = {name for name in names if name not in EXTRA}
    fitting = [layout for layout in car.LAYOUTS.values() if true and true <= set(layout)]
    if task.validation is None or task.validation.parts is None or not fitting:
        return None
    count = len(task.validation)
    chosen = np.sort(np.random.default_rng(0).choice(count, min(images, count), replace=False))
    domain = task.validation.select(chosen, "watched")
    return Watched(domain, torch.from_numpy(car.regions(domain, fitting[0])), fitting[0], names)


def scores(maps: Tensor, watched: Watched) -> dict[str, float]:
    """One line for a log: ``attention_entropy`` (mean over sources) and ``auc_<source>`` of each source.

    The AUC is that of the source's own region; sources of `EXTRA` have none.

    Args:
        maps: attention of the J sub-networks on ``watched.domain``, (J, n, 1, h, w).
    """
    areas = part_auc(maps, watched.regions)
    line = {"attention_entropy": attention_entropy(maps).mean().item()}
    for j, name in enumerate(watched.sources):
        if name in watched.layout:
            line[f"auc_{name}"] = areas[j, watched.layout.index(name)].item()
    return line


def attention_entropy(maps: Tensor) -> Tensor:
    r"""Entropy of attention over places, relative to that of uniform attention; mean over images.

    .. math:: H_j = \frac1n \sum_i \frac{-\sum_{xy} p_{xy} \ln p_{xy}}{\ln(hw)}, \qquad
        p_{xy} = a_{xy} / \sum a

    1 is uniform, 0 a single place. A map that is zero everywhere prefers no place and counts as uniform.

    Shape: maps (J, n, 1, h, w), values ≥ 0 → float64 (J,).

    Raises:
        InputError: another shape, or negative weights.
    """
    weights = _flat(maps)
    if (weights < 0).any():
        raise InputError("attention maps must be ≥ 0 for their entropy; got negative weights")
    places = weights.shape[-1]
    if places == 1:
        return weights.new_ones(len(weights))
    total = weights.sum(-1, keepdim=True)
    share = torch.where(total > 0, weights / total.clamp(min=torch.finfo(weights.dtype).tiny), 1 / places)
    return torch.special.entr(share).sum(-1).mean(-1) / math.log(places)


def part_auc(maps: Tensor, regions: Tensor | np.ndarray) -> Tensor:
    r"""AUC with which attention ranks region r above the other pixels of the object, mean over images.

    .. math:: A_{jr} = P(a_j(u) > a_j(v)) + \tfrac12 P(a_j(u) = a_j(v)), \qquad
        u \in r, \; v \in \textstyle\bigcup_{r' \ne r} r'

    A place of the map covers many pixels. It counts on either side with its share of pixels there, which is
    the AUC of the pixels under the map drawn in blocks. No threshold decides to which region a place on a
    border belongs, and a region narrower than half a place is not lost. The price: a place that holds pixels
    of both sides cannot be ranked right for all of them, so even the best map stays below 1 (`best_auc`).

    Shape: maps (J, n, 1, h, w), regions bool (R, n, H, W) → float64 (J, R), 0.5 is chance. NaN where no
    image shows both the region and another.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18, 1947 (ties count one half).

    Raises:
        InputError: shapes that do not fit.
    """
    inside = _pooled(regions, maps)
    return _mean_auc(_flat(maps)[:, None], inside, inside.sum(0, keepdim=True) - inside)


def object_auc(maps: Tensor, objects: Tensor | np.ndarray) -> Tensor:
    """AUC with which attention ranks the object above the background: as `part_auc`.

    Shape: maps (J, n, 1, h, w), objects bool (n, H, W) → float64 (J,).
    """
    inside = _pooled(torch.as_tensor(objects)[None], maps)
    return _mean_auc(_flat(maps)[:, None], inside, 1 - inside)[:, 0]


def best_auc(regions: Tensor | np.ndarray, size: tuple[int, int]) -> Tensor:
    """The largest `part_auc` that a map of ``size`` (h, w) can have, (R,).

    It ranks places by the share of their object pixels that lie in the region (lemma of Neyman and Pearson).
    """
    regions = torch.as_tensor(regions)
    shares = _pooled(regions, torch.zeros(1, regions.shape[1], 1, *size))
    others = shares.sum(0, keepdim=True) - shares
    ratio = shares / (shares + others).clamp(min=torch.finfo(shares.dtype).tiny)
    return _mean_auc(ratio, shares, others)


def _mean_auc(ratings: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Weighted Mann-Whitney statistic over the last axis, mean over the axis before that, NaNs left out."""
    ratings, inside, outside = torch.broadcast_tensors(ratings, inside, outside)
    ratings, order = ratings.contiguous().sort(-1)
    inside, outside = inside.gather(-1, order), outside.gather(-1, order)
    below = torch.nn.functional.pad(outside.cumsum(-1), (1, 0))
    first = torch.searchsorted(ratings, ratings)
    behind = torch.searchsorted(ratings, ratings, right=True)
    wins = (below.gather(-1, first) + below.gather(-1, behind)) / 2
    pairs = inside.sum(-1) * outside.sum(-1)
    return torch.where(pairs > 0, (inside * wins).sum(-1) / pairs, torch.nan).nanmean(-1)


def _flat(maps: Tensor) -> Tensor:
    """Maps as float64 (J, n, h·w)."""
    if maps.ndim != 5 or maps.shape[2] != 1:
        raise InputError(f"attention maps must have shape (J, n, 1, h, w); got {tuple(maps.shape)}")
    return maps.detach().double().flatten(2)


def _pooled(regions: Tensor | np.ndarray, maps: Tensor) -> Tensor:
    """Share of each place that a region covers, float64 (R, n, h·w)."""
    regions = torch.as_tensor(regions)
    if regions.ndim != 4 or regions.dtype != torch.bool or regions.shape[1] != maps.shape[1]:
        raise InputError(
            f"regions must be bool (R, n, H, W) with the {maps.shape[1]} images of the attention maps; "
            f"got {regions.dtype} {tuple(regions.shape)}"
        )
    return adaptive_avg_pool2d(regions.to(maps.device).double(), maps.shape[-2:]).flatten(2)
