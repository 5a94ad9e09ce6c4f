"""The three loops that are compared, each in a process of its own that works when it is asked.

(a) `plain_loop.PlainLoop` in one process; (b) the same after the usual advice, with a worker process for each
of its five DataLoaders; (c) `mstl.run.train.Trainer` in one process. All train MSTL's networks on studio,
J = 3, 8 labels.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import torch
from children import Child, peak_memory, serve
from photographs import SIZES, write_task
from plain_loop import PlainLoop

from mstl.data import local_task
from mstl.data.task import Task
from mstl.problems.segmentation import counts, dice_mean_over_images
from mstl.run.config import TrainConfig
from mstl.run.evaluate import predict_domain
from mstl.run.train import Trainer

LOOPS = {"a": "plain loop", "b": "plain loop as advised", "c": "ours"}
DISCARDED = 2  # steps at the start of a turn, in which workers hand over what they had read in advance
FULL = "seconds with a full cache"


def files(name: str, folder: Path, most: int, seed: int = 0) -> None:
    """The task's photographs at a size of `SIZES`; Carvana's are enlarged from studio's."""
    native = SIZES["studio"]
    task = local_task("studio", labels=8, seed=seed, size=native)
    write_task(task, folder, SIZES[name][0] // native[0], most)


def start(key: str, folder: Path, cores: int, **flags: object) -> Child:
    """One loop in a process of its own; ``flags`` as below."""
    given = [text for name, value in flags.items() for text in (f"--{name}", *str(value).split())]
    return Child([__file__, "--loop", key, "--folder", str(folder), *given], cores)


def main() -> None:
    """The child: a turn of steps, or a run to a Dice, whenever asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=LOOPS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--dice", type=float, nargs="+", default=[])
    parser.add_argument("--most", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config = TrainConfig(profile=options.profile, seed=options.seed)
    made = None if options.dice else made_loop(options, config, task_of(config))
    serve(lambda question: run_to_dice(options, config) if options.dice else turn(made, options.steps))


def turn(made: PlainLoop | Ours, steps: int) -> dict[str, float]:
    """Seconds a step, and memory."""
    for _ in range(DISCARDED):
        made.step()
    start = time.perf_counter()
    for _ in range(steps):
        made.step()
    taken = (time.perf_counter() - start) / steps
    return {"seconds": taken, "processes": 1 + len(multiprocessing.active_children()), **peak_memory()}


def task_of(config: TrainConfig, cache: str | None = None) -> Task:
    """What all three train on, at the working size."""
    return local_task("studio", labels=8, seed=config.seed, size=config.profiled("size"), cache_dir=cache)


def made_loop(options: argparse.Namespace, config: TrainConfig, task: Task) -> PlainLoop | Ours:
    """What ``--loop`` names, with ``step`` and ``predict``."""
    if options.loop == "c":
        return Ours(Trainer(config, task))
    advised = options.loop == "b"
    return PlainLoop(config, task, options.folder, workers=int(advised), advice=advised)


class Ours:
    """The engine with the names of the plain loops."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.predict = trainer.predict

    def step(self) -> None:
        """One step, with the bookkeeping of `Trainer.fit`."""
        self.trainer.record.add(self.trainer.update())


def run_to_dice(options: argparse.Namespace, config: TrainConfig) -> dict[str, dict[str, float]]:
    """Train until ``--dice`` is reached; the clock stands still while validation cars are segmented."""
    with tempfile.TemporaryDirectory() as cache:
        reading = []
        for _ in range(2):  # the cache is empty, then full; the plain loops only ask for sizes
            start = time.perf_counter()
            task = task_of(config, cache if options.loop == "c" else None)
            reading.append(time.perf_counter() - start if options.loop == "c" else 0.0)
        start = time.perf_counter()
        made, paused, steps, open_goals, found = made_loop(options, config, task), 0.0, 0, options.dice, {}
        while open_goals:
            made.step()
            steps += 1
            if steps % 10 == 0:
                before = time.perf_counter()
                logits = predict_domain(made.predict, task.validation)
                score = float(dice_mean_over_images(counts(logits, task.validation.masks)))
                paused += time.perf_counter() - before
                taken = time.perf_counter() - start - paused
                ended = [goal for goal in open_goals if score >= goal or steps >= options.most]
                for goal in ended:
                    times = {"seconds": taken + reading[0], FULL: taken + reading[1]}
                    found[goal] = times | {"steps": steps, "reached": score >= goal}
                open_goals = [goal for goal in open_goals if goal not in ended]
    return {str(goal): entry for goal, entry in found.items()}


if __name__ == "__main__":
    main()
