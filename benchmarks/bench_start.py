"""How long until the first step, and where do the minutes of `make reproduce` go?

    python benchmarks/bench_start.py [--rounds 7] [--quick]

Imports are timed in processes of their own, which take turns. The first step is that of training on the
embedded data, cache warm, from the start of the process. The profile of `make reproduce` is read from what
the last one left: its results and executed notebooks.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from options import options
from rounds import alternate, ratios
from table import Table

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = {
    "torch": "import torch",
    "mstl": "import mstl",
    "train": "import mstl.run.train",
}
FIRST_STEP = """
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
import time
imported = time.time()
config = TrainConfig(profile={profile!r}, labels=8)
task = config.task()
read = time.time()
trainer = Trainer(config, task)
built = time.time()
losses = trainer.update()
float(losses["source"])
print(imported, read, built, time.time())
"""
PIECES = ("importing", "reading the data", "building the networks", "the step itself")


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 7, quick="one round")
    chosen = parser.parse_args()
    rounds = 1 if chosen.quick else chosen.rounds
    table = Table("start")
    imports(table, rounds)
    first_step(table, rounds)
    reproduce(table)
    table.write()


def imports(table: Table, rounds: int) -> None:
    """`import mstl`, and all that training imports, over `import torch`; the interpreter's start included."""
    times = alternate(
        {name: (lambda code=code: python(code)) for name, code in IMPORTS.items()}, rounds, block=0
    )
    note = "it imports neither torch nor anything else that is large before it is used"
    table.add("import mstl over import torch", ratios(times["mstl"], times["torch"]), bar="<= 1.5", note=note)
    note = "with pandas and Lightning Fabric, which imports torch's compiler"
    over = ratios(times["train"], times["torch"])
    table.add("import mstl.run.train over import torch", over, better="lower", note=note)
    for name, label in {"torch": "torch", "mstl": "mstl", "train": "mstl.run.train"}.items():
        table.add(f"import {label}", times[name], "s", better="lower")


def first_step(table: Table, rounds: int) -> None:
    """Seconds from the start of a process to the end of its first step."""
    code = FIRST_STEP.format(profile="quick")
    python(code)  # decodes, if the cache is empty
    pieces: list[list[float]] = []
    for _ in range(rounds):
        start = time.time()
        stamps = [start, *map(float, python(code).split())]
        pieces.append([after - before for before, after in pairwise(stamps)])
    whole = [sum(one) for one in pieces]
    table.add(
        "first step after the start of the process, of the 5 s allowed",
        [w / 5 for w in whole],
        "share",
        bar="<= 1",
        why="torch and Fabric's import of torch's compiler take most of it",
    )
    table.add("first step after the start of the process", whole, "s", better="lower")
    for name, taken in zip(PIECES, zip(*pieces, strict=True), strict=True):
        table.add(f"first step: {name}", taken, "s", better="lower")


def reproduce(table: Table) -> None:
    """Where the time of the last `make reproduce` went, as its results and notebooks say."""
    with (ROOT / "results" / "studio" / "runs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [float(run["seconds"]) for run in runs if run["method"] == method]
        note = f"training of {len(own)} runs, one thread each; two run at a time on two cores"
        table.add("make reproduce: runs", [sum(own)], "s", at=method, better="lower", note=note)
    for page, taken in pages():
        table.add("make reproduce: page", [taken], "s", at=page, better="lower")


def pages() -> Iterator[tuple[str, float]]:
    """Executed pages of the book and the seconds that each took."""
    for notebook in sorted((ROOT / "_build" / "notebooks" / "studio").glob("*/*.ipynb")):
        if notebook.stem == notebook.parent.name:  # others are not finished
            yield notebook.stem, notebook_seconds(notebook)


def notebook_seconds(notebook: Path) -> float:
    """From the first cell's start to the last one's end, as the notebook says itself; 0 where it does not."""
    about = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
    return float(about.get("duration") or 0)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
