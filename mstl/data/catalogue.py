"""Catalogue: find, read and cache a data set by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mstl.data import store
from mstl.data.collections import COLLECTIONS
from mstl.data.domain import Domain
from mstl.data.files import STUDIO
from mstl.data.readers import carparts, carvana, download, folder, studio
from mstl.data.readers.listing import Listing, existing_folder
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError


def _studio(data_dir: Path | None, cache: Path) -> Listing:
    return studio.listing(studio.locate(data_dir, cache))


def _studio_styles(data_dir: Path | None, cache: Path) -> Listing:
    place = studio.locate(data_dir, cache)
    return studio.with_body_styles(studio.listing(place), place)


def _carparts(data_dir: Path | None, cache: Path) -> Listing:
    return carparts.listing(data_dir or download.carparts(cache))


def _carvana(data_dir: Path | None, cache: Path) -> Listing:
    return carvana.listing(data_dir or download.carvana(cache))


def _folder(data_dir: Path | None, cache: Path) -> Listing:
    if data_dir is None:
        raise InputError("data 'folder' needs data_dir: a folder with images/ and masks/ of equal names")
    data_dir = existing_folder(data_dir, "images/ and masks/ with files of equal names")
    if (data_dir / "sources").is_dir() and not (data_dir / "images").exists():
        raise InputError(f"{data_dir} holds sources/ rather than images/ and masks/; choose recipe 'own'")
    return folder.listing(data_dir)


DATA: dict[str, Callable[[Path | None, Path], Listing]] = {
    "studio": _studio,
    "studio-styles": _studio_styles,
    "carparts": _carparts,
    "carvana": _carvana,
    "folder": _folder,
}
# What needs no folder.
EMBEDDED = (*STUDIO, *(name for name, collection in COLLECTIONS.items() if collection.embedded))


def load(
    data: str,
    size: tuple[int, int] = (64, 96),
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> Domain:
    """All images of a data set as one `Domain`.

    Args:
        data: ``studio``, ``studio-styles`` (labelled by body style, too), ``carparts``, ``carvana`` or
            ``folder``.
        size: height and width in pixels, multiples of 8.
        data_dir: the data's folder; without it studio is found in the clone or fetched,
            carparts and carvana are downloaded.
        cache_dir: where decoded images are kept; default MSTL_CACHE or the platform's cache folder.

    Raises:
        InputError: unknown data, unusable size, or files that do not fit; the message says what to do.
    """
    check_data(data)
    if data in COLLECTIONS:
        raise InputError(f"data {data!r} are several domains; read them by COLLECTIONS[{data!r}].read")
    size = store.check_working_size(size)
    return store.domain(DATA[data](_path(data_dir), cache_folder(cache_dir)), size, cache_dir)


def load_chimeras(
    part: str,
    size: tuple[int, int] = (64, 96),
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    styles: bool = False,
) -> Domain:
    """The studio's objects that carry one true car part: ``front``, ``cabin`` or ``rear``.

    Args:
        part: that one.
        size, data_dir, cache_dir: as in `load`.
        styles: label them by body style, too.

    Raises:
        InputError: unknown part, or as `load`.
    """
    if part not in studio.CHIMERAS:
        raise InputError(f"unknown chimera {part!r}; choose from {', '.join(studio.CHIMERAS)}")
    size = store.check_working_size(size)
    place = studio.locate(_path(data_dir), cache_folder(cache_dir))
    listing = studio.chimera(place, part)
    if styles:
        listing = studio.with_body_styles(listing, place, part)
    return store.domain(listing, size, cache_dir)


def check_data(data: str) -> None:
    """An InputError unless ``data`` is a known name."""
    if data not in DATA and data not in COLLECTIONS:
        raise InputError(f"unknown data {data!r}; choose from {', '.join((*DATA, *COLLECTIONS))}")


def problem_of(data: str) -> str:
    """What is predicted of the images of ``data``: "segmentation" or "classification".

    Raises:
        InputError: unknown data.
    """
    check_data(data)
    return "classification" if data in (*COLLECTIONS, "studio-styles") else "segmentation"


def _path(data_dir: str | Path | None) -> Path | None:
    return Path(data_dir) if data_dir else None
