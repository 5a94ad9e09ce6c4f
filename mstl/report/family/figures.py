"""Figures of the family's pages: classes that are kept, what is taken for what, weights, clouds that move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from mstl.data.domain import Domain
from mstl.methods.catalogue import described
from mstl.report import plots
from mstl.report.family import joint

KEPT, MISSING = plots.PALETTE[0], "#aaaaaa"
COLOURS = {described(name).title: described(name).colour for name in ("dan", "jan")}
SIDE = 4  # of the window of a cloud, in standard deviations


def class_rows(domains: Mapping[str, Domain], names: Sequence[str], shown: int = 4) -> Figure:
    """A row for each domain, a column for each class, ``shown`` images of each; empty where it has none."""
    figure, axes = plt.subplots(len(domains), len(names), figsize=(9, 1.05 * len(domains)), squeeze=False)
    for row, (name, domain) in zip(axes, domains.items(), strict=True):
        for k, ax in enumerate(row):
            rows = torch.nonzero(domain.labels == k).flatten()[:shown]
            if len(rows):
                ax.imshow(plots.mosaic([plots.to_picture(domain.images[i]) for i in rows], 2))
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name)
    return figure


def confusions(
    true: torch.Tensor, predictions: Mapping[str, torch.Tensor], kept: Sequence[int], names: Sequence[str]
) -> Figure:
    """Of each class that the target has (rows), the share taken for each class; missing classes to the right.

    Args:
        true: classes of the test items (n,).
        predictions: method -> what it takes them for (n,).
        kept: classes that the target has.
        names: of all classes.
    """
    columns = [*kept, *(k for k in range(len(names)) if k not in kept)]
    figure, axes = plt.subplots(1, len(predictions), figsize=(9.2, 2.3), sharey=True, squeeze=False)
    for ax, (method, found) in zip(axes[0], predictions.items(), strict=True):
        counts = np.array([[int(((true == k) & (found == j)).sum()) for j in columns] for k in kept])
        ax.imshow(counts / counts.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.axvline(len(kept) - 0.5, color="#D55E00", lw=1.5)
        ax.set_xticks(range(len(columns)), [names[k] for k in columns], fontsize=9)
        ax.set_yticks(range(len(kept)), [names[k] for k in kept], fontsize=9)
        ax.set_title(plots.label(method))
        ax.grid(visible=False)
    return figure


def class_weights(
    moments: Sequence[int],
    films: Mapping[str, Sequence[np.ndarray]],
    kept: Sequence[int],
    names: Sequence[str],
) -> Figure:
    """Weights of all classes over training, 1 on average; classes that the target has in colour.

    Args:
        moments: training steps.
        films: method -> weights (classes,) at each moment, at any scale.
        kept: classes that the target has.
        names: of all classes.
    """
    figure, axes = plt.subplots(1, len(films), figsize=(9, 2.8), sharey=True, squeeze=False)
    for ax, (method, film) in zip(axes[0], films.items(), strict=True):
        weights = np.stack(film)
        weights = weights / weights.mean(1, keepdims=True)
        for k in range(len(names)):
            ax.plot(moments, weights[:, k], color=KEPT if k in kept else MISSING, lw=1.6 if k in kept else 1)
        for k, y in zip(np.argsort(weights[-1]), spread(np.sort(weights[-1]), 0.17), strict=True):
            ax.annotate(
                names[k], (moments[-1], y), (3, 0), textcoords="offset points", fontsize=8, va="center"
            )
        area = roc_auc_score([k in kept for k in range(len(names))], weights[-1])
        ax.set(title=f"{plots.label(method)}, AUC {area:.2f}", xlabel="training step")
    axes[0, 0].set_ylabel("weight of the class")
    return figure


def spread(values: np.ndarray, apart: float) -> np.ndarray:
    """Sorted values, moved upwards where they are less than ``apart``."""
    places = values.astype(float).copy()
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + apart)
    return places


def image_weights(weights: np.ndarray, there: np.ndarray) -> Figure:
    """Histograms of the weights of source images whose class the target has (``there``), or lacks."""
    figure, ax = plt.subplots(figsize=(7, 3))
    edges = np.linspace(0, np.quantile(weights, 0.99), 30)
    for chosen, name, paint in (
        (there, "the target has the class", KEPT),
        (~there, "it lacks the class", MISSING),
    ):
        ax.hist(weights[chosen], edges, alpha=0.65, color=paint, label=name)
    title = f"AUC {roc_auc_score(there, weights):.2f}"
    ax.set(xlabel="weight of a source image", ylabel="images", title=title)
    ax.legend()
    return figure


def blind(points: int, draws: int, rho: float = 0.9) -> Figure:
    """A source and two targets with its marginals; what DAN and JAN make of targets with any correlation."""
    rhos = np.linspace(-0.95, 0.95, 9)
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 3))
    for ax, other in zip(axes, (-rho, rho), strict=False):
        clouds = {"source": joint.correlated(points, rho, 0), "target": joint.correlated(points, other, 1)}
        for (name, cloud), paint in zip(clouds.items(), plots.PALETTE, strict=False):
            ax.plot(*cloud.T, ".", ms=4, color=paint, alpha=0.7, label=name)
        window(ax, f"target: ρ = {other}")
    axes[0].legend(loc="lower left", fontsize=9)
    distances = joint.over_correlations(rhos, rho, points, draws)
    largest = max(float(found.mean(0).max()) for found in distances.values())
    for name, found in distances.items():
        axes[2].plot(rhos, found.mean(0) / largest, "o-", color=COLOURS[name], label=name, ms=4)
        low, high = found.min(0) / largest, found.max(0) / largest
        axes[2].fill_between(rhos, low, high, color=COLOURS[name], alpha=0.15, lw=0)
    axes[2].axvline(rho, color=plots.GREY, ls=":")
    axes[2].set(xlabel="correlation in the target", title="distance")
    axes[2].legend()
    return figure


def clouds(source: torch.Tensor, walks: Mapping[str, joint.Walk], moment: int, step: int) -> Figure:
    """The source and, for each distance, where the target's points are at one of the moments kept."""
    figure, axes = plt.subplots(1, len(walks), figsize=(7.5, 3.4), squeeze=False)
    for ax, (name, walked) in zip(axes[0], walks.items(), strict=True):
        ax.plot(*source.T, ".", ms=4, color=plots.PALETTE[0], alpha=0.5)
        ax.plot(*walked.points[moment].T, ".", ms=5, color=plots.PALETTE[1])
        window(ax, f"{name}: {walked.values[step]:.3f}")
    return figure


def estimates(source: torch.Tensor, walks: Mapping[str, joint.Walk]) -> Figure:
    """Where points end that go down an estimate; below, the estimate, and the biased one at the end."""
    figure, axes = plt.subplots(2, len(walks), figsize=(9.5, 5), height_ratios=(3, 2), squeeze=False)
    for (above, below), (name, walked) in zip(axes.T, walks.items(), strict=True):
        above.plot(*source.T, ".", ms=4, color=plots.PALETTE[0], alpha=0.5)
        above.plot(*walked.points[-1].T, ".", ms=5, color=plots.PALETTE[1])
        above.set(title=name, xlim=(-6, 6), ylim=(-6, 6))
        below.plot(walked.values, color=COLOURS["JAN"])
        end = joint.joint(source, source.new_tensor(walked.points[-1]))
        below.plot(len(walked.values) - 1, end, "o", color="black", ms=5)
        below.axhline(0, color=plots.GREY, lw=0.8)
        below.set_xlabel("step")
    return figure


def window(ax: plt.Axes, title: str) -> None:
    """The axes of a cloud."""
    ax.set(title=title, xlabel="feature z", ylabel="output y", xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
