"""Contact sheets: many small photographs on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mstl.render.dataset import paths
from mstl.system.errors import InputError


def contact_sheet(
    folder: Path | str, cars: Sequence[str] | None = None, views: Sequence[int] = (2, 4, 5, 8, 9, 15),
    rows: int = 12, *, parts: bool = False, gap: int = 3,
) -> Image.Image:  # fmt: skip
    """One row per car, one column per view.

    Args:
        folder: a data set in Carvana's layout (``studio/`` unpacked, or ``studio/chimeras/front``).
        cars: ids; by default the first ``rows`` of metadata.csv.
        views: view numbers, 1..16.
        rows: how many cars where ``cars`` is not given.
        parts: the coloured part maps in place of the photographs.
        gap: white pixels between the pictures.
    """
    folder = Path(folder)
    if cars is None:
        table = folder / "metadata.csv"
        if not table.exists():
            raise InputError(f"{table} is missing: give the folder of a rendered data set")
        cars = [line.split(",")[0] for line in table.read_text().splitlines()[1 : rows + 1]]
    files = [[paths(folder, car, view)[2 if parts else 0] for view in views] for car in cars]
    missing = [f for row in files for f in row if not f.exists()]
    if missing or not files:
        raise InputError(
            f"{missing[0] if missing else folder}: no such picture; render it first or choose other views"
        )
    width, height = Image.open(files[0][0]).size
    sheet = Image.new("RGB", (len(views) * (width + gap) - gap, len(files) * (height + gap) - gap), "white")
    for i, row in enumerate(files):
        for j, file in enumerate(row):
            sheet.paste(Image.open(file).convert("RGB"), (j * (width + gap), i * (height + gap)))
    return sheet
