"""What a network makes of a map in its middle, without computing again what comes before."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor, nn


class Rest:
    """A network from the output of one of its modules on.

    Modules that end before that one, and run once, give what they gave; so the outcome is that of the whole
    network, exactly, for a fraction of the work.

    Args:
        network: in evaluation mode.
        middle: one of its modules, which runs once.
        inputs: of the network.

    Attributes:
        map: what ``middle`` gives.
    """

    def __init__(self, network: nn.Module, middle: nn.Module, inputs: Tensor) -> None:
        self.network, self.middle, self.inputs = network, middle, inputs
        ended: dict[nn.Module, Any] = {}
        before: dict[nn.Module, Any] = {}
        runs: Counter[nn.Module] = Counter()

        def end(module: nn.Module, _: tuple, output: Any) -> None:
            runs[module] += 1
            ended[module] = output
            if module is middle:
                before.update(ended)

        hooks = [module.register_forward_hook(end) for module in network.modules()]
        try:
            network(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        self.map: Tensor = ended[middle]
        self.before = {module: output for module, output in before.items() if runs[module] == 1}

    def __call__(self, changed: Tensor) -> Any:
        """The network's output where ``middle`` gives this in place of ``map``."""
        given = self.before | {self.middle: changed}
        try:
            for module, output in given.items():
                module.forward = lambda *_, output=output, **__: output
            return self.network(self.inputs)
        finally:
            for module in given:
                del module.forward
