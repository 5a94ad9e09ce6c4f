"""Use a finished run: its network, on images of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mstl import methods
from mstl.errors import InputError
from mstl.files import load_checkpoint
from mstl.methods import Method


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
