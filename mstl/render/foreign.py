"""Chimeras: one true car part on a foreign body of random geometry and material."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mstl.render.car import FOREIGN, WHEELS, Car, Surface, zones
from mstl.render.mesh import (
    Mesh,
    band,
    box,
    concatenate,
    from_faces,
    grid_faces,
    revolve,
    split,
    superellipsoid,
)

CHIMERA_PARTS = ("front", "cabin", "rear")


def true_part(car: Car, part: str) -> list[Surface]:
    """What belongs to one zone of a car: all between the zone's planes, and its axle's wheels."""
    front_x, rear_x = zones(car.shape)
    low, high = {"front": (front_x, 99.0), "cabin": (rear_x, front_x), "rear": (-99.0, rear_x)}[part]
    kept = []
    for surface in car.surfaces:
        if surface.part == WHEELS:
            if part == "cabin":
                continue
            mesh, _ = split(surface.mesh, surface.mesh.x if part == "front" else -surface.mesh.x)
        else:
            mesh, _ = split(surface.mesh, np.minimum(surface.mesh.x - low, high - surface.mesh.x))
        if not mesh.empty:
            kept.append(replace(surface, mesh=mesh))
    return kept


def chimera(car: Car, part: str, rng: np.random.Generator) -> tuple[list[Surface], dict[str, dict]]:
    """Surfaces of a chimera and the materials of its foreign body; foreign surfaces have part ``FOREIGN``."""
    front_x, rear_x = zones(car.shape)
    surfaces = true_part(car, part)
    ends = {"front": [(front_x, -1)], "cabin": [(front_x, 1), (rear_x, -1)], "rear": [(rear_x, 1)]}[part]
    materials: dict[str, dict] = {}
    for plane, direction in ends:
        reach = rng.uniform(1.1, 1.9) if part == "cabin" else rng.uniform(1.8, 3.2)
        _grow(surfaces, materials, car, plane, direction, reach, rng)
    return surfaces, materials


def _grow(
    surfaces: list[Surface],
    materials: dict,
    car: Car,
    plane: float,
    direction: int,
    reach: float,
    rng: np.random.Generator,
) -> None:
    """Solids from the cut plane outwards: a core that closes the cut, then smaller ones on and around it."""
    shape = car.shape
    tall = shape.height if plane < shape.doors[0] else shape.upper[shape.cowl][1]
    half_y = shape.width / 2 * rng.uniform(0.92, 1.12)
    half_z = tall / 2 * rng.uniform(0.95, 1.2)
    length = reach * rng.uniform(0.6, 0.95)
    core = _solid(rng, flat=True)
    core = core.transformed(np.diag([length / 2 + 0.1, half_y, half_z]))
    core = core.moved(
        (plane + direction * (length / 2 - 0.06), 0, max(half_z, half_z * rng.uniform(1.0, 1.15)))
    )
    _paint(surfaces, materials, core, rng)
    for _ in range(int(rng.integers(3, 7))):
        size = rng.uniform(0.2, 0.62, 3)
        solid = _solid(rng).transformed(_rotation(rng) @ np.diag(size))
        # The centre lies in the core's outer layer, so that everything hangs together.
        y, z = rng.uniform(-0.85, 0.85) * half_y, half_z * rng.uniform(0.3, 1.7)
        solid = solid.moved((plane + direction * rng.uniform(0.25, 0.95) * length, y, z))
        # Nothing may reach over the cut plane, nor below the floor.
        over = (solid.x * direction).min() - plane * direction
        solid = solid.moved((direction * max(0.0, 0.02 - over), 0, max(0.0, 0.001 - solid.z.min())))
        _paint(surfaces, materials, solid, rng)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def _solid(rng: np.random.Generator, *, flat: bool = False) -> Mesh:
    """A random solid of half size 1: box, rounded box, ellipsoid, cylinder, cone, torus or lump."""
    kind = rng.choice(
        ["box", "round", "lump"] if flat else ["box", "round", "ball", "cylinder", "cone", "torus", "lump"]
    )
    if kind == "box":
        return box((1, 1, 1))
    if kind == "round":
        return superellipsoid((1, 1, 1), float(rng.uniform(3, 8)))
    if kind == "ball":
        return superellipsoid((1, 1, 1), 2.0)
    if kind in ("cylinder", "cone"):
        top = 1.0 if kind == "cylinder" else float(rng.uniform(0.0, 0.6))
        sides = revolve(np.array([(1.0, -1.0), (top, 1.0)]), 48)
        caps = [
            revolve(np.array([(0.0, -1.0), (1.0, -1.0)]), 48),
            revolve(np.array([(top, 1.0), (0.0, 1.0)]), 48),
        ]
        return concatenate([sides, *caps])
    if kind == "torus":
        angle = np.linspace(0, 2 * np.pi, 25)
        thick = float(rng.uniform(0.2, 0.42))
        return revolve(np.stack([1 - thick + thick * np.cos(angle), thick * np.sin(angle)], 1), 60)
    return _lump(rng, power=float(rng.uniform(3, 5)) if flat else 2.0)


def _lump(rng: np.random.Generator, power: float) -> Mesh:
    """A ball with random waves on its surface."""
    ball = superellipsoid((1, 1, 1), power, 32)
    waves = rng.normal(size=(6, 3)) * rng.uniform(2, 5)
    bumps = np.sin(ball.points @ waves.T + rng.uniform(0, 6.28, 6)).mean(1)
    points = ball.points * (1 + 0.28 * bumps)[:, None]
    return from_faces(points, grid_faces(33, 64, wrap=True))


def _paint(surfaces: list[Surface], materials: dict, mesh: Mesh, rng: np.random.Generator) -> None:
    """One random material, or stripes of two."""
    if rng.random() < 0.35:
        axis = int(rng.integers(3))
        pitch = rng.uniform(0.12, 0.35)
        along = mesh.points[:, axis]
        stripes = []
        rest = replace(mesh, fields={"along": along})
        for k in range(int(np.floor(along.min() / pitch)), int(np.ceil(along.max() / pitch)) + 1):
            if rest.empty:
                break
            stripe, rest = band(rest, rest.fields["along"], k * pitch, (k + 0.5) * pitch)
            if not stripe.empty:
                stripes.append(stripe)
        if stripes:
            surfaces.append(Surface(concatenate(stripes), _material(materials, rng), FOREIGN))
        if not rest.empty:
            surfaces.append(Surface(rest, _material(materials, rng), FOREIGN))
    else:
        surfaces.append(Surface(mesh, _material(materials, rng), FOREIGN))


def _material(materials: dict, rng: np.random.Generator) -> str:
    colour = {"type": "rgb", "value": [float(c) for c in rng.uniform(0.02, 0.8, 3) ** rng.uniform(0.8, 1.8)]}
    kind = rng.choice(["matt", "gloss", "metal"], p=[0.45, 0.35, 0.2])
    bsdf = {
        "matt": {"type": "diffuse", "reflectance": colour},
        "gloss": {"type": "plastic", "diffuse_reflectance": colour, "nonlinear": True},
        "metal": {
            "type": "roughconductor",
            "material": "none",
            "alpha": 0.25,
            "specular_reflectance": colour,
        },
    }[str(kind)]
    name = f"foreign{len(materials)}"
    materials[name] = {"type": "twosided", "bsdf": bsdf}
    return name
