"""Small folders in Carvana's layout, drawn: enough car for readers and recipes, made in milliseconds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from mstl.data import encode_rle

SIZE = (60, 40)  # width, height


def draw(view: int, car: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photograph (h, w, 3), mask (h, w), parts (h, w): a box with cabin, its ends where the view has them."""
    width, height = size
    angle = math.radians((view - 1) * 22.5)
    y, x = np.mgrid[0:height, 0:width]
    half = width * (0.2 + 0.18 * abs(math.sin(angle))) + car % 3
    u, v = (x - width / 2) / half, (y - height / 2) / (height * 0.3)
    mask = (abs(u) < 1) & (abs(v) < 1) & ((v > 0) | (abs(u) < 0.6))
    parts = np.where(mask, 2, 0)
    front = -u * math.sin(angle) + v * max(math.cos(angle), 0)
    rear = u * math.sin(angle) + v * max(-math.cos(angle), 0)
    parts[mask & (front > 1 / 3)] = 1
    parts[mask & (rear > 1 / 3) & (rear > front)] = 3
    photograph = np.full((height, width, 3), (90, 110, 120))
    photograph[mask] = (200 - 9 * car % 90, 40 + 7 * car % 90, 40 + 5 * view)
    photograph += np.random.default_rng([car, view]).integers(0, 20, photograph.shape)
    return photograph.astype(np.uint8), mask.astype(np.uint8), parts.astype(np.uint8)


def save_mask(mask: np.ndarray, path: Path) -> None:
    """A palette GIF with index 0 and 1, black and white, as Carvana has it."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def carvana_folder(
    path: Path,
    cars: int = 2,
    views: tuple[int, ...] = tuple(range(1, 17)),
    parts: bool = True,
    table: bool = False,
) -> Path:
    """Cars in Carvana's layout under ``path``; ``table`` writes run lengths instead of GIFs."""
    for place in ("train", "parts") if table else ("train", "train_masks", "parts"):
        (path / place).mkdir(parents=True, exist_ok=True)
    rows = ["img,rle_mask"]
    for car in range(cars):
        for view in views:
            photograph, mask, index = draw(view, car)
            stem = f"car{car:02d}_{view:02d}"
            Image.fromarray(photograph).save(path / "train" / f"{stem}.jpg", quality=90)
            if parts:
                Image.fromarray(index).save(path / "parts" / f"{stem}.png")
            if table:
                rows.append(f"{stem}.jpg,{encode_rle(mask)}")
            else:
                save_mask(mask, path / "train_masks" / f"{stem}_mask.gif")
    if table:
        (path / "train_masks.csv").write_text("\n".join(rows) + "\n")
    return path
