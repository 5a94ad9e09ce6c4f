"""The loop of a paper's released code on MSTL's networks, as it is and after the usual advice.

As it is: a DataLoader a domain that decodes with PIL in every epoch, float32, one forward pass a domain, a
fresh target batch for each source, ``.item()`` on each loss in each step. After the advice: worker processes
that stay, pinned memory where there is a GPU, mixed precision where the machine has it, no ``.item()``.
Neither augments, averages weights or trains the discriminators beyond the one update: they do less than ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from photographs import Photographs
from torch import Tensor
from torch.utils.data import DataLoader

from mstl import methods
from mstl.data.task import Task
from mstl.nn import domain_loss, ramp, reverse_gradient, segmentation_loss
from mstl.run.config import TrainConfig
from mstl.run.precision import choose


class PlainLoop:
    """Train MSTL from the files that `photographs.write_task` wrote.

    Args:
        config: sizes, rate and seed.
        task: sizes of the images.
        folder: the files.
        workers: worker processes of each DataLoader; 0 decodes in the loop itself.
        advice: follow the usual advice.
    """

    def __init__(
        self, config: TrainConfig, task: Task, folder: Path, workers: int = 0, advice: bool = False
    ) -> None:
        torch.manual_seed(config.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config, self.advice, self.steps_done = config, advice, 0
        self.half = torch.bfloat16 if advice and choose(config).precision == "bf16-mixed" else None
        sources = len(task.sources)
        self.method = methods.build("mstl", sources, True, width=config.profiled("width")).to(self.device)
        batch, target = config.profiled("batch_size"), config.profiled("target_batch_size")
        self.labels = target // 2

        whole = task.validation.size

        def stream(name: str, size: tuple[int, int], count: int) -> Iterator[tuple[Tensor, Tensor]]:
            loader = DataLoader(
                Photographs(folder / name, size, whole),
                count,
                shuffle=True,
                drop_last=True,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=advice and self.device.type == "cuda",
            )
            while True:
                yield from loader

        self.sources = [stream(f"source{j}", task.sources[j].size, batch) for j in range(sources)]
        self.labelled = stream("labelled", whole, self.labels)
        self.target = stream("unlabelled", whole, target - self.labels)
        self.optimiser = torch.optim.Adam(self.method.parameters(), lr=config.profiled("learning_rate"))
        self.history: list[float] = []

    def step(self) -> None:
        """One iteration: for every source its batch and a fresh target batch."""
        self.method.train()
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            losses = self._losses()
        self.optimiser.zero_grad()
        total = sum(losses)
        total.backward()
        self.optimiser.step()
        self.steps_done += 1
        if not self.advice:
            self.history += [loss.item() for loss in (*losses, total)]

    def _losses(self) -> list[Tensor]:
        strength = 0.02 * ramp(self.steps_done / self.config.profiled("steps"))
        labelled_images, labelled_masks = self._next(self.labelled)
        losses, outputs = [], []
        for j, stream in enumerate(self.sources):
            network, discriminator = self.method.subnetworks[j], self.method.adversary.discriminators[j]
            source_x, source_y = self._next(stream)
            target_images, _ = self._next(self.target)
            source, target, labelled = map(network, (source_x, target_images, labelled_images))
            losses.append(segmentation_loss(source.logits, source_y) / len(self.sources))
            of_target = torch.cat((target.features, labelled.features))
            losses.append(
                domain_loss(
                    discriminator(reverse_gradient(source.features, strength)),
                    discriminator(reverse_gradient(of_target, strength)),
                )
                / len(self.sources)
            )
            outputs.append(labelled)
        return [*losses, segmentation_loss(self.method.fused(outputs), labelled_masks)]

    def _next(self, stream: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        return tuple(x.to(self.device, non_blocking=self.advice) for x in next(stream))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits by the last weights."""
        self.method.eval()
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            return self.method.predict(images.to(self.device)).float()
