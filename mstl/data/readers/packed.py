"""Read a folder out of a zip file that stores its members uncompressed, without unpacking it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mstl.system.errors import InputError

_NAME_AND_EXTRA = struct.Struct("<26x2H")  # their lengths, in the header before a member's bytes


class Archive:
    """The bytes of a zip file and where in them each member lies.

    Raises:
        InputError: the file is missing, damaged, no zip file, or a member is compressed.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.content = file.read_bytes()
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{file} cannot be read ({error}); get it again") from error
        if any(member.compress_type != zipfile.ZIP_STORED for member in self.members.values()):
            raise InputError(
                f"{file} holds compressed members; expected all stored as they are: get it again"
            )

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Names within each folder."""
        found: dict[str, dict[str, None]] = {"": {}}
        for name in self.members:
            while name and name not in found.setdefault(above(name), {}):
                found[above(name)][name] = None
                name = above(name)
        return {folder: [PurePosixPath(name).name for name in names] for folder, names in found.items()}

    def read(self, name: str) -> bytes:
        """The bytes of a member, if they have their checksum."""
        member = self.members[name]
        start = member.header_offset + _NAME_AND_EXTRA.size
        start += sum(_NAME_AND_EXTRA.unpack_from(self.content, member.header_offset))
        content = self.content[start : start + member.file_size]
        if zlib.crc32(content) != member.CRC:
            raise InputError(f"{self.file}: {name} is damaged; get the file again")
        return content


def above(name: str) -> str:
    """The folder that holds a member or folder; "" at the top."""
    return name.rpartition("/")[0]


class Packed:
    """A file or folder within an `Archive`; what readers do with a `pathlib.Path` they do with it."""

    def __init__(self, archive: Archive, name: str = "") -> None:
        self.archive, self.at = archive, name
        path = PurePosixPath(name)
        self.name, self.stem, self.suffix = path.name, path.stem, path.suffix

    def __truediv__(self, name: str) -> Packed:
        return Packed(self.archive, f"{self.at}/{name}" if self.at else name)

    def __str__(self) -> str:
        return f"{self.archive.file}/{self.at}"

    def is_dir(self) -> bool:
        return self.at in self.archive.folders

    def is_file(self) -> bool:
        return self.at in self.archive.members

    def iterdir(self) -> Iterator[Packed]:
        return (self / name for name in self.archive.folders[self.at])

    def read_bytes(self) -> bytes:
        return self.archive.read(self.at)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The member's bytes; ``mode`` is there for `pathlib.Path`'s sake."""
        return io.BytesIO(self.read_bytes())
