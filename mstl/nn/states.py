"""Reading the states of networks that were saved, without ever running what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mstl.system.errors import InputError


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without ever unpickling code.

    Raises:
        InputError: there is no such file, it is damaged, or it holds more than tensors and plain values.
    """
    if not path.exists():
        raise InputError(f"{path} is not a file; name the file of a state dict, or a run that was trained")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged or foreign file
        raise InputError(
            f"{path} is not a checkpoint of this package ({type(error).__name__}); delete it to train anew"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint of this package; delete it to train anew")
    return state


def scored_weights(state: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The weights of a run that were scored: the averaged ones where there are any.

    Raises:
        InputError: there are none.
    """
    averaged = state.get("averaged")
    weights = state.get("method") if averaged is None else averaged
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise InputError(f"{path} holds no weights; train the run anew")
    if averaged is None:
        return weights
    return {k.removeprefix("module."): v for k, v in weights.items() if k != "n_averaged"}
