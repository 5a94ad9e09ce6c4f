"""Our loop beside the plain and the advised one of papers, and what torch.compile would bring."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_train import speed as images_a_second
from loops import files
from rounds import alternate, ratios
from speed import measure
from step import Clock, arguments
from table import Table, cores

from mstl.nn import SubNetworks, segmentation_loss
from mstl.run.config import TrainConfig


def main() -> int:
    """Measure both; returns the exit status."""
    options, clock = arguments()
    return measure(Table("rivals", folder=options.out), (over_plain, compiled), options.small, clock)


def over_plain(table: Table, small: bool, clock: Clock) -> None:
    """Our loop against the plain and the advised one of `benchmarks/loops.py`, on photographs on the disk."""
    # Writing and decoding photographs of Carvana's size is what takes time: few of them do.
    chosen = argparse.Namespace(rounds=1 if small else 2, steps=2 if small else 4, images=16)
    for name in ("studio",) if small else ("carvana",):
        with tempfile.TemporaryDirectory() as folder:
            files(name, Path(folder), chosen.images)
            images_a_second(table, name, Path(folder), 1 if small else min(8, cores()), chosen)


def compiled(table: Table, small: bool, clock: Clock) -> None:
    """torch.compile of one sub-network: what the first pass costs, and what later ones save."""
    if small or not torch.cuda.is_available() or clock.left < 20:
        return
    for profile in ("quick", "full"):
        config = TrainConfig(profile=profile)
        network = (
            SubNetworks(1, width=config.profiled("width"))[0].cuda().to(memory_format=torch.channels_last)
        )
        n, size = config.profiled("target_batch_size"), config.profiled("size")
        images = torch.randn(n, 3, *size, device="cuda").to(memory_format=torch.channels_last)
        masks = (torch.rand(n, 1, *size, device="cuda") > 0.5).float()
        fast = torch.compile(network)

        def once(module: Callable, images=images, masks=masks) -> None:
            with torch.autocast("cuda", torch.bfloat16):
                loss = segmentation_loss(module(images).logits, masks)
            loss.backward()

        start = time.perf_counter()
        once(fast)
        torch.cuda.synchronize()
        table.add(
            "torch.compile, first pass of one sub-network", [time.perf_counter() - start], "s", at=profile
        )
        times = alternate(
            {"eager": lambda o=once, m=network: o(m), "compiled": lambda o=once, m=fast: o(m)}, 3
        )
        table.add(
            "eager over compiled", ratios(times["eager"], times["compiled"]), at=profile, better="higher"
        )
        if clock.left < 30:
            return


if __name__ == "__main__":
    sys.exit(main())
