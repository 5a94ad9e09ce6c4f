"""Folders of classes by domain: ``<domain>/<class>/*.jpg``, or Office-31's ``<domain>/images/<class>/*.jpg``.

So come Office-31, Office-Home, Office-Caltech10 and PACS. Domains and classes are in alphabetical order.
A folder ``unlabelled`` beside the classes holds images whose class nobody knows: in a target they train
without a label, in a source they are left out.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np

from mstl.data import store
from mstl.data.domain import MOST_CLASSES, Domain
from mstl.data.readers.listing import (
    CLUTTER,
    IMAGE_SUFFIXES,
    Listing,
    Record,
    enumerated,
    existing_folder,
    files_by_stem,
    note_left_out,
)
from mstl.system.errors import InputError
from mstl.system.tables import check_name

_EXPECTED = "a folder for each domain, in it one for each class with its images"
LONGEST = 100  # bytes of a domain's name, which is part of the names of recipes and of runs
UNLABELLED = ("unlabelled", "unlabeled")
# What a recipe's name, ``<source>-to-<target>``, or that of a run means already.
_TAKEN = re.compile(r"[+~%,/\\]|(^|-)to-|-[0-9]+$|^\s|\s$")


def names(data_dir: Path | None) -> tuple[str, ...]:
    """The domains, after a look at every folder.

    Raises:
        InputError: no folder or not such a one, fewer than two domains or classes or more than 256 classes,
            classes that differ between domains, a class without images, names alike, or a domain whose name
            cannot be part of a recipe's.
    """
    domains = _domains(data_dir, "each domain is a folder")
    classes = {name: _classes(place, "each class is a folder") for name, place in domains.items()}
    first, *others = classes
    for name in others:
        lacking, extra = (
            sorted(a.keys() - b.keys())
            for a, b in ((classes[first], classes[name]), (classes[name], classes[first]))
        )
        if lacking or extra:
            raise InputError(
                f"{domains[name]}: other classes than in {first!r}"
                + (f"; it lacks {enumerated(lacking)}" if lacking else "")
                + (f"; {first!r} lacks {enumerated(extra)}" if extra else "")
                + ": domains must have the same classes, so add or remove these folders"
            )
    for places in classes.values():
        for place in places.values():
            with os.scandir(place) as files:
                if not any(file.name.lower().endswith(IMAGE_SUFFIXES) for file in files):
                    raise InputError(
                        f"class folder {place} holds no images ({', '.join(IMAGE_SUFFIXES)}); add some, or "
                        "remove the class from all domains"
                    )
    return tuple(domains)


def read(name: str, data_dir: Path | None, cache: Path, size: tuple[int, int]) -> Domain:
    """All images of a domain at ``size``; each is a group of its own, but copies of one picture are one.

    Raises:
        InputError: as `store.domain`, or a folder of images without a class is empty.
    """
    domain = _domains(data_dir)[name]
    records, places = [], _classes(domain)
    folders = [*enumerate(places.values()), *((None, place) for place in _unlabelled(domain))]
    for label, place in folders:
        for stem, file in files_by_stem(place).items():
            called = f"{name}/{unicodedata.normalize('NFC', place.name)}/{stem}"
            records.append(Record(called, called, 0, file, None, label=label))
    listing = Listing("classes", tuple(records), None, version="classes 2", classes=tuple(places), cut=True)
    made = store.domain(listing, size, cache)
    first: dict[bytes, str] = {}
    groups = [first.setdefault(x.numpy().tobytes(), g) for x, g in zip(made.images, made.groups, strict=True)]
    return replace(made, name=name, groups=np.array(groups))


def _domains(data_dir: Path | None, why: str = "") -> dict[str, Path]:
    if data_dir is None:
        raise InputError(f"data 'classes' needs data_dir: {_EXPECTED}")
    data_dir = existing_folder(data_dir, _EXPECTED)
    domains = _folders(data_dir, why)
    if len(domains) < 2:
        raise InputError(
            f"{data_dir} holds {len(domains)} domains ({', '.join(domains) or 'none'}); a source and a "
            f"target are the least: expected {_EXPECTED}"
        )
    for name, place in domains.items():
        if _TAKEN.search(name) or len(name.encode()) > LONGEST:
            raise InputError(
                f"{place}: a domain's name is part of the recipe's, to-<target>; use {LONGEST} bytes, "
                "none of + ~ % , \\, no to- and no hyphen with a number at its end: rename it"
            )
    return domains


def _classes(domain: Path, why: str = "") -> dict[str, Path]:
    classes = {n: p for n, p in _folders(_within(domain), why).items() if n.casefold() not in UNLABELLED}
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(
            f"domain folder {domain} holds {len(classes)} classes"
            + (f" ({', '.join(classes)})" if len(classes) == 1 else "")
            + f"; expected 2 to {MOST_CLASSES} folders, one for each class: move it if it is no domain"
        )
    return classes


def _unlabelled(domain: Path) -> list[Path]:
    """Folders of images without a class: beside the classes, or beside Office-31's ``images``."""
    places = dict.fromkeys((domain, _within(domain)))
    return [p for place in places for n, p in _folders(place).items() if n.casefold() in UNLABELLED]


def _within(domain: Path) -> Path:
    """Where the folders of the classes lie."""
    inner = domain / "images"
    beside = [name for name in _folders(domain) if name.casefold() not in UNLABELLED]
    return inner if inner.is_dir() and len(beside) == 1 and _folders(inner) else domain


def _folders(path: Path, why: str = "") -> dict[str, Path]:
    """The folders in ``path`` by name, in alphabetical order; a note of the rest says ``why``.

    Raises:
        InputError: two have names alike, up to capitals and how accents are written.
    """
    found: dict[str, Path] = {}
    alike: dict[str, Path] = {}
    left_out = []
    for place in existing_folder(path, _EXPECTED).iterdir():
        if not place.is_dir():
            left_out.append(place)
        elif not place.name.startswith(".") and place.name.lower() not in CLUTTER:
            name = check_name(unicodedata.normalize("NFC", place.name), path)
            if (other := alike.setdefault(name.casefold(), place)) is not place:
                raise InputError(
                    f"{path}: folders {other.name!r} and {place.name!r} have names alike; rename one"
                )
            found[name] = place
    if why:
        note_left_out(path, sorted(left_out), why)
    return {name: found[name] for name in sorted(found)}
