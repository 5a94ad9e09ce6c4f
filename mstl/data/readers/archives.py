"""Unpack a zip archive that anybody may have made. Other kinds of archives are not read at all."""

from __future__ import annotations

import shutil
import stat
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath

from mstl.system.errors import InputError

MOST_MEMBERS = 100_000
MOST_BYTES = 4 * 2**30  # unpacked; Carvana's photographs, the largest data here, have a quarter of it


def unpack(archive: Path, folder: Path, prefixes: tuple[str, ...] = ("",), strip: bool = False) -> None:
    """Write the members that begin with one of ``prefixes``, less the top folder if ``strip``, to ``folder``.

    Only plain files are written, with this process's permissions, over nothing that is there.

    Raises:
        InputError: damaged; a name that leads out of the folder, is absolute or used twice; a link or a
            device; more than 100,000 members or 4 GiB. What the archive says of itself is checked before the
            first byte is written, and no member can become larger than it says.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for member, name in _chosen(source, prefixes, strip).items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # A reader stops at the declared size; what does not match it or its checksum is an error.
                with source.open(member) as reader, open(target, "xb") as writer:
                    shutil.copyfileobj(reader, writer, 2**20)
    except (InputError, OSError):
        raise
    except Exception as error:  # zipfile and zlib raise half a dozen kinds
        raise InputError(f"{archive.name} is damaged or no zip archive ({error}); get it again") from error


def _chosen(source: zipfile.ZipFile, prefixes: tuple[str, ...], strip: bool) -> dict[zipfile.ZipInfo, str]:
    """The members to write and the name of each below the folder."""
    archive, members = Path(source.filename or "archive").name, source.infolist()
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{archive} has {len(members):,} members; expected {MOST_MEMBERS:,} at most")
    chosen: dict[zipfile.ZipInfo, str] = {}
    seen: set[str] = set()
    for member in members:
        _check_name(archive, member.orig_filename)
        name = member.filename.partition("/")[2] if strip else member.filename
        if member.is_dir() or not name or not name.startswith(prefixes):
            continue
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise InputError(f"{archive}: member {member.filename!r} is a link or a device; remove it")
        key = unicodedata.normalize("NFC", name).casefold()  # one file on some file systems
        if key in seen:
            raise InputError(f"{archive}: member {member.filename!r} is there twice; keep one of them")
        seen.add(key)
        chosen[member] = name
    size = sum(member.file_size for member in chosen)
    if size > MOST_BYTES:
        raise InputError(f"{archive} would unpack to {size:,} bytes; expected {MOST_BYTES:,} at most")
    return chosen


def _check_name(archive: str, name: str) -> None:
    """An InputError unless a member lies below the folder, on every system."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or set(name) & set("\\:\0"):
        raise InputError(
            f"{archive}: member {name!r} may lead out of the folder; it holds .., a drive, \\ or NUL"
        )
