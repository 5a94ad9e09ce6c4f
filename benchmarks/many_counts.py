"""GiB that a process takes at most which reads 27,000 vectors of 5,000 counts, and that makes a step on them.

Both numbers hold what Python and its packages take before, which is most of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DOMAINS = ("books", "dvd", "electronics", "kitchen")
ROWS, WORDS, FILLED = 27_000, 5000, 75  # in all files, of a vector, of them not 0


def write(folder: Path, rows: int) -> None:
    """The files of four domains, two of each."""
    generator = np.random.default_rng(0)
    for name in DOMAINS:
        for part in ("train", "test"):
            with (folder / f"{name}_{part}.svmlight").open("w") as file:
                for row in range(rows // 8):
                    words = np.sort(generator.choice(WORDS, FILLED, replace=False))
                    counts = generator.geometric(0.7, FILLED)
                    pairs = " ".join(f"{w}:{c}" for w, c in zip(words, counts, strict=True))
                    file.write(f"{row % 2 * 2 - 1} {pairs}\n")


def main() -> None:
    """In a process that only reads: writing must not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few vectors")
    parser.add_argument("--read", metavar="FOLDER", help="only this half of the work")
    chosen = parser.parse_args()
    if not chosen.read:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), 800 if chosen.quick else ROWS)
            subprocess.run([sys.executable, __file__, "--read", folder], check=True)
        return
    from children import peak_memory

    from mstl.data.collections import Parts
    from mstl.data.readers.features import amazon
    from mstl.data.recipes.domains import class_task

    parts = {name: amazon(name, Path(chosen.read)) for name in DOMAINS}  # held to the end
    read = peak_memory()["process"] / 1024
    from mstl.run.config import TrainConfig
    from mstl.run.train import Trainer

    target, *sources = DOMAINS
    task = class_task({name: parts[name][0] for name in sources}, Parts(*parts[target]), labels=8)
    config = TrainConfig(data="amazon", recipe="to-books", method="dann", batch_size=20)
    Trainer(config, task).update()
    print(f"{read:.4f} {peak_memory()['process'] / 1024:.4f}")


if __name__ == "__main__":
    main()
