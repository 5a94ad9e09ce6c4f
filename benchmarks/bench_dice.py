"""How long until validation cars are segmented with a given Dice: our loop, a plain one, and one as advised?

    python benchmarks/bench_dice.py [--seeds 3] [--cores 1] [--quick]

The clock runs from the start of reading data and leaves out the evaluations. Ours decodes everything first,
into an empty cache; the time with a full one is given, too. Photographs are small, which suits the plain
loops; the profile is `grid`. The last weights of the plain loops are evaluated, the averaged ones of ours.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from loops import FULL, LOOPS, files, start
from options import options
from table import Table

UNITS = {"seconds": "s", FULL: "s", "steps": "steps"}


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, quick="one short run, to see that all works")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each loop")
    parser.add_argument("--cores", type=int, default=1, help="threads of each loop, and its cores")
    parser.add_argument("--dice", type=float, nargs="+", default=[0.85, 0.9], help="to be reached")
    parser.add_argument("--most", type=int, default=300, help="steps after which a loop gives up")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seeds, chosen.most, chosen.dice = 1, 20, [0.3, 0.5]
    table = Table("dice", chosen.cores)
    time_to_dice(table, chosen)
    table.write()


def time_to_dice(table: Table, chosen: argparse.Namespace) -> None:
    """Seconds until validation cars are segmented with each ``--dice``, one run a seed and loop, in turn."""
    taken: dict[str, list[dict]] = {key: [] for key in LOOPS}
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            files("studio", Path(temporary) / "files", 10**6, seed)
            for key in list(LOOPS)[:: -1 if seed % 2 else 1]:
                flags = {"dice": " ".join(map(str, chosen.dice)), "most": chosen.most}
                folder = Path(temporary) / "files"
                with start(key, folder, chosen.cores, profile="grid", seed=seed, **flags) as one:
                    taken[key].append(one.ask())
    for goal in map(str, chosen.dice):
        reached = {key: [run[goal] for run in runs] for key, runs in taken.items()}
        notes = {key: _gave_up(runs, chosen.most) for key, runs in reached.items()}
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


if __name__ == "__main__":
    main()
