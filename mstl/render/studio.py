"""The studio: cyclorama, softboxes, camera and materials in Mitsuba 3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy import ndarray

from mstl.render.car import Finish, Surface
from mstl.render.mesh import from_faces, grid_faces
from mstl.system.errors import InputError

VIEWS = tuple(range(1, 17))


@lru_cache(1)
def renderer() -> ModuleType:
    """Mitsuba with the variant that needs nothing but its wheel."""
    try:
        import mitsuba as mi
    except ImportError as error:
        raise InputError(
            'rendering needs Mitsuba 3, which is not installed: pip install "mstl[render]" '
            "(reading the embedded cars does not need it)"
        ) from error
    mi.set_variant("scalar_rgb")
    mi.set_log_level(mi.LogLevel.Error)
    return mi


@dataclass(frozen=True)
class Studio:
    """Light, backdrop and camera of one car's session."""

    backdrop: tuple[float, float, float]
    floor: tuple[float, float, float]
    key: float
    sides: float
    warm: float
    fill: float
    camera_height: float
    fill_width: float  # share of the frame's width that the car takes in the side view
    field_of_view: float


def draw_studio(rng: np.random.Generator) -> Studio:
    tone = rng.choice([0.72, 0.55, 0.38, 0.22], p=[0.40, 0.30, 0.2, 0.10]) * rng.uniform(0.9, 1.1)
    tint = 1 + rng.uniform(-0.035, 0.035, 3)
    floor = tone * rng.uniform(0.72, 1.0)
    return Studio(
        backdrop=tuple(float(v) for v in tone * tint),
        floor=tuple(float(v) for v in floor * tint),
        key=float(rng.uniform(0.85, 1.15)),
        sides=float(rng.uniform(0.6, 1.3)),
        warm=float(rng.uniform(-0.05, 0.05)),
        fill=float(rng.uniform(0.7, 1.2)),
        camera_height=float(rng.uniform(1.35, 1.75)),
        fill_width=float(rng.uniform(0.72, 0.79)),
        field_of_view=float(rng.uniform(27, 33)),
    )


def materials(finish: Finish) -> dict[str, dict]:
    """Material name -> Mitsuba BSDF (two-sided)."""

    def rgb(*colour: float) -> dict:
        return {"type": "rgb", "value": list(colour) if len(colour) == 3 else [colour[0]] * 3}

    def glossy(*colour: float, ior: float = 1.5) -> dict:
        return {"type": "plastic", "diffuse_reflectance": rgb(*colour), "int_ior": ior, "nonlinear": True}

    def matt(*colour: float, rough: float) -> dict:
        return {
            "type": "roughplastic",
            "diffuse_reflectance": rgb(*colour),
            "alpha": rough,
            "distribution": "ggx",
        }

    def metal(*colour: float, rough: float) -> dict:
        return {
            "type": "roughconductor", "material": "none", "alpha": rough, "distribution": "ggx",
            "specular_reflectance": rgb(*colour),
        }  # fmt: skip

    def blend(first: dict, second: dict, weight: float) -> dict:
        return {"type": "blendbsdf", "weight": weight, "a": first, "b": second}

    paint = glossy(*finish.paint, ior=1.55)
    if finish.metallic > 0.05:
        flakes = (float(c) for c in np.clip(np.array(finish.paint) * 1.5 + 0.01, 0, 0.9))
        paint = blend(paint, metal(*flakes, rough=0.38), finish.metallic * 0.6)
    tint = finish.tint
    table = {
        "paint": paint,
        "glass": glossy(tint, tint * 1.1, tint * 1.12, ior=1.55),
        "gloss": glossy(0.012),
        "plastic": matt(0.028, rough=0.35),
        "dark": {"type": "diffuse", "reflectance": rgb(0.008)},
        "tyre": matt(0.022, rough=0.45),
        "rim": metal(*finish.rim, rough=finish.rim_rough),
        "cap": metal(0.5, rough=0.2),
        "brake": metal(0.25, rough=0.3),
        "chrome": metal(0.85, rough=0.06),
        "satin": metal(0.5, rough=0.22),
        "mirror": metal(0.6, rough=0.05),
        "lamp": blend(glossy(0.75, ior=1.6), metal(0.9, rough=0.15), 0.5),
        "led": glossy(0.9),
        "housing": blend(glossy(0.05, 0.052, 0.055, ior=1.6), metal(0.7, rough=0.12), 0.35),
        "red": glossy(0.42, 0.012, 0.012, ior=1.55),
        "plate": matt(*finish.plate, rough=0.3),
    }
    return {name: {"type": "twosided", "bsdf": bsdf} for name, bsdf in table.items()}


def to_mitsuba(surface: Surface, bsdf: object, name: str) -> object:
    """A Mitsuba mesh with vertices rounded to 10 µm, so that every processor's libm gives the same file."""
    mi = renderer()
    properties = mi.Properties()
    properties["mesh_bsdf"] = bsdf
    mesh = surface.mesh
    shape = mi.Mesh(name, len(mesh.points), len(mesh.faces), has_vertex_normals=True, props=properties)
    params = mi.traverse(shape)
    params["vertex_positions"] = np.ravel(np.round(mesh.points, 5)).astype(np.float32)
    params["vertex_normals"] = np.ravel(np.round(mesh.normals, 4)).astype(np.float32)
    params["faces"] = np.ravel(mesh.faces).astype(np.uint32)
    params.update()
    return shape


def _backdrop_mesh() -> Surface:
    """Floor, fillet and wall in the camera's frame: +x towards the camera, the wall at -x."""
    bend = np.linspace(0, np.pi / 2, 24)
    radius, wall = 3.5, -9.5
    x = np.concatenate([[30.0, 12.0, 4.0, 0.0, -3.0], wall + radius - radius * np.sin(bend), [wall]])
    z = np.concatenate([np.zeros(5), radius - radius * np.cos(bend), [14.0]])
    y = np.linspace(-22, 22, 9)
    points = np.stack([np.repeat(x, 9), np.tile(y, len(x)), np.repeat(z, 9)], 1)
    return Surface(from_faces(points, grid_faces(len(x), 9)[:, ::-1]), "backdrop", 0)


def _soft_edge(colour: ndarray, steps: int = 32) -> ndarray:
    """A softbox's cloth: bright in the middle, fading towards its frame; float32 (steps, steps, 3)."""
    u = np.linspace(-1, 1, steps)
    fade = 1 - np.abs(u) ** 3
    return (fade[:, None, None] * fade[None, :, None] * 1.5 * colour).astype(np.float32)


def _softbox(
    mi: ModuleType, turn: object, centre: tuple, target: tuple, size: tuple, colour: ndarray, share: float
) -> dict:
    """A rectangle light of half size (width, height) that looks from ``centre`` at ``target``."""
    up = [0, 0, 1] if abs(centre[0] - target[0]) + abs(centre[1] - target[1]) > 1e-3 else [1, 0, 0]
    place = mi.ScalarTransform4f().look_at(origin=list(centre), target=list(target), up=up)
    scale = mi.ScalarTransform4f().scale([size[0], size[1], 1])
    return {
        "type": "rectangle", "to_world": turn @ place @ scale,
        "light": {"type": "area", "sampling_weight": share,
                  "radiance": {"type": "bitmap", "bitmap": mi.Bitmap(_soft_edge(colour)), "raw": True,
                               "wrap_mode": "clamp"}},
    }  # fmt: skip


def scene_for_view(
    meshes: list, studio: Studio, length: float, height: float, view: int, size: tuple[int, int], samples: int
) -> object:
    """The scene of one view; ``length`` and ``height`` of the object set the camera's distance and aim."""
    mi = renderer()
    width, rows = size
    turn = mi.ScalarTransform4f().rotate([0, 0, 1], 22.5 * (view - 1))
    distance = length / (2 * np.tan(np.radians(studio.field_of_view / 2)) * studio.fill_width) + 0.6
    aim = 0.40 * height + 0.04 * length
    place = turn @ mi.ScalarTransform4f().look_at(
        origin=[distance, 0, studio.camera_height], target=[0, 0, aim], up=[0, 0, 1]
    )

    camera = {
        "type": "perspective", "fov": studio.field_of_view, "fov_axis": "x", "to_world": place,
        "sampler": {"type": "multijitter", "sample_count": samples},
        "film": {"type": "hdrfilm", "width": width, "height": rows, "pixel_format": "rgb",
                 "component_format": "float32", "rfilter": {"type": "box"}},
    }  # fmt: skip
    white = np.array([1 + studio.warm, 1.0, 1 - studio.warm])

    def wash(colour: tuple) -> dict:
        return {
            "type": "twosided",
            "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": list(colour)}},
        }

    floor = to_mitsuba(_placed(_backdrop_mesh(), turn), mi.load_dict(wash(studio.backdrop)), "backdrop")
    scene = {
        "type": "scene",
        "camera": camera,
        "backdrop": floor,
        "sky": {
            "type": "constant",
            "radiance": {"type": "rgb", "value": [float(c) for c in 0.20 * studio.fill * white]},
            "sampling_weight": 1.0,
        },
        "top": _softbox(mi, turn, (0.2, 0, 4.4), (0.0, 0, 0), (1.6, 3.8), 4.0 * studio.key * white, 3.0),
        "left": _softbox(
            mi, turn, (5.5, -6.5, 2.8), (0, 0, 0.7), (1.7, 2.2), 3.4 * studio.sides * white, 1.2
        ),
        "right": _softbox(
            mi, turn, (5.5, 6.5, 2.8), (0, 0, 0.7), (1.7, 2.2), 2.2 * studio.sides * white, 1.0
        ),
        "back": _softbox(mi, turn, (-5.5, 0, 5.6), (-9.5, 0, 2.4), (6.0, 0.7), 3.4 * studio.key * white, 1.6),
    }
    for i, mesh in enumerate(meshes):
        scene[f"car{i:03d}"] = mesh
    # Not optimised and on one thread: Mitsuba then keeps the order of the lamps, and with it the
    # noise, from process to process (its merging of equal objects orders them by address).
    return mi.load_dict(scene, parallel=False, optimize=False)


def _placed(surface: Surface, turn: object) -> Surface:
    matrix = np.array(turn.matrix)[:3, :3]
    return replace(surface, mesh=surface.mesh.transformed(matrix))


def cast(scene: object, surfaces: dict[str, int], where: ndarray) -> ndarray:
    """What the camera sees at points of its picture.

    Args:
        scene: of one view.
        surfaces: id of a Mitsuba shape -> its number.
        where: float (n, 2), x and y in the picture, both in [0, 1].

    Returns:
        float32 (n, 4): the number of the surface hit first (0: none) and its normal.
    """
    mi = renderer()
    sensor = scene.sensors()[0]
    seen = np.zeros((len(where), 4), np.float32)
    lens = mi.Point2f(0.5, 0.5)
    for row, (x, y) in zip(seen, where.tolist(), strict=True):
        ray, _ = sensor.sample_ray(0, 0, mi.Point2f(x, y), lens)
        hit = scene.ray_intersect_preliminary(ray)
        if hit.is_valid():
            row[0] = surfaces.get(hit.shape.id(), 0)
            row[1:] = hit.compute_surface_interaction(ray).sh_frame.n
    return seen


def shoot(
    scene: object, meshes: list, parts: list[int], size: tuple[int, int], seed: int
) -> tuple[ndarray, ndarray]:
    """Linear RGB float32 (h, w, 3) and the part index map uint8 (h, w) at pixel centres."""
    mi = renderer()
    width, height = size
    path = mi.load_dict({"type": "path", "max_depth": 5, "rr_depth": 3, "block_size": 32})
    light = np.array(mi.render(scene, integrator=path, seed=seed))
    surfaces = {mesh.id(): i + 1 for i, mesh in enumerate(meshes)}
    y, x = np.mgrid[:height, :width]
    coarse = cast(scene, surfaces, np.stack([(x.ravel() + 0.5) / width, (y.ravel() + 0.5) / height], 1))
    parts_seen = np.array([0, *parts], np.uint8)[coarse[:, 0].astype(np.int64)].reshape(height, width)
    coarse = coarse.reshape(height, width, 4)
    colour, inside = denoise(light, coarse)
    # Only where surfaces meet does a pixel need a closer look, at the centres of its quarters.
    fine = np.repeat(np.repeat(coarse, 2, 0), 2, 1)
    rows, columns = np.nonzero(np.repeat(np.repeat(~inside, 2, 0), 2, 1))
    fine[rows, columns] = cast(
        scene, surfaces, np.stack([(columns + 0.5) / (2 * width), (rows + 0.5) / (2 * height)], 1)
    )
    return sharpen(colour, inside, coarse, fine), parts_seen


def _features(guide: ndarray) -> ndarray:
    """(surface, normal) scaled so that squared differences add up to a weight's exponent:
    another surface is too far away to count."""
    return guide.astype(np.float32) * np.array([50, *[20**0.5] * 3], np.float32)


def denoise(light: ndarray, guide: ndarray, passes: int = 4) -> tuple[ndarray, ndarray]:
    """Edge-avoiding à-trous filter (Dammertz et al. 2010) guided by surface and normal.

    Monte Carlo noise of a few samples is far above a camera's; the sensor's own noise is
    added later. ``light`` (h, w, 3) linear, ``guide`` (h, w, 4) surface index and normal.
    Returns square roots of light (h, w, 3), and where the eight neighbours are of the
    same surface (h, w). Elsewhere a pixel blends surfaces, and is left alone.
    """
    index = np.rint(guide[..., 0]).astype(np.int16)
    inside = np.all([label == index for label in _shifts(index)], axis=0)
    colour = np.sqrt(np.clip(light, 0, 3)).astype(np.float32)
    third = np.sort(np.stack(_shifts(colour)), axis=0)[5]
    colour = np.minimum(colour, 1.06 * third + 0.02)
    # Blended pixels get a surface number of their own, so that they lend to nobody.
    fixed = _features(np.concatenate([np.where(inside, index, -1)[..., None], guide[..., 1:]], axis=-1))
    spread = np.where(index == 0, np.float32(0.30), np.float32(0.10))[..., None]
    for k in range(passes):
        smooth = (colour + sum(_shifts(colour))) / 9
        features = np.concatenate([smooth / spread, fixed], axis=-1)
        total, weight = colour * np.float32(0.25), np.full(index.shape, 0.25, np.float32)
        for (dy, dx), other, feature in zip(
            _OFFSETS, _shifts(colour, 2**k), _shifts(features, 2**k), strict=True
        ):
            difference = feature - features
            share = np.exp(-np.einsum("ijc,ijc->ij", difference, difference))
            share *= np.float32(0.125 if dy * dx == 0 else 0.0625)
            total += share[..., None] * other
            weight += share
        colour = np.where(inside[..., None], total / weight[..., None], colour)
        spread = spread * np.float32(0.75)
    return colour, inside


def sharpen(colour: ndarray, inside: ndarray, coarse: ndarray, fine: ndarray) -> ndarray:
    """Outlines from a guide of twice the resolution (joint bilateral upsampling, Kopf et al. 2007).

    Every quarter pixel takes the colour of nearby pixels of its own surface; the mean of
    four quarters is the pixel's linear light, with clean anti-aliased outlines.
    """
    own, wanted = _features(coarse), _features(fine)
    total = np.repeat(np.repeat(colour, 2, 0), 2, 1) * np.float32(1e-4)
    weight = np.full(fine.shape[:2], 1e-4, np.float32)
    trust = np.where(inside, np.float32(1), np.float32(0.04))
    source = np.concatenate([colour, own, trust[..., None]], axis=-1)
    for (dy, dx), shifted in zip([(0, 0), *_OFFSETS], [source, *_shifts(source)], strict=True):
        near = np.repeat(np.repeat(shifted, 2, 0), 2, 1)
        difference = near[..., 3:7] - wanted
        share = np.exp(-np.einsum("ijc,ijc->ij", difference, difference)) * near[..., 7]
        share *= np.float32(4.0 ** -(dy * dy + dx * dx))
        total += share[..., None] * near[..., :3]
        weight += share
    quarters = (total / weight[..., None]) ** 2
    h, w, _ = colour.shape
    return quarters.reshape(h, 2, w, 2, 3).mean((1, 3))


_OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def _shifts(values: ndarray, step: int = 1) -> list[ndarray]:
    """The eight neighbours at distance ``step`` of every pixel."""
    h, w = values.shape[:2]
    padded = np.pad(values, ((step, step), (step, step), *(((0, 0),) * (values.ndim - 2))), mode="edge")
    return [padded[step * (1 + dy) :, step * (1 + dx) :][:h, :w] for dy, dx in _OFFSETS]
