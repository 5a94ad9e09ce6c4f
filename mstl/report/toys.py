"""A game in two dimensions: everything an adversary does to an extractor, small enough to be seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.svm import SVC
from torch import Tensor, nn

from mstl.nn import domain_accuracy, domain_loss
from mstl.report.plots import PALETTE

SOURCE_COLOUR, TARGET_COLOUR = PALETTE[0], PALETTE[1]
# What a discriminator says, from "target" over "I do not know" to "source".
GROUND = ("#fbe3b4", "#fdf1d9", "#f4f4f4", "#dcebf5", "#bcd8ea")


class Snapshot(NamedTuple):
    """The feature plane at one step, as NumPy arrays.

    Attributes:
        features: (2, n, 2), source then target.
        classes: (2, n) in {0, 1}.
        matrix: (2, 2), the extractor's weights.
        boundary: (3,), the class head w₁, w₂, b: it decides by the sign of w·f + b.
        field: (m, m), probability of "source" by the discriminator on a grid over ±``extent``.
        extent: half the side of the field.
    """

    features: np.ndarray
    classes: np.ndarray
    matrix: np.ndarray
    boundary: np.ndarray
    field: np.ndarray
    extent: float


class ToyGame:
    """Two domains, two classes, a linear extractor to a noisy plane, a class head and a discriminator.

    A point x = (u, v) has a *useful* coordinate u that follows its class in both domains, and a *flag* v that
    tells its domain. In the source the flag leans on the class as well, so a head that trusts the flag is
    right in the source and wrong in the target:

    .. math::
        u = c + 0.4 ε, \\qquad v = ±gap + 0.6 ε' + lean·c·[\\text{source}], \\qquad c ∈ \\{-1, 1\\}.

    Features are F(x) = W x + b + σ·ε'' with W starting as the identity. The noise makes the game well-posed:
    without it any invertible W keeps all information, and no linear extractor could hide a domain.

    Args:
        gap: distance of the flag from 0, in both domains.
        noise: σ of the feature plane.
        hidden: width of the discriminator's two hidden layers.
        rate: learning rate of the discriminator; extractor and head have 0.01.
        updates: extra discriminator updates a step.
        seed: of weights, points and noise.
    """

    LEAN = 0.7
    EXTENT = 7.0

    def __init__(
        self,
        *,
        gap: float = 1.0,
        noise: float = 0.5,
        hidden: int = 32,
        rate: float = 0.01,
        updates: int = 2,
        seed: int = 0,
    ) -> None:
        self.gap, self.noise, self.updates = gap, noise, updates
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.extractor, self.head = nn.Linear(2, 2), nn.Linear(2, 1)
            self.discriminator = nn.Sequential(
                nn.Linear(2, hidden), nn.LeakyReLU(0.2),
                nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
                nn.Linear(hidden, 1),
            )  # fmt: skip
        nn.init.eye_(self.extractor.weight)
        nn.init.zeros_(self.extractor.bias)
        network = [*self.extractor.parameters(), *self.head.parameters()]
        self._optimiser = torch.optim.AdamW(network, lr=0.01, betas=(0.5, 0.99), weight_decay=0.1)
        self._adversary = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=(0.5, 0.99))

    def draw(self, n: int = 128) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Points (n, 2) and classes (n, 1) in {0, 1} of the source, then of the target."""
        return self._cloud(n, 1.0), self._cloud(n, -1.0)

    def features(self, x: Tensor) -> Tensor:
        """F(x) = W x + b plus noise, (n, 2)."""
        return self.extractor(x) + self.noise * torch.randn(x.shape, generator=self.generator)

    def step(self, loss: Tensor) -> None:
        """One update of extractor, head and discriminator, all *descending* ``loss``."""
        for optimiser in (self._optimiser, self._adversary):
            optimiser.zero_grad()
        loss.backward()
        for optimiser in (self._optimiser, self._adversary):
            optimiser.step()

    def sharpen(self, source: Tensor, target: Tensor) -> None:
        """Extra updates of the discriminator on features that are held fixed."""
        for _ in range(self.updates):
            self._adversary.zero_grad()
            domain_loss(self.discriminator(source.detach()), self.discriminator(target.detach())).backward()
            self._adversary.step()

    def measure(self, strength: float, n: int = 400) -> dict[str, float]:
        """Discriminator accuracy, gradient ratio, fresh probe and class accuracy on fresh points."""
        (x_s, y_s), (x_t, y_t) = self.draw(n)
        f_s, f_t = self.features(x_s), self.features(x_t)
        task = nn.functional.binary_cross_entropy_with_logits(self.head(f_s), y_s)
        domain = domain_loss(self.discriminator(f_s), self.discriminator(f_t))
        task_gradient = torch.autograd.grad(task, f_s)[0].norm()
        domain_gradient = torch.cat(torch.autograd.grad(domain, (f_s, f_t))).norm()
        with torch.no_grad():
            accuracy = domain_accuracy(self.discriminator(f_s), self.discriminator(f_t))
            source_right, target_right = (
                ((self.head(f) > 0) == (y > 0)).float().mean() for f, y in ((f_s, y_s), (f_t, y_t))
            )
            return {
                "discriminator accuracy": float(accuracy),
                "gradient ratio": float(strength * domain_gradient / task_gradient),
                "fresh probe": probe(f_s.numpy(), f_t.numpy()),
                "source classes right": float(source_right),
                "target classes right": float(target_right),
            }

    @torch.no_grad()
    def snapshot(self, n: int = 150) -> Snapshot:
        """What the plane looks like now."""
        clouds = self.draw(n)
        features = torch.stack([self.features(x) for x, _ in clouds])
        extent = max(self.EXTENT, 1.1 * float(features.abs().quantile(0.99)))
        side = torch.linspace(-extent, extent, 81)
        y, x = torch.meshgrid(side, side, indexing="ij")
        field = self.discriminator(torch.stack((x, y), -1)).sigmoid()[..., 0]
        return Snapshot(
            features=features.numpy(),
            classes=np.stack([y[:, 0].numpy() for _, y in clouds]),
            matrix=self.extractor.weight.numpy().copy(),
            boundary=torch.cat((self.head.weight[0], self.head.bias)).numpy(),
            field=field.numpy(),
            extent=extent,
        )

    def _cloud(self, n: int, domain: float) -> tuple[Tensor, Tensor]:
        def normal() -> Tensor:
            return torch.randn(n, generator=self.generator)

        classes = (torch.rand(n, generator=self.generator) < 0.5).float()
        sign = 2 * classes - 1
        flag = self.gap * domain + 0.6 * normal() + self.LEAN * sign * (domain > 0)
        return torch.stack((sign + 0.4 * normal(), flag), 1), classes[:, None]


def probe(source: np.ndarray, target: np.ndarray) -> float:
    """Accuracy of a fresh kernel classifier, trained on one half of the points and scored on the other."""
    x = np.concatenate((source, target))
    y = np.repeat((0, 1), (len(source), len(target)))
    return float(SVC().fit(x[::2], y[::2]).score(x[1::2], y[1::2]))


def scatter(ax: Axes, points: np.ndarray | Tensor, classes: np.ndarray | Tensor, colour: str) -> None:
    """Points (n, 2) of one domain, class 0 as circles and class 1 as triangles."""
    points, classes = np.asarray(points), np.asarray(classes).reshape(-1)
    for label, marker in enumerate("o^"):
        x, y = points[classes == label].T
        ax.scatter(x, y, s=16, marker=marker, color=colour, alpha=0.75, lw=0.3, edgecolors="white")


def draw_plane(snapshot: Snapshot, ax: Axes) -> Axes:
    """The feature plane: colour is the domain, shape the class, the ground what the discriminator says."""
    extent = snapshot.extent
    side = np.linspace(-extent, extent, len(snapshot.field))
    ax.contourf(side, side, snapshot.field, levels=[0, 0.2, 0.4, 0.6, 0.8, 1], colors=GROUND)
    for points, classes, colour in zip(
        snapshot.features, snapshot.classes, (SOURCE_COLOUR, TARGET_COLOUR), strict=True
    ):
        scatter(ax, points, classes, colour)
    w1, w2, b = snapshot.boundary
    across = np.array([-2 * extent, 2 * extent])
    foot, along = -b * np.array([w1, w2]) / (w1**2 + w2**2), np.array([-w2, w1]) / np.hypot(w1, w2)
    ax.plot(*(foot[:, None] + along[:, None] * across), color="#333333", lw=1.2, ls="--")
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    ax.set(xlabel="feature 1", ylabel="feature 2")
    ax.grid(False)
    return ax


def plane_legend(ax: Axes, boundary: bool = True) -> None:
    """What colours, shapes and the dashed line of `draw_plane` mean, below the figure."""
    for colour, name in ((SOURCE_COLOUR, "source"), (TARGET_COLOUR, "target")):
        ax.scatter([], [], color=colour, marker="s", label=name)
    for marker, name in zip("o^", ("class 0", "class 1"), strict=True):
        ax.scatter([], [], color="#777777", marker=marker, label=name)
    if boundary:
        ax.plot([], [], color="#333333", ls="--", label="class boundary")
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6)
