"""Where the tables of the book lie: in a folder of the user's, in the clone, or fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pandas as pd

import mstl
from mstl.data.readers import download
from mstl.system import project
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError

CLONE = Path(mstl.__file__).parents[1]


def place(folder: str | Path) -> Path:
    """The folder itself; where there is none, what ``results`` or ``../results`` means to a page of the book.

    A page may work anywhere, not in ``notebooks/`` only. So for a path that begins so, and leads nowhere, we
    take ``results`` of the folder it works in, of the clone that the package lies in, or, without a clone, of
    the repository at the installed revision, fetched once and said in one line. Every other path is taken as
    it is.

    Raises:
        InputError: nothing is at hand and there is no network.
    """
    folder = Path(folder).expanduser()
    name = folder.as_posix().removeprefix("../")
    if folder.exists() or name.split("/")[0] != "results":
        return folder
    near = (Path(name), CLONE / name)
    if (CLONE / "pyproject.toml").exists() or near[0].exists():
        return next((path for path in near if path.exists()), folder)
    return _fetched() / Path(name).relative_to("results")


@cache
def _fetched() -> Path:
    try:
        folder = download.results(cache_folder())
    except InputError as error:
        raise InputError(
            "there is no folder results here, and the book's tables cannot be had "
            f"({str(error).partition(';')[0]}); connect to the network, or name a folder of your own tables"
        ) from error
    print(f"Tables of {project.address()} at {project.revision()}.", flush=True)
    return folder


def read(
    path: Path, columns: Iterable[str], again: str, parse: Callable[[str], pd.DataFrame]
) -> pd.DataFrame:
    """A table of ours, whole: every file of ours ends with a newline and has its columns.

    Args:
        path: of the file.
        columns: that it must have.
        again: how to make it anew, for messages.
        parse: from its text to the table.

    Raises:
        InputError: it does not exist, or it is damaged.
    """
    try:
        text = path.read_bytes().decode("utf-8")  # no line end within a name may change
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; {again}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); {again}") from None
    if text and not text.endswith("\n"):
        raise InputError(f"{path} is half written: its last line does not end; {again}")
    try:
        table = parse(text)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())}); {again}") from None
    check_columns(path, table, columns, again)
    return table


def check_columns(path: Path, table: pd.DataFrame, columns: Iterable[str], again: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InputError: it does.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{path} is damaged: it has no column {', '.join(missing)}; {again}")
