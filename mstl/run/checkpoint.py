"""Checkpoints: written whole, read without unpickling, and refused in one line where they do not fit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mstl.nn.states import load_checkpoint
from mstl.system.errors import InputError
from mstl.system.files import replacing

__all__ = ["check_finite", "fitting", "load_checkpoint", "not_finite", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """``state`` (tensors, numbers, strings and containers of them) for `load_checkpoint`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def fitting(path: Path, whose: str) -> Iterator[None]:
    """What strict loading says of a state of other names or shapes, as one line.

    Raises:
        InputError: ``path`` is not a checkpoint of ``whose``.
    """
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a checkpoint of {whose}: {reason}; delete it to train anew"
        ) from error


def check_finite(state: dict[str, Any]) -> None:
    """Refuse values that are not finite, which no loading looks at.

    Raises:
        ValueError: names the first tensor that has one.
    """
    if bad := not_finite(state):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ValueError(f"{bad[0]} is not finite{more}")


def not_finite(state: Any) -> list[str]:
    """Names of the tensors in a nested state that hold a value that is not finite."""
    tensors = {name: tensor for name, tensor in _tensors(state, "") if tensor.is_floating_point()}
    if not tensors:
        return []
    # One look at the device for all of them.
    sound = [tensor.isfinite().all() for tensor in tensors.values()]
    device = next(reversed(sound)).device
    values = torch.stack([good.to(device) for good in sound]).tolist()
    return [name for name, good in zip(tensors, values, strict=True) if not good]


def _tensors(state: Any, at: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield at, state
    elif isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in items:
            yield from _tensors(value, f"{at}.{key}" if at else str(key))
