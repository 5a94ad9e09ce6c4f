"""A T4's settings imitated, as a reader on Colab has them: float16 and 16 GB, at the profile ``full``.

The arithmetic is this GPU's own, so that times are not a T4's; what is shown is that losses stay finite in
float16 and how much memory a run takes.
"""

from __future__ import annotations

import math
import sys
import time

import torch
from step import arguments
from table import Table

from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

MEMORY = 15.0  # GiB that a T4 of 16 GB leaves to a process
METHODS = ("mstl_plus", "mstl", "source_combine")


def main() -> int:
    """Measure each method for its share of the clock."""
    options, clock = arguments()
    table = Table("t4", folder=options.out)
    cuda = torch.cuda.is_available()
    if cuda:
        whole = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(min(1.0, MEMORY / whole))
    for position, method in enumerate(METHODS):
        config = TrainConfig(
            method=method,
            profile="tiny" if options.small else "full",
            precision="16-mixed" if cuda else "bf16-mixed",
        )
        trainer = Trainer(config, config.task())
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        share, steps = 0.7 * clock.left / (len(METHODS) - position), 0
        start = time.perf_counter()
        while steps < (10 if options.small else 200) and time.perf_counter() - start < share:
            trainer.record.add(trainer.update())
            steps += 1
        line = trainer._log_line()  # waits for the device
        taken = (time.perf_counter() - start) / steps
        note = f"{config.precision}, profile {config.profile}, {steps} steps"
        table.add("step time on this device", [1e3 * taken], "ms", at=method, note=note)
        if cuda:
            peak = torch.cuda.max_memory_allocated() / 2**30
            table.add("peak memory", [peak], "GiB", at=method, bar=f"<= {MEMORY:g}", note=note)
            scale = trainer.fabric.strategy.precision.scaler.get_scale()
            table.add("scale of the loss after the last step", [scale], "scale", at=method, note=note)
        table.add("loss after the last step", [line["loss"]], "loss", at=method, note=note)
        table.write()
        if not math.isfinite(line["loss"]):
            print(f"{method}: the loss is {line['loss']} in float16")
            return 1
        del trainer
    return 0


if __name__ == "__main__":
    sys.exit(main())
