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
from mstl.data.readers.listing import Listing, Record
from mstl.data.readers.pixels import Size, read_image, resize_mask, resize_parts
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.files import replacing, system_error
from mstl.system.progress import progress

_VERSION = "1"  # of the decoding below and of the cache file; change it with them
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
    pixels = read(file)
    if pixels is None or not _fits(pixels, listing, size):
        keep = writable(file.parent)
        if keep:
            check_room(file.parent, _bytes_needed(listing, size))
        pixels = decode(listing, size)
        if keep:
            write(file, pixels)
    return Domain(
        name=listing.name,
        images=pixels["images"],
        masks=pixels["masks"],
        groups=np.array([record.group for record in listing.records]),
        views=np.array([record.view for record in listing.records], dtype=np.int64),
        parts=pixels.get("parts"),
        part_names=listing.part_names,
    )


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
            content = source.read_bytes() if isinstance(source, Path) else (source or "").encode()
        except OSError as error:
            raise InputError(f"{source} cannot be read ({error.strerror})") from error
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()


def _threads() -> ThreadPoolExecutor:
    # Pillow and hashlib let go of the interpreter's lock while they work.
    return ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1))


def decode(listing: Listing, size: Size) -> dict[str, Tensor]:
    """``images`` uint8 (n, 3, h, w), ``masks`` (n, 1, h, w) and, where there are any, ``parts`` likewise."""
    n = len(listing.records)
    images = torch.empty(n, 3, *size, dtype=torch.uint8)
    masks = torch.empty(n, 1, *size, dtype=torch.uint8)
    parts = torch.empty(n, 1, *size, dtype=torch.uint8) if listing.part_names else None

    def fill(row: int) -> None:
        record = listing.records[row]
        image, full = read_image(record.image, size)
        mask, indices = listing.read_masks(record, full)
        images[row] = torch.from_numpy(image.copy()).permute(2, 0, 1)
        masks[row, 0] = torch.from_numpy(resize_mask(mask, size))
        if parts is not None:
            parts[row, 0] = torch.from_numpy(resize_parts(indices, mask, size))

    with _threads() as pool:
        try:
            for _ in progress(pool.map(fill, range(n)), n, f"decoding {listing.name}"):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the first damaged file is reported at once
            raise
    pixels = {"images": images, "masks": masks}
    return pixels if parts is None else {**pixels, "parts": parts}


def read(file: Path) -> dict[str, Tensor] | None:
    """The pixels of a cache file, memory-mapped; None if it is absent, damaged or bears another's name."""
    try:
        saved = torch.load(file, weights_only=True, mmap=True)
        pixels = saved["pixels"]
        return pixels if saved["checksum"] == _checksum(pixels, file.name) else None
    except Exception:  # torch raises a dozen kinds for a damaged file; each means: decode again
        return None


def write(file: Path, pixels: dict[str, Tensor]) -> None:
    """Write a cache file, whole or not at all.

    Raises:
        InputError: the disk is full or the folder is not writable.
    """
    needed = sum(value.numel() for value in pixels.values())
    with replacing(file) as temporary:
        try:
            with open(temporary, "wb") as handle:
                torch.save({"pixels": pixels, "checksum": _checksum(pixels, file.name)}, handle)
        except (OSError, RuntimeError) as error:
            if system_error(error) not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_room(file.parent, needed) from error


def _fits(pixels: dict[str, Tensor], listing: Listing, size: Size) -> bool:
    """Whether the pixels can be those of the listing: names, types, shapes, highest values."""
    n = len(listing.records)
    wanted = {"images": (3, 255), "masks": (1, 1)}  # channels and highest value
    if listing.part_names:
        wanted["parts"] = (1, len(listing.part_names))
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
    channels = 5 if listing.part_names else 4
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
