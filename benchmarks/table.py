"""Tables of measurements: ``results/bench/<name>.csv``, one row a quantity, with its bar and its origin."""

from __future__ import annotations

import csv
import os
import shlex
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from mstl.run.provenance import commit, processor

FOLDER = Path(__file__).resolve().parent.parent / "results" / "bench"
COLUMNS = (
    "quantity",  # what was measured, in words
    "at",  # the value of what was varied, empty where nothing was
    "value",  # median over the rounds
    "unit",  # × for ratios; only they are compared with a bar and with the baseline
    "low",  # lowest of the rounds
    "high",  # highest of the rounds
    "rounds",
    "bar",  # what was asked for, as ">= 3"
    "better",  # higher or lower, where that can be said
    "note",
    "device",
    "threads",
    "commit",
    "command",
)


class Table:
    """Rows of one benchmark; `write` replaces the file as a whole.

    Args:
        name: of the file.
        threads: that computed.
        folder: where it is written.
    """

    def __init__(self, name: str, threads: int = 1, folder: Path = FOLDER) -> None:
        self.path = folder / f"{name}.csv"
        self.rows: list[dict[str, object]] = []
        command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
        self._origin = {"device": device(), "threads": threads, "commit": commit(), "command": command}

    def add(
        self,
        quantity: str,
        values: Iterable[float],
        unit: str = "×",
        *,
        at: object = "",
        bar: str = "",
        better: str = "",
        note: str = "",
        why: str = "",
    ) -> float:
        """Keep and print the median of ``values`` with the lowest and the highest; returns the median.

        Args:
            quantity: what was measured, in words.
            values: one a round.
            unit: "×" for a ratio.
            at: the value of what was varied.
            bar: ``">= 3"`` or ``"<= 1.05"``; it also says what is better.
            better: "higher" or "lower", where there is no bar.
            note: what else to know.
            why: the reason, if the bar is missed.
        """
        values = [float(value) for value in values]
        median = statistics.median(values)
        if bar:
            better = "higher" if bar.startswith(">") else "lower"
        if bar and why and not reached(median, bar):
            note = f"{note}; {why}" if note else why
        row = {"quantity": quantity, "at": at, "value": f"{median:.4g}", "unit": unit}
        row |= {"low": f"{min(values):.4g}", "high": f"{max(values):.4g}", "rounds": len(values)}
        self.rows.append(row | {"bar": bar, "better": better, "note": note} | self._origin)
        place = f" at {at}" if at != "" else ""
        asked = f"   asked {bar}: {'met' if reached(median, bar) else 'MISSED'}" if bar else ""
        print(
            f"{quantity + place:<64}{median:>10.4g} {unit} ({min(values):.4g} to {max(values):.4g}){asked}",
            flush=True,
        )
        return median

    def write(self) -> None:
        """The file, complete or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.path)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table; all values are text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reached(value: float, bar: str) -> bool:
    """Whether ``value`` keeps to a bar such as ``">= 3"``."""
    sign, limit = bar.split()
    return value >= float(limit) if sign == ">=" else value <= float(limit)


def device() -> str:
    """The GPU by name, or the processor with the number of its cores this process may use."""
    torch = sys.modules.get("torch")  # a script without torch computes on the processor
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {processor()}, {cores()} cores"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
