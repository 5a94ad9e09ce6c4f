"""Attention maps on the way: what a film over training is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mstl.data.augment import to_float
from mstl.measures.attention import watched
from mstl.system.errors import InputError
from mstl.system.files import replacing

if TYPE_CHECKING:
    from mstl.run.train import Trainer

FILE = "snapshots.npz"


class Snapshots:
    """Stores the attention maps of the watched images while a run trains: ``train(config, Snapshots(50))``.

    The maps are those of the weights that would be evaluated. They lie in the run's folder as
    ``snapshots.npz``: ``steps`` (T,) and ``maps`` float16 (T, J, n, h, w). Training is not touched. A run
    that goes on from a checkpoint keeps the maps from before. A method without attention, or a task without
    watched images, leaves no file.

    Args:
        every: least number of steps between two snapshots; they are taken at log points only.

    Raises:
        InputError: ``every`` is below 1.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise InputError(f"film must be a number of steps ≥ 1 between two snapshots; got {every}")
        self.every = every
        self._seen, self._looked = None, False

    def __call__(self, trainer: Trainer) -> None:
        if not self._looked:
            self._seen, self._looked = watched(trainer.task), True
        method = trainer.method if trainer.averaged is None else trainer.averaged.module
        if self._seen is None:
            return
        path = Path(trainer.config.folder) / FILE
        steps, maps = _earlier(path, trainer.step)
        is_last = trainer.step == trainer.config.profiled("steps")
        if len(steps) and trainer.step - steps[-1] < self.every and not is_last:
            return
        method.eval()
        with torch.no_grad():
            images = to_float(self._seen.domain.images.to(trainer.fabric.device))
            now = method.attention_maps(images)
        if now is None:
            return
        now = now[:, :, 0].half().cpu().numpy()
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, steps=[*steps, trainer.step], maps=np.stack([*maps, now]))


def _earlier(path: Path, step: int) -> tuple[list[int], list[np.ndarray]]:
    """What was stored before ``step``; later ones belong to steps that are trained again."""
    if not path.exists():
        return [], []
    stored = load_arrays(path)
    kept = stored["steps"] < step
    return stored["steps"][kept].tolist(), list(stored["maps"][kept])


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; never unpickles.

    Raises:
        InputError: the file is damaged, or holds more than numbers and text.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except Exception as error:  # numpy, zipfile and zlib raise half a dozen kinds
        raise InputError(f"{path} is damaged ({error}); delete it to make it anew") from error
