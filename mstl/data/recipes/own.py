"""Own sources: one folder for each source and one for the target, or domains made in Python."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from mstl.data import store
from mstl.data.domain import Domain
from mstl.data.readers import folder
from mstl.data.readers.listing import existing_folder, note_left_out
from mstl.data.recipes.coverage import check_labelled, note_coverage
from mstl.data.recipes.leaks import check_apart, check_groups
from mstl.data.splits import UNTESTED, divide
from mstl.data.task import Task
from mstl.system.errors import InputError
from mstl.system.tables import check_name

_EXPECTED = "sources/<name>/ for each source and target/, each with images/ and masks/ of equal names"
_ALONE = "target/ with images/ and masks/ of equal names"
_TRAINING_VALIDATION_TEST = 3  # groups: one for each is the least


def task_of(
    sources: Mapping[str, str | Path | Domain],
    target: str | Path | Domain,
    labels: int = 8,
    seed: int = 0,
    size: tuple[int, int] = (64, 96),
    cache_dir: str | Path | None = None,
    name: str = "folder/own",
    partial: bool = False,
    tested: bool = True,
    grouped: bool = True,
) -> Task:
    """A task of your own: J sources by name and a target, split by group as in `local_task`.

    Args:
        sources: for each name a folder with ``images/`` and ``masks/``, or a `Domain`. Their order is kept.
            None at all is enough for ``target_only`` and ``oracle``.
        target: likewise, but that images may lack a mask: those train without one. Of the groups with masks
            a quarter are for the test, an eighth for validation.
        labels: labelled target images, 0 to all training images.
        seed: of the split.
        size: height and width to which the images of folders are stretched, sources and target alike.
            A `Domain` keeps its size; all sources must have one.
        cache_dir: as in `load`.
        name: of the task.
        partial: whether the sources mark a part of the object only; a `Domain` may say so itself.
        tested: False lets all masks of the target teach; there is no test then, no validation and no score.
        grouped: False takes each image of the target's folder for an object of its own, whatever its name.

    Raises:
        InputError: names alike, files that do not fit, sources of unequal size, an image that is in a source
            and in the target or in two groups of the target, no mask in the target, for a test masks of
            fewer than three groups, or more labels than training images that have them.
    """
    _check_names(list(sources))
    made = tuple(_domain(place, key, size, cache_dir) for key, place in sources.items())
    made = tuple(replace(source, partial=partial or source.partial) for source in made)
    if len({source.size for source in made}) > 1:
        found = ", ".join(f"{source.name} {source.size}" for source in made)
        raise InputError(f"all sources must have one height and width; got {found}: load them alike")
    whole = _domain(target, "target", size, cache_dir, unlabelled=True, grouped=grouped)
    _check(whole, "target", tested)
    check_apart(made, whole)
    check_labelled(made)
    note_coverage(made, whole)
    return Task(name, made, **divide(whole, np.arange(len(whole)), labels, seed, tested))


def own_domains(
    data_dir: str | Path | None,
    number: int,
    size: tuple[int, int],
    cache_dir: str | Path | None,
    tested: bool = True,
) -> tuple[tuple[Domain, ...], Domain]:
    """The first ``number`` sources under ``data_dir``, all where it is 0, and the target.

    Args:
        data_dir, number: as above.
        size, cache_dir, tested: as of `task_of`.

    Raises:
        InputError: fewer sources than that, or as `folders` and `task_of`.
    """
    places, target = folders(data_dir)
    if not 0 <= number <= len(places):
        raise InputError(
            f"{Path(data_dir) / 'sources'} holds {len(places)} sources ({', '.join(places)}); got "
            f"sources = {number}"
        )
    names = list(places)[: number or None]
    made = tuple(_domain(places[name], name, size, cache_dir) for name in names)
    whole = _domain(target, "target", size, cache_dir, unlabelled=True)
    _check(whole, target, tested)
    check_apart(made, whole)
    return made, whole


def own_target(
    data_dir: str | Path | None, size: tuple[int, int], cache_dir: str | Path | None, tested: bool = True
) -> Domain:
    """The target under ``data_dir``, whatever sources lie beside it.

    Raises:
        InputError: as `task_of`.
    """
    if data_dir is None:
        raise InputError(f"recipe 'own-alone' needs data_dir: a folder with {_ALONE}")
    place = existing_folder(existing_folder(data_dir, _ALONE) / "target", _ALONE)
    whole = _domain(place, "target", size, cache_dir, unlabelled=True)
    _check(whole, place, tested)
    return whole


def _check(target: Domain, place: str | Path, tested: bool) -> None:
    if tested:
        check_target(target, place)
    check_groups(target, place)


def folders(data_dir: str | Path | None) -> tuple[dict[str, Path], Path]:
    """The folders ``sources/<name>``, in alphabetical order, and ``target``.

    Raises:
        InputError: one of them is missing, is a link that leads nowhere, or two sources have names alike.
    """
    if data_dir is None:
        raise InputError(f"recipe 'own' needs data_dir: a folder with {_EXPECTED}")
    path = existing_folder(data_dir, _EXPECTED)
    place = existing_folder(path / "sources", _EXPECTED)
    sources, files = {}, []
    for folder_of in sorted(place.iterdir()):
        if folder_of.is_symlink() and not folder_of.exists():
            raise InputError(f"{folder_of} is a link that leads nowhere; mend or remove it")
        if folder_of.is_dir() and not folder_of.name.startswith("."):
            sources[check_name(unicodedata.normalize("NFC", folder_of.name), place)] = folder_of
        else:
            files.append(folder_of)
    note_left_out(place, files, "each source is a folder")
    if {"images", "masks"} & sources.keys():
        raise InputError(
            f"{place} holds images/ or masks/ itself; a single source, too, has a folder of its own: "
            f"move them to {place / 'name'}"
        )
    if not sources:
        raise InputError(f"{place} holds no folder; expected {_EXPECTED}; recipe 'own-alone' needs none")
    _check_names(list(sources))
    return sources, existing_folder(path / "target", _EXPECTED)


def check_target(target: Domain, place: str | Path = "the target") -> None:
    """Enough groups with masks for training, validation and test, or an InputError that says what one is."""
    marked = target.labelled()
    groups = [] if marked is None else sorted(set(marked.groups.tolist()))
    if len(groups) < _TRAINING_VALIDATION_TEST:
        images = f"{len(marked or ())} images{' with masks' if target.known is not None else ''}"
        raise InputError(
            f"{place}: {images} of {len(groups)} groups ({', '.join(groups)}); a split into training, "
            f"validation and test needs {_TRAINING_VALIDATION_TEST} or more. Names alike up to the last _ "
            f"are one group (a_1, a_2): add images with masks, or name the groups in groups.csv; {UNTESTED}"
        )


def _check_names(names: list[str]) -> None:
    for one, other in combinations(names, 2):
        if one.strip().casefold() == other.strip().casefold():
            raise InputError(f"sources {one!r} and {other!r} have names alike; rename one of them")


def _domain(
    place: str | Path | Domain,
    name: str,
    size: tuple[int, int],
    cache_dir: str | Path | None,
    unlabelled: bool = False,
    grouped: bool = True,
) -> Domain:
    if not isinstance(place, Domain):
        found = folder.listing(place, unlabelled=unlabelled, grouped=grouped)
        place = store.domain(found, size, cache_dir)
    return replace(place, name=name)
