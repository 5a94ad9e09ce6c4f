"""Car Parts Dataset: real photographs with polygons of 18 parts (COCO).

Pasupa, Kittiworapanya, Hongngern, Woraratpanya, *Evaluation of deep learning algorithms for semantic
segmentation of car parts*, Complex & Intelligent Systems, 2021, doi 10.1007/s40747-021-00397-8.

Three decisions are ours:

* **Whole car.** Roof, pillars, wings and sills are not annotated, so the union of the parts is a car with
  holes. `close_gaps` closes it with a disc of 0.12 √(width · height) of the car's bounding box, about the
  least that fills the wings of nearly all cars; what lies between the wheels or above a pickup's bed stays
  background but for rounded corners, where a convex hull would fill it. A roof's outermost rim, above
  windscreen and doors, stays outside. The mask grows by about a tenth.
* **Cars.** Each photograph is its own car; photographs that repeat an earlier one (`repeats`) are left out.
* **Views.** A view number follows from which parts are annotated (`view`).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

from mstl.data.readers.listing import (
    Listing,
    Record,
    check_pairs,
    enumerated,
    existing_folder,
    files_by_stem,
    plain_file,
)
from mstl.data.readers.pixels import orientation_of, read_image
from mstl.system.errors import InputError
from mstl.system.notes import note

PART_NAMES = (
    "back_bumper", "back_glass", "back_left_door", "back_left_light", "back_right_door", "back_right_light",
    "front_bumper", "front_glass", "front_left_door", "front_left_light", "front_right_door",
    "front_right_light", "hood", "left_mirror", "right_mirror", "tailgate", "trunk", "wheel",
)  # fmt: skip
FRONT = ("front_bumper", "hood", "front_left_light", "front_right_light")
REAR = ("back_bumper", "trunk", "tailgate", "back_left_light", "back_right_light", "back_glass")
LEFT = ("front_left_door", "back_left_door")
RIGHT = ("front_right_door", "back_right_door")

CLOSING = 0.12  # radius over √(width · height) of the car's bounding box
FARTHEST = 10**5  # pixels from the corner of the image
SAME = 0.97  # correlation of two thumbnails above which they show one photograph; others stay below 0.9

_EXPECTED = "annotations.json and JPEGImages/ (or a clone of github.com/dsmlr/Car-Parts-Segmentation)"


def listing(path: str | Path, name: str = "carparts") -> Listing:
    """The photographs under ``path``, or under ``trainingset/`` and ``testset/`` of a clone.

    Raises:
        InputError: a folder, annotation or photograph is missing, an annotation is no polygon,
            or a name is used twice.
    """
    path = existing_folder(path, _EXPECTED)
    places = [
        place for place in (path, path / "trainingset", path / "testset") if (place / "JPEGImages").is_dir()
    ]
    if not places:
        raise InputError(f"folder {path} holds no JPEGImages; expected {_EXPECTED}")
    records: dict[str, Record] = {}
    for place in places:
        for record in _records(place):
            if record.name in records:
                raise InputError(
                    f"duplicate name {record.name!r} in {places[0]} and {place}; keep one of them"
                )
            records[record.name] = record
    again = repeats({record.name: record.image for record in records.values()})
    kept = tuple(records[stem] for stem in sorted(records) if stem not in again)
    return Listing(name, kept, read_masks, version="carparts 1", part_names=PART_NAMES)


def _records(place: Path) -> list[Record]:
    annotations = place / "annotations.json"
    if not annotations.exists():
        raise InputError(f"{annotations} does not exist; expected {_EXPECTED}")
    try:
        content = json.loads(plain_file(annotations).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits
        raise InputError(f"{annotations} is not JSON ({error})") from error
    try:
        categories = _by_id(content["categories"], annotations, "category")
        photographs = _by_id(content["images"], annotations, "image")
        stems = {key: _stem(entry["file_name"]) for key, entry in photographs.items()}
        sizes = {key: _size(entry, annotations) for key, entry in photographs.items()}
        polygons: dict[int, list[list[Any]]] = {key: [] for key in photographs}
        unknown, without = Counter(), []
        for entry in content["annotations"]:
            name = str(categories[entry["category_id"]]["name"])
            if name not in PART_NAMES:
                unknown[name] += 1
            elif shapes := _checked(entry, annotations):
                polygons[entry["image_id"]].append([PART_NAMES.index(name) + 1, shapes])
            else:
                without.append(str(entry.get("id")))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{annotations} is not a COCO annotation file (at {error})") from error

    known = f"known parts are {', '.join(PART_NAMES)}"
    if not any(polygons.values()):
        found = f"annotations of {enumerated(unknown)}" if unknown else "no annotation of a part"
        raise InputError(f"{annotations} holds {found}; {known}")
    if unknown:
        count = sum(unknown.values())
        note(f"{annotations}: left out {count} annotations of {enumerated(unknown)}; {known}")
    if without:
        note(f"{annotations}: left out {len(without)} annotations without a polygon: {enumerated(without)}")
    images = files_by_stem(place / "JPEGImages")
    if len(set(stems.values())) < len(stems):
        twice = next(stem for stem, count in Counter(stems.values()).items() if count > 1)
        raise InputError(f"duplicate name {twice!r} in {annotations}; a photograph is listed once")
    check_pairs(images, stems.values(), place / "JPEGImages", annotations)
    if empty := sorted(stem for key, stem in stems.items() if not polygons[key]):
        note(f"{annotations}: no part is annotated in {enumerated(empty)}; left out")
    return [
        Record(stem, stem, view(polygons[key]), images[stem], json.dumps([sizes[key], polygons[key]]))
        for key, stem in stems.items()
        if polygons[key]
    ]


def _by_id(entries: list[dict[str, Any]], annotations: Path, what: str) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        if found.setdefault(entry["id"], entry) != entry:
            raise InputError(f"{annotations}: {what} {entry['id']} is there twice; each has an id of its own")
    return found


def _stem(file_name: str) -> str:
    """Of a path as any system writes it."""
    return unicodedata.normalize("NFC", Path(file_name.replace("\\", "/")).stem)


def _size(entry: dict[str, Any], annotations: Path) -> tuple[float, float]:
    size = entry["width"], entry["height"]
    if not all(isinstance(side, int | float) for side in size):
        raise InputError(
            f"{annotations}: image {entry['id']} has width, height {size[0]!r}, {size[1]!r}; expected numbers"
        )
    return size


def _checked(entry: dict[str, Any], annotations: Path) -> list[list[float]]:
    polygons = entry["segmentation"]
    if not isinstance(polygons, list) or not all(_is_polygon(polygon) for polygon in polygons):
        raise InputError(
            f"{annotations}: annotation {entry.get('id')} must be a list of polygons, each x, y, x, y, ... "
            f"of at least three corners, numbers from -{FARTHEST} to {FARTHEST}"
        )
    return polygons


def _is_polygon(corners: Any) -> bool:
    if not isinstance(corners, list) or len(corners) < 6 or len(corners) % 2:
        return False
    # False for NaN, too; the drawing would crawl along edges that lead nowhere.
    return all(isinstance(value, int | float) and -FARTHEST <= value <= FARTHEST for value in corners)


def _area(polygon: list[float]) -> float:
    x, y = np.asarray(polygon[::2]), np.asarray(polygon[1::2])
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def view(polygons: list[list[Any]]) -> int:
    """Carvana's nearest view number: 1 front, 9 rear, 5 left side, 13 right side, 3, 7, 11, 15 three-quarter.

    ``polygons`` is a list of (part index, polygons). A side counts as seen where its doors hold 6 % of the
    annotated area, an end (front or rear) beside it where it holds 15 %; the counts hardly change within
    3..10 % and 10..20 %. A car whose left doors are seen has its front at image left.
    """
    areas = dict.fromkeys(PART_NAMES, 0.0)
    for index, shapes in polygons:
        areas[PART_NAMES[index - 1]] += sum(_area(shape) for shape in shapes)
    total = sum(areas.values()) or 1.0
    front, rear, left, right = (sum(areas[p] for p in group) / total for group in (FRONT, REAR, LEFT, RIGHT))
    if max(left, right) < 0.06:
        return 1 if front >= rear else 9
    if max(front, rear) < 0.15:
        return 5 if left >= right else 13
    if front >= rear:
        return 3 if left >= right else 15
    return 7 if left >= right else 11


def read_masks(record: Record, full: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Whole car and part indices, both (h, w); small parts lie over large ones."""
    annotated, polygons = json.loads(str(record.mask))
    if tuple(annotated) != full:
        tag = orientation_of(record.image)
        turned = f" (it is stored with EXIF orientation {tag}: annotate it upright)" if (tag or 1) > 1 else ""
        raise InputError(
            f"{record.image} is {full[0]}×{full[1]} but annotated at {annotated[0]}×{annotated[1]}{turned}; "
            "a mask has the size of its image"
        )
    canvas = Image.new("L", full)
    draw = ImageDraw.Draw(canvas)
    shapes = [(shape, index) for index, group in polygons for shape in group]
    for shape, index in sorted(shapes, key=lambda entry: -_area(entry[0])):
        draw.polygon(shape, fill=index)
    parts = np.asarray(canvas)
    return close_gaps(parts > 0), parts


def close_gaps(mask: np.ndarray, radius: float = CLOSING) -> np.ndarray:
    """``mask`` (h, w) in {0, 1} closed by a disc of ``radius`` · √(width · height) of its bounding box.

    Closing = dilation, then erosion; on a grid of at most about 256 pixels, which is finer than any
    working size it is shrunk to.
    """
    mask = np.asarray(mask, dtype=bool)
    step = max(1, round(max(mask.shape) / 256))
    coarse = mask[::step, ::step]
    if not coarse.any():
        return mask.astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    disc = radius * float(np.sqrt((np.ptp(rows) + 1) * (np.ptp(columns) + 1))) / step
    border = int(disc) + 2  # so that the dilated car meets no edge of the frame
    grown = distance_transform_edt(~np.pad(coarse, border)) <= disc
    closed = (distance_transform_edt(grown) > disc)[border:-border, border:-border]
    filled = closed.repeat(step, 0).repeat(step, 1)[: mask.shape[0], : mask.shape[1]]
    return (mask | filled).astype(np.uint8)


def repeats(images: dict[str, Path]) -> dict[str, str]:
    """Photographs that show another one again: name -> the earlier name, in alphabetical order.

    Two photographs are one where their 16×16 grey thumbnails correlate above 0.97.
    """
    names = sorted(images)
    with ThreadPoolExecutor() as pool:
        thumbnails = np.stack(list(pool.map(_thumbnail, (images[name] for name in names))))
    same = np.triu(thumbnails @ thumbnails.T > SAME, 1)
    return {names[later]: names[int(np.argmax(same[:, later]))] for later in np.flatnonzero(same.any(0))}


def _thumbnail(path: Path) -> np.ndarray:
    grey = read_image(path, (16, 16))[0].astype(np.float64).mean(2).ravel()
    grey -= grey.mean()
    return grey / max(float(np.linalg.norm(grey)), 1e-9)
