"""Local recipes: who shows what, and that no car is ever on two sides."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_cars import carvana_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mstl.data import RECIPES, Domain, Task, load, local_task
from mstl.data.chance import chance, shuffled
from mstl.data.recipes import regions as car
from mstl.data.recipes.local import TARGET_VIEWS, VIEWS, window_size
from mstl.data.recipes.styles import STYLES, Style
from mstl.data.recipes.windows import cut, held, integral, jittered, over, place, purity, window_sums
from mstl.data.splits import deal_cars, split_target
from mstl.system.errors import InputError

SIZE = (32, 48)
CARS = 16


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Path:
    """16 drawn cars with all views, and chimeras."""
    path = carvana_folder(tmp_path_factory.mktemp("studio"), CARS)
    for part in ("front", "cabin", "rear"):
        carvana_folder(path / "chimeras" / part, 2, views=(1, 5))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(studio, cache):
    def task(
        recipe: str = "parts", sources: int = 0, labels: int = 4, seed: int = 0, data: str = "studio"
    ) -> Task:
        return local_task(data, recipe, sources, labels, seed, SIZE, studio, cache)

    return task


def cars(domain: Domain | None) -> set[str]:
    return set() if domain is None else set(domain.groups.tolist())


def images(domain: Domain | None) -> set[tuple[str, int]]:
    return set() if domain is None else set(zip(domain.groups.tolist(), domain.views.tolist(), strict=True))


@pytest.mark.parametrize("recipe, sources", [("parts", 2), ("parts", 3), ("parts", 4), ("views", 3)])
def test_no_car_is_on_two_sides(make, recipe, sources):
    task = make(recipe, sources)
    training = cars(task.labelled) | cars(task.unlabelled)
    sides = [*(cars(source) for source in task.sources), training, cars(task.validation), cars(task.test)]
    assert len(sides) == sources + 3 and all(sides)
    for one, other in combinations(sides, 2):
        assert not one & other
    assert len(set().union(*sides)) == CARS


@pytest.mark.parametrize("recipe", ["parts", "views"])
def test_fewer_labels_are_among_more_and_all_training_images_are_used(make, recipe):
    tasks = [make(recipe, labels=labels) for labels in (0, 1, 4, 8, 16)]
    assert tasks[0].labelled is None
    for few, many in pairwise(tasks):
        assert images(few.labelled) < images(many.labelled)
        assert images(few.labelled) | images(few.unlabelled) == images(many.labelled) | images(
            many.unlabelled
        )
        assert not images(many.labelled) & images(many.unlabelled)
        assert few.test.fingerprint() == many.test.fingerprint()
        assert [s.fingerprint() for s in few.sources] == [s.fingerprint() for s in many.sources]


def test_labelled_images_show_different_cars_while_there_are_cars(make):
    assert len(cars(make(labels=4).labelled)) == 4
    training = cars(make(labels=0).unlabelled)
    assert cars(make(labels=len(training) + 2).labelled) == training


def test_all_labels_leave_nothing_unlabelled_and_more_are_refused(make):
    available = len(make(labels=0).unlabelled)
    assert make(labels=available).unlabelled is None
    with pytest.raises(
        InputError, match=rf"labels = {available + 1}, but the target has {available} training"
    ):
        make(labels=available + 1)


@pytest.mark.parametrize("recipe", ["parts", "masks", "views-styled", "chimeras"])
def test_a_seed_decides_everything_and_another_seed_differs(make, recipe):
    assert make(recipe, seed=1).fingerprint() == make(recipe, seed=1).fingerprint()
    assert make(recipe, seed=1).fingerprint() != make(recipe, seed=2).fingerprint()


@pytest.mark.parametrize(
    "sources, names", [(1, ("front",)), (2, ("left", "right")), (3, ("front", "cabin", "rear"))]
)
def test_the_number_of_sources_decides_the_parts(make, sources, names):
    task = make(sources=sources)
    assert tuple(source.name for source in task.sources) == names
    assert len({source.size for source in task.sources}) == 1
    assert all(side % 8 == 0 for side in task.sources[0].size)
    assert task.test.size == SIZE


@pytest.mark.parametrize("recipe", ["parts", "views", "chimeras"])
def test_fewer_sources_are_the_first_of_all(make, recipe):
    one, three = make(recipe, 1), make(recipe, 3)
    assert one.sources[0].fingerprint() == three.sources[0].fingerprint()
    assert one.test.fingerprint() == three.test.fingerprint()


@pytest.mark.parametrize(
    "recipe, sources, message",
    [
        ("parts", 5, "recipe 'parts' of data 'studio' gives J = 1, 2, 3, 4 sources; got 5"),
        ("views", 4, "recipe 'views' of data 'studio' gives J = 1, 2, 3 sources; got 4"),
        ("chimeras", 4, "gives J = 1, 2, 3 sources"),
        ("parts", -1, "got -1"),
        ("thirds", 0, "unknown recipe 'thirds'; choose from parts"),
    ],
)
def test_what_a_recipe_does_not_give_is_one_clear_error(make, recipe, sources, message):
    with pytest.raises(InputError, match=message):
        make(recipe, sources)


def test_chimeras_exist_for_studio_only(make):
    with pytest.raises(
        InputError, match="recipe 'chimeras' does not exist for data 'carvana'; it does for studio"
    ):
        make("chimeras", data="carvana")


def test_chimeras_are_the_sources_and_all_cars_the_target(make):
    task = make("chimeras")
    assert [source.name for source in task.sources] == ["front", "cabin", "rear"]
    target = cars(task.labelled) | cars(task.unlabelled) | cars(task.validation) | cars(task.test)
    assert len(target) == CARS


def test_views_go_to_their_sides(make):
    task = make("views")
    for source, views in zip(task.sources, VIEWS.values(), strict=True):
        assert set(source.views.tolist()) == set(views)
    assert set(task.test.views.tolist()) == set(TARGET_VIEWS)
    assert sorted(TARGET_VIEWS + sum(VIEWS.values(), ())) == list(range(1, 17))


def test_styles_change_sources_and_nothing_else(make):
    for plain, styled in ((make("parts-plain"), make("parts")), (make("views"), make("views-styled"))):
        assert plain.test.fingerprint() == styled.test.fingerprint()
        for one, other in zip(plain.sources, styled.sources, strict=True):
            assert one.masks.equal(other.masks) and not one.images.equal(other.images)


def test_too_few_cars_are_one_clear_error(tmp_path):
    path = carvana_folder(tmp_path / "cars", 2, views=(1, 3, 5, 9))
    with pytest.raises(InputError, match=r"2 cars.*use data with more cars"):
        local_task("studio", size=SIZE, data_dir=path, cache_dir=tmp_path / "cache")


def test_a_folder_has_halves_and_views_need_view_numbers(tmp_path):
    from drawn_cars import draw

    for k in range(12):
        photograph, mask, _ = draw(5, k)
        for place_, pixels in (("images", photograph), ("masks", mask * 255)):
            (tmp_path / "own" / place_).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "own" / place_ / f"car{k}.png")
    own = {"size": SIZE, "data_dir": tmp_path / "own", "cache_dir": tmp_path / "cache", "labels": 2}
    assert [s.name for s in local_task("folder", **own).sources] == ["left", "right"]
    with pytest.raises(InputError, match="needs the view number"):
        local_task("folder", "views", **own)
    with pytest.raises(InputError, match="neither part maps nor view numbers"):
        local_task("folder", "parts", 3, **own)


def test_windows_cut_image_mask_and_parts_alike(studio, cache):
    whole = load("studio", SIZE, studio, cache).select(range(5))
    corners = np.array([[0, 0], [3, 5], [16, 24], [7, 1], [16, 0]])
    windows = cut(whole, corners, (16, 24))
    for i, (y, x) in enumerate(corners):
        for name in ("images", "masks", "parts"):
            assert getattr(windows, name)[i].equal(getattr(whole, name)[i][:, y : y + 16, x : x + 24])
    assert (windows.masks > 0).equal(windows.parts > 0)


def test_every_window_shows_mostly_its_part(studio, cache, make):
    whole = load("studio", SIZE, studio, cache)
    regions = car.regions(whole, car.LAYOUTS[3])
    for j in range(3):
        corners, shown = over(regions, j, (16, 16))
        inside, around = integral(regions[j]), integral(np.delete(regions, j, 0).any(0))
        pure = purity(inside, around, corners, (16, 16))
        assert shown.sum() > 0 and pure[shown].min() >= 0.6
    task = make("parts-plain")
    for j, source in enumerate(task.sources):
        held = [int((source.parts == k).sum()) for k in (1, 2, 3)]
        assert held[j] / sum(held) > 0.7


def test_hidden_parts_give_no_window(studio, cache, make):
    whole = load("studio", SIZE, studio, cache)
    regions = car.regions(whole, car.LAYOUTS[3])
    assert not over(regions, 0, (16, 16))[1][whole.views == 9].any()
    assert not set(make().sources[2].views.tolist()) & {1, 2, 16}


def test_without_part_maps_view_and_box_find_the_drawn_parts(studio, cache):
    whole = load("studio", SIZE, studio, cache)
    mask = whole.masks[:, 0].numpy() > 0
    guess, truth = car.front_cabin_rear(mask, whole.views), car.by_parts(whole)
    assert np.array_equal(guess.sum(0), mask)  # disjoint, and together the car
    assert (guess & truth).any(0).sum() / mask.sum() > 0.7
    assert not guess[0, whole.views == 9].any() and not guess[2, whole.views == 1].any()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_regions_are_disjoint_and_inside_the_car(studio, cache, count):
    whole = load("studio", SIZE, studio, cache)
    regions = car.regions(whole, car.LAYOUTS[count])
    assert len(regions) == count
    assert (regions.sum(0) <= whole.masks[:, 0].numpy()).all()


def test_the_best_window_is_half_part_half_background():
    own = np.zeros((1, 32, 64), bool)
    own[0, 8:24, 0:32] = True
    corners = place(integral(own), integral(np.zeros_like(own)), (16, 32))
    assert held(integral(own), corners, (16, 32)) == 16 * 32 // 2


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))
def test_window_sums_are_sums_over_windows(height, width, seed):
    values = np.random.default_rng(seed).integers(0, 2, (2, 12, 12)) > 0
    sums = window_sums(integral(values), (height, width))
    assert sums.shape == (2, 13 - height, 13 - width)
    y, x = (12 - height) // 2, 12 - width
    assert (sums[:, y, x] == values[:, y : y + height, x : x + width].sum((1, 2))).all()


def test_jitter_stays_inside_the_frame_and_within_bounds():
    corners = np.tile([[0, 0], [16, 24], [8, 8]], (50, 1))
    moved = jittered(corners, SIZE, (16, 24), 3, [(i,) for i in range(len(corners))])
    assert moved.min() >= 0 and (moved <= [16, 24]).all()
    assert np.abs(moved - corners).max() == 3
    assert len({tuple(m) for m in moved[2::3] - corners[2::3]}) > 20


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(8, 40), st.integers(0, 99), st.data())
def test_every_usable_car_has_one_role(sources, number, seed, data):
    groups = np.repeat([f"c{k}" for k in range(number)], 2)
    usable = [
        np.array(data.draw(st.lists(st.booleans(), min_size=2 * number, max_size=2 * number)))
        for _ in range(sources)
    ]
    rows = deal_cars(groups, [np.ones(2 * number, bool), *usable], seed)
    roles = [set(groups[r].tolist()) for r in rows]
    assert sum(map(len, roles)) == len(set().union(*roles)) == number
    for r, able in zip(rows, [np.ones(2 * number, bool), *usable], strict=True):
        assert able[r].all()


def test_the_shares_are_those_promised():
    groups = np.array([f"c{k}" for k in range(96)])
    target, *sources = deal_cars(groups, [np.ones(96, bool)] * 4, seed=0)
    assert len(target) == 54 and sorted(map(len, sources)) == [14, 14, 14]
    split = split_target(groups, target, groups.tolist(), 32, seed=0)
    assert (len(split.test), len(split.validation), len(split.labelled), len(split.unlabelled)) == (
        14,
        7,
        32,
        1,
    )


def test_chance_is_uniform_and_order_survives_a_removal():
    draws = [chance("test", k) for k in range(4000)]
    assert min(draws) >= 0 and max(draws) < 1
    assert np.abs(np.histogram(draws, 8, (0, 1))[0] / 500 - 1).max() < 0.15
    names = [f"n{k}" for k in range(20)]
    order = shuffled(names, 3)
    assert shuffled(set(names) - {"n7"}, 3) == [name for name in order if name != "n7"]
    assert order != shuffled(names, 4)


def test_a_neutral_style_changes_nothing_and_a_style_keeps_the_objects_shape():
    pixels = torch.randint(0, 256, (2, 3, 16, 32), dtype=torch.uint8)
    masks = torch.zeros(2, 1, 16, 32, dtype=torch.uint8)
    masks[..., 4:12, 8:24] = 1
    assert Style("neutral")(pixels, masks).equal(pixels)
    papered = Style("papered", texture="checks", cover=256)(pixels, masks)
    assert torch.where(masks > 0, papered, 0).equal(torch.where(masks > 0, pixels, 0))
    assert papered[0][:, :4].equal(papered[1][:, :4])  # what covers all hides what was there


def test_styles_differ_from_each_other():
    pixels = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    masks[..., 4:12, 4:12] = 1
    looks = [style(pixels, masks).float() for style in STYLES]
    assert len(STYLES) >= max(
        n for recipe in RECIPES.values() for counts in recipe.sources.values() for n in counts
    )
    for one, other in combinations(looks, 2):
        assert (one - other).abs().mean() > 20


@pytest.mark.parametrize(
    ("size", "count", "window"),
    [
        ((64, 96), 2, (64, 48)),
        ((64, 96), 3, (32, 32)),
        ((64, 96), 4, (32, 48)),
        ((48, 72), 4, (24, 32)),
        ((8, 8), 4, (8, 8)),
    ],
)
def test_windows_are_half_of_a_side_in_multiples_of_eight(size, count, window):
    assert window_size(size, car.LAYOUTS[count]) == window


@pytest.mark.parametrize(
    ("size", "windows"),  # of halves, of front, cabin and rear, of quadrants
    [
        ((64, 96), ((64, 48), (32, 32), (32, 48))),
        ((24, 40), ((24, 16), (8, 8), (8, 16))),
        ((96, 64), ((96, 32), (32, 32), (48, 32))),
        ((8, 8), ((8, 8), (8, 8), (8, 8))),
        ((128, 192), ((128, 96), (64, 64), (64, 96))),
    ],
)
def test_windows_are_half_of_each_side_in_multiples_of_eight(size, windows):
    assert tuple(window_size(size, car.LAYOUTS[count]) for count in (2, 3, 4)) == windows


def test_the_recipes_give_the_numbers_of_sources_that_are_promised():
    assert VIEWS == {"front": (16, 1, 2), "rear": (8, 9, 10), "side": (4, 5, 6, 12, 13, 14)}
    assert TARGET_VIEWS == (3, 7, 11, 15)
    parts = {
        "studio": (3, 1, 2, 4),
        "studio-styles": (3, 1, 2, 4),
        "carvana": (3, 1, 2, 4),
        "carparts": (3, 1, 2, 4),
        "folder": (2, 1, 3, 4),
    }
    masks = {data: numbers for data, numbers in parts.items() if data != "studio-styles"}
    views = {data: (3, 1, 2) for data in parts}
    assert {name: recipe.sources for name, recipe in RECIPES.items()} == {
        "parts": parts,
        "parts-plain": parts,
        **dict.fromkeys(("masks", "masks-styled", "masks-overlap"), masks),
        "masks-mixed": {data: tuple(j for j in numbers if j > 1) for data, numbers in masks.items()},
        "views": views,
        "views-styled": views,
        "whole-styled": views,
        "chimeras": {"studio": (3, 1, 2), "studio-styles": (3, 1, 2)},
        **{
            f"own{kind}{end}": {"folder": ()}
            for kind in ("", "-masks", "-alone")
            for end in ("", "-untested")
        },
    }
    assert RECIPES["parts"].number("parts", "folder", 0) == 2
    assert RECIPES["parts"].number("parts", "studio", 4) == 4
    assert RECIPES["own"].number("own", "folder", 0) == 0
    assert RECIPES["own"].number("own", "folder", 7) == 7
    with pytest.raises(
        InputError, match=r"^recipe 'own' does not exist for data 'studio'; it does for folder$"
    ):
        RECIPES["own"].number("own", "studio", 0)


def test_what_is_left_open_is_the_recipe_parts_with_eight_labels(studio, cache):
    found = local_task("studio", data_dir=studio, cache_dir=cache)
    wanted = local_task("studio", "parts", 3, 8, 0, (64, 96), studio, cache, "", "")
    assert found.fingerprint() == wanted.fingerprint()
    assert (found.name, found.test.size, len(found.labelled)) == ("studio/parts", (64, 96), 8)
    assert found.sources[0].size == (32, 32)


def test_sources_are_added_and_left_out_by_name_and_the_others_stay(studio, cache, make):
    options = {"labels": 4, "size": SIZE, "data_dir": studio, "cache_dir": cache}
    changed = local_task("studio", extra="useless", without="front", **options)
    assert [source.name for source in changed.sources] == ["cabin", "rear", "useless"]
    plain = make()
    assert [s.fingerprint() for s in changed.sources[:2]] == [s.fingerprint() for s in plain.sources[1:]]
    assert changed.test.fingerprint() == plain.test.fingerprint()
    # Noise is drawn from the seed, as large as the first source that is left.
    other = local_task("studio", extra="useless", without="front", **{**options, "seed": 1})
    assert len(changed.sources[2]) == len(changed.sources[0])
    assert not torch.equal(changed.sources[2].images[:2], other.sources[2].images[:2])


def test_a_window_strays_from_its_place_by_a_pixel_for_every_32_rows(studio, cache, make):
    """Each source's windows lie where `over` puts them, moved by at most size/32, and some do move."""
    whole, task = load("studio", SIZE, studio, cache), make("parts-plain")
    regions, moved = car.regions(whole, car.LAYOUTS[3]), set()
    row = {image: k for k, image in enumerate(zip(whole.groups.tolist(), whole.views.tolist(), strict=True))}
    for j, source in enumerate(task.sources):
        corners = over(regions, j, source.size)[0]
        h, w = source.size
        for image, group, view in zip(source.images, source.groups, source.views.tolist(), strict=True):
            k = row[str(group), view]
            near = [
                (dy, dx)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (y := corners[k][0] + dy) >= 0
                and (x := corners[k][1] + dx) >= 0
                and torch.equal(whole.images[k][:, y : y + h, x : x + w], image)
            ]
            assert near
            moved.add(near[0])
    assert len(moved) > 4


@pytest.mark.parametrize("recipe", ["parts", "views"])
def test_too_few_cars_say_how_many_and_which_source_is_empty(tmp_path, recipe):
    path = carvana_folder(tmp_path / "cars", 2, views=(1, 3, 5, 9))
    with pytest.raises(
        InputError,
        match="^data 'studio' has 2 cars: too few for a target and 3 sources of different cars "
        r"\(source '.+' is empty\); use data with more cars$",
    ):
        local_task("studio", recipe, size=SIZE, data_dir=path, cache_dir=tmp_path / "cache")


def test_sources_of_views_are_named_after_their_side(make):
    assert [source.name for source in make("views").sources] == list(VIEWS)
