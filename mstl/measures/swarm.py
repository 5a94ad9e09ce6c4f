"""Particle swarm optimisation, as AMCF searches the layers that stand still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Swarm:
    r"""Particles that remember their best place and hear of the best of all.

    .. math::

        v \leftarrow \mathrm{clip}\big(w_i v + c\, r_1 (x^* - x) + c\, r_2 (g - x)\big), \qquad
        x \leftarrow \mathrm{clip}(x + v), \qquad w_i = 1.4 - \tfrac{0.7\, i}{M}

    One :math:`r_1` and one :math:`r_2` serve all coordinates of a particle, and the best of all, g, is
    renewed while the particles move. So it is released; the inertia used last is therefore 0.84 for M = 5.

    Attributes:
        high: upper end of each coordinate; the lower is 0.
        particles: N.
        iterations: M; N (M + 1) places are tried.
        speed: largest change of a coordinate in one move, one for all or one each.
        pull: c.

    Source: Kennedy and Eberhart, "Particle swarm optimization", ICNN 1995, with the numbers of AMCF's
    released code.
    """

    high: Sequence[float]
    particles: int = 10
    iterations: int = 5
    speed: float | Sequence[float] = 5.0
    pull: float = 1.5
    positions: np.ndarray = field(init=False)
    velocities: np.ndarray = field(init=False)
    bests: list[tuple[np.ndarray, float]] = field(init=False, default_factory=list)

    def search(
        self, fitness: Callable[[np.ndarray], float], draw: Callable[[], float]
    ) -> tuple[np.ndarray, float]:
        """The best place found, and its fitness; ``bests`` keeps those of every iteration.

        Args:
            fitness: of a place (D,); larger is better. Of equal ones the first counts.
            draw: the next random number, uniform in [0, 1): where every particle begins and how fast, a
                coordinate after the other, then two for each move.
        """
        top = np.asarray(self.high, dtype=float)
        start = np.array([[(draw(), draw()) for _ in top] for _ in range(self.particles)])
        speed = np.asarray(self.speed, dtype=float)
        self.positions, self.velocities = start[..., 0] * top, (2 * start[..., 1] - 1) * speed
        values = np.array([fitness(x.copy()) for x in self.positions])
        own, own_values = self.positions.copy(), values.copy()
        first = int(values.argmax())
        best, best_value = own[first].copy(), values[first]
        for i in range(self.iterations):
            for n in range(self.particles):
                x = self.positions[n]
                v = velocity(
                    self.velocities[n],
                    x,
                    own[n],
                    best,
                    inertia(i, self.iterations),
                    self.pull,
                    draw(),
                    draw(),
                )
                self.velocities[n] = np.clip(v, -speed, speed)
                self.positions[n] = np.clip(x + self.velocities[n], 0, top)
                value = fitness(self.positions[n].copy())
                if value > own_values[n]:
                    own[n], own_values[n] = self.positions[n], value
                if value > best_value:
                    best, best_value = self.positions[n].copy(), value
            self.bests.append((best.copy(), float(best_value)))
        return best, float(best_value)


def inertia(i: int, iterations: int) -> float:
    """w in iteration i, counted from 0."""
    return 1.4 - i * 0.7 / iterations


def velocity(
    v: np.ndarray, x: np.ndarray, own: np.ndarray, best: np.ndarray, w: float, c: float, r1: float, r2: float
) -> np.ndarray:
    """The next velocity, before it is clipped."""
    return w * v + c * r1 * (own - x) + c * r2 * (best - x)
