"""Listing: which files a data set is made of, before any is decoded."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mstl.data.readers.packed import Packed
from mstl.system.errors import InputError
from mstl.system.notes import note
from mstl.system.tables import check_name


@dataclass(frozen=True)
class Record:
    """One image and where its masks come from.

    Attributes:
        name: unique within the data set; what messages call the image.
        group: the car.
        view: Carvana's view number 1..16, or 0 where unknown.
        image: the photograph's file, or its place in a zip file.
        mask: likewise, or the annotation itself as text (run lengths, polygons); None where there is a class,
            or where the image is an unlabelled one.
        parts: likewise, the part index map, or None.
        label: the class, an index of the listing's ``classes``, or None.
    """

    name: str
    group: str
    view: int
    image: Path | Packed
    mask: Path | Packed | str | None
    parts: Path | Packed | None = None
    label: int | None = None


# Full-size mask (h, w) in {0, 1} and part indices (h, w) or None, from a record and (width, height).
ReadMasks = Callable[[Record, tuple[int, int]], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Listing:
    """The records of a data set and how to read their masks.

    Attributes:
        name: of the domain to come.
        records: in the order of the domain's rows.
        read_masks: from a record and the image's (width, height) to mask and part indices; None where images
            have classes alone.
        version: changes whenever ``read_masks`` does; part of the cache's key.
        part_names: names of the part indices 1, 2, ...; empty where there are no parts.
        classes: names of the classes; empty where there are masks.
        cut: whether photographs are cut to the shape that is asked for, not squeezed into it.
    """

    name: str
    records: tuple[Record, ...]
    read_masks: ReadMasks | None
    version: str
    part_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    cut: bool = False


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")  # what systems leave; names that begin with a dot, too
VIEW = re.compile("0{0,9}([1-9]|1[0-6])")
LARGEST = 2**30  # bytes of one file; the largest photograph and the longest table have less


def existing_folder(path: str | Path | Packed, expected: str) -> Path | Packed:
    """``path`` if it is a folder that can be read.

    Raises:
        InputError: it is missing, no folder, or may not be read; ``expected`` says what should be there.
    """
    if isinstance(path, Packed):
        if not path.is_dir():
            raise InputError(f"{path} does not exist; expected {expected}")
        return path
    try:
        path = Path(path).expanduser()
        next(path.iterdir(), None)
    except FileNotFoundError as error:
        raise InputError(f"folder {path} does not exist; expected {expected}") from error
    except NotADirectoryError as error:
        raise InputError(f"{path} is a file, not a folder; expected {expected}") from error
    except OSError as error:
        raise InputError(f"folder {path} cannot be read ({error.strerror}); expected {expected}") from error
    except (ValueError, RuntimeError) as error:  # a NUL in it, or ~ of nobody
        raise InputError(f"{str(path)!r} is no path ({error}); expected {expected}") from error
    return path


def plain_file(file: Path | Packed) -> Path | Packed:
    """``file`` if it is one that can be read to its end; a link counts as what it leads to.

    Raises:
        InputError: it is missing, a link that leads nowhere or in a circle, a folder, a pipe, a device, or
            larger than 1 GiB.
    """
    if isinstance(file, Packed):
        return file
    try:
        found = file.stat()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); replace or remove it") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{file} is no plain file but a folder, a pipe or a device; remove it")
    if found.st_size > LARGEST:
        raise InputError(f"{file} has {found.st_size:,} bytes; expected {LARGEST:,} at most")
    return file


def files_by_stem(path: Path, ending: str = "", known: Iterable[str] = ()) -> dict[str, Path]:
    """Image files of a folder by stem, in alphabetical order, and a note of what is no image and left out.

    Stems are composed as Linux and Windows write them (NFC): a Mac's ``e`` + accent is the same name.

    Args:
        path: the folder.
        ending: is taken off the stems (``_mask``), unless the whole stem is in ``known``.
        known: stems of the images, where ``path`` holds their masks.

    Raises:
        InputError: two files share a stem (``a.jpg`` and ``a.png``), there is none, one is no plain file
            (`plain_file`), or a name is not UTF-8.
    """
    found: dict[str, Path] = {}
    known, left_out = set(known), []
    for file in sorted(existing_folder(path, "a folder of images").iterdir(), key=lambda file: file.name):
        if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
            left_out.append(file)
            continue
        stem = unicodedata.normalize("NFC", file.stem)
        stem = stem if stem in known else stem.removesuffix(ending)
        if stem in found:
            raise InputError(
                f"duplicate name {stem!r} in {path}: {found[stem].name} and {file.name}; keep one of them"
            )
        found[check_name(stem, path)] = plain_file(file)
    note_left_out(path, left_out, f"images are read from {', '.join(IMAGE_SUFFIXES)}")
    if not found:
        raise InputError(f"folder {path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return {stem: found[stem] for stem in sorted(found)}


def note_left_out(folder: object, files: Iterable[Path], why: str) -> None:
    """Say in one line which ``files`` of a folder nobody reads; what systems leave there is not worth one."""
    names = [
        f"{file.name}/" if file.is_dir() else file.name
        for file in files
        if not file.name.startswith(".") and file.name.lower() not in CLUTTER
    ]
    if names:
        note(f"{folder}: left out {enumerated(names)}; {why}")


def view_number(text: str) -> int:
    """1 … 16 if ``text`` is that number in ASCII digits, else 0."""
    return int(text) if VIEW.fullmatch(text) else 0


def check_pairs(
    images: Iterable[str],
    masks: Iterable[str],
    image_place: object,
    mask_place: object,
    unlabelled: bool = False,
) -> None:
    """Every mask has an image and, unless some may be ``unlabelled``, every image a mask.

    Raises:
        InputError: names those that have not.
    """
    images, masks = set(images), set(masks)
    for one, other, what, missing, place in (
        (images, masks, "image without mask", "a mask", mask_place),
        (masks, images, "mask without image", "an image", image_place),
    ):
        if unlabelled and one is images and one & other:
            continue
        alone = sorted(one - other)
        if alone:
            raise InputError(f"{what}: {enumerated(alone)}; expected {missing} of the same name in {place}")


def enumerated(names: Iterable[str], most: int = 5) -> str:
    """``a, b and 3 more``."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
