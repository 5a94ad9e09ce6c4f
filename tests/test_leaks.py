"""One picture, or one object, never stands on both sides of a split."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from drawn_cars import carvana_folder
from PIL import Image

from mstl.data import load, local_task, task_of
from mstl.data.recipes.leaks import alike, equal
from mstl.system.errors import InputError

SIZE = (40, 56)


def photograph(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene of its own, (160, 240, 3), and a mask: large shapes, fine structure and noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 200, (8, 12, 3)).astype(np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((240, 160), Image.Resampling.BICUBIC)).astype(int)
    mask = np.zeros((160, 240), np.uint8)
    mask[40:120, 60:180] = 255
    scene = scene + 50 * (mask[..., None] > 0) + generator.integers(-8, 8, scene.shape)
    return scene.clip(0, 255).astype(np.uint8), mask


def folder(path: Path, names: list[str], seed: int = 0) -> Path:
    for place in ("images", "masks"):
        (path / place).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image, mask = photograph(100 * seed + number)
        Image.fromarray(image).save(path / "images" / f"{name}.png")
        Image.fromarray(mask).save(path / "masks" / f"{name}.png")
    return path


@pytest.fixture()
def own(tmp_path: Path) -> Path:
    folder(tmp_path / "own/sources/one", [f"x{k}" for k in range(6)], seed=1)
    folder(tmp_path / "own/target", [f"{'abcdef'[k // 2]}_{k % 2 + 1}" for k in range(12)])
    return tmp_path / "own"


def copied(own: Path, name: str, to: Path, as_: str) -> None:
    for place in ("images", "masks"):
        shutil.copy(own / "target" / place / f"{name}.png", to / place / f"{as_}.png")


def make(own: Path, recipe: str = "own"):
    place = own if recipe == "own" else own / "target"
    return local_task("folder", recipe, 0, 2, 0, SIZE, place, own / "cache")


@pytest.mark.trust(
    "hostile input", "the same picture in two groups, or in a source and the target, is refused by name"
)
def test_the_same_picture_under_two_names_is_refused(own):
    copied(own, "a_1", own / "target", "z_9")
    for task in (
        lambda: make(own),
        lambda: make(own, "parts"),
        lambda: task_of({"s": own / "sources/one"}, own / "target", labels=2, size=SIZE),
    ):
        with pytest.raises(InputError, match=r"target: groups a and z_9 share an image; .*groups.csv"):
            task()
    names = [file.stem for file in (own / "target/images").iterdir()]
    rows = [f"{name},{'a' if name == 'z_9' else name[0]}" for name in names]
    (own / "target/groups.csv").write_text("\n".join(["name,group", *rows]))
    sides = [set(part.groups) for part in (make(own).test, make(own).validation, make(own).unlabelled)]
    assert sum("a" in side for side in sides) == 1
    copied(own, "b_2", own / "sources/one", "y")
    with pytest.raises(InputError, match=r"the target share an image .group y there, b here"):
        make(own)


def test_the_same_picture_of_two_cars_in_carvanas_layout_is_refused(tmp_path):
    place = carvana_folder(tmp_path / "cars", cars=8, views=(1, 2))
    shutil.copy(place / "train/car00_01.jpg", place / "train/car07_02.jpg")
    with pytest.raises(InputError, match="cars: groups car00 and car07 share an image"):
        local_task("carvana", "parts", 2, 1, 0, (32, 48), place, tmp_path / "cache")


def as_jpeg(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".jpg"), quality=60)


def as_double(image: Image.Image, path: Path) -> None:
    image.resize((480, 320), Image.Resampling.BICUBIC).save(path)


@pytest.mark.parametrize("copy", [as_jpeg, as_double])
@pytest.mark.parametrize("place", ["target", "sources/one"])
def test_a_copy_in_another_size_or_quality_is_named(own, capsys, copy, place):
    image = Image.open(own / "target/images/a_1.png")
    copy(image, own / place / "images/z_9.png")
    (saved,) = (own / place / "images").glob("z_9.*")
    mask = Image.fromarray(photograph(0)[1]).resize(Image.open(saved).size, Image.Resampling.NEAREST)
    mask.save(own / place / "masks/z_9.png")
    make(own)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "look alike" in line]
    assert "z_9" in line and "more pair" not in line


def test_other_cars_before_one_backdrop_are_not_alike():
    domain = load("studio", (64, 96)).select(np.arange(0, 480))
    assert not list(equal(domain, domain))
    pairs = [(i, j) for i, j in alike(domain, domain) if domain.groups[i] != domain.groups[j]]
    assert not pairs


def test_how_many_groups_there_are_is_said(own, capsys):
    make(own)
    assert "target: 12 images of 6 groups (a, b, c, d, e and 1 more). A group" in capsys.readouterr().err
    folder(own / "target", [f"{k}-2" for k in range(12)])
    for file in own.glob("target/*/[a-f]_*"):
        file.unlink()
    make(own)
    assert "12 images of 12 groups" in (said := capsys.readouterr().err)
    assert "each image is a group of its own" in said


def test_groups_of_one_name_in_a_source_and_the_target_are_said(own, capsys):
    folder(own / "sources/two", ["c_7", "c_8", "d_9", "d_8", "y"], seed=2)
    make(own)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "groups called" in line]
    assert "source 'two' and the target both have groups called c, d; if those are the same objects" in line


@pytest.mark.parametrize(
    "table, header",
    [("groups.csv", "name, group"), ("Groups.csv", " name ,group "), ("GROUPS.CSV", "\ufeffname,group")],
)
def test_a_group_is_one_group_however_it_is_written(own, table, header):
    names = [file.stem for file in sorted((own / "target/images").iterdir())]
    spelt = ("é l", " é l", "é l ", unicodedata.normalize("NFD", "é l"), "é  l", "\u00a0é l")
    rows = [f"{name},{spelt[k % 6] if k < 6 else f'g{k // 2}'}" for k, name in enumerate(names)]
    (own / "target" / table).write_text("\n".join([header, *rows]), encoding="utf-8")
    domain = load("folder", SIZE, own / "target", own / "cache")
    assert domain.groups.tolist() == ["é l"] * 6 + ["g3", "g3", "g4", "g4", "g5", "g5"]


@pytest.mark.parametrize(
    "write, message",
    [
        (
            lambda p: (p / "groups.csv").write_text("name,group\na_1,g\na_2,G\n"),
            "'g' and 'G' differ in",
        ),
        (lambda p: [(p / n).write_text("name,group\n") for n in ("groups.csv", "Groups.csv")], "keep one of"),
        (lambda p: (p / "groups.csv").write_text("name,group\na_1, \n"), "a name has 1 to 255 characters"),
    ],
)
def test_a_table_of_groups_that_could_mean_two_things_is_refused(own, write, message):
    write(own / "target")
    with pytest.raises(InputError, match=message):
        make(own)


def test_names_from_a_mac_pair_and_group_with_composed_ones(tmp_path):
    folder(tmp_path, ["é_1", "é_2"])
    for place, name in (("images", "é_1"), ("masks", "é_2")):
        file = tmp_path / place / f"{name}.png"
        file.rename(file.with_name(unicodedata.normalize("NFD", file.name)))
    assert load("folder", SIZE, tmp_path, tmp_path / "cache").groups.tolist() == ["é", "é"]
