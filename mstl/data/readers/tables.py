"""Tables from outside: CSV files that anybody may have written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from mstl.data.readers.listing import plain_file
from mstl.data.readers.packed import Packed
from mstl.system.errors import InputError

COLUMNS = 1000  # more is no table of ours
CELL = 2**24  # characters; a run-length mask of a large photograph has far fewer


def read_rows(path: Path | Packed, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and the cells of ``columns``, row by row.

    Empty lines and other columns are passed over; a byte order mark, any kind of line end and quoted cells
    are understood, and so are blanks around the names of columns.

    Raises:
        InputError: not UTF-8, no CSV, a NUL, a column that is missing or there twice, a row without a cell.
    """
    before = csv.field_size_limit(CELL)
    try:
        with io.TextIOWrapper(plain_file(path).open("rb"), encoding="utf-8-sig", newline="") as file:
            # `strict`: an open quote would swallow the rest of the file.
            rows = csv.reader(_without_nul(file, path), strict=True)
            places = _places(path, [cell.strip() for cell in next(rows, [])], columns)
            for row in rows:
                if not row:
                    continue
                if len(row) <= max(places):
                    raise InputError(
                        f"{path}, line {rows.line_num}: expected a cell for each of {', '.join(columns)}; "
                        f"found {len(row)}"
                    )
                yield rows.line_num, [row[place] for place in places]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason}); save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise InputError(
            f"{path}, line {rows.line_num + 1}: no CSV ({error}); correct or remove it"
        ) from error
    finally:
        csv.field_size_limit(before)


def _without_nul(lines: Iterator[str], path: Path) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise InputError(f"{path} holds a NUL byte and so is no CSV in UTF-8; save it anew")
        yield line


def _places(path: Path, header: list[str], columns: tuple[str, ...]) -> list[int]:
    wanted = " and ".join(columns)
    if len(header) > COLUMNS:
        raise InputError(f"{path} must have the columns {wanted}; found {len(header):,} columns")
    for name in columns:
        if header.count(name) != 1:
            found = ", ".join(header) or "none"
            twice = "each once" if name in header else f"but {name} is missing"
            raise InputError(f"{path} must have the columns {wanted}, {twice}; found {found}")
    return [header.index(name) for name in columns]
