"""What computes: ``auto``, ``cpu`` or ``cuda``."""

from __future__ import annotations

import torch

from mstl.run.config import DEVICES, one_of
from mstl.system.errors import InputError


def find_device(name: str) -> str:
    """``"cpu"`` or ``"cuda"``, whichever ``name`` means here.

    ``auto`` is a CUDA GPU where there is one and the CPU otherwise, never an Apple GPU: for those PyTorch
    has no sampling with border padding, which every augmented batch needs.

    Raises:
        InputError: another name, or a GPU that torch does not find.
    """
    one_of("device", name, DEVICES)
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device=cuda, but torch finds no usable GPU here; use device=auto or device=cpu")
    return "cuda" if name != "cpu" and found else "cpu"
