"""From a seed to a finished frame: image, mask and part map of one view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from mstl.render.car import Surface, draw_car
from mstl.render.foreign import CHIMERA_PARTS, chimera
from mstl.render.studio import Studio, draw_studio, materials, renderer, scene_for_view, shoot, to_mitsuba
from mstl.render.styles import BODY_STYLES

GENERATOR = "1"
"""Raise it when any pixel of a data set would change."""


@dataclass(frozen=True)
class Frame:
    """One view. ``image`` uint8 (h, w, 3); ``parts`` uint8 (h, w); the mask is parts > 0."""

    image: ndarray
    parts: ndarray

    @property
    def mask(self) -> ndarray:
        return (self.parts > 0).astype(np.uint8)


class Subject:
    """A car (``part`` None) or a chimera, ready to be photographed from any view.

    Everything follows from (seed, part, number): the same three give the same arrays.
    """

    def __init__(self, seed: int, number: int, part: str | None = None) -> None:
        stream = 0 if part is None else 1 + CHIMERA_PARTS.index(part)
        self.key = (seed, stream, number)
        self.part = part
        self.style = BODY_STYLES[number % len(BODY_STYLES)]
        rng = np.random.default_rng(self.key)
        self.car = draw_car(self.style, rng)
        self.studio: Studio = draw_studio(rng)
        table = materials(self.car.finish)
        if part is None:
            surfaces = list(self.car.surfaces)
        else:
            surfaces, foreign = chimera(self.car, part, rng)
            table |= foreign
        points = np.concatenate([s.mesh.points for s in surfaces])
        low, high = points.min(0), points.max(0)
        # Turn about the middle of the object, as on a turntable.
        surfaces = [_shifted(s, -(low[0] + high[0]) / 2) for s in surfaces]
        self.length, self.height = float(high[0] - low[0]), float(high[2])
        mi = renderer()
        bsdfs = {name: mi.load_dict(table[name]) for name in sorted({s.material for s in surfaces})}
        self._parts = [s.part for s in surfaces]
        self._meshes = [to_mitsuba(s, bsdfs[s.material], f"part{i:03d}") for i, s in enumerate(surfaces)]

    def photograph(self, view: int, size: tuple[int, int] = (240, 160), samples: int = 8) -> Frame:
        """Render view 1..16 at ``size`` (width, height)."""
        scene = scene_for_view(self._meshes, self.studio, self.length, self.height, view, size, samples)
        seed = int(np.random.default_rng((*self.key, view)).integers(2**31))
        light, parts = shoot(scene, self._meshes, self._parts, size, seed)
        return Frame(develop(light, np.random.default_rng((*self.key, view, 1))), parts)


def _shifted(surface: Surface, dx: float) -> Surface:
    return replace(surface, mesh=surface.mesh.moved((dx, 0, 0)))


def develop(light: ndarray, rng: np.random.Generator) -> ndarray:
    """A camera's answer to linear light (h, w, 3): vignette, shot and read noise, tone curve, 8 bits."""
    h, w, _ = light.shape
    y, x = np.mgrid[:h, :w]
    radius = np.hypot((x - (w - 1) / 2) / w, (y - (h - 1) / 2) / w) / 0.6
    light = light * (1 - 0.16 * radius**2)[..., None]
    noise = rng.standard_normal(light.shape) * np.sqrt(1.5e-5 * light + 2e-6)
    exposed = np.clip(1.6 * (light + noise), 0, None)
    # Straight up to mid grey, then a soft shoulder.
    toned = np.where(
        exposed < 0.5, exposed, 0.5 + 0.5 * (1 - np.exp(-(np.maximum(exposed, 0.5) - 0.5) / 0.5))
    )
    srgb = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * np.maximum(toned, 1e-9) ** (1 / 2.4) - 0.055)
    return np.clip(np.rint(255 * srgb), 0, 255).astype(np.uint8)
