"""Scores of attention: limits, symmetries, and agreement with the AUC of single pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_task
from sklearn.metrics import roc_auc_score

from mstl.data import local_task
from mstl.measures.attention import (
    attention_entropy,
    best_auc,
    object_auc,
    part_auc,
    scores,
    watched,
)
from mstl.system.errors import InputError


def striped(count: int = 3, images: int = 4, size: tuple[int, int] = (16, 48)) -> torch.Tensor:
    """``count`` disjoint upright stripes that fill whole places of an 8-fold smaller map."""
    regions = torch.zeros(count, images, *size, dtype=torch.bool)
    width = size[1] // count
    for r in range(count):
        regions[r, :, :, r * width : (r + 1) * width] = True
    return regions


def pooled(regions: torch.Tensor) -> torch.Tensor:
    """The regions themselves as attention maps, one a source, at an eighth of the resolution."""
    return torch.nn.functional.avg_pool2d(regions.double(), 8)[:, :, None]


def random_maps(sources: int, images: int, size: tuple[int, int], ties: bool = False) -> torch.Tensor:
    maps = torch.rand(sources, images, 1, *size, generator=torch.Generator().manual_seed(1))
    return (maps * 4).round() / 4 if ties else maps


def ragged(images: int = 5, size: tuple[int, int] = (16, 24)) -> torch.Tensor:
    """Three random disjoint regions and background; the last image shows the first region only."""
    index = torch.randint(0, 4, (images, *size), generator=torch.Generator().manual_seed(2))
    index[-1] = 1
    return torch.stack([index == r for r in (1, 2, 3)])


def test_entropy_is_one_for_uniform_and_zero_for_a_single_place():
    single = torch.zeros(1, 2, 1, 4, 6)
    single[..., 1, 2] = 0.3
    uniform = torch.full((1, 2, 1, 4, 6), 1.7)
    half = torch.zeros(1, 2, 1, 4, 6)
    half[..., :3] = 1
    entropy = attention_entropy(torch.cat((uniform, single, half)))
    torch.testing.assert_close(entropy, torch.tensor([1, 0, np.log(12) / np.log(24)], dtype=torch.float64))


def test_entropy_ignores_scale_and_place():
    maps = random_maps(2, 3, (4, 6))
    shuffled = maps.flatten(3)[..., torch.randperm(24)].view_as(maps)
    torch.testing.assert_close(attention_entropy(maps), attention_entropy(7 * maps))
    torch.testing.assert_close(attention_entropy(maps), attention_entropy(shuffled))


def test_entropy_of_nothing_and_of_one_place_is_that_of_uniform_attention():
    assert attention_entropy(torch.zeros(2, 1, 1, 4, 6)).tolist() == [1, 1]
    assert attention_entropy(torch.rand(2, 1, 1, 1, 1)).tolist() == [1, 1]


@pytest.mark.parametrize("count", [2, 3])
def test_perfect_map_is_one_and_inverted_map_is_zero(count):
    regions = striped(count)
    perfect = pooled(regions)
    own = part_auc(perfect, regions).diagonal()
    assert own.tolist() == [1] * count
    assert part_auc(2 - perfect, regions).diagonal().tolist() == [0] * count
    assert best_auc(regions, (2, 6)).tolist() == [1] * count


def test_uniform_attention_is_exactly_chance():
    maps = torch.full((3, 5, 1, 2, 3), 0.7)
    assert (part_auc(maps, ragged()) == 0.5).all()
    assert (object_auc(maps, ragged().any(0)) == 0.5).all()


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_the_auc_of_the_pixels_under_the_map_drawn_in_blocks(ties):
    maps, regions = random_maps(2, 5, (2, 3), ties), ragged()
    drawn = maps[:, :, 0].repeat_interleave(8, -2).repeat_interleave(8, -1)
    car = regions.any(0)
    for j in range(2):
        for r in range(3):
            shows = range(4)  # the last image shows one region only
            areas = [roc_auc_score(regions[r, i][car[i]], drawn[j, i][car[i]]) for i in shows]
            assert part_auc(maps, regions)[j, r].item() == pytest.approx(np.mean(areas))
        areas = [roc_auc_score(car[i].flatten(), drawn[j, i].flatten()) for i in range(4)]
        assert object_auc(maps, car)[j].item() == pytest.approx(np.mean(areas))


def test_monotone_transformation_leaves_the_auc_and_negation_mirrors_it():
    maps, regions = random_maps(2, 5, (4, 6), ties=True), ragged()
    auc = part_auc(maps, regions)
    torch.testing.assert_close(part_auc(torch.exp(3 * maps) - 5, regions), auc)
    torch.testing.assert_close(part_auc(-maps, regions), 1 - auc)


def test_permuting_sources_permutes_rows_and_permuting_regions_columns():
    maps, regions = random_maps(4, 5, (4, 6)), ragged()
    auc = part_auc(maps, regions)
    torch.testing.assert_close(part_auc(maps[[2, 0, 3, 1]], regions), auc[[2, 0, 3, 1]])
    torch.testing.assert_close(part_auc(maps, regions[[1, 2, 0]]), auc[:, [1, 2, 0]])


def test_no_map_beats_the_best_one():
    regions = ragged()
    best = best_auc(regions, (4, 6))
    assert (part_auc(random_maps(20, 5, (4, 6)), regions) <= best).all() and (best < 1).all()


def test_a_region_that_no_image_shows_beside_another_has_no_auc():
    regions = striped(2)
    regions[1] = False
    assert part_auc(random_maps(1, 4, (2, 3)), regions).isnan().all()


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"\(J, n, 1, h, w\)"):
        part_auc(torch.rand(2, 4, 3, 3), striped())
    with pytest.raises(InputError, match="bool"):
        part_auc(torch.rand(2, 4, 1, 2, 3), striped().float())
    with pytest.raises(InputError, match="4 images"):
        part_auc(torch.rand(2, 4, 1, 2, 3), striped(images=3))
    with pytest.raises(InputError, match="negative"):
        attention_entropy(-torch.rand(1, 1, 1, 2, 2))


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_watched_images_are_fixed_few_and_from_validation_cars(sources):
    task = local_task("studio", sources=sources, size=(32, 48))
    seen, again = watched(task), watched(task)
    assert 0 < len(seen.domain) <= 24 and seen.domain.fingerprint() == again.domain.fingerprint()
    assert set(seen.domain.groups) <= set(task.validation.groups)
    assert seen.regions.dtype == torch.bool and (seen.regions.sum(0) <= 1).all()
    assert {s.name for s in task.sources} <= set(seen.layout)


def test_scores_name_the_own_region_of_every_source_but_the_extra_ones():
    task = local_task("studio", size=(32, 48))
    extra = replace(task.sources[0], name="harmful")
    seen = watched(replace(task, sources=(*task.sources[1:], extra)))
    maps = torch.nn.functional.avg_pool2d(seen.regions.float(), 8)[:, :, None]
    line = scores(torch.stack((maps[1], maps[2], maps[0])), seen)
    assert list(line) == ["attention_entropy", "auc_cabin", "auc_rear"]
    best = best_auc(seen.regions, maps.shape[-2:])
    assert line["auc_cabin"] > 0.8 * best[1] and line["auc_rear"] > 0.8 * best[2]


def test_nothing_to_watch_without_part_maps_or_fitting_names():
    assert watched(toy_task()) is None
    task = local_task("studio", size=(32, 48))
    assert watched(replace(task, validation=replace(task.validation, parts=None))) is None
    assert watched(local_task("studio", recipe="views", size=(32, 48))) is None
