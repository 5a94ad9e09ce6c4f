"""What one network can make of sources that contradict each other."""

from __future__ import annotations

from scipy.optimize import brentq

from mstl.system.errors import InputError


def pooled_balance(share: float, sources: int) -> float:
    r"""Probability that one network settles on where J sources mark a J-th of the object each.

    Every image is as likely to come from each of the sources, the parts are equally large, the object covers
    a share a of the image, and the network tells it from the background. With probability q on the object
    and 0 elsewhere, `mstl.nn.segmentation_loss` is

    .. math:: a \Big(-\frac1J \log q - \big(1 - \frac1J\big) \log(1 - q)\Big) + 1 - \frac{2 q}{J q + 1} ,

    whose minimum solves

    .. math:: a\, \frac{q - 1/J}{q (1 - q)} = \frac{2}{(J q + 1)^2} .

    Cross-entropy alone wants 1/J; soft Dice pays for finding what is marked and lifts it. The larger the
    object, and the more sources there are, the less.

    Raises:
        InputError: a share outside (0, 1], or fewer than one source.
    """
    if not 0 < share <= 1 or sources < 1:
        raise InputError(f"share must lie in (0, 1] and sources be at least 1; got {share} and {sources}")
    if sources == 1:
        return 1.0

    def slope(q: float) -> float:
        return share * (q - 1 / sources) / (q * (1 - q)) - 2 / (sources * q + 1) ** 2

    return brentq(slope, 1 / sources, 1 - 1e-12)
