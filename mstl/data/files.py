"""Which files the readers may read, as one fingerprint: what changes it makes results stale."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

CLONE = Path(__file__).parents[2]
STUDIO = ("studio", "studio-styles")  # data that the studio's files are


def files_fingerprint(data: str, data_dir: str | None, besides: str | None = None) -> str:
    """Hash of names and contents of the data's files; of its name alone where it is fetched on first use.

    Whatever a reader might read counts: every file below the folder, through symbolic links too, but hidden
    ones. Where the folder lies does not count.

    Args:
        data: its name.
        data_dir: its folder; None is the clone's ``data/studio.zip`` where the data are its, or what the
            environment names instead.
        besides: a folder below it that is none of the data, for instance that of the runs.
    """
    found = hashlib.blake2b(data.encode(), digest_size=16)
    folder = data_dir or (os.environ.get("MSTL_STUDIO") if data in STUDIO else None)
    place = Path(folder).expanduser() if folder else CLONE / "data"
    paths = _below(place, besides) if folder else place.glob("studio.zip") if data in STUDIO else ()
    for path in paths:
        found.update(os.fsencode(path.relative_to(place)) + b"\0")
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()


def _below(folder: Path, besides: str | None, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files of a folder and its sub-folders in order; a link back to a folder it lies in ends there."""
    above = (*above, os.path.realpath(folder))
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (besides and os.path.realpath(path) == os.path.realpath(besides)):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and os.path.realpath(path) not in above:
            yield from _below(path, besides, above)
