"""How fast the engine is on this device, as ratios of works that take turns in the same run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import torch
from bare import bare_step, prepared
from rounds import alternate, ratios
from stacked import Stacked, looped
from step import Clock, arguments
from table import Table, cores
from workers import Worker, ask_all

from mstl.nn import SubNetworks, segmentation_loss
from mstl.run.config import PROFILES, TrainConfig

ROUNDS = 5


def main() -> int:
    """Measure, one part after another while the clock allows; tables are written after each."""
    options, clock = arguments()
    table = Table("speed", folder=options.out)
    return measure(table, (over_bare, sub_networks, neighbours), options.small, clock)


def measure(table: Table, parts: Sequence[Callable], small: bool, clock: Clock) -> int:
    """Part after part, whatever becomes of one; returns the exit status."""
    failed = 0
    for part in parts:
        start = time.perf_counter()
        try:
            part(table, small, clock)
        except Exception as error:  # the other parts go on
            failed += 1
            print(f"FAILED {part.__name__}: {type(error).__name__}: {error}")
        print(f"{part.__name__}: {time.perf_counter() - start:.1f} s", flush=True)
        if table.rows:
            table.write()
    return 1 if failed else 0


def over_bare(table: Table, small: bool, clock: Clock) -> None:
    """A step of the engine over the arithmetic of its networks, as `benchmarks/bench_step.py` has it."""
    for profile in ("tiny",) if small else ("quick", "full"):
        for method in ("mstl", "source_combine"):
            trainer, batch = prepared(profile=profile, method=method)

            def step(trainer=trainer) -> None:
                trainer.step = 0  # timing must not run past the end of training
                trainer.record.add(trainer.update())

            works = {
                "step": step,
                "bare": lambda: bare_step(trainer, batch),  # noqa: B023
            }
            times = alternate(works, 1 if small else ROUNDS, block=0.05 if small else 0.3)
            at = f"{profile} {method}"
            table.add("step over bare compute", ratios(times["step"], times["bare"]), at=at, bar="<= 1.05")
            table.add("step time", [1e3 * t for t in times["step"]], "ms", at=at, better="lower")


def sub_networks(table: Table, small: bool, clock: Clock) -> None:
    """Forward and backward of J sub-networks on one batch: in a loop, stacked by vmap, as one CUDA graph.

    vmap turns their convolutions into grouped ones, so that it is the row of grouped convolutions, too.
    """
    for profile in ("tiny",) if small else ("grid", "quick", "full"):
        for j in (1, 2) if small else (1, 2, 3, 4, 6, 8):
            works = passes(profile, j)
            if clock.left < 30 and not small:
                return
            times = alternate(works, 1 if small else 3, block=0.02 if small else 0.1)
            for name, taken in times.items():
                at = f"{profile} J={j}"
                table.add(
                    f"forward and backward, {name}", [1e3 * t for t in taken], "ms", at=at, better="lower"
                )
                if name != "loop":
                    table.add(f"loop over {name}", ratios(times["loop"], taken), at=at, better="higher")


def passes(profile: str, j: int) -> dict[str, Callable]:
    """The ways to pass one batch through ``j`` sub-networks and back, by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = TrainConfig(profile=profile)
    n, size = config.profiled("target_batch_size"), config.profiled("size")
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    networks = SubNetworks(j, width=config.profiled("width")).to(device, memory_format=layout)
    images = torch.randn(n, 3, *size, device=device).to(memory_format=layout)
    masks = (torch.rand(n, 1, *size, device=device) > 0.5).float()
    stacked = Stacked(networks).to(device)
    stacked.buffers_of_all = {name: b.to(device) for name, b in stacked.buffers_of_all.items()}

    def work(module: torch.nn.Module, predict: Callable) -> Callable:
        def once() -> None:
            for parameter in module.parameters():
                parameter.grad = None
            with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
                loss = sum(segmentation_loss(logits, masks) for logits in predict(images))
            loss.backward()

        return once

    loop = work(networks, lambda x: looped(networks, x))
    works = {"loop": loop, "vmap (grouped convolutions)": work(stacked, stacked)}
    if device.type == "cuda":
        works["CUDA graph"] = graphed(loop)
    return works


def graphed(work: Callable) -> Callable:
    """The same kernels, launched as one recorded graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def neighbours(table: Table, small: bool, clock: Clock) -> None:
    """Steps a second of several equal runs that share the device, over those of one."""
    if clock.left < 40 and not small:
        return
    profile = "tiny" if small else "grid"
    most = 2 if small else min(16, cores())
    base = TrainConfig(profile=profile, method="mstl", labels=4)
    base.task()
    workers = [Worker(base) for _ in range(most)]
    try:
        started = ask_all(workers, 90, seconds=0.0, most=1)
        if bad := next((found for found in started if "error" in found), None):
            raise RuntimeError(bad["error"])
        single, count = 0.0, 1
        while count <= most:
            found = ask_all(workers[:count], 60, seconds=0.2 if small else 2.5)
            if bad := next((one for one in found if "error" in one), None):
                raise RuntimeError(bad["error"])
            rate = sum(one["steps"] / one["seconds"] for one in found)
            single = single or rate
            note = f"profile {profile}, method mstl, {PROFILES[profile].steps} steps a run"
            table.add("steps a second of runs that share the device", [rate], "steps/s", at=count, note=note)
            table.add("their work over that of one run", [rate / single], at=count, better="higher")
            count *= 2
    finally:
        for worker in workers:
            worker.end()


if __name__ == "__main__":
    sys.exit(main())
