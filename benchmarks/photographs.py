"""A task as files: what a plain loop reads in every epoch, and our store once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mstl.data.domain import Domain
from mstl.data.task import Task

# Studio's own size, and Carvana's (1918×1280) where windows of half the sides are whole numbers.
SIZES = {"studio": (160, 240), "carvana": (1280, 1920)}


def write_task(task: Task, folder: Path, factor: int = 1, most: int = 10**6) -> None:
    """Every training image as ``<domain>/<row>.jpg`` with its mask as ``.gif``, enlarged ``factor`` times.

    A source's window is repeated until it fills a photograph: to reach it, all of that has to be decoded.
    """
    sources = {f"source{j}": source for j, source in enumerate(task.sources)}
    for name, domain in {**sources, "labelled": task.labelled, "unlabelled": task.unlabelled}.items():
        (folder / name).mkdir(parents=True)
        for row in range(min(most, len(domain))):
            _write(domain, row, task.validation.size, folder / name / f"{row:05d}", factor)


def _write(domain: Domain, row: int, whole: tuple[int, int], path: Path, factor: int) -> None:
    repeat = [full // part for full, part in zip(whole, domain.size, strict=True)]
    image = Image.fromarray(np.tile(domain.images[row].permute(1, 2, 0).numpy(), (*repeat, 1)))
    mask = Image.fromarray(np.tile(domain.masks[row, 0].numpy(), repeat)).convert("P")
    size = (image.width * factor, image.height * factor)
    image.resize(size, Image.BICUBIC).save(path.with_suffix(".jpg"), quality=92)
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.resize(size, Image.NEAREST).save(path.with_suffix(".gif"))


class Photographs(Dataset):
    """Decode, cut, resize, scale: what a tutorial's ``__getitem__`` does.

    Args:
        folder: of the images and masks.
        size: height and width that the network sees.
        whole: height and width that the whole photograph would have at that scale.
    """

    def __init__(self, folder: Path, size: tuple[int, int], whole: tuple[int, int]) -> None:
        self.files, self.size, self.whole = sorted(folder.glob("*.jpg")), size, whole

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        file = self.files[index]
        image = self._window(Image.open(file).convert("RGB"), Image.BILINEAR)
        mask = self._window(Image.open(file.with_suffix(".gif")).convert("L"), Image.NEAREST)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - 0.5) * 4, torch.from_numpy(np.array(mask)).gt(0).float()[None]

    def _window(self, photograph: Image.Image, filter: int) -> Image.Image:
        (height, width), (full_height, full_width) = self.size, self.whole
        box = (0, 0, photograph.width * width // full_width, photograph.height * height // full_height)
        return photograph.resize((width, height), filter, box=box)
