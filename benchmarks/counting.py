"""Bytes that operations read and write, counted while they run."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They hand out another look at the same memory and move nothing.
_VIEWS = ("view", "alias", "as_strided", "expand", "permute", "t", "transpose", "slice", "select", "detach")
_VIEWS += ("unsqueeze", "squeeze", "split", "unbind", "empty", "diagonal", "lift_fresh", "empty_like")


class ByteCounter(TorchDispatchMode):
    """Context manager: ``bytes`` that all operations inside read and wrote, each tensor once an operation.

    What a cache keeps between operations still counts, and what a kernel reads several times counts once: it
    is what an ideal kernel for every single operation would move.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removeprefix("_")
        if name not in _VIEWS and not name.startswith(("unsafe_view", "reshape_alias")):
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.bytes += sum({id(x): x.numel() * x.element_size() for x in tensors}.values())
        return result


def copy_bytes(size: int = 2**28) -> tuple[Tensor, Tensor]:
    """Two buffers of ``size`` bytes, far larger than any cache: copying one moves twice as much."""
    return torch.ones(size, dtype=torch.uint8), torch.empty(size, dtype=torch.uint8)
