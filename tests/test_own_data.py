"""Folders of one's own: any number of sources and a target. The commands are tried in test_howto."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import blobs
from drawn_cars import draw
from PIL import Image

from mstl.data import Task, load, local_task, task_of
from mstl.system.errors import InputError

SIZE = (32, 48)


def save_domain(path: Path, names: list[str], size: tuple[int, int] = (60, 40), seed: int = 0) -> Path:
    """Drawn cars of ``size`` (width, height) as ``images/`` and ``masks/``."""
    for number, name in enumerate(names):
        photograph, mask, _ = draw(5, 100 * seed + number, size)
        for place, pixels in (("images", photograph), ("masks", mask * 255)):
            (path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / place / f"{name}.png")
    return path


def save_own(path: Path, sources: int = 2, target: int = 12) -> Path:
    """``sources`` folders of unequal numbers and sizes, and a target of pairs ``a_1``, ``a_2``."""
    for j in range(sources):
        save_domain(
            path / "sources" / f"place {j}", [f"x{k}" for k in range(3 + j)], (40 + 20 * j, 50), seed=j + 1
        )
    save_domain(path / "target", [f"{chr(97 + k // 2)}_{k % 2 + 1}" for k in range(target)])
    return path


@pytest.fixture()
def own(tmp_path: Path) -> Path:
    return save_own(tmp_path / "mine")


@pytest.fixture()
def make(own: Path, tmp_path: Path):
    def task(sources: int = 0, labels: int = 2, seed: int = 0, path: Path = own) -> Task:
        return local_task(
            "folder", "own", sources, labels, seed, SIZE, data_dir=path, cache_dir=tmp_path / "cache"
        )

    return task


@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_there_are_as_many_sources_as_folders(tmp_path, make, sources):
    task = make(path=save_own(tmp_path / "other", sources))
    assert [source.name for source in task.sources] == [f"place {j}" for j in range(sources)]
    assert [len(source) for source in task.sources] == [3 + j for j in range(sources)]
    assert {domain.size for domain in task.domains()} == {SIZE}
    assert task.name == "folder/own"


def test_fewer_sources_are_the_first_in_alphabetical_order(make):
    assert [source.name for source in make(sources=1).sources] == ["place 0"]
    assert make(sources=2).fingerprint() == make().fingerprint()
    with pytest.raises(InputError, match=r"holds 2 sources \(place 0, place 1\); got sources = 3"):
        make(sources=3)
    with pytest.raises(InputError, match="got sources = -1"):
        make(sources=-1)


def test_the_target_is_split_by_group_and_every_image_is_used_once(make):
    task = make(labels=3)
    parts = (task.labelled, task.unlabelled, task.validation, task.test)
    groups = [set(part.groups.tolist()) for part in parts]
    training = groups[0] | groups[1]
    for one, other in combinations((training, groups[2], groups[3]), 2):
        assert not one & other
    assert training | groups[2] | groups[3] == set("abcdef")
    assert [len(part) for part in parts] == [3, 3, 2, 4]
    assert make(labels=3, seed=1).test.fingerprint() != task.test.fingerprint()


def test_the_pixels_are_those_of_the_folder(own, make, tmp_path):
    whole = load("folder", SIZE, own / "sources" / "place 1", tmp_path / "cache")
    assert make().sources[1].fingerprint() == whole.fingerprint()


def test_groups_csv_counts_in_the_target(own, make):
    rows = [f"{file.stem},group {k // 3}" for k, file in enumerate(sorted((own / "target/images").iterdir()))]
    (own / "target/groups.csv").write_text("\n".join(["name,group", *rows]))
    assert {*make().test.groups.tolist(), *make().validation.groups.tolist()} <= {
        f"group {k}" for k in range(4)
    }


def test_python_and_folders_give_the_same_task(own, make, tmp_path):
    sources = {name: own / "sources" / name for name in ("place 0", "place 1")}
    task = task_of(sources, str(own / "target"), labels=2, size=SIZE, cache_dir=tmp_path / "cache")
    assert task.fingerprint() == make().fingerprint()
    domains = {name: load("folder", SIZE, path, tmp_path / "cache") for name, path in sources.items()}
    target = load("folder", SIZE, own / "target", tmp_path / "cache")
    assert task_of(domains, target, labels=2).fingerprint() == task.fingerprint()


def test_sources_made_in_python_may_have_a_size_of_their_own():
    made = {f"s{j}": blobs("any", 6, (16, 24), seed=j) for j in range(4)}
    task = task_of(made, blobs("target", 12, SIZE, seed=9), labels=0)
    assert [source.name for source in task.sources] == list(made)
    assert task.labelled is None and task.test.size == SIZE and task.sources[0].size == (16, 24)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda p: shutil.rmtree(p), "mine does not exist; expected sources/<name>/ for each source"),
        (lambda p: shutil.rmtree(p / "sources"), "sources does not exist; expected sources/<name>/"),
        (lambda p: shutil.rmtree(p / "target"), "target does not exist; expected sources/<name>/"),
        (
            lambda p: [shutil.rmtree(q) for q in (p / "sources").iterdir()],
            "sources holds no folder; expected sources/<name>/",
        ),
        (
            lambda p: (p / "sources/place 0").rename(p / "old") and (p / "sources/empty").mkdir(),
            "sources/empty/images does not exist; expected images/ and masks/",
        ),
        (
            lambda p: [file.unlink() for file in (p / "sources/place 0/images").iterdir()],
            "place 0/images holds no images",
        ),
        (lambda p: shutil.rmtree(p / "sources/place 1/masks"), "place 1/masks does not exist"),
        (
            lambda p: (p / "sources/place 1/masks/x0.png").rename(p / "sources/place 1/masks/y.png"),
            "image without mask: x0; expected a mask of the same name in .*place 1",
        ),
        (
            lambda p: (p / "target/masks/a_1.png").rename(p / "target/masks/a_l.png"),
            "mask without image: a_l; .*target/images",
        ),
        (
            lambda p: [q.rename(q.with_name(f"x{q.name}")) for q in (p / "target/masks").iterdir()],
            "image without mask: a_1, a_2, .* and 7 more; expected a mask of the same name in .*target/masks",
        ),
        (
            lambda p: [q.unlink() for q in (p / "target/masks").glob("[c-f]*")],
            r"target: 4 images with masks of 2 groups \(a, b\); a split .* needs 3 .* recipe own-untested",
        ),
        (
            lambda p: shutil.copytree(p / "sources/place 0", p / "sources/PLACE 0"),
            "sources 'PLACE 0' and 'place 0' have names alike; rename",
        ),
        (
            lambda p: shutil.copytree(p / "sources/place 0/images", p / "sources/images"),
            "sources holds images/ or masks/ itself; a single source, too, has a folder of its own",
        ),
        (
            lambda p: [q.unlink() for d in ("images", "masks") for q in (p / "target" / d).glob("[c-f]*")],
            r"target: 4 images of 2 groups \(a, b\); a split .* needs 3 or more.*groups.csv",
        ),
        (
            lambda p: [
                shutil.copy(p / "target" / d / "b_1.png", p / "sources/place 1" / d / "z.png")
                for d in ("images", "masks")
            ],
            "source 'place 1' and the target share an image .group z there, b here",
        ),
    ],
)
def test_bad_folders_are_one_clear_error(own, make, damage, message):
    damage(own)
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_other_bad_requests_are_one_clear_error(own, tmp_path):
    def ask(data="folder", recipe="own", data_dir=own, labels=2):
        local_task(data, recipe, labels=labels, size=SIZE, data_dir=data_dir, cache_dir=tmp_path / "cache")

    with pytest.raises(InputError, match="recipe 'own' needs data_dir: a folder with sources/<name>/"):
        ask(data_dir=None)
    with pytest.raises(InputError, match="recipe 'own' does not exist for data 'studio'; it does for folder"):
        ask("studio")
    with pytest.raises(InputError, match=r"holds sources/ rather than .* choose recipe 'own'"):
        ask(recipe="parts")
    with pytest.raises(InputError, match="labels = 9, but the target has 6 training images"):
        ask(labels=9)


def test_bad_domains_are_one_clear_error():
    target = blobs("target", 12, SIZE, seed=9)
    with pytest.raises(InputError, match=r"one height and width; got a .16, 24., b .32, 48."):
        task_of({"a": blobs("a", 4, (16, 24), 0), "b": blobs("b", 4, SIZE, 1)}, target)
    with pytest.raises(InputError, match="'a' and 'A ' have names alike"):
        task_of({"a": blobs("a", 4, SIZE, 0), "A ": blobs("b", 4, SIZE, 1)}, target)
    with pytest.raises(InputError, match="share an image"):
        task_of({"a": target.select(np.arange(3))}, target)


def test_own_sources_may_say_that_they_label_parts(tmp_path):
    place = save_own(tmp_path / "own")
    known = {"data_dir": place, "size": SIZE, "labels": 2, "cache_dir": tmp_path / "cache"}
    whole, parts = (local_task("folder", recipe=recipe, **known) for recipe in ("own", "own-masks"))
    assert whole.partial == (False, False) and parts.partial == (True, True)
    assert whole.fingerprint() != parts.fingerprint()
    for one, other in zip(whole.sources, parts.sources, strict=True):
        assert (one.masks == other.masks).all() and one.fingerprint() != other.fingerprint()
    folders = {source.name: place / "sources" / source.name for source in whole.sources}
    made = {"target": place / "target", "labels": 2, "size": SIZE, "cache_dir": tmp_path / "cache"}
    assert task_of(folders, **made).partial == (False, False)
    assert task_of(folders, **made, partial=True).partial == (True, True)
    mixed = dict(zip(folders, (parts.sources[0], whole.sources[1]), strict=True))
    assert task_of(mixed, **made).partial == (True, False)
