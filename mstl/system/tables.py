"""Names from outside: which a data set may have, and how they stand in a table.

The name of a file becomes the name of a car, and that of a folder the name of a source. Any name that is
UTF-8 will do, but a spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula. So
tables hold ``'=a`` for ``=a``, which spreadsheets show as text, and reading them takes the apostrophe away.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd

from mstl.system.errors import InputError

COLUMNS = ("car", "class", "predicted", "source", "removed", "predictor")  # that hold names from outside
LONGEST = 255  # characters: what file systems allow
# A cell can begin anew after ";", a tab or a line break where a spreadsheet takes those for separators.
_BEFORE, _FORMULA = r"(^|[;\t\r\n])(\s*'*)", "([-=+@＝＋－＠])"
_PLAIN, _MARKED = re.compile(_BEFORE + _FORMULA), re.compile(_BEFORE + "'" + _FORMULA)


def check_name(name: str, place: object) -> str:
    """``name`` if it can stand in a table.

    Raises:
        InputError: it is empty, longer than 255 characters, not UTF-8 or holds a NUL; ``place`` says where.
    """
    if not name or len(name) > LONGEST or "\0" in name:
        raise InputError(
            f"{place}: a name has 1 to {LONGEST} characters other than NUL; got {len(name)}, {name[:40]!r}"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: the name {name!r} is not UTF-8; rename it") from error
    return name


def to_cell(text: str) -> str:
    """``text`` so that no spreadsheet runs it; `from_cell` undoes it."""
    return _PLAIN.sub(r"\1\2'\3", text)


def from_cell(cell: str) -> str:
    """The text that `to_cell` made a cell of."""
    return _MARKED.sub(r"\1\2\3", cell) if "'" in cell else cell


def to_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table ready to be written: `to_cell` of every text in it and of its header."""
    return _each(table, to_cell)


def from_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it was before `to_cells`."""
    return _each(table, from_cell)


def read_csv(source: Path | str, **options: Any) -> pd.DataFrame:
    """A table of ours as it was before `to_cells`, from a file or its text; ``options`` are pandas'.

    A car or a class may be called NA, which pandas alone would take for a missing value, and no line end
    within a name changes.
    """
    text = source.read_bytes().decode("utf-8") if isinstance(source, Path) else source
    table = pd.read_csv(io.StringIO(text), **options)
    names = pd.read_csv(io.StringIO(text), usecols=lambda name: name in COLUMNS, dtype=str, na_filter=False)
    return from_cells(table.assign(**names))


def _each(table: pd.DataFrame, change) -> pd.DataFrame:
    def changed(value: object) -> object:
        return change(value) if isinstance(value, str) else value

    texts = {
        name: column.map(changed)
        for name, column in table.items()
        if not pd.api.types.is_numeric_dtype(column)
    }
    return table.assign(**texts).rename(columns=changed) if texts else table.rename(columns=changed)
