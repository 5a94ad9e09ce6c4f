"""How many times faster is a batch gathered from the store than decoded from files?

    python benchmarks/bench_store.py [--data carparts --data-dir FOLDER] [--size 128 192]

Without ``--data`` photographs of Carvana's size (1918×1280 JPEG and GIF masks) are drawn first. Both
sides make the same tensors, uint8 images (b, 3, h, w) and masks (b, 1, h, w), in one thread; decoding uses
the store's own reader, which already takes JPEG's built-in scales. Numbers are medians over repetitions.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mstl.data import load
from mstl.data.catalogue import DATA
from mstl.data.readers.pixels import read_image, resize_mask
from mstl.system.cache import cache_folder

PHOTOGRAPH = (1918, 1280)


def draw_photographs(folder: Path, count: int) -> Path:
    """Carvana's layout and sizes: noise on a gradient with an ellipse for a car."""
    (folder / "train").mkdir(parents=True)
    (folder / "train_masks").mkdir()
    width, height = PHOTOGRAPH
    y, x = np.mgrid[0:height, 0:width]
    for k in range(count):
        inside = ((x - width / 2) / 700) ** 2 + ((y - height / 2) / (300 + 10 * k)) ** 2 < 1
        grain = np.random.default_rng(k).integers(0, 25, (height, width, 3))
        shade = (x / 10 + y / 15)[..., None] + 20 * inside[..., None] + grain
        Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(
            folder / "train" / f"c{k}_01.jpg", quality=92
        )
        mask = Image.fromarray(inside.astype(np.uint8)).convert("P")
        mask.putpalette([0, 0, 0, 255, 255, 255])
        mask.save(folder / "train_masks" / f"c{k}_01_mask.gif")
    return folder


def median_seconds(work, repeat: int) -> float:
    """Median wall time of ``work()`` after one call to warm up."""
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print one line."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", default="", choices=["", *DATA])
    options.add_argument("--data-dir")
    options.add_argument("--size", type=int, nargs=2, default=(256, 384))
    options.add_argument("--batch", type=int, default=8)
    chosen = options.parse_args()
    size = tuple(chosen.size)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        data, folder = chosen.data, chosen.data_dir
        if not data:
            data, folder = "carvana", draw_photographs(Path(temporary) / "cars", 2 * chosen.batch)
        domain = load(data, size, folder, Path(temporary) / "cache")
        listing = DATA[data](Path(folder) if folder else None, cache_folder())
        rows = torch.randperm(len(domain), generator=torch.Generator().manual_seed(0))[: chosen.batch]

        def gather() -> tuple[torch.Tensor, torch.Tensor]:
            return domain.images[rows], domain.masks[rows]

        def decode() -> tuple[torch.Tensor, torch.Tensor]:
            images, masks = [], []
            for row in rows.tolist():
                image, full = read_image(listing.records[row].image, size)
                mask, _ = listing.read_masks(listing.records[row], full)
                images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
                masks.append(torch.from_numpy(resize_mask(mask, size))[None])
            return torch.stack(images), torch.stack(masks)

        assert all(one.equal(other) for one, other in zip(gather(), decode(), strict=True))
        decoding, gathering = median_seconds(decode, 5), median_seconds(gather, 200)
    print(
        f"{data} at {size[0]}×{size[1]}, batch of {chosen.batch}: decoding {1e3 * decoding:.2f} ms, "
        f"gathering {1e3 * gathering:.3f} ms, {decoding / gathering:.0f}×"
    )


if __name__ == "__main__":
    main()
