"""Use a finished run: its network, on images of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import interpolate

from mstl import methods
from mstl.data.augment import to_float
from mstl.data.listing import existing_folder, files_by_stem
from mstl.data.pixels import read_image
from mstl.errors import InputError
from mstl.files import load_checkpoint, replacing
from mstl.methods import Method
from mstl.progress import progress


def load_method(folder: str | Path, device: torch.device | str = "cpu") -> Method:
    """The trained method of a finished run, in evaluation mode and with the weights that were scored.

    ``load_method(folder).predict(to_float(images))`` gives logits (n, 1, h, w).

    Args:
        folder: a run's folder, with ``manifest.json`` and ``checkpoint.pt``.
        device: where to put it.

    Raises:
        InputError: the run is unfinished, or its checkpoint is damaged or of another kind.
    """
    folder = Path(folder)
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise InputError(f"{folder} is not a finished run: {manifest.name} is missing; train it first")
    found = json.loads(manifest.read_text(encoding="utf-8"))
    settings = found["settings"]
    state = load_checkpoint(folder / "checkpoint.pt")
    oracle = methods.find(settings["method"]).all_labels
    method = methods.build(
        settings["method"],
        sources=len(found["sources"]),
        labelled=settings["labels"] > 0 or oracle,
        overrides=settings["overrides"],
        width=settings["width"],
    )
    if state["averaged"] is None:
        method.load_state_dict(state["method"])
    else:
        averaged = {k.removeprefix("module."): v for k, v in state["averaged"].items() if k != "n_averaged"}
        method.load_state_dict(averaged)
    return method.to(device).eval()


def predict_folder(run: str, images: str, out: str, device: str = "cpu") -> list[Path]:
    """Segment every image of a folder with a finished run; masks are PNGs of the images' own sizes.

    An image is resized to the size the run was trained at, its logits are resized back, and a pixel is
    object (255) where they are positive.

    Args:
        run: folder of a finished run.
        images: folder of JPEG or PNG images.
        out: folder for ``<name>.png``; made if missing.
        device: cpu or cuda.

    Returns:
        The files written.

    Raises:
        InputError: the run or an image cannot be used; masks written before it stay.
    """
    method = load_method(run, device)
    settings = json.loads((Path(run) / "manifest.json").read_text(encoding="utf-8"))["settings"]
    files = files_by_stem(existing_folder(images, "images"))
    written = []
    for stem, file in progress(sorted(files.items()), len(files), "segmenting"):
        pixels, (width, height) = read_image(file, tuple(settings["size"]))
        batch = to_float(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device))
        with torch.no_grad():
            logits = interpolate(method.predict(batch).float(), (height, width), mode="bilinear")
        with replacing(Path(out) / f"{stem}.png") as temporary:
            mask = (logits[0, 0] > 0).cpu().numpy()
            Image.fromarray(mask.astype("uint8") * 255).save(temporary, format="PNG")
        written.append(Path(out) / f"{stem}.png")
    return written
