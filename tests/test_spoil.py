"""Sources with wrong labels, and sources left out."""

from dataclasses import replace

import pytest
import torch
from conftest import blobs

from mstl.data.recipes.spoil import EXTRA, harmful, left_out, shifted, shuffled, spoiled, useless
from mstl.data.recipes.styles import STYLES
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

SOURCES = tuple(blobs(name, 8, (16, 24), seed) for seed, name in enumerate(("front", "rear")))


def test_harmful_masks_are_the_complement_of_the_mirrored_ones():
    bad = harmful(SOURCES[0], 0)
    assert torch.equal(bad.masks.flip(-1), 1 - SOURCES[0].masks)
    assert torch.equal(bad.images.flip(-1), STYLES[-1](SOURCES[0].images, SOURCES[0].masks))


def test_useless_masks_have_nothing_to_do_with_the_images():
    like = blobs("front", 400, (16, 24), 0)
    bad = useless(like, 3)
    brightness = bad.images.float().mean(1, keepdim=True)
    correlation = torch.corrcoef(torch.stack((brightness.flatten(), bad.masks.float().flatten())))[0, 1]
    assert abs(correlation) < 0.05
    assert 0.3 < bad.masks.float().mean() < 0.7
    assert torch.equal(bad.images, useless(like, 3).images)
    assert not torch.equal(bad.images, useless(like, 4).images)


def test_shifted_masks_are_the_same_a_quarter_of_the_width_to_the_right():
    like, bad = SOURCES[0], shifted(SOURCES[0], 0)
    assert torch.equal(bad.masks[..., 6:], like.masks[..., :-6]) and not bad.masks[..., :6].any()
    assert bad.images is like.images and bad.parts is None
    with pytest.raises(InputError, match="shifted moves masks"):
        shifted(replace(like, labels=torch.zeros(8, dtype=torch.uint8), classes=("a",)), 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_masks_are_those_of_other_images_each_once(seed):
    like = replace(SOURCES[0], labels=torch.arange(8, dtype=torch.uint8), classes=tuple("abcdefgh"))
    bad = shuffled(like, seed)
    taken = bad.labels.tolist()
    assert sorted(taken) == list(range(8)) and all(i != j for i, j in enumerate(taken))
    assert torch.equal(bad.masks, like.masks[taken]) and bad.images is like.images
    with pytest.raises(InputError, match="needs two images"):
        shuffled(like.select([0]), seed)


@pytest.mark.parametrize("name", EXTRA)
def test_an_extra_source_labels_a_part_where_the_others_do(name):
    assert all(EXTRA[name](replace(SOURCES[0], partial=p), 0).partial == p for p in (True, False))


def test_extra_sources_come_last_and_leave_the_others_alone():
    made = spoiled(SOURCES, "useless harmful", 0)
    assert [source.name for source in made] == ["front", "rear", "useless", "harmful"]
    assert made[:2] == SOURCES
    assert spoiled(SOURCES, "", 0) == SOURCES


def test_a_source_is_left_out_by_its_name():
    assert [source.name for source in left_out(SOURCES, "front")] == ["rear"]
    assert left_out(SOURCES, "") == SOURCES
    spaced = (SOURCES[0], replace(SOURCES[1], name="left side"))
    without = TrainConfig(without="front").named_setting.without
    assert [source.name for source in left_out(spaced, without)] == ["left side"]
    without = TrainConfig(without="left side").named_setting.without
    assert [source.name for source in left_out(spaced, without)] == ["front"]


@pytest.mark.parametrize("extra", ["noise", "harmful harmful", "useless,harmful"])
def test_unknown_extra_sources_are_one_clear_error(extra):
    with pytest.raises(InputError, match="useless, harmful, shifted, shuffled at most once"):
        spoiled(SOURCES, extra, 0)


def test_leaving_out_what_is_not_there_or_everything_is_one_clear_error():
    with pytest.raises(InputError, match="there are front, rear"):
        left_out(SOURCES, "roof")
    with pytest.raises(InputError, match="leaves no source"):
        left_out(SOURCES, ("front", "rear"))
