"""The profile ``full`` where each source labels a part: trained as in a paper, beside the strongest rivals.

All runs of a comparison share the GPU. One of each method is timed alone and all are timed together first;
then they get as many steps as the clock allows, MSTL-plus at most the profile's own and every other method as
much *time* as MSTL-plus, by the times measured alone. Photographs where their folder is at hand, else studio.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from step import Clock, archive, arguments
from table import Table
from workers import Worker, ask_all

from mstl.run.config import PROFILES, TrainConfig

SEEDS = (10, 11, 12, 13, 14)
# Labels -> ours first; then the best rival, what it is compared with, and the control (page 15).
METHODS = {
    0: ({"method": "mstl_plus"}, {"method": "source_combine"}, {"method": "multi_head"}),
    4: ({"method": "mstl_plus"}, {"method": "target_only", "mean_teacher": 1.0}, {"method": "multi_head"}),
}
MARGIN = (
    0.75  # of the time that is left: the rest is for evaluation, and for a method that shares the GPU badly
)
START = 90  # seconds for a worker to read its data and make its first step
ALONE, TOGETHER = 1.5, 6.0  # seconds of timing


def main() -> int:
    """Train and archive; status 1 if a run failed."""
    options, clock = arguments()
    data, folder = ("carparts", options.carparts) if options.carparts else ("studio", None)
    table = Table("full", folder=options.out)
    failures = []
    with tempfile.TemporaryDirectory() as runs:
        for position, labels in enumerate(METHODS):
            part = Clock(clock.left / (len(METHODS) - position))
            failures += compare(
                configs(data, folder, labels, runs, options.small), part, options.small, table
            )
            print(f"{labels} labels: {archive(Path(runs), options.out)} runs in the archive", flush=True)
            table.write()
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def configs(data: str, folder: str | None, labels: int, runs: str, small: bool) -> list[TrainConfig]:
    """All methods at all seeds; seeds are outermost."""
    common = dict(data=data, data_dir=folder, recipe="masks", labels=labels, out=runs)
    common["profile"] = "tiny" if small else "full"
    seeds = SEEDS[:1] if small else SEEDS
    return [TrainConfig(**common, **one, seed=seed) for seed in seeds for one in METHODS[labels]]


def compare(wanted: list[TrainConfig], clock: Clock, small: bool, table: Table) -> list[str]:
    """Time, then train; returns what failed."""
    wanted[0].task()  # decoded once, for all
    names = {config: f"{config.data}, {config.labels} labels, {config.variant}" for config in wanted}
    workers = [Worker(config) for config in wanted]
    try:
        started = ask_all(workers, START, seconds=0.0, most=1)
        failures = [
            f"{names[w.config]}: {f['error']}" for w, f in zip(workers, started, strict=True) if "error" in f
        ]
        alive = [w for w, found in zip(workers, started, strict=True) if "error" not in found]
        alone: dict[str, float] = {}
        for worker in alive:
            if (name := names[worker.config]) in alone:
                continue
            (found,) = ask_all([worker], 30, seconds=0.1 if small else ALONE)
            alone[name] = found["seconds"] / found["steps"]
            note = f"profile {worker.config.profile}, {found['precision']}"
            table.add("step time, alone on the device", [1e3 * alone[name]], "ms", at=name, note=note)
            table.add("memory, alone on the device", [found["memory"]], "GiB", at=name, note=note)
        both = ask_all(alive, 60, seconds=0.1 if small else TOGETHER)
        if late := next((found["error"] for found in both if "error" in found), None):
            raise RuntimeError(late)
        gain = sum(
            alone[names[w.config]] * f["steps"] / f["seconds"] for w, f in zip(alive, both, strict=True)
        )
        at = f"{wanted[0].data}, {wanted[0].labels} labels, {len(alive)} runs"
        table.add("work of all runs together over one after the other", [gain], at=at)
        slowest = {}
        for worker, found in zip(alive, both, strict=True):
            name = names[worker.config]
            slowest[name] = max(slowest.get(name, 0.0), found["seconds"] / found["steps"])
        steps = shares(alone, slowest, clock.left * MARGIN, PROFILES[wanted[0].profile].steps)
        for worker in alive:
            worker.tell(train=steps[names[worker.config]])
        for worker in alive:
            found = worker.answer(max(1.0, clock.left))  # what others have answered meanwhile is kept
            name = names[worker.config]
            if "error" in found:
                failures.append(f"{name}, seed {worker.config.seed}: {found['error']}")
            else:
                at = f"{name}, seed {worker.config.seed}"
                table.add("steps trained", [steps[name]], "steps", at=at)
                table.add("seconds of the run, beside the others", [found["seconds"]], "s", at=at)
        return failures
    finally:
        for worker in workers:
            worker.end()


def shares(alone: dict[str, float], together: dict[str, float], seconds: float, most: int) -> dict[str, int]:
    """Steps of each method: the first gets up to ``most``, every other as much time, alone on the device.

    Args:
        alone: method -> seconds of a step, alone on the device; the first is ours.
        together: method -> seconds of a step beside all other runs.
        seconds: how long they may train beside each other.
        most: steps of the first at most.
    """
    ours = next(iter(alone.values()))
    relative = {name: ours / taken for name, taken in alone.items()}
    first = max(1, min(most, int(seconds / max(relative[name] * together[name] for name in alone))))
    return {name: max(1, round(first * factor)) for name, factor in relative.items()}


if __name__ == "__main__":
    sys.exit(main())
