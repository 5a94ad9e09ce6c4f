"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mstl.system.errors import InputError, shown

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this process may write",
    errno.EACCES: "the folder is not writable",
    errno.EPERM: "the folder is not writable",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "a file lies where a folder should be",
    errno.ENOTDIR: "a file lies where a folder should be",
    errno.EISDIR: "a folder lies where a file should be",
}


def path_of(name: str, value: object) -> Path:
    """``value`` of the parameter ``name`` as a path, ``~`` expanded: no notebook does it, nor every shell.

    Raises:
        InputError: it is neither text nor a path, holds a NUL, or names a home that is not there.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in str(value):
        raise InputError(f"{name} must be a path; got {shown(value)}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise InputError(f"{name}={value}: there is no such home folder; write the path out") from error


def check_writable(name: str, folder: Path) -> None:
    """Refuse before the work a folder that cannot be written after it; nothing is made.

    Raises:
        InputError: ``folder``, or what of its path exists, is a file or may not be written.
    """
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{name}={folder}: {there} is no folder; choose another {name}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{name}={folder}: {there} is not writable; choose another {name}")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """The system's refusals to write ``path`` as one clear line.

    Raises:
        InputError: the disk is full or the path cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = REASONS.get(system_error(error))
        if reason is None:
            raise
        raise InputError(f"cannot write {path}: {reason}; make room or choose another folder") from error


def system_error(error: BaseException | None) -> int | None:
    """The system's error number behind an exception; torch.save hides it behind a RuntimeError of its own."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    name = path.name
    if len(os.fsencode(name)) > 230:  # file systems allow 255 bytes
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed process left of `replacing` in ``folder``, where nobody else is writing."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add ``line`` to a file whole or, with the lines before it untouched, not at all.

    Raises:
        InputError: the disk is full or the file cannot be written.
    """
    with explained(path), open(path, "ab", buffering=0) as file:
        end, rest = file.seek(0, os.SEEK_END), f"{line}\n".encode()
        try:
            while rest:  # a nearly full disk takes a part of it
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(end)
            raise


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
