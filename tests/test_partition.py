"""Sources that label one part: parts are disjoint and together the object, and all else stays as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blobs
from drawn_cars import carvana_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_own_data import save_domain, save_own

from mstl.data import Domain, Task, load, local_task, task_of
from mstl.data.recipes import regions as car
from mstl.data.recipes.partition import divisible, grown, partition
from mstl.data.recipes.styles import STYLES
from mstl.measures.attention import watched
from mstl.system.errors import InputError

SIZE = (32, 48)


@pytest.fixture(scope="module")
def cars(tmp_path_factory) -> Path:
    return carvana_folder(tmp_path_factory.mktemp("cars"), 16)


@pytest.fixture(scope="module")
def make(cars, tmp_path_factory):
    kept = tmp_path_factory.mktemp("cache")

    @cache
    def task(recipe: str = "masks", sources: int = 0, labels: int = 4, seed: int = 0, **options) -> Task:
        return local_task("studio", recipe, sources, labels, seed, SIZE, cars, kept, **options)

    task.whole = load("studio", SIZE, cars, kept)
    return task


def rows_of(source: Domain, whole: Domain) -> np.ndarray:
    """Where the images of a source are in the whole data set."""
    row = {key: k for k, key in enumerate(zip(whole.groups.tolist(), whole.views.tolist(), strict=True))}
    return np.array([row[key] for key in zip(source.groups.tolist(), source.views.tolist(), strict=True)])


def target_of(task: Task) -> list[str]:
    parts = (task.labelled, task.unlabelled, task.validation, task.test)
    return [part.fingerprint() for part in parts if part is not None]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_pixel_of_every_studio_car_is_in_exactly_one_part(count):
    whole = load("studio", (16, 24))
    objects, regions = whole.masks[:, 0].numpy() > 0, car.regions(whole, car.LAYOUTS[count])
    parts = partition(regions, objects)
    assert divisible(whole, regions, car.LAYOUTS[count]).all()
    assert (parts.sum(0) == objects).all()  # one where there is a car, and none elsewhere
    assert (parts >= regions).all()
    assert parts.any((2, 3)).mean(1).min() > 0.85  # most images show every part


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(0, 9999))
def test_an_unnamed_pixel_goes_to_the_nearest_region_and_neighbours_share_a_border(count, seed):
    """Against distances to every pixel, one by one; the drawing has objects with few or no named pixels."""
    random = np.random.default_rng(seed)
    objects = random.random((3, 7, 9)) < 0.6
    names = random.integers(0, count, objects.shape)
    named = random.random(objects.shape) < random.choice([0.05, 0.3])
    regions = np.stack([named & (names == k) for k in range(count)])  # some outside the objects
    parts = partition(regions, objects)
    y, x = np.mgrid[:7, :9]
    for i in range(len(objects)):
        seeds = [np.argwhere(regions[k, i] & objects[i]) for k in range(count)]
        for v, u in np.argwhere(objects[i]):
            squares = [min(((p - (v, u)) ** 2).sum(1), default=np.inf) for p in seeds]
            wanted = [k == np.argmin(squares) and min(squares) < np.inf for k in range(count)]
            assert parts[:, i, v, u].tolist() == wanted
        assert not parts[:, i][:, ~objects[i]].any()
        for part in parts[:, i]:
            near = np.zeros_like(part)
            for v, u in np.argwhere(part):
                near |= (y - v) ** 2 + (x - u) ** 2 <= 2**2
            assert (grown(part[None], objects[i][None], 2)[0] == (near & objects[i])).all()


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_sources_show_whole_images_and_label_their_part_alone(make, sources):
    task, layout = make(sources=sources), car.LAYOUTS[max(sources, 3) if sources == 1 else sources]
    assert [source.name for source in task.sources] == list(layout[:sources])
    objects = make.whole.masks[:, 0].numpy() > 0
    parts = partition(car.regions(make.whole, layout), objects)
    for j, source in enumerate(task.sources):
        rows = rows_of(source, make.whole)
        assert torch.equal(source.images, make.whole.images[rows])
        assert (source.masks[:, 0].numpy() == parts[j, rows]).all()
        assert len(rows) == 16 * len(set(source.groups.tolist()))  # every view of its cars
        for other in (*task.sources[:j], task.labelled, task.unlabelled, task.validation, task.test):
            assert not set(source.groups.tolist()) & set(other.groups.tolist())


@pytest.mark.parametrize("recipe", ["masks", "masks-styled", "masks-overlap", "masks-mixed"])
@pytest.mark.parametrize("sources, seed", [(2, 0), (3, 1), (4, 2)])
def test_the_target_is_that_of_parts_labelled_whole(make, recipe, sources, seed):
    task = make(recipe, sources, seed=seed)
    assert target_of(task) == target_of(make("parts", sources, seed=seed))
    assert torch.equal(task.test.masks, make.whole.masks[rows_of(task.test, make.whole)])


def test_where_an_image_hides_the_part_its_mask_is_empty_and_the_target_stays(tmp_path):
    """One view a car: not every car lets a window be cut over its front, but each may be in any source."""
    path = carvana_folder(tmp_path / "lone", 32, views=(1, 5, 9, 13))
    for file in [*path.glob("*/*.*")]:
        number, view = (int(text) for text in file.stem.removesuffix("_mask").removeprefix("car").split("_"))
        if view != (1, 5, 9, 13)[number % 4]:
            file.unlink()
    options = {"labels": 2, "size": SIZE, "data_dir": path, "cache_dir": tmp_path / "cache"}
    task, windows = (local_task("studio", recipe, **options) for recipe in ("masks", "parts"))
    assert target_of(task) == target_of(windows)
    for source, hidden in zip(task.sources, (9, None, 1), strict=True):
        empty = source.masks.flatten(1).sum(1).numpy() == 0
        assert (empty == (source.views == hidden)).all()
    assert 9 in task.sources[0].views or 1 in task.sources[2].views


def test_one_source_is_the_first_of_three(make):
    one, three = make(sources=1), make(sources=3)
    assert one.sources[0].fingerprint() == three.sources[0].fingerprint()
    assert target_of(one) == target_of(three)


def test_overlapping_parts_reach_into_their_neighbours_by_a_sixteenth_of_the_shorter_side(make):
    for plain, wide in zip(make().sources, make("masks-overlap").sources, strict=True):
        objects = make.whole.masks[rows_of(wide, make.whole), 0].numpy() > 0
        part, more = (source.masks[:, 0].numpy() > 0 for source in (plain, wide))
        assert torch.equal(plain.images, wide.images)
        assert (more == grown(part, objects, 32 / 16)).all()  # itself held against brute force above
        assert more.sum() > 1.05 * part.sum()


def test_a_style_is_put_behind_the_object_and_not_behind_the_part(make):
    for plain, styled, style in zip(make().sources, make("masks-styled").sources, STYLES, strict=False):
        assert torch.equal(plain.masks, styled.masks)
        objects = make.whole.masks[rows_of(plain, make.whole)]
        assert torch.equal(styled.images, style(plain.images, objects))


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_of_mixed_sources_the_last_labels_the_whole(make, sources):
    plain, mixed = make(sources=sources), make("masks-mixed", sources)
    assert mixed.sources[-1].name == "whole"
    assert torch.equal(mixed.sources[-1].masks, make.whole.masks[rows_of(mixed.sources[-1], make.whole)])
    assert torch.equal(mixed.sources[-1].images, plain.sources[-1].images)
    for one, other in zip(plain.sources[:-1], mixed.sources[:-1], strict=True):
        assert one.fingerprint() == other.fingerprint()
    assert watched(mixed).sources == (*car.LAYOUTS[sources][:-1], "whole")


def test_sources_are_added_and_left_out_as_in_other_recipes(make):
    task = make(extra="useless", without="front")
    assert [source.name for source in task.sources] == ["cabin", "rear", "useless"]
    assert task.sources[0].fingerprint() == make().sources[1].fingerprint()


def test_a_folder_has_halves_and_carvana_needs_no_part_maps(tmp_path):
    own = save_domain(tmp_path / "own", [f"x{k}" for k in range(12)])
    options = {"labels": 2, "size": SIZE, "cache_dir": tmp_path / "cache"}
    task = local_task("folder", "masks", data_dir=own, **options)
    assert [source.name for source in task.sources] == ["left", "right"]
    with pytest.raises(InputError, match="neither part maps nor view numbers"):
        local_task("folder", "masks", 3, data_dir=own, **options)
    kaggle = carvana_folder(tmp_path / "kaggle", 8, views=(1, 3, 5, 9), parts=False)
    task = local_task("carvana", "masks", data_dir=kaggle, **options)
    assert [source.name for source in task.sources] == ["front", "cabin", "rear"]
    assert all(source.masks.any() and source.parts is None for source in task.sources)


@pytest.mark.parametrize(
    "recipe, sources, message",
    [
        ("masks", 5, "recipe 'masks' of data 'studio' gives J = 1, 2, 3, 4 sources; got 5"),
        ("masks-mixed", 1, "recipe 'masks-mixed' of data 'studio' gives J = 2, 3, 4 sources; got 1"),
    ],
)
def test_what_the_recipes_do_not_give_is_one_clear_error(make, recipe, sources, message):
    with pytest.raises(InputError, match=message):
        make(recipe, sources)


def test_objects_without_a_named_part_are_left_out_and_said_and_none_with_one_is_an_error(capsys):
    whole = blobs("whole", 6, SIZE, seed=0)
    layout = car.LAYOUTS[3]
    named = replace(whole, part_names=("hood", "trunk"))
    named.parts[2] = 0
    assert divisible(named, car.regions(named, layout), layout).tolist() == [True, True, False, *[True] * 3]
    assert "1 of 6 objects show nothing of front, cabin, rear; left out of the sources: whole-1_03_1" in (
        capsys.readouterr().err
    )
    unnamed = replace(whole, part_names=("left", "right"))
    with pytest.raises(InputError, match=r"'whole': no part map shows .*; its parts are left, right: rename"):
        divisible(unnamed, car.regions(unnamed, layout), layout)


def test_a_source_without_any_object_is_named(tmp_path):
    own = save_own(tmp_path / "own")
    for file in (own / "sources/place 1/masks").iterdir():
        Image.new("L", Image.open(file).size).save(file)
    options = {"labels": 2, "size": SIZE, "cache_dir": tmp_path / "cache"}
    with pytest.raises(InputError, match="source 'place 1': the mask is empty in every one of its 4"):
        local_task("folder", "own", data_dir=own, **options)
    assert len(local_task("folder", "own", data_dir=own, without="place 1", **options).sources) == 1
    empty = save_domain(tmp_path / "empty", [f"x{k}" for k in range(12)])
    for file in (empty / "masks").iterdir():
        Image.new("L", Image.open(file).size).save(file)
    with pytest.raises(InputError, match="data 'folder': the mask is empty in every one of its 12 images"):
        local_task("folder", "masks", data_dir=empty, **options)


def test_a_source_that_may_label_the_whole_and_one_beside_the_target_are_said(capsys):
    """Three sources of one size of object, of which two label a quarter of it."""

    def source(seed: int, part: bool) -> Domain:
        made = blobs("any", 6, SIZE, seed)
        made.masks[..., ::2] *= not part
        made.masks[..., ::2, :] *= not part
        return made

    def said(sources: dict[str, Domain], target: Domain) -> str:
        task_of(sources, target, labels=2)
        return "".join(line for line in capsys.readouterr().err.splitlines(True) if "label" in line)

    target = blobs("target", 12, SIZE, seed=9)
    parts = {"a": source(0, True), "b": source(1, True)}
    parts["b"].masks[:2] = 0  # parts are of unequal size
    assert said(parts, target) == ""
    whole = said(parts | {"c": source(2, False)}, target)
    assert "source 'c' labels 25% of its pixels, the others 6% at most" in whole and whole.count("\n") == 1
    for masks in (target.masks, parts["a"].masks):
        masks[..., : SIZE[1] // 2] = 0
    parts["b"].masks[..., SIZE[1] // 2 :] = 0
    beside = said({"a": parts["a"], "b": parts["b"]}, target)
    assert "source 'b' never labels a place of the image where the target has an object" in beside
    assert "source 'a'" not in beside


def test_a_source_of_a_part_says_so(make):
    for recipe in ("masks", "masks-styled", "masks-overlap"):
        assert make(recipe).partial == (True, True, True)
    assert make("masks-mixed").partial == (True, True, False)
    assert make(without="front", extra="harmful useless").partial == (True,) * 4
    assert make(sources=1).partial == (True,)
    assert make("parts").partial == (False, False, False)
