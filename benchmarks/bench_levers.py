"""Which levers pay on this machine, and which were measured and refused?

    python benchmarks/bench_levers.py [--profiles quick grid] [--rounds 7] [--quick] [--no-compile]

Forward and backward of J sub-networks on one target batch (and the update, where the lever is the optimiser),
against what the engine does. Every pair is checked for equal results in the same run. Above 1 the lever pays.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from bare import prepared
from options import options
from rounds import alternate, ratios, seconds
from stacked import Stacked, looped
from table import Table
from torch import Tensor, nn

from mstl.nn import SubNetworks, segmentation_loss
from mstl.run.config import TrainConfig
from mstl.run.precision import choose

J = 3


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 7, quick="the profile tiny and one round, nothing compiled")
    parser.add_argument("--profiles", nargs="+", default=["quick", "grid"])
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    profiles, rounds = (["tiny"], 1) if chosen.quick else (chosen.profiles, chosen.rounds)
    torch.set_num_threads(1)
    table = Table("levers")
    for profile in profiles:
        torch.manual_seed(0)
        bench = Levers(TrainConfig(profile=profile), rounds, table)
        bench.precision_and_layout()
        bench.one_forward()
        bench.unread_masks()
        bench.stacking()
        bench.optimisers()
        if chosen.compile and not chosen.quick:
            bench.compiling()
    table.write()


class Levers:
    """The works that are compared, on networks and a batch of the profile's sizes."""

    def __init__(self, config: TrainConfig, rounds: int, table: Table) -> None:
        self.profile, self.table, self.rounds = config.profile, table, rounds
        self.half = choose(config).precision == "bf16-mixed"
        self.networks = SubNetworks(J, width=config.profiled("width"))
        n, size = config.profiled("target_batch_size"), config.profiled("size")
        self.images = torch.randn(n, 3, *size)
        self.masks = (torch.rand(n, 1, *size) > 0.5).float()

    def add(self, *arguments, **options) -> None:
        """A row of the table, at this profile."""
        self.table.add(*arguments, at=self.profile, **options)

    def pair(self, lever: str, engine: Callable, other: Callable, note: str = "", tolerance: float = 0.05):
        """One row: the engine's way over the lever, after a check that both give the same."""
        left, right = float(engine()), float(other())
        if abs(left - right) > tolerance * abs(left):
            raise RuntimeError(f"{lever}: {right} instead of {left}")
        times = alternate({"engine": engine, "lever": other}, self.rounds, block=0.5)
        self.add(lever, ratios(times["engine"], times["lever"]), note=note)  # no baseline: we do not use it

    def pass_(self, predict: Callable, half: bool | None = None, images: Tensor | None = None) -> Callable:
        """A forward and backward pass of ``predict`` that returns the loss."""
        images = self.images if images is None else images
        masks = self.masks.repeat(len(images) // len(self.masks), 1, 1, 1)

        def work() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half if half is None else half):
                loss = sum(segmentation_loss(logits, masks) for logits in predict(images))
            loss.backward()
            return loss.detach()

        return work

    def precision_and_layout(self) -> None:
        """bfloat16 or float32, channels first or last."""
        engine = self.pass_(lambda x: looped(self.networks, x))
        name = "float32 instead of bfloat16" if self.half else "bfloat16 instead of float32"
        kept = "kept as it is: the engine chooses by width and processor"
        self.pair(name, engine, self.pass_(lambda x: looped(self.networks, x), half=not self.half), kept)
        last = copy.deepcopy(self.networks).to(memory_format=torch.channels_last)
        images = self.images.to(memory_format=torch.channels_last)
        self.pair("channels last", engine, self.pass_(lambda x: looped(last, x), images=images))

    def one_forward(self) -> None:
        """Two batches of one size in two passes or in one: the engine does the latter."""
        both = torch.cat((self.images, self.images))
        together = self.pass_(lambda x: looped(self.networks, x), images=both)

        def apart(x: Tensor) -> list[Tensor]:
            pieces = [looped(self.networks, part) for part in x.chunk(2)]
            return list(torch.cat(pieces, dim=1))

        note = "the engine passes source and target together where their sizes agree"
        self.pair("source and target in two passes", together, self.pass_(apart, images=both), note)

    def unread_masks(self) -> None:
        """A step's losses with masks of the target that no loss reads, and without as the engine does."""
        trainer, batch = prepared(profile=self.profile)
        everything = partial(patch.object, type(trainer.method), "_read", lambda _, target: len(target.x))

        def work() -> Tensor:
            trainer.method.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                loss = sum(trainer.method.losses(batch, 0.5).values())
            loss.backward()
            return loss.detach()

        def wasteful() -> Tensor:
            with everything():
                return work()

        self.pair("masks that no loss reads", work, wasteful, "the engine decodes none, in mstl")

    def stacking(self) -> None:
        """J sub-networks one after the other or stacked."""
        stacked = Stacked(self.networks)
        engine = self.pass_(lambda x: looped(self.networks, x))
        self.pair("sub-networks stacked by vmap", engine, self.pass_(stacked))

    def optimisers(self) -> None:
        """The update of the weights alone, with the gradients of one pass."""
        works = {}
        for name, chosen in {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {}}.items():
            networks: nn.Module = copy.deepcopy(self.networks)
            optimiser = torch.optim.AdamW(
                networks.parameters(), lr=1e-3, **(chosen or {"foreach": False, "fused": False})
            )
            self.pass_(lambda x: looped(networks, x))()  # noqa: B023
            works[name] = optimiser.step
        whole = self.pass_(lambda x: looped(self.networks, x))
        times = alternate(works | {"pass": whole}, self.rounds, block=0.2)
        for name in ("foreach", "loop"):
            lever = "a loop over the weights in AdamW" if name == "loop" else "foreach AdamW"
            note = "the engine uses the fused one"
            self.add(lever, ratios(times["fused"], times[name]), note=note)
        share = [o / p for o, p in zip(times["fused"], times["pass"], strict=True)]
        self.add("fused AdamW, share of a pass", share, "share", better="lower")

    def compiling(self) -> None:
        """torch.compile of one sub-network, and what the compilation costs."""
        network = self.networks[0]
        compiled = torch.compile(copy.deepcopy(network))
        engine = self.pass_(lambda x: network(x).logits[None])
        other = self.pass_(lambda x: compiled(x).logits[None])
        with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
            once = seconds(other)  # an earlier run's compilation does not count
        self.add("torch.compile, first pass of one sub-network", [once], "s", better="lower")
        self.pair("torch.compile", engine, other, f"the first pass of one sub-network takes {once:.0f} s")


if __name__ == "__main__":
    main()
