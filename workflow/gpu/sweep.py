"""A sweep on one GPU: its runs share the device, most informative first, until the clock ends.

Seeds are outermost in a sweep file, so that what is finished when time runs out is balanced over methods.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from step import archive, arguments

import sweep_file
from mstl.run.config import TrainConfig

AT_ONCE = 12  # processes that share the device


def main() -> int:
    """Train what the clock allows and archive it; status 1 if a run failed or time ran out."""
    options, clock = arguments()
    folders = {"carparts": options.carparts or None}
    with tempfile.TemporaryDirectory() as runs:
        sweep = sweep_file.read(sweep_file.find(options.sweep)[0], folders, runs)
        configs = sweep.configs[:4] if options.small else sweep.configs
        jobs, done = (
            multiprocessing.get_context("spawn").Queue(),
            multiprocessing.get_context("spawn").Queue(),
        )
        for config in configs:
            jobs.put(config)
        workers = min(2 if options.small else AT_ONCE, len(configs), os.cpu_count() or 1)
        processes = [
            multiprocessing.get_context("spawn").Process(
                target=work, args=(jobs, done, options.small), daemon=True
            )
            for _ in range(workers)
        ]
        for process in processes:
            process.start()
        finished, failures, last = 0, [], time.monotonic()
        while (
            finished + len(failures) < len(configs)
            and clock.left > 3
            and any(p.is_alive() for p in processes)
        ):
            try:
                name, error = done.get(timeout=1)
            except Exception:  # nothing yet
                continue
            finished, failures = finished + (not error), failures + ([f"{name}: {error}"] if error else [])
            if time.monotonic() - last > 15:
                last = time.monotonic()
                print(f"{finished} of {len(configs)} runs, {clock.left:.0f} s left", flush=True)
                archive(Path(runs), options.out)
        for process in processes:
            process.kill()
        held = archive(Path(runs), options.out)
    for failure in failures:
        print(f"FAILED {failure}")
    left = len(configs) - finished - len(failures)
    print(f"{finished} of {len(configs)} runs finished, {left} not begun or cut short; {held} in the archive")
    return 1 if failures or left else 0


def work(jobs, done, small: bool) -> None:
    """One process: train jobs until there are no more."""
    import queue
    from dataclasses import replace

    import torch

    from mstl.run.train import train

    torch.set_num_threads(1)
    tasks: dict[tuple, object] = {}
    while True:
        try:
            config: TrainConfig = jobs.get(timeout=1)
        except queue.Empty:
            return
        if small:
            config = replace(config, profile="tiny", steps=None)
        name = config.folder.relative_to(config.out).as_posix()
        try:
            key = (config.data, config.setting, config.labels, config.seed)
            task = tasks.get(key)
            if task is None:
                tasks = {key: config.task()}  # one at a time in memory
                task = tasks[key]
            train(config, task=task)
            done.put((name, ""))
        except Exception as error:  # the other runs go on
            done.put((name, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


if __name__ == "__main__":
    sys.exit(main())
