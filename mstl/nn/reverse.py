"""Gradient reversal and the schedule of its strength."""

from __future__ import annotations

import math

from torch import Tensor
from torch.autograd import Function

from mstl.system.errors import InputError


class _Reverse(Function):
    """x ↦ x forwards, g ↦ −strength·g backwards; linear, so it differentiates twice and vmaps."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, strength: Tensor | float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, strength = inputs
        ctx.constant = None if isinstance(strength, Tensor) else strength
        if ctx.constant is None:
            ctx.save_for_backward(strength)
            ctx.save_for_forward(strength)

    @staticmethod
    def _reversed(ctx, gradient: Tensor) -> Tensor:
        if ctx.constant is not None:
            return -ctx.constant * gradient
        (strength,) = ctx.saved_tensors
        return -strength.to(gradient.dtype) * gradient

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Reverse._reversed(ctx, gradient), None

    @staticmethod
    def jvp(ctx, tangent: Tensor, _) -> Tensor:
        return _Reverse._reversed(ctx, tangent)


def reverse_gradient(x: Tensor, strength: Tensor | float) -> Tensor:
    """The identity whose gradient is multiplied by −strength.

    .. math:: R_λ(x) = x, \\qquad \\partial R_λ / \\partial x = -λ I

    What lies behind it (a domain discriminator) descends its loss; what lies before it (a feature extractor)
    ascends the same loss, λ times as fast. λ = 0 cuts the extractor off.

    Args:
        x: any floating-point tensor.
        strength: λ ≥ 0, a number or a tensor that broadcasts to ``x``. It is captured here, in the forward
            pass: changing the tensor before ``backward`` changes nothing. Under ``torch.compile`` a tensor
            avoids one compilation for each value.

    Returns:
        A tensor equal to ``x``.

    Raises:
        InputError: a number that is negative or not finite.

    Source: Ganin & Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015, section 3.1.
    """
    if isinstance(strength, Tensor):
        return _Reverse.apply(x, strength.detach().clone())
    if not 0.0 <= strength < math.inf:
        raise InputError(f"strength of the gradient reversal must be a finite number ≥ 0; got {strength}")
    return _Reverse.apply(x, float(strength))


def ramp(progress: float, gain: float = 10.0) -> float:
    """Strength that grows from 0 towards 1 over a training run.

    .. math:: λ(p) = \\frac{2}{1 + e^{-gain·p}} - 1 = \\tanh(gain·p / 2)

    Args:
        progress: share of the run that is done, p ∈ [0, 1].
        gain: steepness > 0; at 10 the ramp is past 0.98 half-way.

    Raises:
        InputError: ``progress`` outside [0, 1] or ``gain`` not a positive finite number.

    Source: Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016, section 5.2.2.
    """
    if not 0.0 <= progress <= 1.0:
        raise InputError(f"progress must lie in [0, 1], the share of the run that is done; got {progress}")
    if not 0.0 < gain < math.inf:
        raise InputError(f"gain of the ramp must be a positive finite number; got {gain}")
    return math.tanh(gain * progress / 2)
