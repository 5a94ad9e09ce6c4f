"""What a different draw per image costs: a loop over torchvision v2, and one pass over the batch.

    OMP_NUM_THREADS=1 python benchmarks/bench_augment.py

prints milliseconds per call and the ratio to this package's way, first for one batch of uint8 images with
masks, then for all that a training step draws. The rows take turns and keep their fastest round, so that a
busy machine slows all of them or none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import tyro
from noise import domain, task
from torch.utils.benchmark import Timer
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as kernels

from mstl.data.augment import Augment, Draw, to_float, transform
from mstl.data.batches import Batches, stream_generator


@dataclass
class Config:
    """Working shape of the benchmark."""

    images: int = 32  # images in the augmented batch
    height: int = 64
    width: int = 96
    sources: int = 3  # J of the training step
    device: str = "cpu"
    threads: int = 1
    rounds: int = 10
    seconds: float = 0.3  # per row and round


def compose(augment: Augment) -> v2.Compose:
    """The same changes as torchvision transforms: one draw per call."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(augment.flip),
            v2.RandomAffine(
                augment.rotate,
                (augment.shift, augment.shift),
                (1 / (1 + augment.scale), 1 + augment.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def by_kernels(images: torch.Tensor, masks: torch.Tensor, draw: Draw) -> list[torch.Tensor]:
    """torchvision's functional kernels, image by image, with the parameters of ``draw``."""
    results = []
    size = torch.tensor([images.shape[-1], images.shape[-2]])
    for i, (image, mask) in enumerate(zip(to_float(images), masks, strict=True)):
        if draw.flip[i]:
            image, mask = kernels.horizontal_flip(image), kernels.horizontal_flip(mask)
        affine = (float(draw.angle[i]), (draw.shift[i] * size).tolist(), float(draw.scale[i]), [0.0, 0.0])
        image = kernels.affine(image, *affine, interpolation=v2.InterpolationMode.BILINEAR)
        mask = kernels.affine(mask, *affine, interpolation=v2.InterpolationMode.NEAREST)
        image = kernels.adjust_brightness((image / 4 + 0.5).clamp(0, 1), float(draw.gain[i].mean()))
        image = kernels.adjust_contrast(image, float(draw.contrast[i]))
        image = kernels.adjust_saturation(image, float(draw.saturation[i]))
        results += [image, mask]
    return results


def fastest(rows: dict[str, tuple[str, dict]], config: Config) -> dict[str, float]:
    """Milliseconds per call of each (statement, names); a GPU is waited for."""
    timers = {
        row: Timer(code, globals=names, num_threads=config.threads) for row, (code, names) in rows.items()
    }
    best = dict.fromkeys(rows, float("inf"))
    for _ in range(config.rounds):
        for row, timer in timers.items():
            median = timer.blocked_autorange(min_run_time=config.seconds).median
            best[row] = min(best[row], 1e3 * median)
    return best


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    size, augment = (config.height, config.width), Augment()
    pixels = domain("pixels", config.images, *size).to(config.device)
    images, masks = pixels.images, pixels.masks
    pairs = [(tv_tensors.Image(x), tv_tensors.Mask(m)) for x, m in zip(images, masks, strict=True)]
    rows = {
        "torchvision v2, a call per image": (
            "[jitter(*pair) for pair in pairs]",
            {"pairs": pairs},
        ),
        "torchvision v2.functional, a call per image": (
            "f(images, masks, augment.draw(len(images), g))",
            {"f": by_kernels},
        ),
        "torchvision v2, one draw for the whole batch": (
            "jitter(image, mask)",
            {"image": tv_tensors.Image(images), "mask": tv_tensors.Mask(masks)},
        ),
        "mstl, a draw per image in one pass": (
            "f(images, augment.draw(len(images), g), masks)",
            {"f": transform},
        ),
    }
    shared = {
        "images": images,
        "masks": masks,
        "augment": augment,
        "g": stream_generator(0, "benchmark"),
        "jitter": compose(augment),
    }
    times = fastest({row: (code, shared | own) for row, (code, own) in rows.items()}, config)
    base = times["mstl, a draw per image in one pass"]
    print(
        f"{config.images} images {size[0]}×{size[1]} with masks, {config.device}, {config.threads} thread(s)"
    )
    for name, value in times.items():
        print(f"  {name:<46}{value:8.2f} ms {value / base:7.1f}×")

    whole = task(config.sources, size, images=400)
    print(f"a step's batches, J = {config.sources}, 8 images per source, 8 target images")
    options = {
        "gather only": {"augment": Augment.none()},
        "synchronised": {},
        "a target batch per sub-network": {"synchronised": False},
    }
    steps = {
        row: ("next(batches)", {"batches": Batches(whole, device=config.device, **chosen)})
        for row, chosen in options.items()
    }
    for row, value in fastest(steps, config).items():
        print(f"  {row:<46}{value:8.2f} ms")


if __name__ == "__main__":
    main(tyro.cli(Config))
