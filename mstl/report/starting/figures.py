"""Figures of the pages on trained networks: what attention looks at, what pulls networks together, cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch.nn import functional as F

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.methods.afa import AFA
from mstl.methods.amcf import collaboration
from mstl.nn.transfer import place_distance
from mstl.report import plots, tables
from mstl.run.train import Trainer

OURS, OTHER = plots.PALETTE[0], plots.PALETTE[1]


def looking_away(moved: tuple[float, float] = (1.0, 4.0)) -> Figure:
    """Ω of two places that have moved by these squared distances, by the weight of the first."""
    source = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    target = torch.tensor(moved, dtype=torch.float64).sqrt().view(1, 1, 1, 2)
    weights = torch.linspace(0, 1, 101, dtype=torch.float64)
    omega = [place_distance(source, target, torch.stack((a, 1 - a))[None]).item() for a in weights]
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.plot(weights, omega, color=OURS)
    ax.axvline(0.5, color=plots.GREY, ls=":")
    ax.plot(weights[int(np.argmin(omega))], min(omega), "o", color=OTHER, ms=7)
    ax.set(xlabel="weight of the place that moved less", ylabel="Ω")
    return figure


def taken_for(trainer: Trainer, domain: Domain) -> torch.Tensor:
    """The class that a run takes each of a domain's images for, int64 (n,)."""
    logits = (trainer.predict(to_float(images)).cpu() for images in domain.images.split(64))
    return torch.cat([each.flatten(1).argmax(1) for each in logits])


def accuracy(trainer: Trainer, domain: Domain) -> float:
    """Share of a domain's images that a run takes for what they are, in percent."""
    return 100 * float((taken_for(trainer, domain) == domain.labels.cpu()).double().mean())


@torch.no_grad()
def attention_maps(method: AFA, images: torch.Tensor) -> list[torch.Tensor]:
    """n·a of every layer that is held, (n, h, w): 1 where all places count alike; of uint8 images."""
    device = next(method.parameters()).device
    stages = method.held(method.start.staged(to_float(images).to(device))[0])
    weights = (method.places_of(layer, stage.float()) for layer, stage in enumerate(stages))
    return [
        (a * a.shape[1]).view(-1, *stage.shape[-2:]).cpu() for a, stage in zip(weights, stages, strict=True)
    ]


def attention_over(images: torch.Tensor, maps: Sequence[torch.Tensor], names: Sequence[str]) -> Figure:
    """Images and, a column for each layer, where its attention lies: 1 is even, more is bright.

    Args:
        images: uint8 (n, 3, h, w).
        maps: of each layer (n, h', w').
        names: of the layers.
    """
    figure, axes = plt.subplots(len(images), 1 + len(maps), figsize=(9.5, 1.55 * len(images)), squeeze=False)
    largest = max(float(layer.max()) for layer in maps)
    for i, row in enumerate(axes):
        row[0].imshow(plots.to_picture(images[i]))
        for ax, layer in zip(row[1:], maps, strict=True):
            big = F.interpolate(layer[i][None, None], size=images.shape[-2:], mode="nearest")[0, 0]
            shown = ax.imshow(big, cmap="magma", vmin=0, vmax=largest)
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
    for ax, name in zip(axes[0], ("image", *names), strict=True):
        ax.set_title(name)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="n·a")
    return figure


def entropies(steps: Sequence[int], curves: Mapping[str, Sequence[float]], second: float) -> Figure:
    """Entropy of each attention over training, 1 if all count alike; ``second`` is where stage two starts."""
    figure, ax = plt.subplots(figsize=(6.5, 2.8))
    for (name, values), paint in zip(curves.items(), (OURS, OTHER), strict=False):
        ax.plot(steps, values, color=paint, label=name)
    ax.axvline(second, color=plots.GREY, ls=":")
    ax.set(xlabel="training step", ylabel="entropy / its maximum", ylim=(0, 1.05))
    ax.legend()
    return figure


@torch.no_grad()
def held_against_moved(method: AFA, images: torch.Tensor, names: Sequence[str]) -> Figure:
    """A dot for each channel: how far it has moved in the second stage, and how hard it is held (C·w).

    Args:
        method: after its training.
        images: uint8 (n, 3, h, w), over which both are averaged.
        names: of the layers.
    """
    x = to_float(images).to(next(method.parameters()).device)
    pairs = method.pairs(x, method.network.encoder.staged(x)[0])
    figure, axes = plt.subplots(1, len(pairs), figsize=(2.4 * len(pairs), 2.6), sharey=True, squeeze=False)
    for layer, (ax, (source, target)) in enumerate(zip(axes[0], pairs, strict=True)):
        moved = (target - source).square().mean((0, 2, 3)) / source.square().mean((0, 2, 3)).clamp_min(1e-12)
        held = source.shape[1] * method.channels_of(layer, source).mean(0)
        ax.loglog(moved.cpu(), held.cpu(), "o", ms=3, alpha=0.5, color=OURS)
        ax.axhline(1, color=plots.GREY, ls=":")
        rank = spearmanr(moved.cpu(), held.cpu()).statistic
        ax.set_title(f"{names[layer]}: ρ = {rank:+.2f}")
    axes[0, 0].set_ylabel("C·w")
    figure.supxlabel("squared distance moved / squared size", fontsize=9)
    return figure


def by_labels(differences: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Points over a reference by the number of labelled images, a panel for each data set.

    Args:
        differences: of `mstl.report.starting.bars.over`.
        labels: variant -> what the legend calls it, in order; the others are left out.
    """
    names = list(dict.fromkeys(differences["data"]))
    figure, axes = plt.subplots(
        1, len(names), figsize=(2.4 * len(names) + 2, 3.3), squeeze=False, sharey=True
    )
    for ax, data in zip(axes[0], names, strict=True):
        rows = differences[differences["data"] == data]
        ticks = sorted(rows["labels"].unique())
        for k, (variant, label) in enumerate(labels.items()):
            own = rows[rows["method"] == variant].sort_values("labels")
            level, x = own["difference"], np.array([ticks.index(n) for n in own["labels"]])
            look = {"color": plots.PALETTE[k], "marker": "o", "ms": 4, "lw": 1.2}
            look |= {"ls": ":" if "uniform" in variant else "-"}
            spread = np.stack((level - own["low"], own["high"] - level))
            ax.errorbar(x + (k - (len(labels) - 1) / 2) * 0.08, level, spread, label=label, **look)
        ax.axhline(0, color=plots.GREY, lw=0.8)
        ax.set_xticks(range(len(ticks)), [str(n) for n in ticks])
        ax.set_xlim(-0.5, len(ticks) - 0.5)
        ax.set(title=data, xlabel="labelled images")
    axes[0, 0].set_ylabel("points over L2")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    return figure


def pull() -> Figure:
    """How hard two networks that are d apart are pulled together, by the norm of AMCF and by its square."""
    distances = np.linspace(0, 3, 61)
    norm, square = [], []
    for d in distances:
        logits = torch.tensor([[[d / 2, 0.0]], [[-d / 2, 0.0]]], dtype=torch.float64, requires_grad=True)
        norm.append(torch.autograd.grad(collaboration(logits), logits)[0][0].norm().item())
        squared = (logits - logits.mean(0)).square().sum(-1).mean()
        square.append(torch.autograd.grad(squared, logits)[0][0].norm().item())
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.plot(distances, norm, color=OURS, label="norm (AMCF)")
    ax.plot(distances, square, color=plots.GREY, label="its square")
    ax.set(xlabel="distance of two networks' logits", ylabel="length of the gradient")
    ax.legend()
    return figure


def search(table: pd.DataFrame) -> Figure:
    """Every try of a search of layers: where it was (two networks), its score, and in which order.

    Args:
        table: of `mstl.run.layers.search_layers`.
    """
    first, second = (table["cuts"].str.split("-").str[j].astype(int) for j in (0, 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    shown = left.scatter(first, second, c=100 * table["validation"], cmap="viridis", s=45)
    best = int(table["validation"].idxmax())
    left.plot(first[best], second[best], "o", ms=13, mfc="none", color=OTHER)
    left.set(xlabel="layers of the first that stand still", ylabel="of the second")
    figure.colorbar(shown, ax=left, label="validation (%)")
    for column, paint in (("validation", OURS), ("test", OTHER)):
        right.plot(100 * table[column], "o", color=paint, ms=3.5, alpha=0.6)
        right.plot(100 * table[column].cummax(), color=paint, label=f"{column}, best so far")
    right.set(xlabel="evaluation", ylabel="accuracy (%)")
    right.legend()
    return figure


def searches(folder: str | Path, data: str) -> dict[int, pd.DataFrame]:
    """Tables of searches of layers by seed, ``<folder>/<data>/layers-<seed>.csv``, for `search`."""
    files = {int(f.stem.partition("-")[2]): f for f in (tables.place(folder) / data).glob("layers-*.csv")}
    return {seed: pd.read_csv(files[seed]) for seed in sorted(files)}


def flattery(table: pd.DataFrame) -> dict[str, float]:
    """What choosing on test images promises, and what choosing on validation images gives, in percent."""
    honest, peeking = (int(table[column].idxmax()) for column in ("validation", "test"))
    return {
        "chosen on validation": 100 * table["test"][honest],
        "chosen on test": 100 * table["test"][peeking],
    }
