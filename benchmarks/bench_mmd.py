"""How much faster is MMD from one Gram matrix than from all n²·d differences?

    python benchmarks/bench_mmd.py [--rounds 7] [--quick]

MK-MMD (five kernels) and JMMD (two layers) of `mstl.measures` against `textbook_mmd`, forward alone and with
the gradient, in one thread. The values and gradients must agree in the same run, or it ends with an error.
"""

from __future__ import annotations

import torch
from options import options
from rounds import alternate, ratios
from table import Table
from textbook_mmd import MULTIPLIERS, mmd2
from torch import Tensor

from mstl.measures import jmmd2, mean_bandwidths

N, D = 128, 256  # where the bar is asked for
WHY = "the matrix product that the value needs takes half of our time"
GROWTH = ((32, D), (64, D), (N, D), (256, D), (N, 16), (N, 64), (N, 1024))


def ours(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """The same by `mstl.measures`."""
    return jmmd2(xs, ys, [mean_bandwidths(MULTIPLIERS)] * len(xs))


def samples(n: int, *widths: int) -> tuple[list[Tensor], list[Tensor]]:
    """Two samples a layer that differ a little, as leaves that collect gradients."""
    generator = torch.Generator().manual_seed(n + sum(widths))
    drawn = [torch.randn(2, n, d, generator=generator) + 0.1 * torch.arange(2)[:, None, None] for d in widths]
    return tuple([d[side].clone().requires_grad_() for d in drawn] for side in (0, 1))


def gradients(measure, xs: list[Tensor], ys: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradient of every sample."""
    return torch.autograd.grad(measure(xs, ys), [*xs, *ys])


def check_equal(xs: list[Tensor], ys: list[Tensor]) -> None:
    """Values and gradients agree to float32's digits; double precision decides what they should be."""
    torch.testing.assert_close(ours(xs, ys), mmd2(xs, ys), rtol=1e-3, atol=1e-5)
    exact = [[x.detach().double().requires_grad_() for x in side] for side in (xs, ys)]
    torch.testing.assert_close(ours(*exact), mmd2(*exact), rtol=1e-10, atol=1e-12)
    for a, b in zip(gradients(ours, *exact), gradients(mmd2, *exact), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 7)
    chosen = parser.parse_args()
    rounds = 1 if chosen.quick else chosen.rounds
    torch.set_num_threads(1)
    table = Table("mmd")
    for name, widths in {"MK-MMD": (D,), "JMMD": (D, D)}.items():
        xs, ys = samples(N, *widths)
        check_equal(xs, ys)
        with torch.no_grad():
            forward = alternate({"ours": lambda: ours(xs, ys), "book": lambda: mmd2(xs, ys)}, rounds)  # noqa: B023
        both = alternate(
            {"ours": lambda: gradients(ours, xs, ys), "book": lambda: gradients(mmd2, xs, ys)},  # noqa: B023
            rounds,
        )
        for what, times in {"with its gradient": both, "value alone": forward}.items():
            label = f"{name}, {what}, n = {N}, d = {D}"
            table.add(
                f"textbook over ours, {label}", ratios(times["book"], times["ours"]), bar=">= 100", why=WHY
            )
            table.add(f"ours, {label}", [1e3 * t for t in times["ours"]], "ms", better="lower")
    for n, d in GROWTH:
        xs, ys = samples(n, d)
        works = {"ours": lambda: gradients(ours, xs, ys), "book": lambda: gradients(mmd2, xs, ys)}  # noqa: B023
        times = alternate(works, rounds)
        table.add(
            "textbook over ours, MK-MMD with its gradient",
            ratios(times["book"], times["ours"]),
            at=f"n={n} d={d}",
            better="higher",
        )
    table.write()


if __name__ == "__main__":
    main()
