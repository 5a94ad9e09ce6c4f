"""What a run does once: the step from one stage of a training to the next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Once(nn.Module):
    """Calls what it is given the first time in training, and remembers it in the run's checkpoint.

    So a run that was stopped in its second stage does not enter it again.
    """

    done: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.tensor(False))
        self._known = False  # what the buffer says, without waiting for a GPU at every step

    @torch.no_grad()
    def forward(self, enter: Callable[[], None]) -> None:
        if self._known or not self.training:
            return
        if not bool(self.done):
            enter()
            self.done.fill_(True)
        self._known = True
