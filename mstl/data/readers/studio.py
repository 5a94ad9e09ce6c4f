"""Studio: the embedded cars, rendered by `mstl.render`, in Carvana's layout plus part maps."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from mstl.data.readers import carvana, download
from mstl.data.readers.listing import Listing, existing_folder
from mstl.data.readers.packed import Archive, Packed
from mstl.data.readers.tables import read_rows
from mstl.system.errors import InputError

PART_NAMES = ("front", "cabin", "rear", "wheels", "glass", "lights", "mirrors")
CHIMERAS = ("front", "cabin", "rear")
TABLE = "metadata.csv"
FOREIGN = "foreign"  # what of a chimera is no car, index 8


def locate(data_dir: str | Path | None, cache: Path) -> Path | Packed:
    """``data_dir``, else the environment's MSTL_STUDIO, else ``data/studio.zip`` of the clone or fetched.

    The zip file is read in place, never unpacked.

    Raises:
        InputError: the folder that is named does not exist, or nothing is at hand and there is no network.
    """
    named = data_dir or os.environ.get("MSTL_STUDIO")
    if named:
        return existing_folder(named, "the studio data (a folder with train/, train_masks/ and parts/)")
    clone = Path(__file__).parents[3] / "data" / "studio.zip"
    return Packed(Archive(clone if clone.exists() else download.studio(cache)), "studio")


def listing(path: Path | Packed) -> Listing:
    """Whole cars."""
    return carvana.listing(path, "studio", PART_NAMES)


def chimera(path: Path | Packed, part: str) -> Listing:
    """Objects with one true car part (``part``) on an otherwise foreign body."""
    place = existing_folder(
        _chimeras(path, part), "a studio folder with chimeras/; render it with `make studio`"
    )
    return carvana.listing(place, f"studio/chimera-{part}", (*PART_NAMES, FOREIGN))


def with_body_styles(listing: Listing, path: Path | Packed, part: str | None = None) -> Listing:
    """A listing of cars, or of the chimeras of a part, with the body style of each as its class.

    Classes are the body styles of all whole cars, in alphabetical order.

    Raises:
        InputError: no ``metadata.csv`` with the columns ``id`` and ``body_style``, a car that it lacks or has
            twice, or a chimera of a body style that no whole car has.
    """
    classes = sorted(set(_body_styles(path).values()))
    place = _chimeras(path, part) if part else path
    styles = _body_styles(place)
    for car in sorted({record.group for record in listing.records}):
        if styles.get(car) not in classes:
            found = f"{styles[car]!r}, which no whole car is" if car in styles else "none"
            raise InputError(f"{place / TABLE} must give car {car} one of the body styles; found {found}")
    records = tuple(replace(r, label=classes.index(styles[r.group])) for r in listing.records)
    return replace(listing, records=records, classes=tuple(classes))


def _chimeras(path: Path | Packed, part: str) -> Path | Packed:
    return path / "chimeras" / part


def _body_styles(path: Path | Packed) -> dict[str, str]:
    """Body style by car."""
    table, styles = path / TABLE, {}
    if not table.is_file():
        raise InputError(f"{table} does not exist; body styles are its columns id and body_style")
    for line, (car, style) in read_rows(table, ("id", "body_style")):
        if car in styles or not style:
            raise InputError(f"{table}, line {line}: car {car} must have one body_style, written once")
        styles[car] = style
    return styles
