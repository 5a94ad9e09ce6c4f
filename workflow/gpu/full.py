"""The profile ``full`` on studio and, where its folder is at hand, on photographs: what a paper would train.

All runs of a data set share the GPU. They are timed alone and together first, and then get as many steps as
the clock allows, at most the profile's own; the pooled network with mean teacher gets as much *time* as
MSTL-plus, by the times measured alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from step import Clock, archive, arguments
from table import Table
from workers import Worker, ask_all

from mstl.run.config import PROFILES, TrainConfig

SEED = 5
MARGIN = 0.6  # of the time that is left: evaluation, and the largest run ends alone, long after the others
START = 90  # seconds for a worker to read its data and make its first step
ALONE, TOGETHER = 1.5, 4.0  # seconds of timing


def main() -> int:
    """Train and archive; status 1 if a run failed."""
    options, clock = arguments()
    data = {"studio": None} | ({"carparts": options.carparts} if options.carparts else {})
    table = Table("full", folder=options.out)
    failures = []
    with tempfile.TemporaryDirectory() as runs:
        for position, (name, folder) in enumerate(data.items()):
            part = Clock(clock.left / (len(data) - position))
            failures += compare(name, folder, Path(runs), part, options.small, table)
            print(f"{name}: {archive(Path(runs), options.out)} finished runs in the archive", flush=True)
            table.write()
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def configs(data: str, folder: str | None, runs: Path, small: bool) -> list[TrainConfig]:
    """Ours, what they are measured against, and both references."""
    common = dict(data=data, data_dir=folder, out=str(runs), seed=SEED, labels=4 if data == "carparts" else 8)
    common |= {"profile": "tiny" if small else "full"}
    chosen = [{"method": name} for name in ("mstl_plus", "mstl", "pooled_ensemble", "target_only", "oracle")]
    chosen.append({"method": "source_combine", "mean_teacher": 10.0})
    return [TrainConfig(**common, **one) for one in chosen]


def compare(data: str, folder: str | None, runs: Path, clock: Clock, small: bool, table: Table) -> list[str]:
    """Time, then train all methods on one data set; returns what failed."""
    wanted = configs(data, folder, runs, small)
    wanted[0].task()  # decoded once, for all
    workers = [Worker(config) for config in wanted]
    try:
        started = ask_all(workers, START, seconds=0.0, most=1)
        failures = [
            f"{data} {w.config.variant}: {found['error']}"
            for w, found in zip(workers, started, strict=True)
            if "error" in found
        ]
        alive = [w for w, found in zip(workers, started, strict=True) if "error" not in found]
        alone = {}
        for worker in alive:
            (found,) = ask_all([worker], 30, seconds=0.1 if small else ALONE)
            alone[worker] = found["seconds"] / found["steps"]
            note = f"profile {worker.config.profile}, {found['precision']}"
            label = f"{data} {worker.config.variant}"
            table.add("step time, alone on the device", [1e3 * alone[worker]], "ms", at=label, note=note)
            table.add("memory, alone on the device", [found["memory"]], "GiB", at=label, note=note)
        both = ask_all(alive, 60, seconds=0.1 if small else TOGETHER)
        if late := next((found["error"] for found in both if "error" in found), None):
            raise RuntimeError(f"{data}: {late}")
        gain = sum(alone[w] * found["steps"] / found["seconds"] for w, found in zip(alive, both, strict=True))
        table.add("work of all runs together over one after the other", [gain], at=data)
        steps = shares(alone, clock.left * MARGIN * gain, PROFILES[wanted[0].profile].steps)
        for worker in alive:
            worker.tell(train=steps[worker])
        for worker in alive:
            found = worker.answer(max(1.0, clock.left))  # what others have answered meanwhile is kept
            label = f"{data} {worker.config.variant}"
            if "error" in found:
                failures.append(f"{label}: {found['error']}")
            else:
                table.add("steps trained", [steps[worker]], "steps", at=label)
                table.add("seconds of the run, beside the others", [found["seconds"]], "s", at=label)
        return failures
    finally:
        for worker in workers:
            worker.end()


def shares(alone: dict[Worker, float], seconds: float, most: int) -> dict[Worker, int]:
    """Steps of each run: equal ones, but for the pooled network, which gets the time of MSTL-plus."""
    plus = next((t for w, t in alone.items() if w.config.method == "mstl_plus"), None)
    relative = {
        w: plus / t if plus and w.config.method == "source_combine" else 1.0 for w, t in alone.items()
    }
    cost = sum(relative[w] * t for w, t in alone.items())
    equal = max(1, min(most, int(seconds / cost)))
    return {w: max(1, round(equal * relative[w])) for w in alone}


if __name__ == "__main__":
    sys.exit(main())
