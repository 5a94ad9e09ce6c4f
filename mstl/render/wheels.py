"""Wheels: a tyre turned on the lathe and a rim with windows cut between its spokes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mstl.render.curves import rounded, smooth_step
from mstl.render.mesh import Mesh, concatenate, extrude, from_faces, grid_faces, revolve, rim_edges, split


@dataclass(frozen=True)
class WheelDesign:
    spokes: int
    spoke_width: float  # share of the circle that a spoke takes at the hub
    taper: float  # widening (> 0) or narrowing of a spoke towards the rim
    twin: bool  # each spoke split in two
    rim_share: float  # rim radius over wheel radius
    dish: float  # how far the hub lies behind the rim's edge, metres
    bright: bool


def draw_wheel(rng: np.random.Generator, style: str) -> WheelDesign:
    twin = rng.random() < 0.35
    spokes = int(rng.choice([5, 6, 7, 9, 10] if not twin else [5, 6, 7]))
    return WheelDesign(
        spokes=spokes,
        spoke_width=float(rng.uniform(0.40, 0.6)) if not twin else float(rng.uniform(0.55, 0.7)),
        taper=float(rng.uniform(-0.35, 0.25)),
        twin=twin,
        rim_share=float(rng.uniform(0.68, 0.74) if style in ("pickup", "van") else rng.uniform(0.70, 0.78)),
        dish=float(rng.uniform(0.015, 0.05)),
        bright=bool(rng.random() < 0.75),
    )


def wheel(radius: float, width: float, design: WheelDesign) -> dict[str, Mesh]:
    """Material -> mesh of one wheel about the y axis, its outer face towards +y.

    ``radius`` of the tyre, ``width`` along y; y = 0 is the outer face of the tyre.
    """
    rim = radius * design.rim_share
    corners = np.array(
        [
            (rim * 0.98, -width), (rim + 0.3 * (radius - rim), -width - 0.004),
            (radius - 0.012, -width + 0.014),
            (radius, -width + 0.05), (radius, -0.05), (radius - 0.012, -0.014),
            (rim + 0.35 * (radius - rim), 0.004), (rim * 1.005, -0.004), (rim * 0.985, -0.02),
        ]
    )  # fmt: skip
    tyre = revolve(rounded(corners, np.full(7, 0.02), straight=3, bend=3), 48)
    lip_share = [1.0, 0.99, 0.945, 0.92, 0.9]
    lip = revolve(
        rounded(
            np.stack([rim * np.array(lip_share), [-0.012, 0.001, -0.001, -0.02, -0.12]], axis=1),
            np.full(3, 0.008), straight=2, bend=3,
        ),
        48,
    )  # fmt: skip
    # The face of the rim on a polar grid, dished towards the hub.
    r = np.linspace(0.02, 0.95, 14) * rim
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    share = (r / rim)[:, None]
    depth = -0.012 - design.dish * (1 - share**2) + 0.012 * smooth_step(share, 0.30, 0.16)
    sector = (angle * design.spokes / (2 * np.pi) + 0.5) % 1 - 0.5  # 0 in the middle of a spoke
    depth = depth - 0.02 * np.abs(sector)[None] * smooth_step(share, 0.2, 0.35)
    points = np.stack(
        [
            r[:, None] * np.cos(angle),
            np.broadcast_to(depth, (len(r), len(angle))),
            r[:, None] * np.sin(angle),
        ],
        -1,
    ).reshape(-1, 3)
    faces = grid_faces(len(r), len(angle), wrap=True)[:, ::-1]
    share = np.broadcast_to(share, (len(r), len(angle))).reshape(-1)
    sector = np.broadcast_to(sector, (len(r), len(angle))).reshape(-1)
    arc = 2 * np.pi * share * rim / design.spokes  # metres of circle per spoke
    half = (
        design.spoke_width
        / 2
        * (0.42 + design.taper * (share - 0.5))
        * 2
        * np.pi
        * rim
        / design.spokes
        * 0.62
    )
    away = np.abs(sector) * arc - half
    if design.twin:
        slit = half * 0.42 - np.abs(sector) * arc
        window = np.maximum(np.minimum(away, 1.0), np.minimum(slit, (share - 0.42) * rim))
    else:
        window = away
    window = np.minimum(window, np.minimum((share - 0.30) * rim, (0.9 - share) * rim))
    face = from_faces(points, faces, window=window)
    _, solid = split(face, face.fields["window"])
    edges = rim_edges(solid, solid.fields["window"])
    back = solid.points - np.array([0, 0.035, 0])
    spokes_depth = extrude(solid, edges, back)
    cap = revolve(
        np.array([(0.0, -0.004), (0.026, -0.005), (0.032, -0.012), (0.034, -0.05)]) - [0, design.dish], 24
    )
    brake = revolve(np.array([(0.05, -0.085), (rim * 0.72, -0.085), (rim * 0.72, -0.1)]), 40)
    drum = revolve(np.array([(0.0, -0.13), (rim * 0.98, -0.13)]), 40)
    return {
        "tyre": tyre,
        "rim": concatenate([solid, lip, spokes_depth]),
        "cap": cap,
        "brake": brake,
        "dark": drum,
    }
