"""A target that keeps some of the classes: which, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from conftest import textures

from mstl.data import local_task
from mstl.data.recipes.partial import kept
from mstl.run.config import TrainConfig
from mstl.run.names import Setting
from mstl.system.errors import InputError

SIZE = (16, 24)
ASKED = [
    ("digits", "serif-to-handwritten", 5),
    ("digits", "to-handwritten", 5),
    ("studio-styles", "whole-styled", 3),
]


def shown(domain):
    return {domain.classes[k] for k in domain.labels.tolist()}


def made(data, recipe, **options):
    return local_task(data, recipe, **{"labels": 0, "size": SIZE, **options})


@pytest.mark.parametrize(("data", "recipe", "half"), ASKED)
def test_the_target_keeps_half_and_all_else_stays(data, recipe, half):
    whole, part = made(data, recipe), made(data, f"partial-{recipe}")
    classes = shown(part.test)
    assert len(classes) == half
    assert shown(part.unlabelled) == shown(part.validation) == classes
    assert part.problem == whole.problem  # what is predicted are all classes of the sources
    for ours, theirs in zip(part.sources, whole.sources, strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels)
    assert part.name == f"{data}/partial-{recipe}"


@pytest.mark.parametrize(("data", "recipe", "half"), ASKED)
def test_a_number_and_names_say_what_is_kept(data, recipe, half):
    counted = made(data, f"partial2-{recipe}")
    assert len(shown(counted.test)) == 2
    names = sorted(shown(counted.test))
    named = made(data, recipe, keep=names)
    assert named.fingerprint() == made(data, f"partial-{recipe}", keep=names[::-1]).fingerprint()
    assert named.fingerprint() == counted.fingerprint()
    assert shown(made(data, recipe, keep=names[0]).test) == {names[0]}


def test_seeds_keep_other_classes_and_fewer_are_among_more():
    names = tuple("abcdefgh")
    domain = textures("target", 40, (4, 1, 1), names, seed=0)
    kept_by = [set(kept(domain, "partial-to-x", (), seed)) for seed in range(20)]
    assert len(set(map(frozenset, kept_by))) > 10
    assert {len(names) for names in kept_by} == {4}
    often = [sum(name in chosen for chosen in kept_by) for name in names]
    assert all(3 <= count <= 17 for count in often)  # of 20, 10 expected
    for seed in range(5):
        nested = [set(kept(domain, f"partial{k}-to-x", (), seed)) for k in range(1, 8)]
        assert all(few < many for few, many in pairwise(nested))


def test_labels_are_of_the_classes_that_are_kept():
    task = made("digits", "partial2-serif-to-handwritten", labels=10)
    assert shown(task.labelled) == shown(task.test)


@pytest.mark.parametrize(
    ("data", "recipe", "options", "message"),
    [
        ("digits", "partial0-to-handwritten", {}, "would keep none of its 10 classes; it must keep 1 to 9"),
        (
            "digits",
            "partial10-to-handwritten",
            {},
            "keep all .*else choose recipe 'to-handwritten'",
        ),
        ("digits", "partial99-to-handwritten", {}, "keep all of its 10 classes"),
        ("digits", "to-handwritten", {"keep": "zero"}, "it has 0, 1, 2, 3"),
        ("digits", "to-handwritten", {"keep": ("1", "1")}, "name each class of the target at most once"),
        ("digits", "to-handwritten", {"keep": tuple("0123456789")}, "keep all of its 10 classes"),
        ("digits", "partial3-to-handwritten", {"keep": "1"}, "both say what the target keeps; give one"),
        ("digits", "partial-to-nowhere", {}, "has no domain 'nowhere'"),
        ("studio-styles", "partial-nothing", {}, "unknown recipe 'nothing'"),
        ("studio-styles", "partial6-whole-styled", {}, "keep all of its 6 classes"),
        ("studio", "partial-parts", {}, "masks and no classes.*choose data with classes"),
        ("studio", "masks", {"keep": "sedan"}, "with keep: .*masks and no classes"),
    ],
)
def test_what_cannot_be_kept_is_refused(data, recipe, options, message):
    with pytest.raises(InputError, match=message):
        made(data, recipe, **options)


def test_the_name_of_a_run_says_what_is_kept():
    config = TrainConfig(data="digits", recipe="to-handwritten", keep="0, 7", without="serif", labels=0)
    assert config.setting == "to-handwritten~serif@0@7"
    assert Setting.parse(config.setting) == config.named_setting
    odd = Setting("to-web", 2, ("useless",), ("a@b", "c~d"), ("x+y", "50%"))
    assert Setting.parse(str(odd)) == odd
