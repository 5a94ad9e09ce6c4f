"""Triangle meshes in NumPy: grids, clipping along the zero line of a field, extruded rims.

A car is cut from one smooth skin: a window, a lamp or a wheel arch is the region
where a scalar field over the skin is positive. `split` cuts triangles exactly along
the zero line, so outlines are smooth at any resolution and neighbouring parts share
their border without gap or overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy import ndarray


@dataclass(frozen=True)
class Mesh:
    """Triangles with smooth normals and named scalar fields per vertex.

    Attributes:
        points: float (n, 3), metres; x forward, y to the car's left, z up.
        normals: float (n, 3), unit length.
        faces: int (m, 3).
        fields: name -> float (n,), carried through every cut by linear interpolation.
    """

    points: ndarray
    normals: ndarray
    faces: ndarray
    fields: dict[str, ndarray] = field(default_factory=dict)

    @property
    def x(self) -> ndarray:
        return self.points[:, 0]

    @property
    def y(self) -> ndarray:
        return self.points[:, 1]

    @property
    def z(self) -> ndarray:
        return self.points[:, 2]

    @property
    def empty(self) -> bool:
        return len(self.faces) == 0

    def mirrored(self) -> Mesh:
        """The mesh on the other side of the plane y = 0."""
        flip = np.array([1.0, -1.0, 1.0])
        return replace(
            self, points=self.points * flip, normals=self.normals * flip, faces=self.faces[:, ::-1]
        )

    def moved(self, offset: ndarray | tuple[float, float, float]) -> Mesh:
        return replace(self, points=self.points + np.asarray(offset, float))

    def transformed(self, matrix: ndarray) -> Mesh:
        """Points times a 3×3 matrix; normals by the inverse transpose."""
        normals = self.normals @ np.linalg.inv(matrix)
        return replace(self, points=self.points @ matrix.T, normals=_unit(normals))


def _unit(vectors: ndarray) -> ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def vertex_normals(points: ndarray, faces: ndarray) -> ndarray:
    """Area-weighted mean of the normals of the faces around each vertex."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normals)
    return _unit(normals)


def from_faces(points: ndarray, faces: ndarray, **fields: ndarray) -> Mesh:
    points = np.asarray(points, float)
    return Mesh(points, vertex_normals(points, faces), faces, fields)


def grid_faces(rows: int, columns: int, *, wrap: bool = False) -> ndarray:
    """Two triangles per cell of a (rows, columns) grid; ``wrap`` closes the columns."""
    last = columns if wrap else columns - 1
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    k = (j + 1) % columns
    a, b, c, d = i * columns + j, (i + 1) * columns + j, (i + 1) * columns + k, i * columns + k
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def concatenate(meshes: list[Mesh]) -> Mesh:
    """One mesh of several; fields are dropped."""
    offsets = np.cumsum([0, *(len(m.points) for m in meshes)])
    return Mesh(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=False)]),
    )


def split(mesh: Mesh, values: ndarray) -> tuple[Mesh, Mesh]:
    """Cut along values = 0: the part where ``values`` (n,) is positive, and the rest."""
    if mesh.empty:
        return mesh, mesh
    positive = values > 0
    count = positive[mesh.faces].sum(1)
    # Rotate mixed faces so that the lone vertex (the one whose sign differs) comes first.
    mixed = mesh.faces[(count == 1) | (count == 2)]
    if len(mixed) == 0:
        return _compact(mesh, mesh.faces[count == 3]), _compact(mesh, mesh.faces[count == 0])
    signs = positive[mixed]
    lone_positive = signs.sum(1) == 1
    lone = np.argmax(signs == lone_positive[:, None], axis=1)
    order = (lone[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(mixed, order, 1).T
    # One new vertex per cut edge, shared by the faces on both sides.
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    edges, inverse = np.unique(ends, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    p, q = edges.T
    share = (values[p] / (values[p] - values[q]))[:, None]
    n = len(mesh.points)
    blend = {k: v[p] + share[:, 0] * (v[q] - v[p]) for k, v in mesh.fields.items()}
    cut = Mesh(
        np.concatenate([mesh.points, mesh.points[p] + share * (mesh.points[q] - mesh.points[p])]),
        np.concatenate([mesh.normals, _unit(mesh.normals[p] + share * (mesh.normals[q] - mesh.normals[p]))]),
        mesh.faces,
        {k: np.concatenate([v, blend[k]]) for k, v in mesh.fields.items()},
    )
    ab, ac = n + inverse[: len(a)], n + inverse[len(a) :]
    tip = np.stack([a, ab, ac], 1)
    base = np.concatenate([np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)])
    twice = np.concatenate([lone_positive, lone_positive])
    inside = np.concatenate([mesh.faces[count == 3], tip[lone_positive], base[~twice]])
    outside = np.concatenate([mesh.faces[count == 0], tip[~lone_positive], base[twice]])
    return _compact(cut, inside), _compact(cut, outside)


def _compact(mesh: Mesh, faces: ndarray) -> Mesh:
    used, inverse = np.unique(faces, return_inverse=True)
    return Mesh(
        mesh.points[used],
        mesh.normals[used],
        inverse.reshape(-1, 3),
        {k: v[used] for k, v in mesh.fields.items()},
    )


def band(mesh: Mesh, values: ndarray, low: float, high: float) -> tuple[Mesh, Mesh]:
    """The part where low < values < high, and the rest; exact for bands thinner than a triangle."""
    mesh = replace(mesh, fields={**mesh.fields, "_band": values})
    above, rest = split(mesh, mesh.fields["_band"] - high)
    inside, below = split(rest, rest.fields["_band"] - low) if not rest.empty else (rest, rest)
    pieces = [m for m in (above, below) if not m.empty]
    return inside, _join(pieces) if pieces else above


def _join(meshes: list[Mesh]) -> Mesh:
    joined = concatenate(meshes)
    names = meshes[0].fields
    return replace(joined, fields={k: np.concatenate([m.fields[k] for m in meshes]) for k in names})


def rim_edges(mesh: Mesh, distance: ndarray, tolerance: float = 1e-6) -> ndarray:
    """Directed edges (e, 2) of one face only whose both ends have ``distance`` = 0."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    near = np.abs(distance) < tolerance
    edges = edges[near[edges].all(1)]
    _, first, counts = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    return edges[first[counts == 1]]


def extrude(mesh: Mesh, edges: ndarray, target: ndarray) -> Mesh:
    """A strip from the ``edges`` of a mesh to ``target`` (n, 3), the points' far positions."""
    used, inverse = np.unique(edges, return_inverse=True)
    a, b = inverse.reshape(-1, 2).T
    n = len(used)
    faces = np.concatenate([np.stack([b, a, a + n], 1), np.stack([b, a + n, b + n], 1)])
    return from_faces(np.concatenate([mesh.points[used], target[used]]), faces)


def revolve(profile: ndarray, segments: int) -> Mesh:
    """The surface of a profile (k, 2) of (radius, y) turned about the y axis."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    r, y = profile.T
    points = np.stack(
        [
            r[:, None] * np.cos(angle),
            np.broadcast_to(y[:, None], (len(r), segments)),
            r[:, None] * np.sin(angle),
        ],
        axis=-1,
    ).reshape(-1, 3)
    return from_faces(points, grid_faces(len(r), segments, wrap=True)[:, ::-1])


def superellipsoid(size: tuple[float, float, float], power: float = 2.0, steps: int = 24) -> Mesh:
    """|x/a|^p + |y/b|^p + |z/c|^p = 1: an ellipsoid at p = 2, a rounded box at p = 4 and more."""
    u = np.linspace(-np.pi / 2, np.pi / 2, steps + 1)[:, None]
    v = np.linspace(0, 2 * np.pi, 2 * steps, endpoint=False)[None]
    ball = np.stack(np.broadcast_arrays(np.cos(u) * np.cos(v), np.cos(u) * np.sin(v), np.sin(u)), -1)
    ball = ball.reshape(-1, 3)
    radius = (np.abs(ball) ** power).sum(1) ** (-1.0 / power)
    points = ball * radius[:, None] * np.asarray(size)
    return from_faces(points, grid_faces(steps + 1, 2 * steps, wrap=True))


def box(size: tuple[float, float, float]) -> Mesh:
    """A box with sharp edges, centred at the origin; ``size`` are half lengths."""
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)], float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    points = np.concatenate([corners[list(s)] for s in sides]) * np.asarray(size)
    faces = np.concatenate([[[4 * i, 4 * i + 1, 4 * i + 2], [4 * i, 4 * i + 2, 4 * i + 3]] for i in range(6)])
    return from_faces(points, faces)
