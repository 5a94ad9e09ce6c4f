"""``python -m mstl.report.published``: the references, and the table of what papers report beside ours."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from mstl.report.published.table import write
from mstl.system.errors import InputError


def main(
    folder: Path = Path("results/published"), data_dir_amazon: str = "", data_dir_surf: str = ""
) -> None:
    """Write references.csv, of the data whose folder is named, and table.csv.

    Args:
        folder: of the tables.
        data_dir_amazon: folder of the Amazon reviews; without it their rows stay as they are.
        data_dir_surf: folder of the SURF histograms, likewise.
    """
    try:
        for path in write(folder, {"amazon": data_dir_amazon, "surf": data_dir_surf}):
            print(path)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    tyro.cli(main)
