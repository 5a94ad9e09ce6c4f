"""Tasks on classes from domains at hand: splits, labels, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mstl.data import Domain, Parts, class_task
from mstl.data.recipes.domains import split_classes, spread
from mstl.system.errors import InputError

CLASSES = ("bike", "mug", "pen")


def domain(labels: list[int], width: int = 4, each: int = 1, name: str = "domain") -> Domain:
    """Vectors that are all different, ``each`` of them a group."""
    n = len(labels)
    return Domain(
        name,
        torch.arange(n * width, dtype=torch.int32).reshape(n, width, 1, 1),
        None,
        np.array([f"{name}-{i // each}" for i in range(n)]),
        np.zeros(n, dtype=np.int64),
        labels=torch.tensor(labels, dtype=torch.uint8),
        classes=CLASSES,
    )


def rows_of(part: Domain | None) -> set[int]:
    return set() if part is None else set(part.images[:, 0, 0, 0].tolist())


SOURCE = domain([0, 1, 2] * 4)
TARGET = domain([0, 1, 2] * 8, name="target")


@given(
    st.lists(st.integers(0, 2), min_size=5, max_size=40), st.integers(1, 3), st.integers(0, 5), st.booleans()
)
def test_a_split_covers_all_rows_once_and_cuts_no_group(labels, each, seed, tested):
    whole = domain(labels, each=each)
    if len(set(whole.groups.tolist())) < 3:
        return
    parts = split_classes(whole, 0, seed, tested)
    rows = np.concatenate(list(parts.values()))
    assert sorted(rows.tolist()) == list(range(len(labels)))
    groups = [set(whole.groups[index].tolist()) for index in parts.values()]
    assert sum(map(len, groups)) == len(set(whole.groups.tolist()))


@given(st.lists(st.integers(0, 2), min_size=3, max_size=40), st.integers(0, 5), st.data())
def test_any_number_of_labels_is_spread_over_classes_and_among_those_of_more(labels, seed, data):
    whole = domain(labels)
    order = spread(whole, np.arange(len(labels)), seed)
    assert sorted(order) == list(range(len(labels)))
    n = data.draw(st.integers(0, len(labels)))
    chosen, there = (torch.bincount(k, minlength=3) for k in (whole.labels[order[:n]], whole.labels))
    for k in range(3):
        assert chosen[k] == there[k] or chosen[k] >= chosen.max() - 1


def test_the_same_images_are_chosen_whatever_the_order_of_rows():
    order = np.random.default_rng(0).permutation(len(TARGET))
    one, other = (class_task({"a": SOURCE}, whole, 6, seed=3) for whole in (TARGET, TARGET.select(order)))
    for name in ("labelled", "unlabelled", "validation", "test"):
        assert rows_of(getattr(one, name)) == rows_of(getattr(other, name))
    assert one.labelled.images.tolist() == other.labelled.images.tolist()


def test_a_quarter_is_for_the_test_unless_the_target_brings_one():
    made = class_task({"a": SOURCE}, TARGET, 6)
    assert [len(d) for d in made.domains()] == [12, 6, 9, 3, 6]
    brought = class_task({"a": SOURCE}, Parts(TARGET, SOURCE), 6)
    assert [len(d) for d in brought.domains()] == [12, 6, 15, 3, 12]
    assert torch.equal(brought.test.images, SOURCE.images)


def test_sources_keep_their_order_and_get_their_names():
    made = class_task({"second": SOURCE, "first": SOURCE}, TARGET)
    assert [source.name for source in made.sources] == ["second", "first"] and made.labelled is None


BAD = {
    "no source": (lambda: class_task({}, TARGET), "at least one source"),
    "an unknown class": (
        lambda: class_task({"a": domain([0, 2] * 4), "b": domain([0] * 4)}, TARGET),
        "the target has images of mug, of which no source has any",
    ),
    "an unknown class in the test alone": (
        lambda: class_task({"a": domain([0, 2] * 4)}, Parts(domain([0, 2] * 8), domain([1]))),
        "images of mug",
    ),
    "other classes": (
        lambda: class_task({"a": replace(SOURCE, classes=("bike", "cup", "pen"))}, TARGET),
        "'a' has other classes than the task; it lacks mug; the task does not know cup",
    ),
    "another order": (
        lambda: class_task({"a": replace(SOURCE, classes=("mug", "bike", "pen"))}, TARGET),
        "their order differs",
    ),
    "another width": (
        lambda: class_task({"a": domain([0, 1, 2], width=5)}, TARGET),
        "'a' has 5 features and the target 4",
    ),
    "a test of another width": (
        lambda: class_task({"a": SOURCE}, Parts(TARGET, domain([0, 1], width=5))),
        "has 5 features and the target 4",
    ),
    "few labels": (lambda: class_task({"a": SOURCE}, TARGET, 2), "labels = 2 are fewer than the 3 classes"),
    "many labels": (lambda: class_task({"a": SOURCE}, TARGET, 16), "has 15 training images; choose 0 to 15"),
    "few groups": (lambda: class_task({"a": SOURCE}, domain([0, 1, 2] * 2, each=3)), "has 2 groups"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_domains_are_one_clear_error(case):
    make, message = BAD[case]
    with pytest.raises(InputError, match=message):
        make()
