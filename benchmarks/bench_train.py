"""Images a second, memory and time to a Dice: our loop, a plain one as papers write it, and one as advised.

    python benchmarks/bench_train.py [--rounds 5] [--cores 1 2] [--quick]

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
import os
import tempfile
import time
from pathlib import Path

from children import Child, peak_memory, serve
from table import Table

LOOPS = {"a": "plain loop", "b": "plain loop as advised", "c": "ours"}
FULL = "seconds with a full cache"
UNITS = {"seconds": "s", FULL: "s", "steps": "steps"}
DISCARDED = 2  # steps at the start of a turn, in which workers hand over what they had read in advance


def main() -> None:
    """Measure all and write the table."""
    options = arguments()
    if options.child:
        return child(options)
    from photographs import SIZES

    table = Table("train", max(options.cores))
    with tempfile.TemporaryDirectory() as temporary:
        for name in SIZES:
            files(name, Path(temporary) / name, options.images)
            for cores in options.cores:
                speed(table, name, Path(temporary) / name, cores, options)
        time_to_dice(table, options)
    table.write()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        default=[1],
        help="threads of each loop, and its cores in all; the first for the time to a Dice",
    )
    parser.add_argument("--steps", type=int, default=6, help="steps timed in one turn")
    parser.add_argument("--images", type=int, default=40, help="files a domain for the speed")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each loop to a Dice")
    parser.add_argument(
        "--dice", type=float, nargs="+", default=[0.85, 0.9], help="on validation cars, to be reached"
    )
    parser.add_argument("--most", type=int, default=300, help="steps after which a loop gives up")
    parser.add_argument("--quick", action="store_true", help="a few small turns, to see that all works")
    parser.add_argument("--child", choices=LOOPS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.seeds, options.images = 1, 1, 1, 16
        options.most, options.dice, options.cores = 20, [0.3, 0.5], [1]
    return options


def files(name: str, folder: Path, most: int, seed: int = 0) -> None:
    """The task's photographs at a size of `SIZES`; Carvana's are enlarged from studio's."""
    from photographs import SIZES, write_task

    from mstl.data import local_task

    native = SIZES["studio"]
    task = local_task("studio", labels=8, seed=seed, size=native)
    write_task(task, folder, SIZES[name][0] // native[0], most)


def speed(table: Table, name: str, folder: Path, cores: int, options: argparse.Namespace) -> None:
    """Step time, images a second and memory of the three on some cores, in turn."""
    from contextlib import ExitStack

    from mstl.config import PROFILES

    profile = PROFILES["quick"]
    with ExitStack() as stack:
        children = {key: stack.enter_context(start(key, folder, options, cores)) for key in LOOPS}
        for one in children.values():
            one.ask("warm up")
        turns: dict[str, list[dict]] = {key: [] for key in LOOPS}
        for turn in range(options.rounds):
            for key in list(LOOPS)[:: -1 if turn % 2 else 1]:
                turns[key].append(children[key].ask())
    size = " photographs of Carvana's size" if name == "carvana" else " photographs of 240×160"
    seconds = {key: [turn["seconds"] for turn in turns[key]] for key in LOOPS}
    where = "1 core" if cores == 1 else f"{cores} cores"
    why = "what is left is the arithmetic of the networks, the same for all three"
    if name == "studio":
        why = f"a small photograph is decoded in no time; {why}"
    for rival, bar in (("a", ">= 3"), ("b", ">= 1.5")):
        over = [r / o for r, o in zip(seconds[rival], seconds["c"], strict=True)]
        table.add(f"images a second, ours over {LOOPS[rival]},{size}", over, at=where, bar=bar, why=why)
    passes = 3 * (profile.batch_size + profile.target_batch_size)  # of an image through a sub-network
    for key, label in LOOPS.items():
        memory = [turn["process"] + turn["workers"] for turn in turns[key]]
        for what, values, unit, better in (
            ("step time", [1e3 * s for s in seconds[key]], "ms", "lower"),
            ("images a second", [passes / s for s in seconds[key]], "images/s", "higher"),
            ("peak memory", memory, "MiB", "lower"),
        ):
            note = f"processes: {1 + turns[key][-1]['processes']}"
            table.add(f"{what}, {label},{size}", values, unit, at=where, better=better, note=note)


def time_to_dice(table: Table, options: argparse.Namespace) -> None:
    """Seconds until validation cars are segmented with each ``--dice``, one run a seed and loop, in turn."""
    taken: dict[str, list[dict]] = {key: [] for key in LOOPS}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            files("studio", Path(temporary) / "files", 10**6, seed)
            for key in list(LOOPS)[:: -1 if seed % 2 else 1]:
                with start(
                    key, Path(temporary) / "files", options, options.cores[0], profile="grid", seed=seed
                ) as one:
                    taken[key].append(one.ask("dice"))
    for goal in map(str, options.dice):
        reached = {key: [run[goal] for run in runs] for key, runs in taken.items()}
        notes = {key: _gave_up(runs, options.most) for key, runs in reached.items()}
        for key, label in LOOPS.items():
            for what, unit in UNITS.items():
                values = [run[what] for run in reached[key]]
                if what != FULL or key == "c":
                    quantity = f"{what} to Dice {goal}, {label}"
                    table.add(quantity, values, unit, better="lower", note=notes[key])
        for what, cache in {"seconds": "", FULL: ", cache full"}.items():
            for rival in "ab":
                over = [r[what] / o[what] for r, o in zip(reached[rival], reached["c"], strict=True)]
                note = "; ".join(
                    filter(None, (notes[rival] and f"{LOOPS[rival]}: {notes[rival]}", notes["c"]))
                )
                label = f"time to Dice {goal}, {LOOPS[rival]} over ours{cache}"
                table.add(label, over, better="higher", note=note)


def _gave_up(runs: list[dict], most: int) -> str:
    missed = sum(not run["reached"] for run in runs)
    return f"{missed} of {len(runs)} runs gave up after {most} steps" if missed else ""


def start(key: str, folder: Path, options: argparse.Namespace, cores: int, **changed: object) -> Child:
    """One loop in a process of its own."""
    given = {name: getattr(options, name) for name in ("steps", "most")} | changed
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    flags += ["--dice", *map(str, options.dice)]
    return Child([__file__, "--child", key, "--folder", str(folder), *flags], cores)


def child(options: argparse.Namespace) -> None:
    """The loop ``--child``: a turn of steps, or a run to a Dice, whenever asked."""
    import torch

    from mstl.config import TrainConfig
    from mstl.data import local_task

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
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
        made, paused, steps, open_goals, found = loop(options, config, made_task), 0.0, 0, options.dice, {}
        while open_goals:
            made.step()
            steps += 1
            if steps % 10 == 0:
                before = time.perf_counter()
                logits = predict_domain(made.predict, made_task.validation)
                score = float(dice_mean_over_images(counts(logits, made_task.validation.masks)))
                paused += time.perf_counter() - before
                taken = time.perf_counter() - start - paused
                ended = [goal for goal in open_goals if score >= goal or steps >= options.most]
                for goal in ended:
                    times = {"seconds": taken + reading[0], FULL: taken + reading[1]}
                    found[goal] = times | {"steps": steps, "reached": score >= goal}
                open_goals = [goal for goal in open_goals if goal not in ended]
    return {str(goal): entry for goal, entry in found.items()}


def workers() -> list[int]:
    """Processes of our own."""
    import multiprocessing

    return [process.pid for process in multiprocessing.active_children()]


if __name__ == "__main__":
    main()
