"""The studio generator: exact masks, Carvana's numbering, the same pixels from the same seed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ARCHIVE = Path(__file__).parents[1] / "data" / "studio.zip"
STUDIO = Path(tempfile.gettempdir()) / f"mstl-test-{os.getpid()}" / "studio"  # while these tests run
FRONT, CABIN, REAR, WHEELS, GLASS, LIGHTS, MIRRORS, FOREIGN = range(1, 9)
PARTS = ("front", "cabin", "rear")

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="data/studio.zip is not there")


@pytest.fixture(scope="module", autouse=True)
def unpacked():
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(STUDIO.parent)
    yield
    shutil.rmtree(STUDIO.parent)


def manifest() -> dict:
    return json.loads((STUDIO / "manifest.json").read_text())


def ids(folder: Path) -> list[str]:
    with (folder / "metadata.csv").open() as file:
        return [row["id"] for row in csv.DictReader(file)]


def parts_of(folder: Path, car: str, view: int) -> np.ndarray:
    return np.array(Image.open(folder / "parts" / f"{car}_{view:02d}.png"))


def mask_of(folder: Path, car: str, view: int) -> np.ndarray:
    return np.array(Image.open(folder / "train_masks" / f"{car}_{view:02d}_mask.gif").convert("L"))


def image_of(folder: Path, car: str, view: int) -> np.ndarray:
    return np.array(Image.open(folder / "train" / f"{car}_{view:02d}.jpg"))


def centre_x(region: np.ndarray) -> float:
    """Mean column of a region as a share of the width."""
    return float(np.nonzero(region)[1].mean() / region.shape[1])


# ---- what is committed --------------------------------------------------------------------------


def test_counts_and_metadata():
    facts = manifest()
    assert facts["complete"]
    cars = ids(STUDIO)
    assert len(cars) == len(set(cars)) == facts["cars"] >= 96
    assert all(len(c) == 12 and int(c, 16) >= 0 for c in cars)
    with (STUDIO / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "year", "make", "model", "trim1", "trim2", "body_style"]
    styles = [row["body_style"] for row in rows]
    assert {styles.count(s) for s in facts["body_styles"]} == {facts["cars"] // 6}
    for folder, names, views in [
        (STUDIO, cars, facts["views"]),
        *((STUDIO / "chimeras" / p, ids(STUDIO / "chimeras" / p), facts["chimera_views"]) for p in PARTS),
    ]:
        stems = {f"{c}_{v:02d}" for c in names for v in views}
        assert {p.stem for p in (folder / "train").iterdir()} == stems
        assert {p.stem for p in (folder / "parts").iterdir()} == stems
        assert {p.stem for p in (folder / "train_masks").iterdir()} == {f"{s}_mask" for s in stems}


def test_checksums_and_budget():
    listed = dict(
        reversed(line.split("  ")) for line in (STUDIO / "CHECKSUMS.sha256").read_text().splitlines()
    )
    files = {p.relative_to(STUDIO).as_posix(): p for p in STUDIO.rglob("*") if p.is_file()}
    assert set(listed) == set(files) - {"CHECKSUMS.sha256"}
    assert all(
        hashlib.sha256(files[name].read_bytes()).hexdigest() == digest for name, digest in listed.items()
    )
    assert sum(p.stat().st_size for p in files.values()) <= 15e6


def test_mask_is_where_parts_are():
    size = (manifest()["height"], manifest()["width"])
    for car in ids(STUDIO)[::7]:
        for view in (1, 4, 11):
            mask, parts = mask_of(STUDIO, car, view), parts_of(STUDIO, car, view)
            assert mask.shape == parts.shape == size
            assert image_of(STUDIO, car, view).shape == (*size, 3)
            assert set(np.unique(mask)) == {0, 255}
            assert parts.max() <= MIRRORS
            assert np.array_equal(mask > 0, parts > 0)


def test_the_mask_is_a_palette_gif_of_two_indices():
    with Image.open(STUDIO / "train_masks" / f"{ids(STUDIO)[0]}_01_mask.gif") as gif:
        assert gif.mode in ("P", "L")
        assert gif.format == "GIF"


def test_views_are_numbered_as_in_carvana():
    for car in ids(STUDIO)[::5]:
        for view in (3, 4, 5, 6, 7):
            parts = parts_of(STUDIO, car, view)
            assert centre_x(parts == FRONT) < centre_x(parts == CABIN) < centre_x(parts == REAR)
        for view in (11, 12, 13, 14, 15):
            parts = parts_of(STUDIO, car, view)
            assert centre_x(parts == FRONT) > centre_x(parts == CABIN) > centre_x(parts == REAR)
        front, back = parts_of(STUDIO, car, 1), parts_of(STUDIO, car, 9)
        assert (front == FRONT).sum() > 4 * (front == REAR).sum()
        assert (back == REAR).sum() > 4 * (back == FRONT).sum()


def test_every_part_shows_on_every_car():
    for car in ids(STUDIO)[::9]:
        seen = set(np.unique(np.stack([parts_of(STUDIO, car, v) for v in range(1, 17)])))
        assert seen == set(range(8))


def test_a_car_fills_the_side_view_but_never_leaves_it():
    for car in ids(STUDIO)[::4]:
        columns = np.flatnonzero((parts_of(STUDIO, car, 5) > 0).any(0))
        assert 0.66 <= (columns[-1] - columns[0] + 1) / manifest()["width"] <= 0.84
        for view in (1, 3, 5, 8, 14):
            mask = mask_of(STUDIO, car, view) > 0
            assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_front_and_rear_views_are_mirror_images_of_themselves():
    """The cars are symmetric and the camera of views 01 and 09 stands on their axis."""
    for car in ids(STUDIO)[::11]:
        for view in (1, 9):
            mask = mask_of(STUDIO, car, view) > 0
            assert (mask != mask[:, ::-1]).sum() <= 0.02 * mask.sum()


def test_opposite_side_views_mirror_each_other():
    for car in ids(STUDIO)[::13]:
        left, right = mask_of(STUDIO, car, 5) > 0, mask_of(STUDIO, car, 13) > 0
        assert (left != right[:, ::-1]).sum() <= 0.03 * left.sum()


@pytest.mark.parametrize("part", PARTS)
def test_a_chimera_shares_one_part_with_cars(part):
    folder, own = STUDIO / "chimeras" / part, PARTS.index(part) + 1
    others = {FRONT, CABIN, REAR} - {own}
    for car in ids(folder)[::3]:
        views = np.stack([parts_of(folder, car, v) for v in manifest()["chimera_views"]])
        masks = np.stack([mask_of(folder, car, v) for v in manifest()["chimera_views"]])
        seen = set(np.unique(views).tolist())
        assert own in seen and FOREIGN in seen
        assert not seen & others
        assert np.array_equal(views > 0, masks > 0)
        share = (views == FOREIGN).sum() / (views > 0).sum()
        assert 0.1 < share < 0.95


# ---- the generator ------------------------------------------------------------------------------


def test_splitting_a_mesh_loses_no_area_and_follows_the_line():
    from mstl.render.mesh import band, grid_faces, split
    from mstl.render.mesh import from_faces as mesh_of

    x, z = np.meshgrid(np.linspace(-1, 1, 23), np.linspace(-1, 1, 17), indexing="ij")
    sheet = mesh_of(np.stack([x.ravel(), 0 * x.ravel(), z.ravel()], 1), grid_faces(23, 17))

    def area(mesh) -> float:
        a, b, c = (mesh.points[mesh.faces[:, k]] for k in range(3))
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)

    inside, outside = split(sheet, 0.7 * sheet.x + sheet.z - 0.1)
    assert area(inside) + area(outside) == pytest.approx(4, abs=1e-9)
    assert (0.7 * inside.x + inside.z - 0.1).min() >= -1e-9
    # A band far thinner than a triangle keeps its exact area.
    strip, rest = band(sheet, sheet.x - 0.21, -0.002, 0.002)
    assert area(strip) == pytest.approx(0.008, abs=1e-9)
    assert area(strip) + area(rest) == pytest.approx(4, abs=1e-9)


@pytest.mark.parametrize("style", ["sedan", "hatchback", "estate", "suv", "pickup", "van"])
def test_a_car_is_symmetric_and_stands_on_the_floor(style):
    from mstl.render.car import draw_car

    car = draw_car(style, np.random.default_rng(3))
    points = np.concatenate([s.mesh.points for s in car.surfaces])
    assert np.isfinite(points).all()
    assert points[:, 1].max() == pytest.approx(-points[:, 1].min(), abs=1e-9)
    assert abs(points[:, 2].min()) < 0.01
    assert {s.part for s in car.surfaces} == set(range(1, 8))
    again = draw_car(style, np.random.default_rng(3))
    assert all(
        np.array_equal(a.mesh.points, b.mesh.points)
        for a, b in zip(car.surfaces, again.surfaces, strict=True)
    )


@pytest.mark.parametrize("style", ["sedan", "hatchback", "estate", "suv", "pickup", "van"])
def test_the_skin_closes_at_nose_and_tail(style):
    """A slit there would show the inside of the far end through the bumper."""
    from mstl.render.body import profile
    from mstl.render.styles import draw_shape

    for seed in range(5):
        side = profile(draw_shape(style, np.random.default_rng(seed)))
        assert side.top[[0, -1]] == pytest.approx(side.bottom[[0, -1]], abs=1e-4)
        assert (side.top >= side.bottom - 1e-6).all()
        assert (np.diff(side.x) < 0).all()


def _render_again(number: int, part: str | None, view: int) -> None:
    pytest.importorskip("mitsuba", reason='Mitsuba is not installed: pip install "mstl[render]"')
    from mstl.render.dataset import paths, subject_id
    from mstl.render.frames import GENERATOR, Subject

    facts = manifest()
    assert facts["generator"] == GENERATOR
    frame = Subject(facts["seed"], number, part).photograph(
        view, (facts["width"], facts["height"]), facts["samples_per_pixel"]
    )
    folder = STUDIO if part is None else STUDIO / "chimeras" / part
    photograph, mask, parts = paths(folder, subject_id(facts["seed"], number, part), view)
    assert np.array_equal(np.array(Image.open(parts)), frame.parts)
    assert np.array_equal(np.array(Image.open(mask).convert("L")), 255 * frame.mask)
    encoded = io.BytesIO()
    Image.fromarray(frame.image).save(encoded, "JPEG", quality=facts["jpeg_quality"], subsampling="4:2:0")
    difference = np.abs(np.array(Image.open(encoded)).astype(int) - np.array(Image.open(photograph)))
    # Light paths may round differently on another processor; here they do not, and the mean is 0.
    assert difference.mean() < 1.0


def test_a_car_renders_to_the_committed_files():
    _render_again(3, None, 4)


def test_a_chimera_renders_to_the_committed_files():
    _render_again(1, "rear", 11)


def _command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mstl.render", *arguments], capture_output=True, text=True, check=False
    )


def test_a_stopped_run_continues_and_other_settings_are_refused(tmp_path):
    pytest.importorskip("mitsuba", reason='Mitsuba is not installed: pip install "mstl[render]"')
    arguments = (
        "--cars",
        "1",
        "--size",
        "48x32",
        "--samples",
        "1",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "set"),
    )
    first = _command(*arguments)
    assert first.returncode == 0, first.stderr
    pictures = sorted((tmp_path / "set").rglob("*.jpg"))
    assert len(pictures) == 16
    written = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in pictures}
    lost = pictures[5]
    lost.unlink()
    assert _command(*arguments).returncode == 0
    assert lost.read_bytes() == written[lost][1]
    assert all(p.stat().st_mtime_ns == written[p][0] for p in pictures if p != lost)
    refused = _command(*arguments[:3], "64x48", *arguments[4:])
    assert refused.returncode == 2
    assert "width" in refused.stderr and "choose another folder" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--size", "240"), "WIDTHxHEIGHT"),
        (("--size", "8x8"), "48..4096"),
        (("--cars", "0"), "--cars"),
        (("--quality", "400"), "--quality"),
    ],
)
def test_bad_parameters_are_one_clear_error(tmp_path, arguments, expected, capsys):
    from mstl.render.__main__ import RenderConfig, run
    from mstl.system.errors import InputError

    values = {arguments[0][2:]: arguments[1] if arguments[0] == "--size" else int(arguments[1])}
    with pytest.raises(InputError, match=expected):
        run(RenderConfig(out=tmp_path, **values))


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    pytest.importorskip("mitsuba", reason='Mitsuba is not installed: pip install "mstl[render]"')
    from mstl.render.__main__ import RenderConfig, run
    from mstl.system.errors import InputError

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="not a writable folder"):
        run(RenderConfig(out=tmp_path / "file" / "set", cars=1))


def test_without_mitsuba_the_message_says_what_to_install(monkeypatch):
    from mstl.render import studio
    from mstl.system.errors import InputError

    studio.renderer.cache_clear()
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(InputError, match=r"mstl\[render\]"):
        studio.renderer()
    studio.renderer.cache_clear()


def test_contact_sheet():
    from mstl.render.sheet import contact_sheet
    from mstl.system.errors import InputError

    sheet = contact_sheet(STUDIO, views=(1, 5), rows=3, gap=4)
    assert sheet.size == (2 * manifest()["width"] + 4, 3 * manifest()["height"] + 8)
    assert np.array(contact_sheet(STUDIO, views=(5,), rows=1, parts=True)).max() > 0
    with pytest.raises(InputError, match="no such picture"):
        contact_sheet(STUDIO, cars=["0" * 12])


def test_packing_what_was_unpacked_gives_the_same_bytes(tmp_path, monkeypatch, capsys):
    from mstl.render.__main__ import RenderConfig, run
    from mstl.system.errors import InputError

    monkeypatch.setenv("HOME", str(tmp_path))
    run(RenderConfig(out=STUDIO, pack=Path("~/again.zip")))
    assert (tmp_path / "again.zip").read_bytes() == ARCHIVE.read_bytes()
    with pytest.raises(InputError, match=r"--out .*expected the folder of a rendered data set"):
        run(RenderConfig(out=tmp_path, pack=tmp_path / "never.zip"))


def test_licence_and_description_beside_the_archive_are_those_within():
    assert (ARCHIVE.parent / "LICENSE").read_bytes() == (STUDIO / "LICENSE").read_bytes()
    inside, beside = ((f / "README.md").read_text() for f in (STUDIO, ARCHIVE.parent))
    assert inside.partition("\n")[2] in beside


def test_the_repository_holds_at_most_1000_files():
    listed = subprocess.run(["git", "-C", ARCHIVE.parent, "ls-files", ":/"], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    assert 0 < len(listed.stdout.splitlines()) <= 1000


def test_importing_the_package_does_not_import_mitsuba():
    code = "import sys, mstl.render, mstl.render.sheet; assert 'mitsuba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
