"""A method's weights as one differentiable dictionary, and the same weights for other sources."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from conftest import toy_task
from small import batch_of, in_float64
from torch import Tensor, nn
from torch.func import functional_call

from mstl.data.batches import Batch
from mstl.methods import build
from mstl.methods.base import Method
from mstl.methods.dann import DANN
from mstl.methods.multi_head import MultiHead

State = dict[str, Tensor]

MODULES = "subnetworks|networks|heads|predictors|spaces|discriminators|source_banks|target_banks"
OF_A_SOURCE = re.compile(rf"\b({MODULES})\.(\d+)\.")
BUFFERS = ("concentration", "distances", "source_shares")


def made(name: str, sources: int, overrides: str = "", labelled: bool = True) -> Method:
    """A small method in double precision, in evaluation mode."""
    torch.manual_seed(0)
    return build(name, sources, labelled, f"depth=2 {overrides}", width=4).double().eval()


def drawn(sources: int, labels: int = 4) -> Batch:
    """A small batch in double precision: sources of unequal size, windows smaller than the target."""
    return in_float64(batch_of(toy_task(sources, labels, (16, 24), (16, 16))))


def weights(method: Method) -> State:
    """Parameters, as leaves, and buffers, off their start where many are zero and sources alike."""
    torch.manual_seed(1)
    result = {name: (p + 0.05 * torch.randn_like(p)).detach() for name, p in method.named_parameters()}
    for value in result.values():
        value.requires_grad_()
    for name, buffer in method.named_buffers():
        result[name] = buffer + 0.5 * torch.rand_like(buffer) if name in BUFFERS else buffer.clone()
    return result


def rearranged(method: Method, state: State, order: list[int]) -> State:
    """The weights for sources ``order``, some repeated or left out, of a method for len(order) sources.

    What belongs to a source goes with it. The columns of a concatenation are shared among copies.
    """
    result = {}
    # The head of multi-head has a channel a source; of a union the target has a share a head.
    channels = {n for n in state if isinstance(method, MultiHead) and ".head." in n}
    for name, value in state.items():
        match = OF_A_SOURCE.search(name)
        if match and not isinstance(method, DANN):  # its one discriminator belongs to no source
            for k, j in enumerate(order):
                if int(match[2]) == j:
                    result[name[: match.start(2)] + str(k) + name[match.end(2) :]] = value
        elif name in BUFFERS or (name == "target_share" and value.ndim == 2) or name in channels:
            result[name] = value[order]
        elif name.endswith("combine.0.weight"):
            blocks = value.chunk(method.sources, dim=1)
            result[name] = torch.cat([blocks[j] / order.count(j) for j in order], dim=1)
        else:
            result[name] = value
    return result


class _Asked(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, question: str, *args):
        return getattr(self.method, question)(*args)


def asked(method: Method, state: State) -> Callable:
    """``asked(method, state)("predict", images)`` is ``method.predict(images)`` with these weights."""
    values = {f"method.{name}": value for name, value in state.items()}
    return lambda *question: functional_call(_Asked(method), values, question)


def slopes(losses: State, state: State) -> State:
    """Gradient of the sum of the losses at every parameter; zeros where it does not depend on one."""
    leaves = {name: value for name, value in state.items() if value.requires_grad}
    found = torch.autograd.grad(
        torch.stack(tuple(losses.values())).sum(), list(leaves.values()), allow_unused=True, retain_graph=True
    )
    return {
        name: torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }


def assert_same(found: State, wanted: State, atol: float = 1e-7) -> float:
    """Fail where two dictionaries differ by more than ``atol``; the largest difference."""
    assert found.keys() == wanted.keys()
    torch.testing.assert_close(found, wanted, atol=atol, rtol=1e-7)
    return max((float((found[k] - wanted[k]).detach().abs().max()) for k in wanted), default=0.0)
