"""Ratios that have been reached, with tolerances, and what has fallen since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import table

FILE = Path(__file__).parent / "baseline.json"
LEAST_TOLERANCE = 0.15  # of a ratio: what another hour on the same machine may differ by
MOST_TOLERANCE = 0.5  # however busy the machine was: a ratio that fell by more has fallen


@dataclass(frozen=True)
class Comparison:
    """One ratio beside its baseline.

    Attributes:
        name: table, quantity and where.
        ratio: now; None where it was not measured.
        baseline: then; None where it is new.
        tolerance: share of the baseline that it may be worse by.
        better: higher or lower.
    """

    name: str
    ratio: float | None
    baseline: float | None
    tolerance: float
    better: str

    @property
    def fell(self) -> bool:
        """Whether it is worse than the tolerance allows, or was measured once and is not any more."""
        if self.ratio is None or self.baseline is None:
            return self.ratio is None
        worse = self.baseline / self.ratio if self.better == "higher" else self.ratio / self.baseline
        return not worse <= 1 + self.tolerance

    def line(self) -> str:
        """For the terminal."""
        now = "not measured" if self.ratio is None else f"{self.ratio:.3g}"
        then = "new" if self.baseline is None else f"{self.baseline:.3g}"
        verdict = "FELL" if self.fell else "ok"
        return f"{verdict:<5}{self.name:<86}{now:>12}  baseline {then} ±{100 * self.tolerance:.0f} %"


def measured(folder: Path = table.FOLDER) -> dict[str, dict[str, object]]:
    """Every ratio in the tables of ``folder`` that can be better or worse, by name."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        for row in table.read(path):
            if row["unit"] == "×" and row["better"]:
                place = f" at {row['at']}" if row["at"] else ""
                value, low, high = (float(row[key]) for key in ("value", "low", "high"))
                spread = max(value - low, high - value) / abs(value) if value else 0.0
                found[f"{path.stem}: {row['quantity']}{place}"] = {
                    "ratio": value,
                    "tolerance": round(min(max(LEAST_TOLERANCE, spread), MOST_TOLERANCE), 2),
                    "better": row["better"],
                }
    return found


def compared(now: Mapping[str, Mapping], then: Mapping[str, Mapping]) -> list[Comparison]:
    """Every ratio of either, in the order of the tables."""
    names: Iterable[str] = dict.fromkeys([*now, *then])
    return [
        Comparison(
            name,
            now[name]["ratio"] if name in now else None,
            then[name]["ratio"] if name in then else None,
            then.get(name, now.get(name))["tolerance"],
            then.get(name, now.get(name))["better"],
        )
        for name in names
    ]


def write(folder: Path = table.FOLDER, file: Path = FILE) -> None:
    """Make what the tables hold the baseline; tolerances are the spread of the rounds, 15 to 50 %."""
    file.write_text(json.dumps(measured(folder), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {file.name}")


def report(folder: Path = table.FOLDER, file: Path = FILE) -> int:
    """Print every ratio beside its baseline, and which fell; returns their number."""
    then = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    lines = compared(measured(folder), then)
    print("\n== ratios against the baseline")
    for one in lines:
        print(one.line())
    fallen = [one for one in lines if one.fell]
    print(f"{len(lines)} ratios, {len(fallen)} fell" + (":" if fallen else ""))
    for one in fallen:
        print(f"  {one.name}: {one.ratio} against {one.baseline}")
    return len(fallen)
