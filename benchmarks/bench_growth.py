"""How does cost grow with sources, pixels, batch and images, and how many runs an hour does a sweep make?

    python benchmarks/bench_growth.py [--quick] [--rounds 5] [--no-sweep]

Steps are those of `mstl.run.train.Trainer` on noise, one thing varied at a time; the exponent is the slope of
a straight line through the logarithms. The store is written and read as for any data set: a batch is gathered
from memory and from the memory-mapped file, with its pages in memory and after they were thrown out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from noise import task
from options import options
from rounds import alternate, seconds
from table import Table, cores

from mstl.data import store
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

ROOT = Path(__file__).resolve().parent.parent
# What is varied, and where: the second values are those of --quick.
SOURCES = ((1, 2, 3, 4, 6, 8), (1, 2))
SIDES = ((64, 96, 128, 192, 256, 512), (64, 128))
BATCHES = ((4, 8, 16, 32, 64, 128), (4, 8))
IMAGES = ((100, 1000, 10_000, 100_000), (100, 1000))
SIZE = (64, 96)  # of the images in the store
GATHERED = 32  # rows of a step with three sources of eight and eight target images
SWEEP = """\
profile: grid
seeds: [0, 1, 2, 3]
results: bench
blocks:
  - {data: studio, recipe: parts, labels: 8, methods: [{method: mstl, steps: 60}]}
"""


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 5, quick="few points and one round")
    parser.add_argument("--sweep", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    quick, rounds = chosen.quick, 1 if chosen.quick else chosen.rounds
    torch.set_num_threads(1)
    table = Table("growth")
    steps(table, "sources J", SOURCES[quick], lambda j: trainer(j, 64, 4), rounds)
    steps(table, "side of the image in pixels", SIDES[quick], lambda side: trainer(3, side, 4), rounds)
    steps(table, "batch", BATCHES[quick], lambda batch: trainer(3, 64, batch), rounds)
    gathering(table, IMAGES[quick], rounds)
    if chosen.sweep:
        sweeps(table, 1 if quick else min(2, rounds))
    table.write()


def trainer(sources: int, side: int, batch: int) -> Trainer:
    """MSTL of width 8 on square noise; as many target images as of a source."""
    config = TrainConfig(profile="tiny", width=8, batch_size=batch)
    made = Trainer(config, task(sources, (side, side), images=max(8, batch), labels=4))
    made.batches.target_batch_size = batch
    made.batches.labelled_per_batch = batch // 2
    return made


def steps(table: Table, what: str, points: Sequence[int], make, rounds: int) -> None:
    """Step time over the points of one quantity, which take turns, and its exponent."""
    times = alternate({point: make(point).update for point in points}, rounds, block=0)
    for point, taken in times.items():
        table.add(f"step time over {what}", [1e3 * t for t in taken], "ms", at=point, better="lower")
    fitted(table, f"step time over {what}", points, list(times.values()))


def fitted(table: Table, what: str, points: Sequence[int], taken: list[list[float]]) -> None:
    """The exponent of every round: value ~ point^exponent."""
    slopes = [float(np.polyfit(np.log(points), np.log(one), 1)[0]) for one in zip(*taken, strict=True)]
    table.add(f"exponent of {what}", slopes, "exponent", better="lower")


def gathering(table: Table, points: Sequence[int], rounds: int) -> None:
    """Gathering a batch and opening the cache file over the number of images."""
    ways: dict[str, list[list[float]]] = {"memory": [], "file": [], "cold file": []}
    opened = []
    each = 4 * SIZE[0] * SIZE[1]
    for count in points:
        with tempfile.TemporaryDirectory(dir=os.environ.get("MSTL_BENCH_DISK")) as folder:
            file = Path(folder) / "noise.pt"
            pixels = {
                "images": torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8),
                "masks": torch.randint(0, 2, (count, 1, *SIZE), dtype=torch.uint8),
            }
            store.write(file, pixels)
            opened.append([seconds(lambda: store.read(file)) for _ in range(rounds)])  # noqa: B023
            mapped, _ = store.read(file)
            times = alternate(
                {"memory": lambda: gather(pixels), "file": lambda pixels=mapped: gather(pixels)},  # noqa: B023
                rounds,
                block=0.05,
            )
            del mapped  # pages that somebody has mapped are not thrown out
            times["cold file"] = [cold(file) for _ in range(rounds)]
        for way, values in times.items():
            ways[way].append(values)
            label = f"gathering {GATHERED} images over images in the store, from {way}"
            table.add(label, [1e3 * t for t in values], "ms", at=count, better="lower")
        label = "opening the store over images in it"
        table.add(label, [1e3 * t for t in opened[-1]], "ms", at=count, better="lower")
    for way, taken in ways.items():
        fitted(table, f"gathering over images in the store, from {way}", points, taken)
    fitted(table, "opening the store over images in it", points, opened)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    note = f"{each:,} bytes an image at {SIZE[0]}×{SIZE[1]}; beyond it the file's pages come from the disk"
    table.add("images that fill this machine's memory", [memory / each], "images", note=note)


def gather(pixels: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """A batch of random rows, images and masks."""
    rows = torch.randint(0, len(pixels["images"]), (GATHERED,))
    return [value.index_select(0, rows) for value in pixels.values()]


def cold(file: Path) -> float:
    """Seconds of one batch from a file that was just opened and none of whose pages is in memory."""
    mapped = torch.load(file, weights_only=True, mmap=True)["pixels"]
    with file.open("rb") as handle:
        if hasattr(os, "posix_fadvise"):
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return seconds(lambda: gather(mapped))


def sweeps(table: Table, rounds: int) -> None:
    """Runs an hour of a small sweep by the number of workers, all else included."""
    perhour: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, rates in perhour.items():
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "bench.yaml"
                file.write_text(SWEEP)
                command = [sys.executable, "workflow/run.py", "sweep", f"sweep={file}", f"jobs={workers}"]
                command += [f"runs={folder}/runs", f"results={folder}/results"]
                start = time.perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                rates.append(4 * 3600 / (time.perf_counter() - start))
    for workers, rates in perhour.items():
        note = "4 runs of 60 steps, profile grid; Snakemake and imports included"
        label = "runs an hour of a small sweep over workers"
        table.add(label, rates, "runs/h", at=workers, better="higher", note=note)
    gains = [two / one for one, two in zip(perhour[1], perhour[2], strict=True)]
    table.add("runs an hour, 2 workers over 1", gains, better="higher", note=f"on {cores()} cores")


if __name__ == "__main__":
    main()
