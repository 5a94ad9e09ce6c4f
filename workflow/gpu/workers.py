"""Training runs that share one GPU, each in a process of its own that works when it is asked.

A single run leaves a GPU idle between the launches of small kernels; others can fill the gaps. The parent
asks by a line of JSON on standard input and reads a line of JSON from standard output.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from typing import Any

from mstl.run.config import TrainConfig

ANSWER = "answer: "
WARM_UP = 5  # steps: memory is laid out, kernels are chosen


class Worker:
    """A process that holds one task and one trainer."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, json.dumps(asdict(config))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def tell(self, **question: Any) -> None:
        """Ask without waiting."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any]:
        """What the worker answers within ``seconds``; ``{"error": ...}`` if it does not."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left)
            except queue.Empty:
                break
            if not line:
                return {"error": f"the process ended with status {self.process.wait()}"}
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
            print(f"{self.config.variant}: {line.rstrip()}", flush=True)
        return {"error": f"no answer within {seconds:.0f} s"}

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        self.process.kill()
        self.process.wait()


def ask_all(workers: list[Worker], limit: float, **question: Any) -> list[dict[str, Any]]:
    """The answers, within ``limit`` seconds, of workers that are asked at the same time."""
    end = time.monotonic() + limit
    for worker in workers:
        worker.tell(**question)
    return [worker.answer(max(0.1, end - time.monotonic())) for worker in workers]


def main() -> None:
    """The worker: steps for some seconds, or a whole run, whenever asked."""
    import torch

    from mstl.run.train import Trainer, train

    torch.set_num_threads(1)
    config = TrainConfig(**json.loads(sys.argv[1]))
    task, trainer = config.task(), None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "train" in question:
                trainer = None
                torch.cuda.empty_cache()
                start = time.monotonic()
                run = replace(config, steps=question["train"], ema=memory(question["train"]))
                folder = train(run, task=task)
                found = {"folder": str(folder), "seconds": time.monotonic() - start}
            else:
                if trainer is None:
                    trainer = Trainer(config, task)
                found = timed(trainer, question["seconds"], question.get("most", 10**9))
        except Exception as error:  # the other workers go on
            found = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(ANSWER + json.dumps(found), flush=True)


def memory(steps: int) -> float:
    """Decay of the averaged weights: they remember the last sixth of a run, as in every profile."""
    return max(0.0, 1 - 6 / steps)


def timed(trainer: Any, seconds: float, most: int) -> dict[str, float]:
    """Steps of the trainer for about ``seconds``, and the seconds they took."""
    import torch

    trainer.step = 0
    for _ in range(WARM_UP):
        trainer.record.add(trainer.update())
    _wait(torch)
    steps, start = 0, time.perf_counter()
    while steps < most and time.perf_counter() - start < seconds:
        trainer.step = 0  # timing must not run past the end of training
        for _ in range(min(4, most - steps)):  # what is queued ahead stays little
            trainer.record.add(trainer.update())
            steps += 1
        _wait(torch)
    taken = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    return {"steps": steps, "seconds": taken, "memory": memory, "precision": trainer.precision.precision}


def _wait(torch: Any) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
