"""Six body styles: the numbers of one parametric car, and how they vary."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BODY_STYLES = ("sedan", "hatchback", "estate", "suv", "pickup", "van")
"""In this order: car number i of a data set has style ``BODY_STYLES[i % 6]``."""


@dataclass(frozen=True)
class Shape:
    """Geometry of one car. Metres; x forward from the middle of the wheelbase, z up from the floor.

    ``upper`` and ``lower`` are corners (x, z, reach of the rounding) of the side view,
    from the nose to the tail; ``belt`` is the shoulder line (x, z). Indices ``cowl``,
    ``header``, ``roof_end`` and ``rear_base`` say which corner of ``upper`` bounds the
    windscreen and the rear window.
    """

    style: str
    upper: tuple[tuple[float, float, float], ...]
    lower: tuple[tuple[float, float, float], ...]
    belt: tuple[tuple[float, float], ...]
    cowl: int
    header: int
    roof_end: int
    rear_base: int
    width: float
    axles: tuple[float, float]
    wheel_radius: float
    doors: tuple[float, float, float]  # front edge, B pillar, rear edge
    window_end: float  # x where the last side window ends
    divider: float | None  # x of the pillar before the last side window
    tumblehome: float = 0.36  # lean of the side windows, metres inwards per metre up
    crown: float = 0.045  # how far the roof's edge lies below its middle
    edge: float = 0.10  # rounding between side and roof
    nose_round: float = 0.34  # how far the front corners lie behind the nose
    tail_round: float = 0.22
    flare: float = 0.02
    cladding: bool = False
    bed: tuple[float, float] | None = None  # x range of a pickup's open bed
    lamp_tall: bool = False  # upright tail lamps
    blind_side: bool = False  # panels instead of the rear side windows
    rack: bool = False
    tyre_gap: float = 0.055

    @property
    def nose(self) -> float:
        return self.upper[0][0]

    @property
    def tail(self) -> float:
        return self.upper[-1][0]

    @property
    def window_lean(self) -> float:
        """Metres by which the last side window's end leans back per metre up."""
        return {"sedan": -0.35, "hatchback": -0.30, "pickup": 0.05}.get(self.style, 0.30)

    @property
    def line_lean(self) -> float:
        """The same for the strip under the windows."""
        return -0.35 if self.style == "hatchback" else self.window_lean

    @property
    def height(self) -> float:
        return max(z for _, z, _ in self.upper)


_SEDAN = Shape(
    style="sedan",
    upper=(
        (2.30, 0.50, 0), (2.28, 0.745, 0.13), (2.05, 0.835, 0.26), (1.55, 0.925, 0.40), (1.02, 0.975, 0.09),
        (0.18, 1.375, 0.34), (-0.35, 1.45, 0.50), (-0.98, 1.385, 0.48), (-1.78, 1.075, 0.20),
        (-2.30, 1.035, 0.07), (-2.37, 0.90, 0.10), (-2.42, 0.58, 0),
    ),
    lower=(
        (2.30, 0.50, 0), (2.265, 0.27, 0.12), (2.05, 0.19, 0.12),
        (-1.90, 0.20, 0.2), (-2.36, 0.30, 0.12), (-2.42, 0.58, 0),
    ),
    belt=((2.30, 0.68), (1.9, 0.80), (1.0, 0.905), (0.0, 0.935), (-1.2, 0.975), (-2.1, 0.985), (-2.42, 0.93)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.82, axles=(1.40, -1.36), wheel_radius=0.335,
    doors=(0.92, -0.16, -1.12), window_end=-1.50, divider=-1.06,
)  # fmt: skip

_HATCHBACK = Shape(
    style="hatchback",
    upper=(
        (1.90, 0.52, 0), (1.885, 0.78, 0.13), (1.68, 0.88, 0.24), (1.35, 0.955, 0.28), (1.00, 1.01, 0.08),
        (0.26, 1.44, 0.30), (-0.25, 1.515, 0.50), (-1.36, 1.45, 0.12), (-1.72, 1.04, 0.10),
        (-1.80, 0.92, 0.06), (-1.84, 0.60, 0),
    ),
    lower=(
        (1.90, 0.52, 0), (1.88, 0.28, 0.12), (1.68, 0.20, 0.12),
        (-1.54, 0.22, 0.2), (-1.80, 0.32, 0.12), (-1.84, 0.60, 0),
    ),
    belt=((1.90, 0.71), (1.55, 0.85), (0.95, 0.95), (0.0, 0.98), (-1.0, 1.035), (-1.6, 1.04), (-1.84, 0.94)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.75, axles=(1.22, -1.22), wheel_radius=0.322,
    doors=(0.86, -0.12, -0.94), window_end=-1.26, divider=-0.90,
    nose_round=0.30, tail_round=0.20, lamp_tall=True,
)  # fmt: skip

_ESTATE = Shape(
    style="estate",
    upper=(
        (2.30, 0.50, 0), (2.28, 0.745, 0.13), (2.05, 0.835, 0.26), (1.55, 0.925, 0.40), (1.02, 0.975, 0.09),
        (0.20, 1.385, 0.34), (-0.35, 1.465, 0.50), (-1.98, 1.42, 0.12), (-2.34, 1.03, 0.12),
        (-2.40, 0.90, 0.06), (-2.44, 0.58, 0),
    ),
    lower=(
        (2.30, 0.50, 0), (2.265, 0.27, 0.12), (2.05, 0.19, 0.12),
        (-1.92, 0.20, 0.2), (-2.40, 0.30, 0.12), (-2.44, 0.58, 0),
    ),
    belt=((2.30, 0.68), (1.9, 0.80), (1.0, 0.905), (0.0, 0.935), (-1.2, 0.965), (-2.1, 0.99), (-2.44, 0.92)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.82, axles=(1.40, -1.36), wheel_radius=0.335,
    doors=(0.92, -0.16, -1.12), window_end=-2.00, divider=-1.08,
    rack=True, lamp_tall=True, tail_round=0.16,
)  # fmt: skip

_SUV = Shape(
    style="suv",
    upper=(
        (2.14, 0.64, 0), (2.125, 0.99, 0.10), (1.93, 1.075, 0.20), (1.50, 1.13, 0.34), (1.02, 1.165, 0.08),
        (0.34, 1.66, 0.24), (-0.30, 1.755, 0.50), (-1.82, 1.70, 0.11), (-2.05, 1.20, 0.12),
        (-2.12, 1.06, 0.07), (-2.17, 0.68, 0),
    ),
    lower=(
        (2.14, 0.64, 0), (2.11, 0.40, 0.12), (1.90, 0.30, 0.12),
        (-1.78, 0.31, 0.2), (-2.11, 0.42, 0.12), (-2.17, 0.68, 0),
    ),
    belt=((2.14, 0.92), (1.85, 1.03), (1.0, 1.10), (0.0, 1.115), (-1.2, 1.145), (-1.9, 1.17), (-2.17, 1.08)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.90, axles=(1.32, -1.32), wheel_radius=0.385,
    doors=(0.90, -0.10, -1.00), window_end=-1.76, divider=-0.96,
    tumblehome=0.26, nose_round=0.24, tail_round=0.16, flare=0.035, cladding=True, lamp_tall=True, rack=True,
    tyre_gap=0.065,
)  # fmt: skip

_PICKUP = Shape(
    style="pickup",
    upper=(
        (2.62, 0.66, 0), (2.60, 1.00, 0.09), (2.38, 1.07, 0.18), (1.90, 1.12, 0.30), (1.40, 1.155, 0.07),
        (0.72, 1.66, 0.26), (0.15, 1.745, 0.45), (-0.66, 1.70, 0.10), (-0.80, 1.14, 0.04),
        (-2.58, 1.10, 0.05), (-2.63, 0.95, 0.03), (-2.66, 0.62, 0),
    ),
    lower=(
        (2.62, 0.66, 0), (2.59, 0.40, 0.12), (2.36, 0.31, 0.12),
        (-2.40, 0.36, 0.2), (-2.62, 0.46, 0.08), (-2.66, 0.62, 0),
    ),
    belt=((2.62, 0.93), (2.3, 1.02), (1.4, 1.085), (0.2, 1.095), (-0.8, 1.10), (-2.0, 1.085), (-2.66, 1.06)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.92, axles=(1.66, -1.56), wheel_radius=0.385,
    doors=(1.26, 0.24, -0.60), window_end=-0.60, divider=None,
    tumblehome=0.27, nose_round=0.22, tail_round=0.05, flare=0.035, cladding=True, lamp_tall=True,
    bed=(-0.90, -2.56), tyre_gap=0.075, crown=0.03, edge=0.08,
)  # fmt: skip

_VAN = Shape(
    style="van",
    upper=(
        (2.40, 0.60, 0), (2.38, 0.88, 0.12), (2.22, 1.03, 0.16), (1.96, 1.13, 0.20), (1.66, 1.20, 0.08),
        (0.95, 1.84, 0.26), (0.45, 1.945, 0.40), (-2.22, 1.92, 0.10), (-2.38, 1.22, 0.20),
        (-2.42, 1.05, 0.10), (-2.45, 0.60, 0),
    ),
    lower=(
        (2.40, 0.60, 0), (2.37, 0.32, 0.12), (2.18, 0.22, 0.12),
        (-2.10, 0.24, 0.2), (-2.40, 0.34, 0.12), (-2.45, 0.60, 0),
    ),
    belt=((2.40, 0.80), (2.1, 0.95), (1.6, 1.08), (0.5, 1.11), (-1.2, 1.13), (-2.2, 1.14), (-2.45, 1.0)),
    cowl=4, header=5, roof_end=7, rear_base=8,
    width=1.94, axles=(1.50, -1.50), wheel_radius=0.345,
    doors=(1.36, 0.36, -0.78), window_end=-2.12, divider=-0.76,
    tumblehome=0.13, edge=0.13, nose_round=0.30, tail_round=0.09, lamp_tall=True, crown=0.06,
)  # fmt: skip

_BASE = {s.style: s for s in (_SEDAN, _HATCHBACK, _ESTATE, _SUV, _PICKUP, _VAN)}


def base_shape(style: str) -> Shape:
    """The style's mean car."""
    return _BASE[style]


def draw_shape(style: str, rng: np.random.Generator) -> Shape:
    """A random car of a style: proportions, rake, heights, wheels and equipment."""
    s = _BASE[style]
    long, high = rng.uniform(0.94, 1.06), rng.uniform(0.965, 1.04)
    hood, deck = rng.uniform(-0.03, 0.03, 2)
    nose_high = rng.uniform(-0.03, 0.03)
    rake, roof = rng.uniform(-0.13, 0.13), rng.uniform(-0.04, 0.03)
    rear_rake = rng.uniform(-0.14, 0.10)
    belt_rise = rng.uniform(-0.02, 0.05)
    front, rear = s.axles

    def upper(i: int, x: float, z: float, r: float) -> tuple[float, float, float]:
        if i in (2, 3):
            z += nose_high if i == 2 else nose_high / 2
            z += hood
        if i == s.cowl:
            x, z = x + rake / 2, z + hood / 2
        if i == s.header:
            x, z = x - rake / 2, z + roof
        if s.header < i < s.roof_end:
            z += roof
        if i == s.roof_end:
            z += roof - abs(rear_rake) * 0.15
            x += rear_rake if style in ("sedan", "hatchback", "estate", "suv") else 0
        if i == s.rear_base and style == "sedan":
            x, z = x + rear_rake / 2, z + deck / 2
        return x * long, z * high, r * long

    def rise(x: float) -> float:
        return belt_rise * max(0.0, min(1.0, (front - x) / (front - rear)))

    return replace(
        s,
        upper=tuple(upper(i, *c) for i, c in enumerate(s.upper)),
        lower=tuple((x * long, z * high, r) for x, z, r in s.lower),
        belt=tuple((x * long, z * high + rise(x)) for x, z in s.belt),
        width=s.width * rng.uniform(0.965, 1.03),
        axles=(front * long, rear * long),
        wheel_radius=s.wheel_radius * rng.uniform(0.96, 1.06),
        doors=tuple(d * long for d in s.doors),
        window_end=s.window_end * long + (rng.uniform(0, 0.08) if style not in ("pickup",) else 0),
        divider=None if s.divider is None else s.divider * long,
        tumblehome=s.tumblehome * rng.uniform(0.85, 1.15),
        crown=s.crown * rng.uniform(0.7, 1.4),
        nose_round=s.nose_round * rng.uniform(0.8, 1.2),
        tail_round=s.tail_round * rng.uniform(0.8, 1.2),
        flare=s.flare * rng.uniform(0.6, 1.6),
        cladding=s.cladding and rng.random() < 0.75,
        rack=s.rack and rng.random() < 0.6,
        blind_side=style == "van" and rng.random() < 0.5,
    )  # fmt: skip
