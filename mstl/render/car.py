"""A whole car: skin, glass, lamps, wheels, mirrors, plates, trim, each with material and part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mstl.render.body import Profile, cut_arch, profile, skin
from mstl.render.curves import blob, both, rounded_box, smooth_step
from mstl.render.mesh import (
    Mesh,
    band,
    box,
    concatenate,
    extrude,
    from_faces,
    grid_faces,
    revolve,
    rim_edges,
    split,
    superellipsoid,
)
from mstl.render.styles import Shape, draw_shape
from mstl.render.wheels import WheelDesign, draw_wheel, wheel

PART_NAMES = ("front", "cabin", "rear", "wheels", "glass", "lights", "mirrors")
"""Index k > 0 of a part map is ``PART_NAMES[k - 1]``; 0 is background."""

FOREIGN = 8
"""Part index of a chimera's foreign body."""

FRONT, CABIN, REAR, WHEELS, GLASS, LIGHTS, MIRRORS = range(1, 8)


@dataclass(frozen=True)
class Finish:
    """Colours and surface numbers of one car."""

    paint: tuple[float, float, float]
    metallic: float
    rim: tuple[float, float, float]
    rim_rough: float
    chrome_trim: bool
    grille_bars: int
    plate: tuple[float, float, float]
    tint: float


@dataclass(frozen=True)
class Surface:
    """A mesh of one material and one part index."""

    mesh: Mesh
    material: str
    part: int


@dataclass(frozen=True)
class Car:
    shape: Shape
    finish: Finish
    surfaces: tuple[Surface, ...]


# sRGB values after common paint charts' sense: most cars are white, black, grey or silver.
_PAINTS = (
    ("white", (0.86, 0.86, 0.85), 0.0, 0.16), ("black", (0.020, 0.020, 0.023), 0.25, 0.14),
    ("silver", (0.56, 0.57, 0.58), 0.75, 0.14), ("grey", (0.16, 0.17, 0.18), 0.6, 0.14),
    ("red", (0.50, 0.022, 0.022), 0.2, 0.11), ("blue", (0.035, 0.10, 0.36), 0.45, 0.11),
    ("dark blue", (0.014, 0.028, 0.10), 0.4, 0.05), ("green", (0.03, 0.13, 0.07), 0.4, 0.04),
    ("beige", (0.46, 0.40, 0.30), 0.55, 0.04), ("brown", (0.13, 0.065, 0.035), 0.5, 0.03),
    ("orange", (0.72, 0.19, 0.02), 0.15, 0.03), ("yellow", (0.78, 0.52, 0.03), 0.0, 0.02),
    ("sky", (0.20, 0.40, 0.56), 0.35, 0.04),
)  # fmt: skip


def draw_finish(rng: np.random.Generator) -> Finish:
    """Random paint and trim; colours are linear RGB reflectances."""
    shares = np.array([p[3] for p in _PAINTS])
    _, colour, metallic, _ = _PAINTS[rng.choice(len(_PAINTS), p=shares / shares.sum())]
    colour = np.clip(np.array(colour) * rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3), 0.012, 0.88)
    dark_rim = rng.random() < 0.22
    return Finish(
        paint=tuple(float(c) for c in colour),
        metallic=float(np.clip(metallic * rng.uniform(0.7, 1.2), 0, 0.85)),
        rim=(0.05, 0.05, 0.055) if dark_rim else (float(v := rng.uniform(0.42, 0.62)), v, v * 1.01),
        rim_rough=float(rng.uniform(0.18, 0.32)),
        chrome_trim=bool(rng.random() < 0.5),
        grille_bars=int(rng.integers(3, 8)),
        plate=((0.75, 0.75, 0.72), (0.72, 0.6, 0.12), (0.7, 0.72, 0.76))[
            int(rng.choice(3, p=[0.6, 0.15, 0.25]))
        ],
        tint=float(rng.uniform(0.010, 0.03)),
    )


class _Builder:
    """Collects pieces of the left half; `finish` mirrors them."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Mesh, str, int]] = []

    def add(self, mesh: Mesh, material: str, part: int, *, both_sides: bool = True) -> None:
        if mesh.empty:
            return
        self.pieces.append((mesh, material, part))
        if both_sides:
            self.pieces.append((mesh.mirrored(), material, part))

    def surfaces(self) -> tuple[Surface, ...]:
        groups: dict[tuple[str, int], list[Mesh]] = {}
        for mesh, material, part in self.pieces:
            groups.setdefault((material, part), []).append(mesh)
        return tuple(Surface(concatenate(m), *key) for key, m in sorted(groups.items()))


def draw_car(style: str, rng: np.random.Generator) -> Car:
    """A random car of a body style."""
    shape = draw_shape(style, rng)
    finish = draw_finish(rng)
    return build_car(shape, finish, draw_wheel(rng, style), rng)


def build_car(shape: Shape, finish: Finish, design: WheelDesign, rng: np.random.Generator) -> Car:
    """Assemble a car. ``rng`` draws the outlines of lamps and grille."""
    side = profile(shape)
    out = _Builder()
    mesh = skin(shape, side)
    radius = shape.wheel_radius + shape.tyre_gap
    for axle in shape.axles:
        mesh, liner = cut_arch(mesh, axle, radius, shape)
        _add_zoned(out, liner, "dark", shape)
        _add_well(out, shape, side, axle, radius)
    if shape.bed:
        mesh = _cut_bed(out, mesh, shape)
    mesh = _cut_glass(out, mesh, shape, side, finish)
    mesh = _cut_front(out, mesh, shape, side, finish, rng)
    mesh = _cut_rear(out, mesh, shape, side, finish, rng)
    mesh = _cut_lines(out, mesh, shape, side)
    lower = float(side.at(0.0, "bottom"))
    if shape.cladding:
        clad = lower + 0.15 - mesh.z
        for axle in shape.axles:
            clad = np.maximum(clad, radius + 0.055 - np.hypot(mesh.x - axle, mesh.z - shape.wheel_radius))
    else:
        clad = lower + 0.03 - mesh.z
    dark, mesh = split(mesh, clad)
    _add_zoned(out, dark, "plastic", shape)
    _add_zoned(out, mesh, "paint", shape)
    _add_wheels(out, shape, design)
    _add_mirrors(out, shape, side)
    _add_handles(out, shape, side, finish)
    if shape.rack:
        _add_rack(out, shape, side)
    return Car(shape, finish, out.surfaces())


def zones(shape: Shape) -> tuple[float, float]:
    """x of the planes between front and cabin, and cabin and rear."""
    return shape.doors[0], shape.doors[2]


def _add_zoned(out: _Builder, mesh: Mesh, material: str, shape: Shape) -> None:
    if mesh.empty:
        return
    front_x, rear_x = zones(shape)
    front, rest = split(mesh, mesh.x - front_x)
    out.add(front, material, FRONT)
    if not rest.empty:
        rear, cabin = split(rest, rear_x - rest.x)
        out.add(rear, material, REAR)
        out.add(cabin, material, CABIN)


def _add_well(out: _Builder, shape: Shape, side: Profile, axle: float, radius: float) -> None:
    """The dark end wall of a wheel arch."""
    wall = revolve(np.array([(0.0, 0.0), (radius, 0.0)]), 48)
    wall = wall.moved((axle, shape.width / 2 - 0.36, shape.wheel_radius))
    wall, _ = split(wall, wall.z - float(side.at(axle, "bottom")))
    _add_zoned(out, wall, "dark", shape)


def _cut_bed(out: _Builder, mesh: Mesh, shape: Shape) -> Mesh:
    """Sink an open load bed into a pickup's rear."""
    front, back = shape.bed
    inside = rounded_box(mesh.x, mesh.y, (back, -1.0), (front, shape.width / 2 - 0.15), 0.08)
    inside = np.minimum(inside, mesh.z - 0.8)
    mesh = replace(mesh, fields={**mesh.fields, "_rim": inside})
    floor, kept = split(mesh, inside)
    edges = rim_edges(kept, kept.fields["_rim"])
    target = kept.points.copy()
    target[:, 2] = 0.62
    _add_zoned(out, extrude(kept, edges, target), "plastic", shape)
    sunk = floor.points.copy()
    sunk[:, 2] = 0.62
    _add_zoned(out, replace(floor, points=sunk), "plastic", shape)
    return replace(kept, fields={k: v for k, v in kept.fields.items() if k != "_rim"})


def _slanted(mesh: Mesh, x: float, slant: float, z: float) -> np.ndarray:
    """x of the vertices relative to a line that leans back by ``slant`` per metre up."""
    return mesh.x - (x - slant * (mesh.z - z))


def _cut_glass(out: _Builder, mesh: Mesh, shape: Shape, side: Profile, finish: Finish) -> Mesh:
    trim = "chrome" if finish.chrome_trim else "gloss"
    # Side windows, with the pillars between them.
    f = mesh.fields
    belt_z = float(side.at(0.0, "belt"))
    opening = both(
        f["above"] - 0.03,
        f["under"] - 0.075,
        _slanted(mesh, shape.window_end, shape.window_lean, belt_z),
        radius=0.09,
    )
    opening = np.minimum(opening, shape.doors[0] + 0.12 - mesh.x)
    pane, mesh = split(mesh, opening)
    if shape.blind_side:
        blind, pane = split(pane, shape.doors[1] - 0.02 - pane.x)
        _add_zoned(out, blind, "paint", shape)
    frame, pane = _pillars(pane, shape, belt_z)
    _add_zoned(out, frame, "gloss", shape)
    out.add(pane, "glass", GLASS)
    # A slim bright or black line around the windows.
    line, mesh = split(mesh, _near_window(mesh, shape, belt_z))
    _add_zoned(out, line, trim, shape)
    # Windscreen and rear window.
    for low, high, name in ((shape.cowl, shape.header, "screen"), (shape.roof_end, shape.rear_base, "rear")):
        f = mesh.fields
        start, stop = side.corners[low], side.corners[high]
        length = stop - start
        pad_low, pad_high = (0.03, 0.05) if name == "screen" else (0.08, 0.10)
        if shape.style == "pickup" and name == "rear":
            pad_low, pad_high = 0.10, 0.05
        elif name == "rear" and length < 0.8 and shape.style != "sedan":
            pad_high = 0.04
        border = 0.055 if name == "screen" else 0.085
        opening = both(
            f["arc"] - start - pad_low, stop - pad_high - f["arc"], f["inset"] - border, radius=0.12
        )
        opening = np.minimum(opening, f["sill"] - 0.25)
        glass, mesh = split(mesh, opening)
        if glass.empty:
            continue
        out.add(glass, "glass", GLASS)
    if shape.style != "van":
        f = mesh.fields
        cowl = both(f["arc"] - side.corners[shape.cowl] + 0.05, side.corners[shape.cowl] + 0.05 - f["arc"],
                    f["inset"] - 0.02, f["sill"] - 0.25, radius=0.02)  # fmt: skip
        dark, mesh = split(mesh, cowl)
        _add_zoned(out, dark, "plastic", shape)
    return mesh


def _pillars(window: Mesh, shape: Shape, belt_z: float) -> tuple[Mesh, Mesh]:
    """Cut a side window into (dark pillars, panes)."""
    posts = [(shape.doors[1], 0.032, 0.08), (shape.doors[0] - 0.22, 0.012, 0.0)]
    if shape.divider is not None:
        posts.insert(1, (shape.divider, 0.028, 0.22))
    pillars = []
    for x, half, lean in posts:
        pillar, window = band(window, _slanted(window, x, lean, belt_z), -half, half)
        if not pillar.empty:
            pillars.append(pillar)
    return concatenate(pillars), window


def _near_window(mesh: Mesh, shape: Shape, belt_z: float) -> np.ndarray:
    """Positive on a slim strip under the side windows."""
    f = mesh.fields
    sill = np.minimum(f["above"] - 0.012, 0.034 - f["above"])
    end = _slanted(mesh, shape.window_end, shape.line_lean, belt_z) + 0.02
    ends = np.minimum(end, shape.doors[0] + 0.13 - mesh.x)
    return np.minimum(np.minimum(sill, ends), f["under"] - 0.03)


def _front_lateral(mesh: Mesh, shape: Shape) -> np.ndarray:
    """Metres outwards from the middle of the nose, measured around the corner."""
    return mesh.y + 0.8 * np.maximum(shape.nose - mesh.x, 0)


def _cut_front(
    out: _Builder, mesh: Mesh, shape: Shape, side: Profile, finish: Finish, rng: np.random.Generator
) -> Mesh:
    tall = shape.style in ("suv", "pickup", "van")
    hood = shape.upper[1][1] if not tall else shape.upper[1][1] - 0.02
    half = shape.width / 2
    ahead = mesh.x - (shape.nose - 0.75)
    a = _front_lateral(mesh, shape)
    lamp_z = hood - (0.03 if not tall else 0.10) + rng.uniform(-0.015, 0.015)
    size = (rng.uniform(0.21, 0.27), rng.uniform(0.055, 0.075) if not tall else rng.uniform(0.075, 0.10))
    centre = (half - 0.02 + shape.nose_round * 0.25, lamp_z)
    tilt = rng.uniform(0.10, 0.26)
    power = rng.uniform(2.2, 3.2)
    lamp = np.minimum(blob(a, mesh.z, centre, size, tilt, power), ahead)
    lamp_mesh, mesh = split(mesh, lamp)
    _add_lamp(out, lamp_mesh, _front_lateral(lamp_mesh, shape), centre, size, tilt)
    # Upper grille.
    width = half * rng.uniform(0.40, 0.58)
    low = lamp_z - (rng.uniform(0.10, 0.20) if not tall else rng.uniform(0.16, 0.26))
    high = lamp_z + (0.025 if not tall else 0.06)

    def outline(piece: Mesh) -> np.ndarray:
        return rounded_box(
            piece.y * (1 + 0.5 * (high - piece.z)), piece.z, (-width, low), (width, high), 0.05
        )

    grille, mesh = split(mesh, np.minimum(outline(mesh), mesh.x - (shape.nose - 0.45)))
    rim, inner = split(grille, 0.018 - outline(grille))
    out.add(rim, "chrome" if finish.chrome_trim else "gloss", FRONT)
    pitch = (high - low) / finish.grille_bars
    for k in range(1, finish.grille_bars):
        if inner.empty:
            break
        bar, inner = band(inner, inner.z - (low + k * pitch), -0.18 * pitch, 0.18 * pitch)
        out.add(bar, "satin" if finish.chrome_trim else "gloss", FRONT)
    out.add(inner, "dark", FRONT)
    # Lower intake and fog lamps.
    bottom = float(side.at(shape.nose - 0.35, "bottom"))
    plate_z = low - 0.05
    in_high = min(low - 0.13, bottom + (0.22 if tall else 0.17))
    in_low = bottom + 0.055
    if in_high - in_low > 0.05:
        wide = half * rng.uniform(0.62, 0.80)
        fields = rounded_box(
            mesh.y * (1 + 0.8 * (mesh.z - in_low)), mesh.z, (-wide, in_low), (wide, in_high), 0.04
        )
        intake, mesh = split(mesh, np.minimum(fields, mesh.x - (shape.nose - 0.55)))
        out.add(intake, "plastic", FRONT)
        if rng.random() < 0.6 and not intake.empty:
            y, z = half * 0.72, (in_low + in_high) / 2
            x = intake.x[np.argmin(np.hypot(intake.y - y, intake.z - z))]
            out.add(superellipsoid((0.03, 0.045, 0.045), steps=10).moved((x - 0.012, y, z)), "lamp", LIGHTS)
    x = side.x_at_height(plate_z, "nose")
    _add_plate(out, (x + 0.006, 0, plate_z), 0.013, FRONT)
    badge = superellipsoid((0.015, 0.05, 0.05), steps=12)
    badge = badge.moved((side.x_at_height(high - 0.02, "nose") + 0.004, 0, high - 0.03))
    out.add(badge, "chrome", FRONT, both_sides=False)
    return mesh


def _add_lamp(out: _Builder, lamp: Mesh, a: np.ndarray, centre: tuple, size: tuple, tilt: float) -> None:
    """A headlamp: dark housing, bright reflectors, a clear rim."""
    if lamp.empty:
        return
    lamp = replace(lamp, fields={**lamp.fields, "a": a})
    for shift, reach in ((-0.42, 0.30), (0.10, 0.24)):
        middle = (centre[0] + shift * size[0], centre[1] + shift * size[0] * tilt)
        spot = blob(lamp.fields["a"], lamp.z, middle, (reach * size[0], 0.62 * size[1]), 0.0, 2.2)
        bright, lamp = split(lamp, spot)
        out.add(bright, "lamp", LIGHTS)
    strip = blob(
        lamp.fields["a"],
        lamp.z,
        (centre[0], centre[1] - 0.66 * size[1]),
        (0.8 * size[0], 0.13 * size[1]),
        tilt,
        4,
    )
    bright, lamp = split(lamp, strip)
    out.add(bright, "led", LIGHTS)
    out.add(lamp, "housing", LIGHTS)


def _cut_rear(
    out: _Builder, mesh: Mesh, shape: Shape, side: Profile, finish: Finish, rng: np.random.Generator
) -> Mesh:
    half = shape.width / 2
    behind = shape.tail + 0.55 - mesh.x
    a = mesh.y + 0.8 * np.maximum(mesh.x - shape.tail, 0)
    belt = float(side.at(shape.tail + 0.25, "belt"))
    if shape.lamp_tall:
        top = belt + (0.16 if shape.style in ("suv", "estate", "van") else 0.02)
        if shape.style == "pickup":
            top = belt - 0.06
        low = belt - rng.uniform(0.20, 0.30)
        centre = (half + 0.0 + 0.25 * shape.tail_round, (top + low) / 2)
        size = (rng.uniform(0.11, 0.17), (top - low) / 2)
        tilt = rng.uniform(-0.05, 0.05)
    else:
        centre = (half - 0.04 + 0.25 * shape.tail_round, belt - rng.uniform(0.10, 0.14))
        size = (rng.uniform(0.24, 0.32), rng.uniform(0.065, 0.085))
        tilt = rng.uniform(-0.02, 0.12)
    lamp, mesh = split(mesh, np.minimum(blob(a, mesh.z, centre, size, tilt, rng.uniform(2.6, 4.0)), behind))
    if not lamp.empty:
        a = lamp.y + 0.8 * np.maximum(lamp.x - shape.tail, 0)
        stripe = blob(
            a, lamp.z, (centre[0], centre[1] - 0.25 * size[1]), (0.62 * size[0], 0.2 * size[1]), tilt, 4
        )
        white, lamp = split(lamp, stripe)
        out.add(white, "lamp", LIGHTS)
        out.add(lamp, "red", LIGHTS)
    # Number plate in a recess, either in the boot lid or in the bumper.
    plate_z = (
        centre[1] - 0.02
        if (not shape.lamp_tall and rng.random() < 0.6)
        else 0.5 * (belt + float(side.at(shape.tail + 0.3, "bottom"))) + 0.06
    )
    x = side.x_at_height(plate_z, "tail")
    fields = rounded_box(mesh.y, mesh.z, (-0.34, plate_z - 0.085), (0.34, plate_z + 0.085), 0.03)
    recess, mesh = split(mesh, np.minimum(fields, shape.tail + 0.3 - mesh.x))
    out.add(recess, "plastic", REAR)
    _add_plate(out, (x - 0.012, 0, plate_z), -0.013, REAR)
    badge = superellipsoid((0.012, 0.045, 0.045), steps=12)
    badge = badge.moved((side.x_at_height(plate_z + 0.17, "tail") - 0.004, 0, plate_z + 0.17))
    out.add(badge, "chrome", REAR, both_sides=False)
    # Lower bumper in dark plastic, with an exhaust.
    bottom = float(side.at(shape.tail + 0.3, "bottom"))
    fields = rounded_box(mesh.y, mesh.z, (-half * 0.72, bottom - 0.1), (half * 0.72, bottom + 0.14), 0.05)
    lower, mesh = split(mesh, np.minimum(fields, shape.tail + 0.35 - mesh.x))
    out.add(lower, "plastic", REAR)
    # Shut line of the boot lid.
    z0 = max(bottom + 0.2, plate_z - 0.16)
    line, mesh = band(mesh, np.where(mesh.x < shape.tail + 0.35, mesh.z - z0, 1.0), -0.006, 0.006)
    line, back = split(line, half * 0.8 - line.y) if not line.empty else (line, line)
    out.add(line, "dark", REAR)
    out.add(back, "paint", REAR)
    return mesh


def _add_plate(out: _Builder, centre: tuple[float, float, float], outwards: float, part: int) -> None:
    """A number plate with six dark characters, ``outwards`` metres before its middle."""
    out.add(box((0.012, 0.26, 0.055)).moved(centre), "plate", part, both_sides=False)
    places = np.linspace(-0.2, 0.2, 7)[[0, 1, 2, 4, 5, 6]]
    letters = [box((0.002, 0.022, 0.03)).moved((centre[0] + outwards, y, centre[2])) for y in places]
    out.add(concatenate(letters), "dark", part, both_sides=False)


def _cut_lines(out: _Builder, mesh: Mesh, shape: Shape, side: Profile) -> Mesh:
    """Gaps between doors, bonnet and wings."""
    front_x, pillar, rear_x = shape.doors
    sill = float(side.at(0.0, "bottom")) + 0.13
    arch = shape.wheel_radius + shape.tyre_gap + 0.07
    for x0, x1 in ((pillar + 0.004, front_x), (rear_x, pillar - 0.004)):
        outline = rounded_box(mesh.x, mesh.z, (x0, sill), (x1, shape.height + 0.4), 0.07)
        # The rear door's lower corner makes room for the wheel.
        if x0 == rear_x:
            room = np.hypot(mesh.x - shape.axles[1], mesh.z - shape.wheel_radius) - arch
            outline = both(outline, room, radius=0.06)
        outline = np.where((mesh.fields["above"] < 0.1) & (mesh.y > 0.55 * shape.width / 2), outline, 1.0)
        gap, mesh = band(mesh, outline, -0.0045, 0.0045)
        _add_zoned(out, gap, "dark", shape)
    # Bonnet: a line along each wing and across the nose.
    f = mesh.fields
    cowl = float(side.corners[shape.cowl])
    across = float(side.corners[1]) + 0.03
    edge = both(f["inset"] + 0.0, f["arc"] - across, radius=0.06)
    edge = np.where((f["arc"] < cowl - 0.06) & (f["above"] > -0.2), edge, 1.0)
    gap, mesh = band(mesh, edge, -0.0045, 0.0045)
    _add_zoned(out, gap, "dark", shape)
    return mesh


def _add_wheels(out: _Builder, shape: Shape, design: WheelDesign) -> None:
    width = 0.215 if shape.style in ("sedan", "hatchback", "estate") else 0.245
    outer = shape.width / 2 - 0.022 + (0.02 if shape.cladding else 0.0)
    for axle in shape.axles:
        for material, mesh in wheel(shape.wheel_radius, width, design).items():
            out.add(mesh.moved((axle, outer, shape.wheel_radius)), material, WHEELS)


def _add_mirrors(out: _Builder, shape: Shape, side: Profile) -> None:
    x = shape.doors[0] - 0.20
    belt = float(side.at(x, "belt"))
    tall = shape.style in ("suv", "pickup", "van")
    size = (0.055, 0.105, 0.075) if not tall else (0.06, 0.115, 0.105)
    y = shape.width / 2 + 0.075
    z = belt + size[2] + 0.03
    shell = superellipsoid(size, 2.8, 16)
    taper = 1 - 0.35 * smooth_step(shell.x, 0, size[0] * 1.2)
    shell = replace(shell, points=shell.points * np.stack([np.ones_like(taper), taper, taper], 1))
    cap, back = split(shell, shell.x + 0.55 * size[0])
    out.add(cap.moved((x, y, z)), "paint", MIRRORS)
    out.add(back.moved((x, y, z)), "mirror", MIRRORS)
    foot = superellipsoid((0.035, 0.10, 0.022), 3.0, 10).moved((x + 0.01, y - 0.12, belt + 0.035))
    out.add(foot, "plastic", MIRRORS)


def _add_handles(out: _Builder, shape: Shape, side: Profile, finish: Finish) -> None:
    for x in (shape.doors[1] + 0.16, shape.doors[2] + 0.16):
        if shape.style == "pickup" and x < shape.doors[2]:
            continue
        z = float(side.at(x, "belt")) - 0.085
        handle = superellipsoid((0.10, 0.022, 0.017), 3.0, 10)
        out.add(
            handle.moved((x, shape.width / 2 - 0.018, z)), "chrome" if finish.chrome_trim else "paint", CABIN
        )


def _add_rack(out: _Builder, shape: Shape, side: Profile) -> None:
    x = np.linspace(shape.upper[shape.header][0] - 0.25, shape.upper[shape.roof_end][0] + 0.12, 24)
    z = side.at(x, "top") - shape.crown
    belt = side.at(x, "belt")
    y = shape.width / 2 - 0.08 - shape.tumblehome * (z - belt) - 0.03
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    tube = np.stack([x, y, z + 0.045 - 0.05 * np.linspace(-1, 1, 24) ** 8], 1)[:, None]
    ring = np.stack([np.zeros(10), np.cos(angle), np.sin(angle)], 1)[None] * 0.018
    mesh = from_faces((tube + ring).reshape(-1, 3), grid_faces(24, 10, wrap=True))
    _add_zoned(out, mesh, "satin", shape)
