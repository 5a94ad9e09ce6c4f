"""Fusion of the attended target features of J sub-networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mstl.nn.unet import convolution
from mstl.system.errors import InputError

MODES = ("concat", "gated", "cross")


class Fusion(nn.Module):
    """J maps of one target batch to one map.

    .. math::
        \\text{concat:}\\quad \\mathrm{ReLU}(\\mathrm{norm}(W [\\tilde f_1; …; \\tilde f_J])), \\qquad
        \\text{gated:}\\quad \\sum_j g_j ⊙ \\tilde f_j, \\quad g = \\mathrm{softmax}_j(w^\\top \\tilde f_j)

    .. math::
        \\text{cross:}\\quad \\tfrac1J \\sum_i \\Big(\\tilde f_i
        + \\sum_j \\mathrm{softmax}_j\\big(\\tfrac{q_i^\\top k_j}{\\sqrt c}\\big) v_j\\Big),
        \\quad q_i = W_q \\tilde f_i,\\; k_j = W_k \\tilde f_j,\\; v_j = W_v \\tilde f_j

    "concat" is a 1x1 convolution over all channels. "gated" lets the sources compete at every location: they
    share w, so a weight follows its source when the sources are permuted; w starts at zero, so an untrained
    gate is the mean; and with J = 1 it is the identity. "cross" is attention between sources: at every
    location the J features query each other. It is symmetric in the sources, too, and W_v starts at zero, so
    it starts as the mean.

    Args:
        mode: "concat", "gated" or "cross".
        sources: J ≥ 1.
        channels: channels c of one map.
        norm: normalisation of "concat": "group", "batch" or "none".

    Shape: tuple of J maps (n, c, h, w) → (n, c, h, w).

    Raises:
        InputError: unknown mode, J < 1, or another number of maps than J.

    The paper's abstract asks for "local feature fusion" and says no more: all forms are our reconstruction.
    """

    def __init__(self, mode: str, sources: int, channels: int, norm: str = "group") -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError(f"fusion must be one of {', '.join(MODES)}; got {mode!r}")
        if sources < 1:
            raise InputError(f"fusion needs at least one source; got {sources}")
        self.sources = sources
        self.combine = self.score = self.project = None
        if mode == "concat":
            self.combine = convolution(sources * channels, channels, norm, kernel=1)
        elif mode == "cross":
            self.project = nn.Conv2d(channels, 3 * channels, 1, bias=False)
            nn.init.zeros_(self.project.weight[2 * channels :])
        else:
            # No bias: the softmax over sources would cancel it.
            self.score = nn.Conv2d(channels, 1, 1, bias=False)
            nn.init.zeros_(self.score.weight)

    def weights(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Gate weights (J, n, 1, h, w) of a "gated" fusion; they sum to 1 over J."""
        scores = torch.stack([self.score(f) for f in maps])
        return torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), dim=0)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        if len(maps) != self.sources:
            raise InputError(f"fusion was built for {self.sources} sources; got {len(maps)} feature maps")
        if self.combine is not None:
            return self.combine(torch.cat(tuple(maps), dim=1))
        if self.project is not None:
            return self._cross(torch.stack(tuple(maps)))
        gates = self.weights(maps)
        return sum(gate.to(f.dtype) * f for gate, f in zip(gates, maps, strict=True))

    def _cross(self, f: Tensor) -> Tensor:
        j, n, c, h, w = f.shape
        q, k, v = self.project(f.flatten(0, 1)).view(j, n, 3, c, h, w).unbind(2)
        scores = torch.einsum("inchw,jnchw->ijnhw", q, k).float() / c**0.5
        mixed = torch.einsum("ijnhw,jnchw->inchw", torch.softmax(scores, dim=1).to(v.dtype), v)
        return (f + mixed).mean(0)
