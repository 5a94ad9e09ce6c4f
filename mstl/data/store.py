"""Store: every image is decoded once, to uint8 at working size, and found again by its content.

The cache's key is a hash of the files' bytes, the reader's version and the size, so that a
changed file, reader or size can never meet old pixels, and a moved folder still finds them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mstl.data.domain import Domain
from mstl.data.readers.listing import Listing, Record, enumerated
from mstl.data.readers.pixels import Picture, Size, orientation_of, read_picture, resize_mask, resize_parts
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.files import replacing, system_error
from mstl.system.notes import note
from mstl.system.progress import progress

_VERSION = "2"  # of the decoding below and of the cache file; change it with them
# What a user should know of some images; said whenever the data are read, from files or cache.
REMARKS = {
    "turned": "were stood up as their EXIF orientation says, and their masks, which have none, are taken as "
    "upright (were they drawn on the stored pixels, give them the same orientation)",
    "dim": "have 16 bits a channel but use the lowest sixteenth of the range only and are nearly black (12 "
    "bits in a file of 16? multiply them by 16)",
}
STRIDE = 8  # largest factor by which a U-Net of the default depth shrinks an image


def check_working_size(size: Size) -> Size:
    """``size`` = (height, width) as integers, if a U-Net of four levels can halve it.

    Raises:
        InputError: a side is not a positive multiple of 8.
    """
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"size must be (height, width) in pixels, for example (64, 96); got {size!r}"
        ) from error
    if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
        fits = tuple(max(STRIDE, round(side / STRIDE) * STRIDE) for side in (height, width))
        raise InputError(
            f"size {(height, width)}: both sides must be positive multiples of {STRIDE}; {fits} would do"
        )
    return height, width


def domain(listing: Listing, size: Size, cache_dir: str | Path | None = None) -> Domain:
    """The listed images as a `Domain` at ``size``, decoded now or read from the cache.

    Raises:
        InputError: a file is missing or damaged, a mask does not fit, the disk is full, or the size is odd.
            A cache that cannot be written is not: then nothing is kept.
    """
    size = check_working_size(size)
    file = (
        cache_folder(cache_dir)
        / "decoded"
        / f"{listing.name.replace('/', '-')}-{content_key(listing, size)}.pt"
    )
    pixels, remarks = read(file) or ({}, {})
    if not _fits(pixels, listing, size):
        keep = writable(file.parent)
        if keep:
            check_room(file.parent, _bytes_needed(listing, size))
        pixels, remarks = decode(listing, size)
        if keep:
            write(file, pixels, remarks)
    for kind, rows in remarks.items():
        names = enumerated(listing.records[row].name for row in rows)
        note(f"{listing.name}: {len(rows)} of {len(listing.records)} images {REMARKS[kind]}: {names}")
    return Domain(
        name=listing.name,
        images=pixels["images"],
        masks=pixels.get("masks"),
        groups=np.array([record.group for record in listing.records]),
        views=np.array([record.view for record in listing.records], dtype=np.int64),
        parts=pixels.get("parts"),
        part_names=listing.part_names,
        labels=torch.tensor([r.label or 0 for r in listing.records], dtype=torch.uint8)
        if listing.classes
        else None,
        classes=listing.classes,
        known=torch.tensor([_known(r, listing) for r in listing.records], dtype=torch.uint8),
    )


def _known(record: Record, listing: Listing) -> bool:
    """Whether the image has what the data set is about."""
    return not ((listing.read_masks and record.mask is None) or (listing.classes and record.label is None))


def content_key(listing: Listing, size: Size) -> str:
    """32 hexadecimal digits of everything the decoded pixels depend on."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((_VERSION, listing.version, size, listing.part_names)).encode())
    with _threads() as pool:
        for part in pool.map(_content, listing.records):
            digest.update(part)
    return digest.hexdigest()


def _content(record: Record) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for source in (record.image, record.mask, record.parts):
        try:
            content = (source or "").encode() if isinstance(source, str | None) else source.read_bytes()
        except OSError as error:
            raise InputError(f"{source} cannot be read ({error.strerror})") from error
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()


def _threads() -> ThreadPoolExecutor:
    # Pillow and hashlib let go of the interpreter's lock while they work.
    return ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1))


def decode(listing: Listing, size: Size) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """``images`` uint8 (n, 3, h, w) and, where there are any, ``masks`` (n, 1, h, w) and ``parts`` likewise.

    Beside them the rows that each of `REMARKS` is true of.
    """
    n = len(listing.records)
    pixels = {
        name: torch.empty(n, channels, *size, dtype=torch.uint8)
        for name, (channels, _) in _contents(listing).items()
    }
    remarks: dict[str, list[int]] = {}

    def fill(row: int) -> list[str]:
        record = listing.records[row]
        picture = read_picture(record.image, size, listing.cut)
        pixels["images"][row] = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)
        if listing.read_masks and record.mask is None:
            pixels["masks"][row] = 0
        elif listing.read_masks:
            mask, indices = listing.read_masks(record, picture.full)
            pixels["masks"][row, 0] = torch.from_numpy(resize_mask(mask, size))
        if listing.part_names:  # of images that all have masks
            pixels["parts"][row, 0] = torch.from_numpy(resize_parts(indices, mask, size))
        return ["dim"] * picture.dim + ["turned"] * _may_be_turned(record, picture)

    with _threads() as pool:
        try:
            filled = progress(pool.map(fill, range(n)), n, f"decoding {listing.name}")
            for row, kinds in enumerate(filled):
                for kind in kinds:
                    remarks.setdefault(kind, []).append(row)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the first damaged file is reported at once
            raise
    return pixels, remarks


def _contents(listing: Listing) -> dict[str, tuple[int, int]]:
    """Channels and highest value of what is decoded, by name."""
    found = {"images": (3, 255)}
    if listing.read_masks:
        found["masks"] = (1, 1)
    if listing.part_names:
        found["parts"] = (1, len(listing.part_names))
    return found


def _may_be_turned(record: Record, picture: Picture) -> bool:
    """Whether the image was stood up, its mask says nothing of that, and sizes do not tell either."""
    fits_both_ways = picture.orientation in (2, 3, 4) or picture.full[0] == picture.full[1]
    if picture.orientation == 1 or not fits_both_ways or record.mask is None:
        return False
    return isinstance(record.mask, str) or orientation_of(record.mask) is None


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, list[int]]] | None:
    """What `write` wrote, memory-mapped; None if the file is absent, damaged or bears another's name."""
    try:
        saved = torch.load(file, weights_only=True, mmap=True)
        pixels = saved["pixels"]
        return (pixels, saved["remarks"]) if saved["checksum"] == _checksum(pixels, file.name) else None
    except Exception:  # torch raises a dozen kinds for a damaged file; each means: decode again
        return None


def write(file: Path, pixels: dict[str, Tensor], remarks: dict[str, list[int]] | None = None) -> None:
    """Write a cache file, whole or not at all: the two parts of `decode`.

    Raises:
        InputError: the disk is full or the folder is not writable.
    """
    needed = sum(value.numel() for value in pixels.values())
    with replacing(file) as temporary:
        try:
            saved = {"pixels": pixels, "remarks": remarks or {}, "checksum": _checksum(pixels, file.name)}
            with open(temporary, "wb") as handle:
                torch.save(saved, handle)
        except (OSError, RuntimeError) as error:
            if system_error(error) not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_room(file.parent, needed) from error


def _fits(pixels: dict[str, Tensor], listing: Listing, size: Size) -> bool:
    """Whether the pixels can be those of the listing: names, types, shapes, highest values."""
    n, wanted = len(listing.records), _contents(listing)
    return pixels.keys() == wanted.keys() and all(
        pixels[name].dtype == torch.uint8
        and tuple(pixels[name].shape) == (n, channels, *size)
        and int(pixels[name].max()) <= highest
        for name, (channels, highest) in wanted.items()
    )


def _checksum(pixels: dict[str, Tensor], name: str) -> str:
    """Of the pixels and of the file's ``name``, which holds the key of what they were made from."""
    digest = hashlib.blake2b(name.encode(), digest_size=16)
    for name, value in sorted(pixels.items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy())
    return digest.hexdigest()


def _bytes_needed(listing: Listing, size: Size) -> int:
    channels = sum(each for each, _ in _contents(listing).values())
    return len(listing.records) * channels * size[0] * size[1]


def writable(folder: Path) -> bool:
    """Make ``folder``; False, with a warning, where that is forbidden: what is decoded is then not kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "not writable"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        print(
            f"warning: decoded images are not kept: cache folder {folder}: {reason}; name another by "
            "cache_dir or the environment's MSTL_CACHE",
            file=sys.stderr,
            flush=True,
        )
    return not reason


def check_room(folder: Path, needed: int) -> None:
    """Refuse before the work rather than after it.

    Raises:
        InputError: fewer than ``needed`` bytes are free in ``folder``, or where it would be made.
    """
    while not folder.exists():
        folder = folder.parent
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(folder, needed)


def _no_room(folder: Path, needed: int) -> InputError:
    return InputError(
        f"disk full: caching decoded images in {folder} needs {needed:,} bytes; make room, or name another "
        "folder by cache_dir or the environment's MSTL_CACHE"
    )
