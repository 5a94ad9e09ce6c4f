"""Checkpoints: written whole, read without unpickling, and checked before a run goes on from one."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mstl.system.errors import InputError
from mstl.system.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """``state`` (tensors, numbers, strings and containers of them) for `load_checkpoint`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(
    path: Path, check: Callable[[dict[str, Any]], None] = lambda state: None
) -> dict[str, Any]:
    """Read a checkpoint without ever unpickling code; ``check`` may refuse it.

    Raises:
        InputError: the file is damaged, holds more than tensors and plain values, or would grow in memory.
    """
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged or foreign file
        raise InputError(
            f"{path} is not a checkpoint of this package ({type(error).__name__}); delete it to train anew"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint of this package; delete it to train anew")
    check(state)
    return state


def _check_archive(path: Path) -> None:
    """A ValueError for what torch has not written: no archive, or one that unpacks to more."""
    if not path.is_file():
        raise ValueError("no plain file")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("members overlap")


def unfit(found: dict[str, Any], own: dict[str, Any], optimisers: list[Optimizer], steps: int) -> str | None:
    """Why ``found`` is no state of a run of ``steps`` steps whose state is ``own``; None where it is one."""
    expected = own | {part: _expected(part, found.get(part), own[part]) for part in ("losses", "rng")}
    remembered = found.get("optimisers")
    if isinstance(remembered, list):
        # Parameters that no loss has reached yet have none.
        expected["optimisers"] = [
            {k: v for k, v in adam_state(optimiser).items() if isinstance(state, dict) and k in state}
            for optimiser, state in zip(optimisers, remembered, strict=False)
        ]
        expected["optimisers"] += own["optimisers"][len(remembered) :]
    problems = list(differences(found, expected))
    if problems:
        return ", ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
    if bad := impossible(found):
        return f"{bad[0]} has values that are not finite or below zero"
    if not 0 <= found["step"] <= steps or found["batches"] != own["batches"] | {"step": found["step"]}:
        return f"step {found['step']} and the batches do not fit"
    if not 0 <= found["seconds"] < math.inf or found["losses"]["count"] < 0:
        return "seconds or losses.count are impossible"
    try:
        torch.Generator().set_state(found["rng"]["cpu"])
    except RuntimeError:
        return "rng.cpu is no state of a random generator"
    return None


def _expected(part: str, found: Any, own: dict[str, Any]) -> dict[str, Any]:
    """A state's part whose size may differ from here and now: losses have names of the method's choice."""
    if part == "losses":
        sums = found.get("sums") if isinstance(found, dict) else None
        names = sums if isinstance(sums, dict) else {}
        return own | {"sums": {name: torch.zeros(()) for name in names if isinstance(name, str)}}
    cuda = found.get("cuda") if isinstance(found, dict) else None
    if isinstance(cuda, list) and (not cuda or not own["cuda"]):  # from a CPU to a GPU, or back
        return own | {"cuda": [torch.empty_like(t) for t in cuda if isinstance(t, Tensor)]}
    return own


def differences(found: Any, own: Any, at: str = "") -> Iterator[str]:
    """Where two nested states differ in keys, lengths, types, shapes or dtypes; their values may differ."""
    if isinstance(own, Tensor):
        if not isinstance(found, Tensor) or found.layout != torch.strided:
            yield f"{at} is no tensor"
        elif found.shape != own.shape or found.dtype != own.dtype:
            yield f"{at} is {found.dtype} {tuple(found.shape)} instead of {own.dtype} {tuple(own.shape)}"
    elif isinstance(own, dict) and isinstance(found, dict):
        yield from (f"{_join(at, key)} is missing" for key in own.keys() - found.keys())
        yield from (f"{_join(at, key)} is too much" for key in found.keys() - own.keys())
        for key in own.keys() & found.keys():
            yield from differences(found[key], own[key], _join(at, key))
    elif isinstance(own, list) and isinstance(found, list):
        if len(found) != len(own):
            yield f"{at} has {len(found)} entries instead of {len(own)}"
            return
        for k, pair in enumerate(zip(found, own, strict=True)):
            yield from differences(*pair, _join(at, k))
    elif type(found) is not type(own):
        wanted = "dict" if isinstance(own, dict) else type(own).__name__
        yield f"{at} is {type(found).__name__} instead of {wanted}"


def impossible(state: Any, at: str = "") -> list[str]:
    """Names of tensors that no sound run leaves: with values that are not finite, or counts below zero."""
    tensors = dict(_tensors(state, at))
    if not tensors:
        return []
    # One look at the device for all of them.
    sound = [(t.isfinite() if t.is_floating_point() else t >= 0).all() for t in tensors.values()]
    device = next(reversed(sound)).device
    values = torch.stack([good.to(device) for good in sound]).tolist()
    return [name for name, good in zip(tensors, values, strict=True) if not good]


def adam_state(optimiser: Optimizer) -> dict[int, dict[str, Tensor]]:
    """What Adam and AdamW remember of every parameter: shapes and types for `differences`."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    return {
        k: {"step": torch.zeros(()), "exp_avg": p.detach(), "exp_avg_sq": p.detach()}
        for k, p in enumerate(parameters)
    }


def _tensors(state: Any, at: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield at, state
    elif isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in items:
            yield from _tensors(value, _join(at, key))


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)
