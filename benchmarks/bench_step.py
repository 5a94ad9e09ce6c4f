"""How much does a training step cost beyond the arithmetic of its networks?

    python benchmarks/bench_step.py [--profile quick] [--rounds 9] [--quick]

``step`` is `Trainer.update` and the record of its losses: draw and augment a batch, forward, backward,
every optimiser, the extra discriminator updates, averaged weights. ``bare`` is the forward, backward and
optimiser steps of the same networks on one batch that is already there. They take turns, in one thread.
What the difference is made of is measured beside it, piece by piece.

Of classes the same is asked on noise in the form of the papers, vectors of 5,000 counts in the profile `mdan`
and digits of 28x28 pixels in the profile `digits`; and how much memory a process takes that reads 27,000
such vectors.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from bare import bare_step, prepared
from noise import task_of_classes
from options import options
from rounds import alternate, ratios
from table import Table

from mstl.data.batches import Batch
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

CLASSES = {  # data whose networks fit, recipe, profile, an input, number of classes
    "5,000 counts": ("amazon", "to-books", "mdan", (5000, 1, 1), 2),
    "digits": ("digits", "to-handwritten", "digits", (3, 28, 28), 10),
}


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 9, quick="the profile tiny and one round")
    parser.add_argument("--profile", default="quick")
    chosen = parser.parse_args()
    profile, rounds = ("tiny", 1) if chosen.quick else (chosen.profile, chosen.rounds)
    torch.set_num_threads(1)
    table = Table("step")
    for method in ("mstl", "mstl_plus", "source_combine"):
        measure(table, method, *prepared(profile=profile, method=method), rounds, method, 1.05)
    for name, method, trainer, batch in on_classes():
        measure(table, method, trainer, batch, rounds, f"{method}, {name}", 1.1)
    read, trained = memory(chosen.quick)
    table.add("memory, 27,000 vectors of 5,000 counts read", [read], "GiB", bar="<= 1")
    table.add("memory, a step made on them", [trained], "GiB", better="lower")
    table.write()


def measure(
    table: Table, method: str, trainer: Trainer, batch: Batch, rounds: int, at: str, bar: float
) -> None:
    """The rows of one method."""
    # The teacher of MSTL-plus is part of its arithmetic: the bare step gets a batch it has labelled.
    batch = trainer._taught(batch)
    works = {
        "step": lambda: trainer.record.add(trainer.update()),
        "bare": lambda: bare_step(trainer, batch),
    }
    if method == "mstl":
        works["gather and augment a batch"] = lambda: next(trainer.batches)
    if method == "mstl" and trainer.averaged is not None:
        works["average the weights"] = lambda: trainer.averaged.update_parameters(trainer.method)
    if method == "mstl_plus":
        works["ask the teacher"] = lambda: trainer._taught(batch)
    times = alternate(works, rounds, block=1.0)
    table.add(
        "step over bare compute",
        ratios(times["step"], times["bare"]),
        at=at,
        bar=f"<= {bar}" if method != "mstl_plus" else "",
        why="what the engine adds is averaging the weights, drawing and augmenting a batch",
        better="lower",
        note="the teacher's forward pass is not in the bare step" if method == "mstl_plus" else "",
    )
    for name, taken in times.items():
        share = [t / b for t, b in zip(taken, times["bare"], strict=True)]
        table.add(f"{name}, time", [1e3 * t for t in taken], "ms", at=at, better="lower")
        if name not in ("step", "bare"):
            table.add(f"{name}, share of bare compute", share, "share", at=at, better="lower")


def on_classes() -> Iterator[tuple[str, str, Trainer, Batch]]:
    """What is measured, the method, a trainer that has made a step, and a batch."""
    for name, (data, recipe, profile, shape, classes) in CLASSES.items():
        task = task_of_classes(3, shape, classes)
        for method in ("dann", "mdan_soft", "mstl"):
            trainer = Trainer(TrainConfig(data=data, recipe=recipe, profile=profile, method=method), task)
            trainer.update()
            yield name, method, trainer, next(trainer.batches)


def memory(quick: bool) -> list[float]:
    """Largest memory in GiB of a process that has read such files, and once it has made a step."""
    command = [sys.executable, str(Path(__file__).with_name("many_counts.py")), *["--quick"] * quick]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(number) for number in answer.split()]


if __name__ == "__main__":
    main()
