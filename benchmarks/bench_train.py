"""Images a second of our loop against a plain loop as papers write it.

    python benchmarks/bench_train.py [--steps 3] [--repeat 5] [--threads 1]

Both train MSTL's networks (J = 3, whole images at 64×96) from the same files. The plain loop: a DataLoader a
domain that decodes with PIL in every epoch, float32, one forward pass a domain, a fresh target batch for each
source, `.item()` on each loss in each step. Ours decodes once (that time is printed, too), then gathers, and
trains as `mstl train` does. Equal threads, in turn; medians of blocks of steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from bench_store import draw_photographs
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mstl import methods
from mstl.config import TrainConfig
from mstl.data import load
from mstl.data.task import Task
from mstl.nn import domain_loss, reverse_gradient, segmentation_loss
from mstl.train import Trainer

SIZE, SOURCES, BATCH = (64, 96), 3, 8


class Photographs(Dataset):
    """Decode, resize, scale: what a tutorial's ``__getitem__`` does."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        file = self.files[index]
        mask_file = file.parent.parent / "train_masks" / f"{file.stem}_mask.gif"
        image = Image.open(file).convert("RGB").resize(SIZE[::-1], Image.BILINEAR)
        mask = Image.open(mask_file).convert("L").resize(SIZE[::-1], Image.NEAREST)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - 0.5) * 4, torch.from_numpy(np.array(mask)).gt(0).float()[None]


def endless(loader: DataLoader):
    """Start the loader again whenever it ends."""
    while True:
        yield from loader


class PlainLoop:
    """The loop of a paper's released code, on the same networks."""

    def __init__(self, sources: list[list[Path]], target: list[Path], width: int) -> None:
        self.method = methods.build("mstl", SOURCES, True, width=width)
        self.sources = [endless(DataLoader(Photographs(f), BATCH, shuffle=True)) for f in sources]
        self.target = endless(DataLoader(Photographs(target), BATCH, shuffle=True))
        self.optimiser = torch.optim.Adam(self.method.parameters(), lr=1e-3)
        self.history: list[float] = []

    def step(self) -> None:
        """One iteration: for every source its batch and a fresh target batch."""
        self.method.train()
        total = torch.zeros(())
        attended = []
        for j, loader in enumerate(self.sources):
            network, discriminator = self.method.subnetworks[j], self.method.adversary.discriminators[j]
            source_images, source_masks = next(loader)
            target_images, target_masks = next(self.target)
            source, target = network(source_images), network(target_images)
            half = BATCH // 2
            losses = [
                segmentation_loss(source.logits, source_masks) / SOURCES,
                segmentation_loss(target.logits[:half], target_masks[:half]) / SOURCES,
                domain_loss(
                    discriminator(reverse_gradient(source.features, 0.3)),
                    discriminator(reverse_gradient(target.features, 0.3)),
                ),
            ]
            attended.append(tuple(f[:half] for f in target.attended))
            total = total + sum(losses)
            self.history += [loss.item() for loss in losses]
        fused = segmentation_loss(self.method._fused_logits(attended), target_masks[:half])
        total = total + fused
        self.history.append(fused.item())
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        self.history.append(total.item())


def main() -> None:
    """Measure and print a small table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--steps", type=int, default=3)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--width", type=int, default=TrainConfig().profiled("width"))
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = draw_photographs(Path(temporary) / "cars", 4 * BATCH)
        files = sorted((folder / "train").glob("*.jpg"))
        start = time.perf_counter()
        domain = load("carvana", SIZE, str(folder), Path(temporary) / "cache")
        decoding = time.perf_counter() - start
        parts = [list(range(k * BATCH, (k + 1) * BATCH)) for k in range(SOURCES + 1)]
        sources = tuple(domain.select(rows, f"source {k}") for k, rows in enumerate(parts[:SOURCES]))
        target = domain.select(parts[-1])
        task = Task("bench", sources, target.select(range(4)), target.select(range(4, 8)), target, target)
        config = TrainConfig(width=chosen.width)
        ours = Trainer(config, task)
        plain = PlainLoop(
            [[files[i] for i in rows] for rows in parts[:SOURCES]],
            [files[i] for i in parts[-1]],
            chosen.width,
        )
        ours.update()
        plain.step()
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(chosen.repeat):
            for name, work in (("ours", ours.update), ("plain", plain.step)):
                start = time.perf_counter()
                for _ in range(chosen.steps):
                    work()
                times[name].append((time.perf_counter() - start) / chosen.steps)
    images = SOURCES * 2 * BATCH  # passes of an image through a sub-network in one step, the same for both
    print(f"decoding {len(files)} photographs once, before our first step: {decoding:.2f} s")
    for name, values in times.items():
        print(f"{name:<8}{images / statistics.median(values):>8.1f} images/s")
    ratio = statistics.median(p / o for o, p in zip(times["ours"], times["plain"], strict=True))
    print(f"ours / plain: {ratio:.2f}   (asked: at least 3)")


if __name__ == "__main__":
    main()
