"""The losses of the steps since the last line of metrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mstl.system.errors import InputError

ADVICE = "the last good checkpoint is kept. Lower learning_rate or use precision=32-true"


class LossRecord:
    """Sums of the losses, and for each loss the number of steps that its sum stayed finite.

    Adding waits for no device: a sum that was once not finite never is again, so that the counts tell later
    which loss failed first, and at which step.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self._finite: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """The losses of one step, 0-d."""
        for name, loss in losses.items():
            total = self.sums[name] + loss if name in self.sums else loss
            self.sums[name] = total
            self._finite[name] = self._finite.get(name, self.count) + total.isfinite()
        self.count += 1

    def check(self, step: int) -> None:
        """Wait for the device and refuse a loss that was not finite at or before ``step``, the last one.

        Raises:
            InputError: names every such loss and its own first bad step.
        """
        if not self.sums:
            return
        sound = torch.stack([total.isfinite() for total in self.sums.values()]).tolist()
        first = {
            name: step - self.count + int(self._finite[name]) + 1
            for name, good in zip(self.sums, sound, strict=True)
            if not good
        }
        bad = [f"{name} at step {first[name]}" for name in sorted(first, key=first.get)]
        if bad:
            raise InputError(f"loss not finite: {', '.join(bad)}; {ADVICE}")

    def state_dict(self) -> dict[str, Any]:
        """Sums and count; of a record that `check` passed."""
        return {"sums": self.sums, "count": self.count}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue where ``state`` was taken."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.count = state["count"]
        self._finite = {name: torch.tensor(self.count, device=device) for name in self.sums}
