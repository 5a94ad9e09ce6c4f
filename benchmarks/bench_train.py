"""Images a second, memory and time to a Dice: our loop, a plain one as papers write it, and one as advised.

    python benchmarks/bench_train.py [--rounds 5] [--cores 1] [--quick]

All three train MSTL's networks on the same task (studio, J = 3, 8 labels) on the same cores, each in
processes of its own: (a) `plain_loop.PlainLoop` in one process; (b) the same after the usual advice, with a
worker process for each of its five DataLoaders; (c) `mstl.train.Trainer` in one process. Photographs are
files of Carvana's size, and of studio's own small one. They take turns; ratios are of one round each.

Time to a Dice counts from the start of reading data and leaves out the evaluations. Ours decodes everything
first, into an empty cache; the time with a full one is given, too. It is measured on the small photographs,
which suits the peers, with the profile `grid`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from children import Child, peak_memory, serve
from table import Table

LOOPS = {"a": "plain loop", "b": "plain loop as advised", "c": "ours"}
DISCARDED = 2  # steps at the start of a turn, in which workers hand over what they had read in advance


def main() -> None:
    """Measure all and write the table."""
    options = arguments()
    if options.child:
        return child(options)
    from photographs import SIZES

    from mstl.config import PROFILES

    table = Table("train", options.cores)
    with tempfile.TemporaryDirectory() as temporary:
        for name in SIZES:
            files(name, PROFILES["quick"].size, Path(temporary) / name, options.images)
            speed(table, name, Path(temporary) / name, options)
        time_to_dice(table, options)
    table.write()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1, help="threads of each loop, and its cores in all")
    parser.add_argument("--steps", type=int, default=6, help="steps timed in one turn")
    parser.add_argument("--images", type=int, default=40, help="files a domain for the speed")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each loop to a Dice")
    parser.add_argument("--dice", type=float, default=0.8, help="on validation cars, to be reached")
    parser.add_argument("--most", type=int, default=600, help="steps after which a loop gives up")
    parser.add_argument("--quick", action="store_true", help="a few small turns, to see that all works")
    parser.add_argument("--child", choices=LOOPS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.seeds, options.images = 1, 1, 1, 16
        options.most, options.dice = 20, 0.3
    return options


def files(name: str, working: tuple[int, int], folder: Path, most: int, seed: int = 0) -> None:
    """The task's photographs at a size of `SIZES`; Carvana's are enlarged from studio's."""
    from photographs import SIZES, write_task

    from mstl.data import local_task

    native = SIZES["studio"]
    task = local_task("studio", labels=8, seed=seed, size=native)
    write_task(task, folder, SIZES[name][0] // native[0], most)


def speed(table: Table, name: str, folder: Path, options: argparse.Namespace) -> None:
    """Step time, images a second and memory of the three, in turn."""
    from contextlib import ExitStack

    from mstl.config import PROFILES

    profile = PROFILES["quick"]
    with ExitStack() as stack:
        children = {key: stack.enter_context(start(key, folder, options)) for key in LOOPS}
        for one in children.values():
            one.ask("warm up")
        turns: dict[str, list[dict]] = {key: [] for key in LOOPS}
        for turn in range(options.rounds):
            for key in list(LOOPS)[:: -1 if turn % 2 else 1]:
                turns[key].append(children[key].ask())
    size = " photographs of Carvana's size" if name == "carvana" else " photographs of 240×160"
    seconds = {key: [turn["seconds"] for turn in turns[key]] for key in LOOPS}
    why = "what is left is the arithmetic of the networks, the same for all three"
    if name == "studio":
        why = f"a small photograph is decoded in no time; {why}"
    for rival, bar in (("a", ">= 3"), ("b", ">= 1.5")):
        table.add(
            f"images a second, ours over {LOOPS[rival]},{size}",
            [r / o for r, o in zip(seconds[rival], seconds["c"], strict=True)],
            bar=bar,
            why=why,
        )
    passes = 3 * (profile.batch_size + profile.target_batch_size)  # of an image through a sub-network
    for key, label in LOOPS.items():
        table.add(f"step time, {label},{size}", [1e3 * s for s in seconds[key]], "ms", better="lower")
        table.add(f"images a second, {label},{size}", [passes / s for s in seconds[key]], "images/s")
        memory = [turn["process"] + turn["workers"] for turn in turns[key]]
        processes = f"processes: {1 + turns[key][-1]['processes']}"
        table.add(f"peak memory, {label},{size}", memory, "MiB", better="lower", note=processes)


def time_to_dice(table: Table, options: argparse.Namespace) -> None:
    """Seconds until validation cars are segmented with ``--dice``, one run a seed and loop, in turn."""
    taken: dict[str, list[dict]] = {key: [] for key in LOOPS}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            files("studio", (48, 72), Path(temporary) / "files", 10**6, seed)
            for key in list(LOOPS)[:: -1 if seed % 2 else 1]:
                with start(key, Path(temporary) / "files", options, profile="grid", seed=seed) as one:
                    taken[key].append(one.ask("dice"))
    goal = f"Dice {options.dice:g} on validation cars"
    for key, label in LOOPS.items():
        missed = sum(not run["reached"] for run in taken[key])
        note = f"{missed} of {options.seeds} runs gave up after {options.most} steps" if missed else ""
        for what, unit in (("seconds", "s"), ("seconds, cache full", "s"), ("steps", "steps")):
            values = [run[what] for run in taken[key]]
            table.add(f"{what} to {goal}, {label}", values, unit, better="lower", note=note)
    for what, cache in {"seconds": "", "seconds, cache full": ", cache full"}.items():
        for rival in "ab":
            over = [r[what] / o[what] for r, o in zip(taken[rival], taken["c"], strict=True)]
            table.add(f"time to {goal}, {LOOPS[rival]} over ours{cache}", over, better="higher")


def start(key: str, folder: Path, options: argparse.Namespace, **changed: object) -> Child:
    """One loop in a process of its own."""
    given = {name: getattr(options, name) for name in ("cores", "steps", "dice", "most")} | changed
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return Child([__file__, "--child", key, "--folder", str(folder), *flags], options.cores)


def child(options: argparse.Namespace) -> None:
    """The loop ``--child``: a turn of steps, or a run to a Dice, whenever asked."""
    import torch

    from mstl.config import TrainConfig
    from mstl.data import local_task

    torch.set_num_threads(options.cores)
    config = TrainConfig(profile=options.profile, seed=options.seed)

    def task(cache: str | None = None):
        return local_task("studio", labels=8, seed=config.seed, size=config.profiled("size"), cache_dir=cache)

    made = None if options.profile == "grid" else loop(options, config, task())

    def answer(question: str) -> dict:
        if question == "dice":
            return run_to_dice(options, config, task)
        for _ in range(DISCARDED):
            made.step()
        start = time.perf_counter()
        for _ in range(options.steps):
            made.step()
        taken = (time.perf_counter() - start) / options.steps
        return {"seconds": taken, "processes": len(workers()), **peak_memory()}

    serve(answer)


def loop(options: argparse.Namespace, config, task):
    """What ``--child`` names, with ``step`` and ``predict``."""
    if options.child == "c":
        from mstl.train import Trainer

        return Ours(Trainer(config, task))
    from plain_loop import PlainLoop

    advised = options.child == "b"
    return PlainLoop(config, task, options.folder, workers=int(advised), advice=advised)


class Ours:
    """The engine with the names of the plain loops."""

    def __init__(self, trainer) -> None:
        self.trainer = trainer
        self.predict = trainer.predict

    def step(self) -> None:
        """One step, with the bookkeeping of `Trainer.fit`."""
        self.trainer.record.add(self.trainer.update())


def run_to_dice(options: argparse.Namespace, config, task) -> dict:
    """Train until ``--dice`` is reached; the clock stands still while validation cars are segmented."""
    from mstl.evaluate import counts, dice_mean_over_images, predict_domain

    with tempfile.TemporaryDirectory() as cache:
        reading = []
        for _ in range(2):  # the cache is empty, then full; the plain loops only ask for sizes
            start = time.perf_counter()
            made_task = task(cache)
            reading.append(time.perf_counter() - start if options.child == "c" else 0.0)
        start = time.perf_counter()
        made, paused, steps, score = loop(options, config, made_task), 0.0, 0, 0.0
        while score < options.dice and steps < options.most:
            made.step()
            steps += 1
            if steps % 10 == 0:
                before = time.perf_counter()
                logits = predict_domain(made.predict, made_task.validation)
                score = float(dice_mean_over_images(counts(logits, made_task.validation.masks)))
                paused += time.perf_counter() - before
        taken = time.perf_counter() - start - paused
    cold, warm = (taken + read for read in reading)
    return {"seconds": cold, "seconds, cache full": warm, "steps": steps, "reached": score >= options.dice}


def workers() -> list[int]:
    """Processes of our own."""
    import multiprocessing

    return [process.pid for process in multiprocessing.active_children()]


if __name__ == "__main__":
    main()
