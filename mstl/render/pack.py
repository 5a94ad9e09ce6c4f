"""Pack a rendered data set into one zip file."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mstl.system.files import replacing

EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip archive knows no earlier time


def pack(folder: Path, archive: Path) -> None:
    """Write all files below ``folder`` to ``archive``, below its name, stored and in order.

    Photographs are compressed already, and what is stored can be read in place. The same files always give
    the same bytes.
    """
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            member = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}", EARLIEST)
            member.create_system, member.external_attr = 3, 0o644 << 16
            packed.writestr(member, file.read_bytes())
