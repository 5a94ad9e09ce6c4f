"""What two pieces save on reviews: a first layer that sums rows, and an optimiser that stays in the cache.

    python benchmarks/bench_counts.py [--rounds 9] [--quick]

`Words` against the product of the same matrices, forward and backward, on vectors of 5,000 counts of which
one in a hundred is not 0; and `Adadelta` against PyTorch's own, for each weight in turn and for all at
once, on the weights of the papers' MLP, 5000-1000-500-100. Values must agree in the same run, or it ends with
an error.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from noise import of_classes
from options import options
from rounds import alternate, ratios
from table import Table
from torch import Tensor, nn

from mstl.nn.mlp import MLP, Words
from mstl.run.adadelta import Adadelta

COUNTS, UNITS = 5000, 1000
REVIEWS = (20, 80)  # a batch of one domain; of three sources and the target


def summed(layer: Words, x: Tensor) -> Tensor:
    """The gradient of the weights, by rows that are summed."""
    return torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]


def multiplied(layer: Words, x: Tensor) -> Tensor:
    """The same by the product of matrices."""
    return torch.autograd.grad((x @ layer.weight + layer.bias).square().sum(), layer.weight)[0]


def stepped(made: type[torch.optim.Optimizer], network: nn.Module, **options: bool) -> torch.optim.Optimizer:
    """An optimiser of a copy of the network, whose gradients are there, after one step."""
    own = deepcopy(network)
    for mine, given in zip(own.parameters(), network.parameters(), strict=True):
        mine.grad = given.grad.clone()
    optimiser = made(own.parameters(), lr=1.0, **options)
    optimiser.step()
    return optimiser


def main() -> None:
    """Measure and write the table."""
    chosen = options(__doc__, 9).parse_args()
    rounds = 1 if chosen.quick else chosen.rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table("counts")
    layer = Words(COUNTS, UNITS)
    for reviews in REVIEWS:
        x = of_classes("reviews", reviews, (COUNTS, 1, 1), ("good", "bad")).images.flatten(1).float()
        torch.testing.assert_close(summed(layer, x), multiplied(layer, x), rtol=1e-3, atol=1e-4)
        times = alternate(
            {"rows": lambda x=x: summed(layer, x), "product": lambda x=x: multiplied(layer, x)}, rounds
        )
        faster = ratios(times["product"], times["rows"])
        table.add("first layer, product over sum of rows", faster, at=f"{reviews} reviews", bar=">= 1")

    network = MLP(COUNTS)
    for weight in network.parameters():
        weight.grad = torch.randn_like(weight)
    made = {
        "blocks": stepped(Adadelta, network),
        "one by one": stepped(torch.optim.Adadelta, network, foreach=False),
        "all at once": stepped(torch.optim.Adadelta, network, foreach=True),
    }
    ours, *theirs = ([*o.param_groups[0]["params"]] for o in made.values())
    for weights in theirs:
        torch.testing.assert_close(ours, weights, rtol=0, atol=0)
    times = alternate({name: optimiser.step for name, optimiser in made.items()}, rounds)
    for name in list(made)[1:]:
        table.add("Adadelta, PyTorch's over ours", ratios(times[name], times["blocks"]), at=name, bar=">= 1")
    table.add("Adadelta, time of a step", [1e3 * t for t in times["blocks"]], "ms", better="lower")
    table.write()


if __name__ == "__main__":
    main()
