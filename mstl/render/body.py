"""The painted skin: a side profile lofted into rounded cross-sections, then cut into parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from mstl.render.curves import rounded, smooth_step
from mstl.render.mesh import Mesh, extrude, from_faces, grid_faces, rim_edges, split
from mstl.render.styles import Shape


@dataclass(frozen=True)
class Profile:
    """The side view as dense curves over x, nose first (x falls)."""

    x: ndarray
    top: ndarray
    bottom: ndarray
    belt: ndarray
    arc: ndarray  # arc length along the top curve, from the nose
    corners: ndarray  # arc length at each corner of Shape.upper

    def at(self, x: ndarray | float, curve: str) -> ndarray:
        return np.interp(-np.asarray(x, float), -self.x, getattr(self, curve))

    def x_at_height(self, z: float, end: str) -> float:
        """x of the centre line at height z on the front (``nose``) or the back (``tail``)."""
        below = (self.bottom <= z) & (z <= self.top)
        return float(self.x[below].max() if end == "nose" else self.x[below].min())


def _falling(curve: ndarray) -> ndarray:
    """The same curve with x strictly falling, so that it is a function of x."""
    x = np.minimum.accumulate(curve[:, 0]) - 1e-6 * np.arange(len(curve))
    return np.stack([x, curve[:, 1]], 1)


def profile(shape: Shape) -> Profile:
    upper, lower = (np.array(c) for c in (shape.upper, shape.lower))
    top = _falling(rounded(upper[:, :2], upper[1:-1, 2], straight=5, bend=9))
    low = _falling(rounded(lower[:, :2], lower[1:-1, 2], straight=4, bend=6))
    x = np.concatenate([top[:, 0], low[:, 0], np.linspace(shape.nose, shape.tail, 130)])
    x = np.sort(x[(x <= shape.nose) & (x >= shape.tail)])[::-1]
    x = x[np.concatenate([[True], np.diff(x) < -1.5e-3])]
    x[-1] = shape.tail
    z_top = np.interp(-x, -top[:, 0], top[:, 1])
    z_low = np.interp(-x, -low[:, 0], low[:, 1])
    # The skin closes exactly at both ends, where the curves are steep.
    z_top[[0, -1]] = z_low[[0, -1]] = upper[[0, -1], 1]
    belt = np.array(shape.belt)
    fine = np.linspace(shape.nose, shape.tail, 400)
    z_belt = np.interp(-fine, -belt[:, 0], belt[:, 1])
    kernel = np.hanning(61)
    z_belt = np.convolve(np.pad(z_belt, 30, mode="edge"), kernel / kernel.sum(), mode="valid")
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z_top)))])
    corners = np.interp(-upper[:, 0], -x, arc)
    return Profile(x, z_top, z_low, np.interp(-x, -fine, z_belt), arc, corners)


def skin(shape: Shape, side: Profile) -> Mesh:
    """The left half of the body as one smooth surface.

    Fields: ``arc`` (metres along the centre line from the nose), ``above`` (metres over
    the belt), ``under`` (metres below the roof's edge), ``inset`` (metres inwards of the
    roof's edge), ``sill`` (metres over the lower edge).
    """
    x, top, low = side.x, side.top, side.bottom
    half = shape.width / 2
    middle = (shape.nose + shape.tail) / 2
    t = np.abs(x - middle) / ((shape.nose - shape.tail) / 2)
    plan = half * (1 - 0.055 * t**4 - 0.02 * t**12)
    tall = top - low
    crown = np.minimum(shape.crown, 0.22 * tall)
    edge_z = top - crown
    belt = np.minimum(side.belt, low + np.maximum(0.93 * (edge_z - low), 0.5 * (edge_z - low)))
    belt = np.minimum(belt, edge_z - 0.012 * smooth_step(tall, 0, 0.3))
    waist = low + np.minimum(0.36 * np.maximum(side.belt - low, 0.1), 0.45 * tall)
    lift = edge_z - belt
    belt_y = plan - 0.045
    # On the bonnet the greenhouse has no height: its edge then lies a hand inside the shoulder.
    edge_y = belt_y - 0.035 - shape.tumblehome * np.maximum(lift - 0.02, 0)
    mid_z, mid_y = belt + 0.55 * lift, belt_y + 0.55 * (edge_y - belt_y) + 0.018 * smooth_step(lift, 0.1, 0.4)
    # The shoulder's step, a slim ledge where glass meets body.
    zero = np.zeros_like(x)
    corners = np.stack(
        [
            np.stack([zero, low], -1),
            np.stack([plan * 0.92, low], -1),
            np.stack([plan * 0.98, low + 0.25 * (waist - low)], -1),
            np.stack([plan - 0.010, waist], -1),
            np.stack([plan, waist + 0.66 * (belt - waist)], -1),
            np.stack([belt_y + 0.012, belt], -1),
            np.stack([mid_y, mid_z], -1),
            np.stack([edge_y, edge_z], -1),
            np.stack([0.55 * edge_y, top - 0.28 * crown], -1),
            np.stack([zero, top], -1),
        ],
        axis=1,
    )
    edge = np.minimum(shape.edge, 0.35 * np.maximum(tall, 0.02))
    radii = np.stack(
        [zero + 0.05, zero + 0.12, zero + 0.16, zero + 0.035, zero + 0.028, zero + 0.16, edge, zero + 0.45],
        axis=1,
    )
    section = rounded(corners, radii, straight=4, bend=5)
    rows, columns, _ = section.shape
    points = np.concatenate([np.broadcast_to(x[:, None, None], (rows, columns, 1)), section], axis=-1)
    y, z = points[..., 1], points[..., 2]
    # Plan view: the corners of nose and tail fall back; the windscreen bows with them.
    q = np.clip(y / (1.03 * half), 0, 1)
    bow = 1 - (1 - q**2.4) ** (1 / 2.4)
    front = smooth_step(x, shape.nose - 2.1, shape.nose - 0.15)[:, None]
    back = smooth_step(x, shape.tail + 1.3, shape.tail + 0.1)[:, None]
    points[..., 0] += (back * shape.tail_round - front * shape.nose_round) * bow
    # Wheel arches swell a little.
    for axle in shape.axles:
        d = np.hypot(points[..., 0] - axle, z - shape.wheel_radius) - shape.wheel_radius - shape.tyre_gap
        swell = np.exp(-((np.maximum(d, 0) / 0.09) ** 2)) * smooth_step(y, 0.6 * half, 0.85 * half)
        points[..., 1] += shape.flare * swell
    fields = {
        "arc": np.broadcast_to(side.arc[:, None], y.shape),
        "above": z - belt[:, None],
        "under": edge_z[:, None] - z,
        "inset": edge_y[:, None] - y,
        "sill": z - low[:, None],
        "station": np.broadcast_to(x[:, None], y.shape),
    }
    faces = grid_faces(rows, columns)
    mesh = from_faces(
        points.reshape(-1, 3), faces, **{k: np.array(v, float).reshape(-1) for k, v in fields.items()}
    )
    normals = mesh.normals.copy()
    normals[mesh.y < 1e-9, 1] = 0.0
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return replace(mesh, normals=normals)


def cut_arch(mesh: Mesh, axle: float, radius: float, shape: Shape) -> tuple[Mesh, Mesh]:
    """Open a wheel arch; returns the skin that stays and the dark liner behind its rim."""
    inner = shape.width / 2 - 0.36
    distance = np.hypot(mesh.x - axle, mesh.z - shape.wheel_radius) - radius
    distance = np.maximum(distance, np.minimum(inner - mesh.y, 0.5))
    mesh = replace(mesh, fields={**mesh.fields, "_rim": distance})
    kept, _ = split(mesh, distance)
    edges = rim_edges(kept, kept.fields["_rim"])
    target = kept.points.copy()
    target[:, 1] = inner
    liner = extrude(kept, edges, target)
    fields = {k: v for k, v in kept.fields.items() if k != "_rim"}
    return replace(kept, fields=fields), liner
