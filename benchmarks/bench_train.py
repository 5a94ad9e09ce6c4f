"""Images a second and memory: our loop, a plain one as papers write it, and the same as advised.

    python benchmarks/bench_train.py [--rounds 5] [--cores 1 2] [--quick]

The three loops of `loops` train the same networks on the same task on the same cores, and take turns; ratios
are of one round each. Photographs are files of Carvana's size, and of studio's own small one.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from loops import LOOPS, files, start
from options import options
from photographs import SIZES
from table import Table, cores

from mstl.run.config import PROFILES


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 5, quick="one small turn, to see that all works")
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        default=[1, 2][: cores()],
        help="threads of each loop, and its cores",
    )
    parser.add_argument("--steps", type=int, default=6, help="steps timed in one turn")
    parser.add_argument("--images", type=int, default=40, help="files a domain")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.steps, chosen.images, chosen.cores = 1, 1, 16, [1]
    table = Table("train", max(chosen.cores))
    with tempfile.TemporaryDirectory() as temporary:
        for name in SIZES:
            files(name, Path(temporary) / name, chosen.images)
            for count in chosen.cores:
                speed(table, name, Path(temporary) / name, count, chosen)
    table.write()


def speed(table: Table, name: str, folder: Path, count: int, chosen: argparse.Namespace) -> None:
    """Step time, images a second and memory of the three on some cores, in turn."""
    profile = PROFILES["quick"]
    with ExitStack() as stack:
        children = {key: stack.enter_context(start(key, folder, count, steps=chosen.steps)) for key in LOOPS}
        for one in children.values():
            one.ask("warm up")
        turns: dict[str, list[dict]] = {key: [] for key in LOOPS}
        for turn in range(chosen.rounds):
            for key in list(LOOPS)[:: -1 if turn % 2 else 1]:
                turns[key].append(children[key].ask())
    size = " photographs of Carvana's size" if name == "carvana" else " photographs of 240×160"
    seconds = {key: [turn["seconds"] for turn in turns[key]] for key in LOOPS}
    where = "1 core" if count == 1 else f"{count} cores"
    why = "what is left is the arithmetic of the networks"
    if name == "studio":
        why = f"a small photograph is decoded in no time; {why}"
    for rival, bar in (("a", ">= 3"), ("b", ">= 1.5")):
        over = [r / o for r, o in zip(seconds[rival], seconds["c"], strict=True)]
        table.add(f"images a second, ours over {LOOPS[rival]},{size}", over, at=where, bar=bar, why=why)
    passes = 3 * (profile.batch_size + profile.target_batch_size)  # of an image through a sub-network
    for key, label in LOOPS.items():
        memory = [turn["process"] + turn["workers"] for turn in turns[key]]
        for what, values, unit, better in (
            ("step time", [1e3 * s for s in seconds[key]], "ms", "lower"),
            ("images a second", [passes / s for s in seconds[key]], "images/s", "higher"),
            ("peak memory", memory, "MiB", "lower"),
        ):
            note = f"processes: {turns[key][-1]['processes']}"
            table.add(f"{what}, {label},{size}", values, unit, at=where, better=better, note=note)


if __name__ == "__main__":
    main()
