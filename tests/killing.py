"""Runs killed at random points and started again: ``python tests/killing.py OUT KILLS SEED METHOD``.

One process imports everything and forks a child for each attempt, which executes the real command line. The
child's phase lies in memory that both share, so that the parent can aim, and can say afterwards what it hit.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from mstl import __main__ as command_line
from mstl.run import train as training
from mstl.run.config import TrainConfig

PHASES = ("elsewhere", "data", "step", "metrics", "checkpoint", "evaluation", "manifest")
STEPS = 30


class Watch:
    """What a child is doing: its phase, and how often it has entered each."""

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, 1 + len(PHASES))

    def reset(self) -> None:
        self.shared[:] = bytes(len(self.shared))

    @property
    def phase(self) -> str:
        return PHASES[self.shared[0]]

    def entered(self, phase: str) -> int:
        return self.shared[1 + PHASES.index(phase)]

    def around(self, owner, name: str, phase: str) -> None:
        """Let ``owner.name`` say when it is at work."""
        function, code = getattr(owner, name), PHASES.index(phase)

        def watched(*arguments, **options):
            before = self.shared[0]
            self.shared[0] = code
            self.shared[1 + code] = min(255, self.shared[1 + code] + 1)
            try:
                return function(*arguments, **options)
            finally:
                self.shared[0] = before

        setattr(owner, name, watched)


def start(watch: Watch, arguments: list[str], log: Path) -> int:
    """Fork a child that executes the command line; returns its process id."""
    watch.reset()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        torch.set_num_threads(1)
        watch.around(TrainConfig, "task", "data")
        watch.around(training.Trainer, "update", "step")
        watch.around(training, "append_line", "metrics")
        watch.around(training, "save_checkpoint", "checkpoint")
        watch.around(training.Trainer, "evaluate", "evaluation")
        watch.around(training, "write_json", "manifest")
        sys.argv = ["mstl", "train", *arguments]
        command_line.main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def attempt(watch: Watch, arguments: list[str], log: Path, aim: tuple[str, int, float] | None) -> str | None:
    """Run until (phase, how many entries into it, seconds later), then kill; the phase hit, None if it ended.

    Raises:
        RuntimeError: the child failed by itself.
    """
    child = start(watch, arguments, log)
    while aim is not None:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        if watch.entered(aim[0]) >= aim[1]:
            time.sleep(aim[2])
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.0002)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return watch.phase
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(log.read_text()[-2000:])
    return None


def next_aim(
    generator: random.Random, durations: dict[str, float], done: int, hurry: bool
) -> tuple[str, int, float]:
    """Where to kill next: phases in turn would leave long ones untouched, random times the short ones.

    ``hurry``: behind the next checkpoint, so that the run comes further.
    """
    left = STEPS - done
    if not left:
        phase, times = generator.choice(("data", "evaluation", "evaluation")), 1
    elif hurry:
        phase, times = ("step", 10 + generator.randint(1, 4)) if left > 14 else ("evaluation", 1)
    else:
        phase = generator.choice(("data", "step", "step", "metrics", "checkpoint"))
        most = {"step": min(left, 14), "metrics": 2}.get(phase, 1)
        times = generator.randint(1, most)
    return phase, times, generator.uniform(0, durations[phase])


def steps_done(folder: Path) -> int:
    """Steps in the checkpoint that the next attempt will go on from."""
    path = folder / "checkpoint.pt"
    return torch.load(path, weights_only=True)["step"] if path.exists() else 0


def main() -> None:
    out, kills, seed, method = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    out.mkdir(parents=True, exist_ok=True)
    generator, watch, hits = random.Random(seed), Watch(), Counter()
    base = [
        "--profile",
        "tiny",
        "--labels",
        "4",
        "--device",
        "cpu",
        "--steps",
        str(STEPS),
        "--method",
        method,
    ]
    durations = {"data": 0.5, "step": 0.05, "metrics": 0.002, "checkpoint": 0.03, "evaluation": 1.0}

    begin = time.monotonic()
    attempt(watch, [*base, "--out", str(out / "whole")], out / "whole.log", None)
    # The machine may be busy: the phases last as long as they last here and now.
    manifest = json.loads(next((out / "whole").rglob("manifest.json")).read_text())
    slower = max(1.0, manifest["seconds_evaluation"] / durations["evaluation"])
    durations = {phase: seconds * slower for phase, seconds in durations.items()}
    print(f"undisturbed: {time.monotonic() - begin:.0f} s", flush=True)

    config = TrainConfig(profile="tiny", labels=4, steps=STEPS, method=method, out=str(out / "killed"))
    missed, at = 0, Counter()
    while sum(hits.values()) < kills:
        manifest = config.folder / "manifest.json"
        if manifest.exists() and not json.loads(manifest.read_text()).get("pending"):
            manifest.unlink()  # an aim came too late; the end comes once more
            missed += 1
        done = steps_done(config.folder)
        aim = next_aim(generator, durations, done, hurry=at[done] >= kills // 4)
        hit = attempt(watch, [*base, "--out", config.out], out / "killed.log", aim)
        if hit is not None:
            hits[hit] += 1
            at[done] += 1
    attempt(watch, [*base, "--out", config.out], out / "killed.log", None)
    (out / "hits.json").write_text(json.dumps({"hits": hits, "missed": missed, "at step": at}))


if __name__ == "__main__":
    main()
