"""Splits: which car goes to which source and to which part of the target, always whole cars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mstl.data.chance import chance, shuffled
from mstl.data.domain import Domain
from mstl.data.readers.listing import enumerated
from mstl.system.errors import InputError
from mstl.system.notes import note

# With the studio's 96 cars the target trains on 33 of them: 32 labelled images show 32 cars.
TARGET_SHARE = 0.55  # of all cars; the sources share the rest equally
TEST_SHARE = 0.25  # of the target's cars
VALIDATION_SHARE = 0.125


def deal_cars(
    groups: np.ndarray, usable: list[np.ndarray], seed: int, kinds: np.ndarray | None = None
) -> list[np.ndarray]:
    """Give every car to one role, the target (role 0) or a source (roles 1 ...), and return each role's rows.

    Args:
        groups: str (n,), the car of each row.
        usable: for each role bool (n,), the rows it could use. A car goes to a role that can use it,
            the cars with the fewest such roles first, so that shares stay near
            `TARGET_SHARE` and (1 − `TARGET_SHARE`) / J.
        seed: orders the cars.
        kinds: the class of each row, if any; cars of one class are dealt one after the other, so that each
            role gets its share of every class.

    Returns:
        int64 arrays of rows, ascending, one a role.
    """
    kind = {} if kinds is None else dict(zip(groups.tolist(), kinds.tolist(), strict=True))
    roles = len(usable)
    share = [TARGET_SHARE] + [(1 - TARGET_SHARE) / (roles - 1)] * (roles - 1)
    able = {car: [] for car in shuffled(set(groups.tolist()), seed, "deal")}
    for role, rows in enumerate(usable):
        for car in sorted(set(groups[rows].tolist())):
            able[car].append(role)
    given: dict[str, int] = {}
    count = [0] * roles
    for car in sorted(
        (c for c in able if able[c]), key=lambda c: (len(able[c]), kind.get(c, 0))
    ):  # stable: ties keep the seed's order
        role = min(able[car], key=lambda r: ((count[r] + 1) / share[r], r))
        given[car] = role
        count[role] += 1
    owner = np.array([given.get(car, -1) for car in groups.tolist()])
    return [np.flatnonzero((owner == role) & usable[role]) for role in range(roles)]


@dataclass(frozen=True)
class TargetSplit:
    """Rows of the target: int64 arrays."""

    labelled: np.ndarray
    unlabelled: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_target(
    groups: np.ndarray,
    rows: np.ndarray,
    names: list[str],
    labels: int,
    seed: int,
    kinds: np.ndarray | None = None,
    tested: bool = True,
    hint: str = "",
) -> TargetSplit:
    """Test, validation and training cars; ``labels`` training images are labelled.

    Labelled images show different cars while there are cars, and those for fewer labels are among those
    for more. Every training image that is not labelled is unlabelled.

    Args:
        groups: str (n,), the car of each row of the whole domain.
        rows: the target's rows.
        names: n names that tell images of a car apart whatever their row.
        kinds: the class of each row, if any; test, validation and labelled images are spread over classes.
        tested: whether there are test and validation; without them all cars train.
        hint: what to do where labels are more than training images.

    Raises:
        InputError: too few cars for test, validation and training, or more labels than training images.
    """
    cars = shuffled(set(groups[rows].tolist()), seed, "target")
    n_test, n_validation = (
        max(1, round(share * len(cars))) if tested else 0 for share in (TEST_SHARE, VALIDATION_SHARE)
    )
    if len(cars) < n_test + n_validation + 1:
        raise InputError(
            f"the target has {len(cars)} groups; training, validation and test need one each at least: use "
            "data with more groups"
        )
    kind = {} if kinds is None else dict(zip(groups.tolist(), kinds.tolist(), strict=True))
    cars = evenly(cars, kind)
    test, rest = set(cars[:n_test]), evenly(cars[n_test:], kind)
    validation, training = set(rest[:n_validation]), rest[n_validation:]
    images = {
        car: sorted((r for r in rows if groups[r] == car), key=lambda r: chance(seed, "image", names[r]))
        for car in training
    }
    most = max(len(of_car) for of_car in images.values())
    order = [images[car][turn] for turn in range(most) for car in training if turn < len(images[car])]
    order = evenly(order, {} if kinds is None else dict(enumerate(kinds.tolist())))
    if not 0 <= labels <= len(order):
        images = f"{len(order)} training images" + (" with a label" if hint else "")
        raise InputError(f"labels = {labels}, but the target has {images}; choose 0 to {len(order)}{hint}")
    return TargetSplit(
        labelled=np.array(order[:labels], dtype=np.int64),
        unlabelled=np.array(sorted(order[labels:]), dtype=np.int64),
        validation=np.array([r for r in rows if groups[r] in validation], dtype=np.int64),
        test=np.array([r for r in rows if groups[r] in test], dtype=np.int64),
    )


def evenly(items: list, kinds: Mapping) -> list:
    """``items`` in an order whose every beginning is spread evenly over kinds, while these last.

    Those of one kind keep their order, and where there are no kinds all do.

    Args:
        kinds: the kind of each item, or nothing.
    """
    turns: Counter = Counter()
    ranks = {}
    for item in items:
        kind = kinds.get(item) if kinds else item
        ranks[item] = turns[kind]
        turns[kind] += 1
    return sorted(items, key=ranks.__getitem__)


def image_names(domain: Domain) -> list[str]:
    """A name for each image that splits cannot change: car, view, and count among those alike.

    Images without a label are counted last, so that they change no other's name.
    """
    count: dict[tuple[str, int], int] = {}
    names = [""] * len(domain)
    for row in np.argsort(~domain.has_label, kind="stable").tolist():
        key = str(domain.groups[row]), int(domain.views[row])
        count[key] = count.get(key, 0) + 1
        names[row] = f"{key[0]}_{key[1]:02d}_{count[key]}"
    return names


def divide(
    whole: Domain, rows: np.ndarray, labels: int, seed: int, tested: bool = True
) -> dict[str, Domain | None]:
    """The target's four parts by name, as a `Task` takes them; None where there is no such image.

    Images that have a label are split; those that have none are unlabelled training images, but for those of
    cars that are tested. They change nothing about the split of the others.

    Args:
        whole: the target and more.
        rows: the target's.
        labels, seed, tested: as `split_target`.

    Raises:
        InputError: as `split_target`.
    """
    kinds = None if whole.labels is None else whole.labels.numpy()
    known = whole.has_label
    hint = f"; {UNTESTED}" if tested and not known.all() else ""
    split = split_target(
        whole.groups, rows[known[rows]], image_names(whole), labels, seed, kinds, tested, hint
    )
    if not tested:
        there = int(known[rows].sum())
        more = f"; labels = {there} takes all" if labels < there else ""
        note(f"{labels} of {there} labelled images of the target teach, and none is scored{more}")
    bare = rows[~known[rows]]
    kept = bare[~np.isin(whole.groups[bare], whole.groups[np.r_[split.validation, split.test]])]
    if left := sorted({*whole.groups[bare].tolist()} - {*whole.groups[kept].tolist()}):
        note(
            f"{len(bare) - len(kept)} images without a label are left out, as their groups are tested: "
            f"{enumerated(left)}"
        )
    parts = vars(split) | {"unlabelled": np.union1d(split.unlabelled, kept)}
    return {name: whole.select(index, name) if len(index) else None for name, index in parts.items()}


# What else there is to do where labels are too few for a test.
UNTESTED = "or let every label teach and score nothing: recipe own-untested, in Python tested=False"
