"""Domains of the same classes: one is the target, the others are the sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mstl.data.augment import Augment
from mstl.data.chance import chance, shuffled
from mstl.data.collections import COLLECTIONS, Parts
from mstl.data.domain import Domain
from mstl.data.recipes.distant import distant
from mstl.data.recipes.leaks import check_apart
from mstl.data.recipes.leaks import without as without_copies
from mstl.data.recipes.partial import kept, plain, rows_of
from mstl.data.recipes.spoil import left_out
from mstl.data.splits import TEST_SHARE, VALIDATION_SHARE, image_names
from mstl.data.task import Task
from mstl.problems import Classification
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.notes import note

RECIPE = re.compile(r"(?:(?P<source>.+)-)?to-(?P<target>.+)")


def collected_task(
    data: str,
    recipe: str,
    sources: int = 0,
    labels: int = 0,
    seed: int = 0,
    size: tuple[int, int] = (64, 96),
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    without: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
) -> Task:
    """A task of a collection of domains: recipe ``to-<target>``, or ``<source>-to-<target>``.

    With ``partial-`` before it, or ``keep``, the target keeps some of the classes (`kept`). Of two classes
    each, all four different, are source and target of ``distant…`` (`mstl.data.recipes.distant`).

    Sources are the training parts of all other domains, in order, of `digits` those at hand; of
    ``<source>-to-<target>`` that one; of `questions` there is none.

    Args:
        data: a key of `COLLECTIONS`.
        recipe: as above.
        sources: the first J of them; 0 is all.
        labels, seed: as `class_task`.
        size: height and width of images, where the data leave that open.
        data_dir: the folder of the domains.
        cache_dir: as in `load`.
        without: sources to leave out.
        keep: classes that the target keeps, as of `kept`.

    Raises:
        InputError: no such recipe or domain, or as `kept` or `class_task`.
    """
    collection, place = COLLECTIONS[data], Path(data_dir) if data_dir else None
    known = collection.names(place)

    def check(name: str) -> None:
        if name not in known:
            raise InputError(
                f"recipe {recipe!r}: data {data!r} has no domain {name!r}; there are {', '.join(known)}"
            )

    def read(name: str) -> Parts:
        check(name)
        return collection.read(name, place, cache_folder(cache_dir), collection.size or size)

    if pair := distant(recipe, lambda name: Parts(*map(of_known_class, read(name)))):
        if sources > 1 or without or keep:
            raise InputError(f"recipe {recipe!r} says all of it: give it no sources, without or keep")
        source, tested, bridges = pair
        if collection.own:
            check_apart((source, bridges), tested.train)
        options = {"labels": labels, "seed": seed, "name": f"{data}/{recipe}", "augment": collection.augment}
        return replace(class_task({source.name: source}, tested, **options), bridges=bridges)
    found = RECIPE.fullmatch(plain(recipe))
    if not found:
        raise InputError(
            f"recipe {recipe!r} does not exist for data {data!r}; choose to-<target> or <source>-to-<target> "
            f"of {', '.join(known)}"
        )
    target, named = found["target"], found["source"]
    for name in filter(None, (target, named)):
        check(name)
    others = () if collection.alone else collection.embedded or known
    chosen = [named] if named else [name for name in others if name != target]
    if target in chosen:
        raise InputError(f"recipe {recipe!r}: {target} cannot be its own source; name another one")
    if not 0 <= sources <= len(chosen):
        raise InputError(f"recipe {recipe!r} of data {data!r} has {len(chosen)} sources; got {sources}")
    chosen = chosen[: sources or None]

    tested = read(target)
    made = {name: of_known_class(read(name).train) for name in left_out(tuple(chosen), without)}
    if collection.own:
        check_apart(tuple(made.values()), tested.train)
    of = tested.train if tested.test is None else tested.train.join(tested.test, target)
    classes = kept(of, recipe, keep, seed)
    tested = Parts(*(part and part.select(np.flatnonzero(rows_of(part, classes))) for part in tested))
    texts = bool(tested.train.vocabulary)
    if texts and tested.test is not None:
        tested = Parts(without_copies(tested.train, (tested.test,)), tested.test)
    task = class_task(
        made,
        tested,
        labels=labels,
        seed=seed,
        name=f"{data}/{recipe}",
        augment=collection.augment,
        alone=collection.alone,
    )
    bridges = collection.unlabelled(place)
    if not texts:
        return replace(task, bridges=bridges)
    tests = task.validation, task.test
    return replace(
        task,
        sources=tuple(without_copies(source, tests) for source in task.sources),
        bridges=bridges and without_copies(bridges, tests),
    )


def of_known_class(domain: Domain | None) -> Domain | None:
    """The images whose class somebody knows; says how many others are left out."""
    if domain is None or domain.known is None:
        return domain
    missing = int((~domain.has_label).sum())
    note(f"{domain.name}: {missing} of {len(domain)} images have no class and are left out")
    return domain.labelled()


def class_task(
    sources: Mapping[str, Domain],
    target: Domain | Parts,
    labels: int = 0,
    seed: int = 0,
    name: str = "classes/own",
    augment: Augment | None = None,
    alone: bool = False,
) -> Task:
    """A task on classes from domains that are at hand.

    Where the target brings a test part, an eighth of its training groups is for validation. Else a quarter of
    its groups is for the test and an eighth for validation. Labelled images are spread evenly over classes,
    and those of ``labels = 4`` are among those of 8.

    Args:
        sources: for each name a domain; their order is kept.
        target: a domain, or its training and test part. Training images whose class nobody knows
            (`Domain.known`) are unlabelled ones.
        labels: labelled target images: 0, or from the number of classes to all training images.
        seed: of the split.
        name: of the task.
        augment: how far images may be varied and keep their class; by default not at all.
        alone: whether there may be no source.

    Raises:
        InputError: no source, domains of other classes or other widths, a class that the target has and no
            source knows, too few groups, or labels fewer than classes or more than training images.
    """
    if not sources and not alone:
        raise InputError("a task needs at least one source; got none")
    made = tuple(replace(domain, name=key) for key, domain in sources.items())
    train, test = target if isinstance(target, Parts) else (target, None)
    shape = train.images.shape[1], *train.size
    problem = Classification(train.classes, shape, len(train.vocabulary))
    for domain in (*made, train, *([] if test is None else [test])):
        problem.check(domain)
        if domain.images.shape[1] != problem.shape[0]:
            raise InputError(
                f"domain {domain.name!r} has {domain.images.shape[1]} features and the target "
                f"{problem.shape[0]}; features must be the same in all domains"
            )
        if domain.vocabulary != train.vocabulary:
            raise InputError(
                f"domain {domain.name!r} has other words than the target; all share one vocabulary"
            )
    if made:
        check_known(made, train if test is None else train.join(test, train.name))
    split = split_classes(train, labels, seed, tested=test is None)
    parts = {key: train.select(rows, key) if len(rows) else None for key, rows in split.items()}
    if test is not None:
        parts["test"] = replace(test, name="test")
    return Task(name, made, **parts, problem=problem, augment=augment or Augment.none())


def split_classes(domain: Domain, labels: int, seed: int, tested: bool) -> dict[str, np.ndarray]:
    """Rows of a target by part: ``labelled``, ``unlabelled``, ``validation`` and, if ``tested``, ``test``.

    Images without a class are unlabelled, but for those of groups that are scored, which are left out.

    Raises:
        InputError: as `class_task`.
    """
    known = domain.has_label
    groups = shuffled(set(domain.groups[known].tolist()), seed, "cars")
    n_test = max(1, round(TEST_SHARE * len(groups))) if tested else 0
    n_validation = max(1, round(VALIDATION_SHARE * len(groups)))
    if len(groups) < n_test + n_validation + 1:
        raise InputError(
            f"domain {domain.name!r} has {len(groups)} groups of images; training, validation and test need "
            "one each at least: use more data"
        )
    part = dict.fromkeys(groups[:n_test], "test")
    part |= dict.fromkeys(groups[n_test : n_test + n_validation], "validation")
    of_row = np.array([part.get(group, "training") for group in domain.groups.tolist()])
    training = of_row == "training"
    order = spread(domain, np.flatnonzero(training & known), seed)
    check_labels(labels, len(order), domain.classes)
    rows = {
        "labelled": np.array(order[:labels], dtype=np.int64),
        "unlabelled": np.array(sorted([*order[labels:], *np.flatnonzero(training & ~known)]), dtype=np.int64),
        "validation": np.flatnonzero((of_row == "validation") & known),
    }
    return rows | ({"test": np.flatnonzero((of_row == "test") & known)} if tested else {})


def spread(domain: Domain, rows: np.ndarray, seed: int) -> list[int]:
    """``rows`` in an order whose beginning is spread evenly over classes, whatever its length."""
    names, labels = image_names(domain), domain.labels.tolist()
    turns: dict[int, list[int]] = {}
    for row in sorted(rows.tolist(), key=lambda row: chance(seed, "image", names[row])):
        turns.setdefault(labels[row], []).append(row)
    classes = shuffled(map(str, turns), seed, "classes")
    ranked = ((turn, place, row) for place, k in enumerate(classes) for turn, row in enumerate(turns[int(k)]))
    return [row for _, _, row in sorted(ranked)]


def check_labels(labels: int, images: int, classes: tuple[str, ...]) -> None:
    """Raises:
    InputError: labelled images are fewer than classes, but not 0, or more than training images.
    """
    if not 0 <= labels <= images:
        raise InputError(
            f"labels = {labels}, but the target has {images} training images; choose 0 to {images}"
        )
    if 0 < labels < len(classes):
        raise InputError(
            f"labels = {labels} are fewer than the {len(classes)} classes, of which some would have no "
            f"example; choose 0, or {len(classes)} and more"
        )


def check_known(sources: tuple[Domain, ...], target: Domain) -> None:
    """Refuse a class that the target has and no source knows: nobody could teach it."""
    taught = set().union(*(set(source.labels.tolist()) for source in sources))
    shown = set(target.labels[torch.from_numpy(target.has_label)].tolist())
    unknown = [target.classes[k] for k in sorted(shown - taught)]
    if unknown:
        raise InputError(
            f"the target has images of {', '.join(unknown)}, of which no source has any; leave these out, or "
            "add a source that knows them"
        )
