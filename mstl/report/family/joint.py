"""Marginals that agree where joints do not: what DAN cannot see and JAN can, in a plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mstl.measures import jmmd2, mean_bandwidths, mmd2

KERNEL = mean_bandwidths()


def correlated(n: int, rho: float, seed: int = 0) -> Tensor:
    r"""Points (n, 2) of a feature and an output, each standard normal whatever their correlation.

    .. math:: z \sim N(0, 1), \qquad y = \rho z + \sqrt{1 - \rho^2}\, \varepsilon

    Args:
        n: number of points.
        rho: their correlation, −1 to 1.
        seed: of the draw; one seed draws the same z and ε for every ``rho``.
    """
    z, noise = torch.randn(2, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack((z, rho * z + (1 - rho**2) ** 0.5 * noise), 1)


def marginal(source: Tensor, target: Tensor, estimator: str = "biased") -> Tensor:
    """What DAN minimises: the sum over both coordinates of their MMD², 0-d."""
    pairs = zip(source.split(1, 1), target.split(1, 1), strict=True)
    return torch.stack([mmd2(s, t, KERNEL, estimator) for s, t in pairs]).sum()


def joint(source: Tensor, target: Tensor, estimator: str = "biased") -> Tensor:
    """What JAN minimises: the JMMD² of both coordinates, 0-d."""
    return jmmd2(source.split(1, 1), target.split(1, 1), (KERNEL, KERNEL), estimator)


DISTANCES: dict[str, Callable[..., Tensor]] = {"DAN": marginal, "JAN": joint}


def over_correlations(rhos: np.ndarray, rho: float, n: int = 200, draws: int = 20) -> dict[str, np.ndarray]:
    """Both distances of a source with ``rho`` to targets with each of ``rhos``, (draws, len(rhos))."""
    found = {name: np.empty((draws, len(rhos))) for name in DISTANCES}
    for draw in range(draws):
        source = correlated(n, rho, 2 * draw)
        for column, other in enumerate(rhos):
            target = correlated(n, float(other), 2 * draw + 1)
            for name, distance in DISTANCES.items():
                found[name][draw, column] = distance(source, target)
    return found


class Walk(NamedTuple):
    """Points that moved.

    Attributes:
        points: (moments, n, 2).
        values: of what was minimised, one a step.
    """

    points: np.ndarray
    values: np.ndarray


def walk(
    source: Tensor,
    target: Tensor,
    distance: Callable[..., Tensor],
    estimator: str = "biased",
    steps: int = 300,
    rate: float = 0.05,
    moments: int = 12,
) -> Walk:
    """Let every target point go down the gradient of a distance to the source (Adam).

    Args:
        source: (n, 2), which stands still.
        target: (n, 2), where the others begin.
        distance: one of `DISTANCES`.
        estimator: as of `mmd2`.
        steps: updates.
        rate: Adam's learning rate.
        moments: pictures kept, the first and the last among them.
    """
    points = target.clone().requires_grad_()
    optimiser = torch.optim.Adam([points], lr=rate)
    kept = set(np.linspace(0, steps, moments).round().astype(int).tolist())
    film, values = [], []
    for step in range(steps + 1):
        if step in kept:
            film.append(points.detach().numpy().copy())
        value = distance(source, points, estimator)
        values.append(float(value.detach()))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return Walk(np.stack(film), np.array(values))


def account(walked: Walk, side: float = 4) -> dict[str, float]:
    """What was minimised, before and after; how many points are within ``side``, and their correlation."""
    end = walked.points[-1]
    inside = np.abs(end).max(1) < side
    return {
        "before": walked.values[0],
        "after": walked.values[-1],
        "points in the picture": int(inside.sum()),
        "their correlation": np.corrcoef(end[inside].T)[0, 1],
    }
