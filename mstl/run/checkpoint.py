"""What a checkpoint must be before a run goes on from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


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
