"""How much does a training step cost beyond the arithmetic of its networks?

    python benchmarks/bench_step.py [--width 16] [--repeat 7]

``step`` is `Trainer.update`: draw and augment a batch, gather, forward, backward, every optimiser, the extra
discriminator updates, averaged weights. ``bare`` is the forward, backward and optimiser steps of the same
networks on one batch that is already there. Both run in turn, in one thread; medians of blocks of steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from mstl.config import TrainConfig
from mstl.train import Trainer


def bare_step(trainer: Trainer, batch) -> None:
    """What no engine can avoid: the networks' own arithmetic."""
    method = trainer.method
    with trainer.fabric.autocast():
        losses = method.losses(batch, 0.5)
    for optimiser in trainer.optimisers:
        optimiser.zero_grad()
    torch.stack(tuple(losses.values())).sum().backward()
    for optimiser in trainer.optimisers:
        optimiser.step()
    for _ in range(method.discriminator_updates):
        trainer.optimisers[1].zero_grad()
        with trainer.fabric.autocast():
            extra = method.discriminator_losses(batch, 0.5)
        torch.stack(tuple(extra.values())).sum().backward()
        trainer.optimisers[1].step()


def seconds(work, steps: int) -> float:
    """Wall time of one of ``steps`` calls."""
    start = time.perf_counter()
    for _ in range(steps):
        work()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure every method and print a line each."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--width", type=int)
    options.add_argument("--repeat", type=int, default=7)
    options.add_argument("--steps", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    print(f"{'method':<16}{'step ms':>10}{'bare ms':>10}{'step/bare':>11}   (asked: at most 1.10)")
    for method in ("mstl", "source_combine"):
        config = TrainConfig(method=method, width=chosen.width)
        trainer = Trainer(config, config.task())
        batch = next(trainer.batches)
        trainer.update()
        bare_step(trainer, batch)
        ours, bare = [], []
        for _ in range(chosen.repeat):
            ours.append(seconds(trainer.update, chosen.steps))
            bare.append(seconds(lambda: bare_step(trainer, batch), chosen.steps))  # noqa: B023
        ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
        o, b = 1e3 * statistics.median(ours), 1e3 * statistics.median(bare)
        print(f"{method:<16}{o:>10.1f}{b:>10.1f}{ratio:>11.3f}", flush=True)


if __name__ == "__main__":
    main()
