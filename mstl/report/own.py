"""Somebody's own images: what was read of them, and what a network makes of those that have no mask."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.data.readers.listing import files_by_stem
from mstl.data.readers.masks import read_mask
from mstl.data.task import Task
from mstl.data.tiles import full_size
from mstl.problems.segmentation import counts, dice
from mstl.report.plots import overlay, picture_grid, sample
from mstl.run.inference import load_method
from mstl.system.files import replacing


def contact_sheet(task: Task, columns: int = 8, seed: int = 0) -> Figure:
    """A row of images of each source, of the target's labelled ones, masks in amber, and of the others."""
    of_target = {"with a mask": task.labelled, "without": task.unlabelled, "test": task.test}
    parts = {source.name: source for source in task.sources} | of_target
    rows = {name: sample(domain, columns, seed) for name, domain in parts.items() if domain is not None}
    return picture_grid(list(rows.values()), list(rows))


def side_by_side(run: Path | str, domain: Domain, columns: int = 6, seed: int = 0) -> Figure:
    """Random images of a domain, and below each what a run predicts for it, in amber."""
    rows = np.sort(np.random.default_rng(seed).choice(len(domain), min(columns, len(domain)), replace=False))
    with torch.no_grad():
        predicted = load_method(run).predict(to_float(domain.images[rows])) > 0
    images = [overlay(domain.images[row], predicted[k], 0.0) for k, row in enumerate(rows)]
    masks = [overlay(domain.images[row], predicted[k]) for k, row in enumerate(rows)]
    return picture_grid([images, masks], ["image", "mask"])


def agreement(predicted: Path | str, known: Path | str) -> pd.DataFrame:
    """Dice of each predicted mask of which a folder knows the true one, at full size.

    Returns:
        One row an image, columns ``image`` and ``dice``.
    """
    true = files_by_stem(Path(known), ending="_mask")
    rows = []
    for stem, file in files_by_stem(Path(predicted), known=true).items():
        if stem in true:
            size = full_size(file)[::-1]
            found, wanted = (
                torch.from_numpy(read_mask(f, size, file))[None, None] for f in (file, true[stem])
            )
            rows.append({"image": stem, "dice": float(dice(counts(found - 0.5, wanted)))})
    return pd.DataFrame(rows, columns=["image", "dice"])


def offer(files: Iterable[Path]) -> list[str]:
    """Let Colab's browser download ``files``; returns their names and sizes."""
    files = list(files)
    if "google.colab" in sys.modules:
        from google.colab import files as browser

        for file in files:
            browser.download(str(file))
    return [f"{file.name}: {file.stat().st_size / 1e3:,.0f} kB" for file in files]


def zipped(files: Iterable[Path | str], out: Path | str, folder: str = "masks") -> Path:
    """A zip file of ``files``, all in one folder."""
    with replacing(Path(out)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in map(Path, files):
            archive.write(file, f"{folder}/{file.name}")
    return Path(out)
