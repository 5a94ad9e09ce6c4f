"""Photographs with part polygons; the real ones where they are at hand."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mstl.data import load
from mstl.data.readers import carparts, download
from mstl.system.errors import InputError

CATEGORIES = [{"id": 1, "name": "_background_"}] + [
    {"id": k + 2, "name": name} for k, name in enumerate(carparts.PART_NAMES)
]
NUMBER = {entry["name"]: entry["id"] for entry in CATEGORIES}


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def carparts_folder(path: Path, photographs: dict[str, dict[str, list[float]]]) -> Path:
    """A COCO folder of 100×60 photographs: name -> part -> polygon."""
    (path / "JPEGImages").mkdir(parents=True)
    images, annotations = [], []
    for key, (name, parts) in enumerate(photographs.items(), start=1):
        images.append({"id": key, "file_name": f"{name}.jpg", "width": 100, "height": 60})
        noise = np.random.default_rng(key).integers(0, 256, (6, 10, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((100, 60)).save(path / "JPEGImages" / f"{name}.jpg")
        annotations += [
            {
                "id": len(annotations) + k,
                "image_id": key,
                "category_id": NUMBER[part],
                "segmentation": [polygon],
            }
            for k, (part, polygon) in enumerate(parts.items())
        ]
    content = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    (path / "annotations.json").write_text(json.dumps(content))
    return path


SIDE = {
    "front_bumper": box(10, 30, 20, 50),
    "front_left_door": box(30, 20, 50, 50),
    "back_left_door": box(50, 20, 70, 50),
    "back_bumper": box(80, 30, 90, 50),
    "back_left_light": box(82, 32, 88, 38),
}


@pytest.fixture()
def small(tmp_path: Path) -> Path:
    return carparts_folder(
        tmp_path / "own",
        {"a": SIDE, "b": {"front_bumper": box(20, 30, 80, 50), "hood": box(20, 20, 80, 30)}},
    )


def test_parts_are_drawn_small_over_large_and_lie_in_the_car(small, tmp_path):
    domain = load("carparts", (48, 80), small, tmp_path / "cache")
    assert domain.part_names == carparts.PART_NAMES and len(domain) == 2
    assert domain.groups.tolist() == ["a", "b"]
    assert ((domain.parts > 0) <= (domain.masks > 0)).all()
    light = domain.parts[0, 0, int(35 * 48 / 60), int(85 * 80 / 100)]
    assert carparts.PART_NAMES[light - 1] == "back_left_light"


def test_closing_fills_the_wing_but_not_the_sky(small):
    record = carparts.listing(small).records[0]
    mask, parts = carparts.read_masks(record, (100, 60))
    assert parts[40, 25] == 0 and mask[40, 25] == 1  # between bumper and door
    assert mask[:18].sum() == 0 and mask[53:].sum() == 0 and mask[25, 12] == 0


def test_closing_is_extensive_idempotent_and_keeps_a_convex_shape():
    disc = np.hypot(*np.mgrid[-40:41, -40:41]) < 30
    assert np.array_equal(carparts.close_gaps(disc), disc)
    ring = disc & (np.hypot(*np.mgrid[-40:41, -40:41]) > 5)
    once = carparts.close_gaps(ring, 0.2)
    assert (once >= ring).all() and np.array_equal(once, disc)
    assert carparts.close_gaps(np.zeros((8, 8))).sum() == 0


def test_closing_near_the_frame_adds_no_border():
    mask = np.zeros((40, 40), bool)
    mask[0:20, 0:10] = True
    assert np.array_equal(carparts.close_gaps(mask), mask)


@pytest.mark.parametrize(
    "parts, view",
    [
        ({"hood": 30, "front_bumper": 30}, 1),
        ({"hood": 30, "front_left_door": 30}, 3),
        ({"front_left_door": 50, "front_bumper": 2}, 5),
        ({"trunk": 30, "back_left_door": 30}, 7),
        ({"tailgate": 30, "back_glass": 9}, 9),
        ({"trunk": 30, "back_right_door": 30}, 11),
        ({"front_right_door": 50, "wheel": 10}, 13),
        ({"hood": 30, "front_right_door": 30}, 15),
    ],
)
def test_the_view_follows_from_the_annotated_parts(parts, view):
    shapes = [[carparts.PART_NAMES.index(name) + 1, [box(0, 0, 1, area)]] for name, area in parts.items()]
    assert carparts.view(shapes) == view


def test_repeated_photographs_are_left_out(small):
    image = Image.open(small / "JPEGImages" / "a.jpg")
    image.resize((98, 59)).resize((100, 60)).save(small / "JPEGImages" / "b.jpg", quality=60)
    assert [record.name for record in carparts.listing(small).records] == ["a"]


def test_a_clone_is_read_with_both_its_sets(tmp_path):
    carparts_folder(tmp_path / "trainingset", {"a": SIDE})
    testset = carparts_folder(tmp_path / "testset", {"x": SIDE, "te1": SIDE})
    assert [r.name for r in carparts.listing(tmp_path).records] == ["a", "te1"]  # x repeats a
    assert [r.name for r in carparts.listing(testset).records] == ["te1", "x"]


def edit(change):
    def damage(path: Path) -> None:
        content = json.loads((path / "annotations.json").read_text())
        change(content)
        (path / "annotations.json").write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda p: (p / "annotations.json").unlink(), "annotations.json does not exist"),
        (lambda p: (p / "annotations.json").write_text("{"), "annotations.json is not JSON"),
        (lambda p: (p / "annotations.json").write_text("[]"), "not a COCO annotation file"),
        (lambda p: (p / "JPEGImages" / "a.jpg").unlink(), "mask without image: a"),
        (lambda p: Image.new("RGB", (9, 9)).save(p / "JPEGImages" / "c.jpg"), "image without mask: c"),
        (edit(lambda c: c["annotations"][0].update(segmentation={"counts": []})), "list of polygons"),
        (edit(lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]])), "list of polygons"),
        (edit(lambda c: c["images"][0].update(width=50)), "a.jpg is 100×60 but annotated at 50×60"),
        (edit(lambda c: c["images"].append({**c["images"][0], "id": 9})), "duplicate name 'a'"),
        (edit(lambda c: c.pop("categories")), "not a COCO annotation file"),
        (edit(lambda c: c.update(annotations=[])), "no annotation of a part; known parts are back_bumper"),
        (
            edit(lambda c: rename(c, "", "car")),
            "holds annotations of car; known parts are back_bumper,",
        ),
        (edit(lambda c: c["images"][0].update(width="100")), "'100', 60; expected numbers"),
        (edit(lambda c: c["categories"].append({"id": 2, "name": "car"})), "category 2 is there twice"),
        (
            edit(lambda c: c["images"].append({**c["images"][0], "file_name": "b.jpg"})),
            "image 1 is there",
        ),
    ],
)
def test_bad_folders_are_one_clear_error(small, tmp_path, damage, message):
    damage(small)
    with pytest.raises(InputError, match=message):
        load("carparts", (32, 48), small, tmp_path / "cache")


def rename(content: dict, old: str, new: str) -> None:
    for category in content["categories"]:
        category["name"] = new if old in (category["name"], "") else category["name"]


@pytest.mark.parametrize(
    "damage, said",
    [
        (
            lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] == 1]),
            "no part is annotated in b; left out",
        ),
        (lambda c: rename(c, "hood", "Hood"), "left out 1 annotations of Hood; known parts are back_bumper,"),
        (
            lambda c: c["annotations"][0].update(segmentation=[]),
            "left out 1 annotations without a polygon: 0",
        ),
    ],
)
def test_what_is_left_out_is_said_in_one_line(small, capsys, damage, said):
    edit(damage)(small)
    carparts.listing(small)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: ") and said in line


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c["categories"].insert(0, {"id": 0, "name": "cars", "supercategory": "none"}),
        lambda c: [
            entry.update(file_name="train\\JPEGImages\\" + entry["file_name"]) for entry in c["images"]
        ],
        lambda c: [entry.update(file_name="JPEGImages/" + entry["file_name"]) for entry in c["images"]],
    ],
    ids=["root category", "backslashes", "folder"],
)
def test_what_other_programs_write_is_read_alike(small, tmp_path, damage):
    before = load("carparts", (48, 80), small, tmp_path / "cache").fingerprint()
    edit(damage)(small)
    content = (small / "annotations.json").read_text()
    (small / "annotations.json").write_text("\ufeff" + content, encoding="utf-8")
    assert load("carparts", (48, 80), small, tmp_path / "cache").fingerprint() == before


@pytest.mark.parametrize("tag, size", [(3, (100, 60)), (6, (60, 100))])
def test_a_photograph_that_is_stored_turned_is_said_or_refused(small, tmp_path, capsys, tag, size):
    exif = Image.Exif()
    exif[0x0112] = tag
    file = small / "JPEGImages" / "a.jpg"
    Image.open(file).save(file, exif=exif)
    if size == (100, 60):
        load("carparts", (48, 80), small, tmp_path / "cache")
        assert "1 of 2 images were stood up as their EXIF orientation says" in capsys.readouterr().err
    else:
        with pytest.raises(InputError, match=r"annotated at 100×60 .it is stored with EXIF orientation 6"):
            load("carparts", (48, 80), small, tmp_path / "cache")


def test_without_a_network_the_error_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"cannot download .*data_dir"):
        download.carparts(tmp_path, "https://127.0.0.1:9/closed.zip")
    assert not list(tmp_path.iterdir())


def photographs() -> Path:
    """The real photographs, where this machine has them."""
    place = os.environ.get("MSTL_CARPARTS")
    return Path(place) if place else Path(__file__).parents[2] / "shared" / "data" / "carparts"


real = pytest.mark.skipif(
    not (photographs() / "annotations.json").is_file(),
    reason="the carparts photographs are not here; name their folder by MSTL_CARPARTS",
)


@real
def test_three_known_photographs_repeat_others():
    found = {p.stem: p for p in sorted((photographs() / "JPEGImages").iterdir())}
    again = carparts.repeats({name: found[name] for name in found if name.startswith("train")})
    assert {"train11", "train67", "train201"} <= set(again)


@real
def test_the_downloaded_release_is_the_one_measured():
    files = [photographs() / "annotations.json", *(photographs() / "JPEGImages").iterdir()]
    sums = download.sums_of(photographs(), files)
    assert hashlib.sha256(sums.encode()).hexdigest() == download.CARPARTS_SHA256


@real
def test_all_views_occur_and_left_doors_mean_a_front_at_image_left():
    listing = carparts.listing(photographs())
    assert {record.view for record in listing.records} == {1, 3, 5, 7, 9, 11, 13, 15}
    ahead = []
    for record in listing.records:
        if record.view == 3:
            polygons = json.loads(record.mask)[1]
            shapes = {carparts.PART_NAMES[k - 1]: np.mean(shape[0][::2]) for k, shape in polygons}
            if {"hood", "front_left_door"} <= set(shapes):
                ahead.append(shapes["hood"] < shapes["front_left_door"])
    assert np.mean(ahead) > 0.95
