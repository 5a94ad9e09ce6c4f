"""What does a step of each method cost, in steps of source-combine?

    python benchmarks/bench_methods.py [--recipe parts] [--labels 4] [--repeat 12]

Profile `grid`, studio, J = 3: the ratios behind the rows at equal time in `workflow/sweeps/main.yaml`, and
with `--recipe masks` in `masks.yaml`.
All methods take turns in one process; the median of processor time is compared, so other work on the machine
weighs on all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from mstl.methods import METHODS
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer


def main() -> None:
    """Time the methods and print one line each, the cheapest first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="parts")
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    references = ("oracle",) if options.labels else ("oracle", "target_only")
    variants = [(method, None) for method in METHODS if method not in references]
    if options.labels:
        variants += [("source_combine", 10.0)]
    trainers = {}
    for method, teacher in variants:
        asked = {"recipe": options.recipe, "labels": options.labels, "mean_teacher": teacher}
        config = TrainConfig(profile="grid", method=method, **asked)
        trainers[config.variant] = Trainer(config, config.task())
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(options.repeat + 2):
        for name, trainer in trainers.items():
            start = time.process_time()
            trainer.update()
            if turn >= 2:  # the first ones warm up
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        print(f"{name:<34}{1e3 * median:>6.0f} ms {median / medians['source_combine']:>6.2f}×")


if __name__ == "__main__":
    main()
