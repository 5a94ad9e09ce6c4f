"""Use a finished run: its network, on images of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from mstl import methods
from mstl.data.augment import to_float
from mstl.data.readers.listing import enumerated, existing_folder, files_by_stem
from mstl.data.readers.pixels import Picture, lying, read_picture
from mstl.data.store import REMARKS
from mstl.methods.base import Method
from mstl.nn.outputs import certain
from mstl.nn.states import scored_weights
from mstl.nn.weights import architecture_only
from mstl.problems import Classification, Problem, Segmentation
from mstl.run.checkpoint import check_finite, fitting, load_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.device import find_device
from mstl.run.release import run_folder
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of, replacing
from mstl.system.notes import note
from mstl.system.progress import progress
from mstl.system.tables import to_cells


def load_method(folder: str | Path, device: torch.device | str = "cpu") -> Method:
    """The trained method of a finished run, in evaluation mode and with the weights that were scored.

    ``load_method(folder).predict(to_float(images))`` gives logits, (n, 1, h, w) of masks or (n, K, 1, 1) of
    the classes that ``manifest.json`` names.

    Args:
        folder: a run's folder, with ``manifest.json`` and ``checkpoint.pt``, or ``release:<name>``.
        device: where to put it: auto, cpu or cuda as `find_device` reads them, or a torch device.

    Raises:
        InputError: the run is unfinished, its checkpoint is damaged, of another run or not finite, or the
            device is not there.
    """
    folder = run_folder(folder)
    if not isinstance(device, torch.device):
        device = find_device(device)
    found = read_manifest(folder)
    settings, path = found["settings"], folder / "checkpoint.pt"
    state = load_checkpoint(path)
    if state.get("settings") != settings:
        raise InputError(f"{path} does not belong to {folder / 'manifest.json'}: their settings differ")
    weights = scored_weights(state, path)
    with architecture_only():
        method = _built(found)
    with fitting(path, settings["method"]):
        check_finite(weights)
        method.load_state_dict(weights)
    return method.to(device).eval()


def read_manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json`` of a finished run, as far as its network depends on it.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise InputError(f"{folder} is not a finished run: {path.name} is missing; train it first")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        TrainConfig.of(found["settings"])
        reads = methods.find(found["settings"]["method"]).reads_sources
        if not isinstance(found["sources"], list) or (reads and not found["sources"]):
            raise ValueError("sources")
        if not all(isinstance(value, bool) for value in found.get("partial", [])):
            raise ValueError("partial")
        if not all(isinstance(word, str) for word in found.get("vocabulary", [])):
            raise ValueError("vocabulary")
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}, {error}); train it anew") from error
    return found


def _built(found: dict[str, Any]) -> Method:
    """A fresh network of the kind a manifest describes."""
    settings = found["settings"]
    return methods.build(
        settings["method"],
        sources=len(found["sources"]),
        labelled=settings["labels"] > 0 or methods.find(settings["method"]).all_labels,
        overrides=settings["overrides"],
        problem=problem_of(found),
        partial=found.get("partial", ()),
        width=settings["width"],
    )


def problem_of(found: dict[str, Any]) -> Problem:
    """The problem of the run that a manifest describes."""
    if not found.get("classes"):
        return Segmentation()
    return Classification(tuple(found["classes"]), tuple(found["shape"]), len(found.get("vocabulary", ())))


def predict_folder(run: str, images: str, out: str, device: str = "cpu") -> list[Path]:
    """Predict every image of a folder with a finished run: masks that fit the images as stored, or a table.

    An image is resized to the size the run was trained at. Of masks, logits are resized back, and a pixel is
    object (255) where they are positive; a mask lies like its image, with the same EXIF orientation. Of
    classes, ``predictions.csv`` has one row an image: file, most probable class, its probability.

    Args:
        run: folder of a finished run, or ``release:<name>`` of a released one (`mstl.run.release`).
        images: folder of JPEG or PNG images.
        out: folder for ``<name>.png`` or ``predictions.csv``; made if missing.
        device: auto, cpu or cuda.

    Returns:
        The files written.

    Raises:
        InputError: the run or an image cannot be used, or ``out`` is ``images``; earlier masks stay.
    """
    folder, place, to = run_folder(run), path_of("images", images), path_of("out", out)
    device = find_device(device)
    files = files_by_stem(existing_folder(place, "images"))
    if to.resolve() == place.resolve():
        raise InputError(f"out={out} is the folder of the images, which masks would replace; name another")
    check_writable("out", to)
    found = read_manifest(folder)
    problem = problem_of(found)
    if problem.shape[1:] == (1, 1):
        raise InputError(f"{run} reads vectors, not images; use load_method(run).predict in Python")
    method = load_method(folder, device)
    size = problem.shape[1:] if problem.classes else tuple(found["settings"]["size"])
    written, dim, rows = [], [], []
    for stem, file in progress(sorted(files.items()), len(files), "predicting"):
        picture = read_picture(file, size, cut=bool(problem.classes))
        dim += [stem] if picture.dim else []
        batch = to_float(torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].to(device))
        with torch.no_grad():
            logits = method.predict(batch).float()
        if problem.classes:
            index, p = certain(logits)
            rows.append({"file": file.name, "class": problem.classes[int(index)], "probability": float(p)})
        else:
            written.append(_mask(logits, picture, to / f"{file.stem}.png"))
    if problem.classes:
        written.append(to / "predictions.csv")
        with replacing(written[0]) as temporary:
            to_cells(pd.DataFrame(rows)).to_csv(temporary, index=False, float_format="%.6g")
    if dim:
        note(f"{images}: {len(dim)} of {len(files)} images {REMARKS['dim']}: {enumerated(dim)}")
    return written


def _mask(logits: Tensor, picture: Picture, path: Path) -> Path:
    """Write the mask of one image as it is stored; returns ``path``."""
    full = interpolate(logits, picture.full[::-1], mode="bilinear")
    mask = Image.fromarray((full[0, 0] > 0).cpu().numpy().astype("uint8") * 255)
    with replacing(path) as temporary:
        stored, exif = lying(mask, picture.orientation)
        stored.save(temporary, format="PNG", exif=exif)
    return path
