"""Page 25: from a zip of images with a few masks to the other masks, whatever the zip looks like."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_own_data import save_domain
from test_pages import executed

from mstl.data.readers import folder
from mstl.data.recipes.bundle import opened, write_example
from mstl.report import own
from mstl.system.errors import InputError

BARE = [f"z{k}" for k in range(5)]


@pytest.fixture()
def target(tmp_path: Path) -> Path:
    """Six images with masks, five without."""
    made = save_domain(tmp_path / "made", [*"abcdef", *BARE])
    for name in BARE:
        (made / "masks" / f"{name}.png").unlink()
    return made


def packed(out: Path, content: dict[str, Path]) -> Path:
    """A zip file in which each folder lies under its name."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, place in content.items():
            for file in sorted(place.rglob("*.png")):
                archive.write(file, f"{name}{file.relative_to(place)}")
        archive.writestr("__MACOSX/._a.png", "x")
        archive.writestr(".DS_Store", "x")
    return out


@pytest.mark.parametrize("top", ["", "photos/", "deep/photos/"])
def test_images_and_masks_alone_are_a_target(target, tmp_path, top):
    found = opened(packed(tmp_path / "mine.zip", {top: target}), tmp_path / "to")
    assert found.sources == {}
    records = folder.listing(found.target, unlabelled=True).records
    assert [r.name for r in records if r.mask is None] == BARE and len(records) == 11
    assert opened(target, tmp_path / "unused").target == target and not (tmp_path / "unused").exists()


@pytest.mark.parametrize("top", ["", "all/"])
def test_a_target_may_have_sources(target, tmp_path, top):
    source = save_domain(tmp_path / "source", ["s1", "s2"], seed=3)
    content = {f"{top}target/": target, f"{top}sources/cabins/": source}
    found = opened(packed(tmp_path / "mine.zip", content), tmp_path / "to")
    assert list(found.sources) == ["cabins"] and len(list((found.target / "images").iterdir())) == 11
    alone = opened(packed(tmp_path / "alone.zip", {f"{top}target/": target}), tmp_path / "to")
    assert alone.sources == {} and alone.target.name == "target"


def test_the_same_zip_is_unpacked_once_and_another_never_mixed_in(target, tmp_path):
    first = opened(packed(tmp_path / "mine.zip", {"": target}), tmp_path / "to").target
    (first / "images/a.png").touch()
    assert opened(tmp_path / "mine.zip", tmp_path / "to").target == first
    (target / "images/z0.png").unlink()
    second = opened(packed(tmp_path / "mine.zip", {"": target}), tmp_path / "to").target
    assert second != first and len(list((second / "images").iterdir())) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.png": b"x"}, r"holds a.png; expected images/ and masks/, or these two in target/"),
        ({"pictures/a.png": b"x", "masks/a.png": b"x"}, "holds masks, pictures; expected images/ and masks/"),
        ({"images/../../../a.png": b"x"}, "may lead out of the folder"),
        ({"/images/a.png": b"x"}, "may lead out of the folder"),
    ],
)
def test_a_bundle_that_is_none_is_one_clear_error(tmp_path, content, message):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "mine.zip", tmp_path / "to")
    assert not list(tmp_path.glob("a.png")) and not list((tmp_path / "to").glob(".unpacked-*"))


def test_what_is_no_zip_is_one_clear_error(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"Rar!")
    with pytest.raises(InputError, match=r"mine\.zip is no zip file; pack the folders into one"):
        opened(tmp_path / "mine.zip", tmp_path / "to")
    with pytest.raises(InputError, match=r"nowhere\.zip does not exist; expected a zip file, or a folder"):
        opened(tmp_path / "nowhere.zip", tmp_path / "to")


def test_the_example_keeps_back_every_mask_that_it_does_not_show(tmp_path):
    made, kept = write_example(tmp_path / "one", images=20, masks=6)
    names = zipfile.ZipFile(made).namelist()
    images, masks = (
        {Path(n).stem.removesuffix("_mask") for n in names if k in n} for k in ("images/", "masks/")
    )
    back = {file.stem for file in kept.iterdir()}
    assert len(images) == 20 and len(masks) == 6 and masks | back == images and not masks & back
    assert len({name.rpartition("_")[0] for name in masks}) == 6
    again, _ = write_example(tmp_path / "two", images=20, masks=6)
    assert zipfile.ZipFile(again).namelist() == names
    for bad in ({"masks": 0}, {"masks": 20}, {"images": 10**6}):
        with pytest.raises(InputError, match="expected 0 < masks < images"):
            write_example(tmp_path / "bad", **{"images": 20, "masks": 6} | bad)


def test_agreement_is_the_dice_of_the_files(tmp_path):
    def save(path: Path, left: int) -> None:
        path.parent.mkdir(exist_ok=True)
        pixels = np.zeros((20, 40), np.uint8)
        pixels[:, left : left + 10] = 255
        Image.fromarray(pixels).save(path)

    save(tmp_path / "found/a.png", 0)
    save(tmp_path / "found/b.png", 0)
    save(tmp_path / "found/unknown.png", 0)
    save(tmp_path / "true/a_mask.png", 0)
    save(tmp_path / "true/b.gif", 5)
    table = own.agreement(tmp_path / "found", tmp_path / "true")
    assert table["image"].tolist() == ["a", "b"] and table["dice"].tolist() == pytest.approx([1.0, 0.5])


@pytest.fixture()
def small(tmp_path, monkeypatch) -> dict[str, object]:
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return {"profile": "tiny", "out": str(tmp_path / "out")}


def test_the_page_on_few_masks(target, tmp_path, small):
    text = executed("25_own_images", zip_file=str(packed(tmp_path / "mine.zip", {"": target})), **small)
    assert "11 images, 6 masks, sources: none" in text and "no test: every mask was a teacher" in text
    assert re.search(r"11 masks, \d+\.\d minutes after this page was opened, on CPU", text)
    assert "known to you alone" in text and re.search(
        r"Dice \d\.\d\d on the masks in your zip: (good|not)", text
    )
    with zipfile.ZipFile(tmp_path / "out/mine/masks.zip") as archive:
        assert sorted(archive.namelist()) == [f"masks/{name}.png" for name in BARE]
    with zipfile.ZipFile(tmp_path / "out/mine/network.zip") as archive:
        assert {"network/checkpoint.pt", "network/manifest.json"} <= set(archive.namelist())
    assert list((tmp_path / "out/mine/runs/folder/own-alone-untested").glob("target_only*/labels-6/seed-0"))


def test_the_page_on_sources_and_enough_masks(tmp_path, small):
    made = save_domain(tmp_path / "mine/target", [f"shot_{k}" for k in range(14)])
    (made / "masks/shot_3.png").unlink()
    save_domain(tmp_path / "mine/sources/cabins", ["s1", "s2", "s3"], seed=3)
    text = executed("25_own_images", zip_file=str(tmp_path / "mine"), grouped=False, **small)
    assert "14 images, 13 masks, sources: cabins" in text and re.search(r"test +3", text)
    assert list((tmp_path / "out/mine/runs/folder/own").glob("source_combine*/labels-8/seed-0/images.csv"))
    with pytest.raises(InputError, match=r"13 images with masks of 1 groups \(shot\)"):
        executed("25_own_images", zip_file=str(tmp_path / "mine"), **small)


def test_the_page_where_every_image_has_a_mask(target, tmp_path, small):
    for name in BARE:
        (target / "images" / f"{name}.png").unlink()
    shutil.copytree(target, tmp_path / "whole")
    text = executed("25_own_images", zip_file=str(tmp_path / "whole"), **small)
    assert "6 images, 6 masks" in text


def test_the_page_on_sources_that_mark_a_part_each(target, tmp_path, small):
    shutil.copytree(target, tmp_path / "parted/target")
    for j, name in enumerate(("fronts", "rears")):
        save_domain(tmp_path / "parted/sources" / name, ["s1", "s2", "s3"], seed=3 + j)
    text = executed("25_own_images", zip_file=str(tmp_path / "parted"), partial=True, steps=6, **small)
    assert "sources: fronts, rears" in text
    place = tmp_path / "out/parted/runs/folder/own-masks-untested"
    assert list(place.glob("positive_unlabelled*steps=6*/labels-6/seed-0/manifest.json"))
