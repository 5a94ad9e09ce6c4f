"""Works that take turns: how every ratio of the benchmarks is measured.

A machine is never quiet, and never equally busy for long. Works that take turns meet the same weather, so the
ratio of one round is worth more than either of its times, and the median over rounds more than one ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def alternate(works: Mapping[str, Work], rounds: int = 5, block: float = 0.1) -> dict[str, list[float]]:
    """Seconds a call of each work, one value a round; every other round goes backwards.

    Args:
        works: functions without arguments, by name.
        rounds: how often each has its turn, after one call to warm up and one that is timed for ``block``.
        block: shortest turn in seconds; a work that is faster is called several times and the mean kept.
    """
    calls = {}
    for name, work in works.items():
        work()
        calls[name] = max(1, round(block / max(seconds(work), 1e-9)))
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            taken[name].append(seconds(works[name], calls[name]))
    return taken


def seconds(work: Work, calls: int = 1) -> float:
    """Wall time of one of ``calls`` calls; on a GPU until it has done what it was told."""
    _wait()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _wait()
    return (time.perf_counter() - start) / calls


def ratios(above: list[float], below: list[float]) -> list[float]:
    """The ratio of every round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def _wait() -> None:
    import torch  # scripts that only start others do without

    if torch.cuda.is_available():
        torch.cuda.synchronize()
