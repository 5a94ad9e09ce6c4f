"""JAN and JAN-A: the joint distribution of features and predictions is aligned, in JAN-A at its worst."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mstl.measures import jmmd2
from mstl.methods import dan
from mstl.nn import reverse_gradient


class JAN(dan.DAN):
    r"""Joint adaptation network: DAN whose kernel is a product over layers.

    .. math::

        \min \; \frac1J \sum_j \mathbb E_{S_j} \mathcal L(P(F(x)), y)
        + \lambda(p)\, \hat D_{\mathcal L}(S, T), \qquad
        k\big((z^1, z^2), (z'^1, z'^2)\big) = \prod_l k^l(z^l, z'^l)

    Features that agree on the whole, but not class by class, are alike to DAN and not to JAN. With one layer
    (``outputs=false``) both are the same.

    Source: Long, Zhu, Wang, Jordan, "Deep transfer learning with joint adaptation networks", ICML 2017,
    equation 11; kernels as in its released code.
    """

    def discrepancy(self, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The JMMD² of all layers, 0-d."""
        source, target = zip(*layers, strict=True)
        return jmmd2(source, target, dan.bandwidths(len(layers)), self.hyper.estimator)


class JANA(JAN):
    r"""JAN-A: linear maps :math:`\theta` of both layers are trained to show the largest discrepancy.

    .. math::

        \min_{F,P} \max_\theta \; \dots + \lambda(p)\, \hat D_{\mathcal L}(\theta S, \theta T)

    They begin as the identity, where JAN-A is JAN, and stand between two gradient reversals: what descends
    the loss ascends in :math:`\theta`, and what passes both is not turned at all. They have no bias, whose
    gradient would be 0: a shift that source and target share changes no distance. The bandwidths follow the
    mean distance, so that the scale of :math:`\theta` on the features changes nothing.

    Source: Long et al., ICML 2017, equation 12.
    """

    def build(self) -> None:
        super().build()
        sizes = [self.network.channels[-1], len(self.problem.classes)][: 1 + self.hyper.outputs]
        self.maps = nn.ModuleList(identity(size) for size in sizes)

    def discrepancy(self, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The JMMD² of the mapped layers, 0-d."""
        mapped = [
            (through(theta, s), through(theta, t)) for theta, (s, t) in zip(self.maps, layers, strict=True)
        ]
        return super().discrepancy(mapped)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return list(self.maps.parameters())


def identity(size: int) -> nn.Linear:
    """A linear map of rows that begins as the identity."""
    theta = nn.Linear(size, size, bias=False)
    with torch.no_grad():
        theta.weight.copy_(torch.eye(size))
    return theta


def through(theta: nn.Linear, z: Tensor) -> Tensor:
    """θz between two reversals: θ gets minus the gradient, and z the gradient as it is."""
    return reverse_gradient(theta(reverse_gradient(z, 1.0)), 1.0)
