"""J sub-networks as one: their weights stacked along a leading axis, their convolutions grouped by vmap."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mstl.nn import SubNetworks


class Stacked(nn.Module):
    """The same function as ``[network(images).logits for network in networks]``, in one pass.

    Shape: images (n, 3, h, w) → logits (J, n, 1, h, w).
    """

    def __init__(self, networks: SubNetworks) -> None:
        super().__init__()
        weights, self.buffers_of_all = stack_module_state(list(networks))
        self.names = list(weights)
        self.stacked = nn.ParameterList(weights[name].detach().requires_grad_() for name in self.names)
        self._shape = [networks[0]]  # in a list: its own weights are not ours

    def forward(self, images: Tensor) -> Tensor:
        weights = dict(zip(self.names, self.stacked, strict=True))

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            return functional_call(self._shape[0], (weights, buffers), (images,)).logits

        return vmap(one)(weights, self.buffers_of_all)


def looped(networks: SubNetworks, images: Tensor) -> Tensor:
    """One sub-network after the other: (J, n, 1, h, w)."""
    return torch.stack([network(images).logits for network in networks])
