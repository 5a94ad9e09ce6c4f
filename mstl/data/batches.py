"""Synchronised batches: every source on its own endless cycle, one target draw for all sub-networks."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mstl.data.appearance import CHOICES, Colours, recoloured
from mstl.data.augment import Augment, Augmented, Draw, to_float, transform
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.system.errors import InputError


@dataclass(frozen=True)
class TargetBatch:
    """m target images, the l labelled ones first.

    Attributes:
        x: float32 (m, c, h, w), augmented.
        y: of the first l images, l may be 0: masks float32 (l, 1, h, w) in {0, 1}, or classes int64 (l,).
        plain: float32 (m, c, h, w), the same geometry without colour change: what a teacher sees.
        ids: int64 (m,) on the CPU, the row in ``task.labelled``, or len(labelled) + the row in
            ``task.unlabelled``.
        taught: float32, the probabilities that a teacher predicts on ``plain`` of the unlabelled images,
            (m − l, 1, h, w) or (m − l, K, 1, 1); None without a teacher.
    """

    x: Tensor
    y: Tensor
    plain: Tensor
    ids: Tensor
    taught: Tensor | None = None

    @property
    def unlabelled(self) -> slice:
        """Rows of the images without a label."""
        return slice(len(self.y), None)


class Labelled(NamedTuple):
    """Images and their labels, in the forms of `TargetBatch`."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Attributes:
        source_x: float32 (J, b, c, h', w'), augmented.
        source_y: masks float32 (J, b, 1, h', w') in {0, 1}, or classes int64 (J, b).
        source_ids: int64 (J, b) on the CPU, rows in ``task.sources[j]``.
        targets: J target batches, or one where there is no source; synchronised, the same object J times.
        bridges: float32 (b, c, h, w), augmented; None where the task has none.
    """

    source_x: Tensor
    source_y: Tensor
    source_ids: Tensor
    targets: tuple[TargetBatch, ...]
    bridges: Tensor | None = None

    @property
    def J(self) -> int:
        """Number of sources."""
        return len(self.source_x)

    @property
    def sources(self) -> tuple[Labelled, ...]:
        """The batch of each source."""
        return tuple(map(Labelled, self.source_x, self.source_y))

    @property
    def pooled(self) -> Labelled:
        """All sources as one, J·b rows."""
        return Labelled(self.source_x.flatten(0, 1), self.source_y.flatten(0, 1))

    @property
    def target(self) -> TargetBatch:
        """The target batch of the first sub-network: of all of them when synchronised."""
        return self.targets[0]


def stream_generator(seed: int, *stream: str | int) -> torch.Generator:
    """A CPU generator that depends on (seed, stream) and on nothing else."""
    digest = hashlib.blake2b(repr((seed, *stream)).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


class Cycle:
    """Rows 0..n−1 in endless shuffled passes; position p of the cycle is a function of (seed, stream, p)."""

    def __init__(self, n: int, seed: int, stream: str) -> None:
        self.n, self.seed, self.stream = n, seed, stream
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def order(self, epoch: int) -> Tensor:
        """int64 (n,), the permutation of one pass; the last one asked for is kept."""
        if epoch != self._epoch:
            generator = stream_generator(self.seed, self.stream, "order", epoch)
            self._epoch, self._order = epoch, torch.randperm(self.n, generator=generator)
        return self._order

    def rows(self, start: int, count: int) -> Tensor:
        """int64 (count,), positions start .. start + count − 1; a request may span several passes."""
        pieces = [torch.empty(0, dtype=torch.int64)]
        while count > 0:
            epoch, position = divmod(start, self.n)
            pieces.append(self.order(epoch)[position : position + count])
            start, count = start + len(pieces[-1]), count - len(pieces[-1])
        return torch.cat(pieces)


class Batches:
    """Endless iterator over the batches of a task; ``at(step)`` replays any of them.

    Step t of source j takes positions t·b .. t·b + b − 1 of that source's own :class:`Cycle`, so sources of
    unequal size are neither truncated nor tied to each other. Streams are named after the domain: what
    source j draws depends on no other source. Synchronised, one target draw serves all J sub-networks;
    otherwise each draws its own (the ablation).

    Args:
        task: sources and target; pixels and counts are moved to ``device`` once, as the integers they are.
        batch_size: b, images per source.
        target_batch_size: m, target images per target batch.
        labelled_share: l = m·share, rounded half up, of the target images are labelled ones, repeated where
            there are fewer than l; 0 without labelled images and m without unlabelled ones.
        seed: all draws are functions of (seed, stream, step).
        synchronised: one target batch for all sub-networks.
        augment: strength of the augmentation, by default the task's; ``Augment.none()`` for none. Vectors
            are not varied.
        appearance: colours of the source images, before augmentation: their ``own``; moved, a source at a
            time, so that all its images together have mean and deviation of all training images of the
            ``target``; those of one such ``image``, drawn anew for each image and step; or, ``mixed``, those
            of one image of any source, all sources being equally likely. No label of the target is read.
        device: where batches are made.

    Raises:
        InputError: a parameter out of range, or unequal image sizes.
    """

    def __init__(
        self,
        task: Task,
        *,
        batch_size: int = 8,
        target_batch_size: int = 8,
        labelled_share: float = 0.5,
        seed: int = 0,
        synchronised: bool = True,
        augment: Augment | None = None,
        appearance: str = "own",
        device: torch.device | str = "cpu",
    ) -> None:
        if appearance not in CHOICES:
            raise InputError(f"appearance={appearance!r} is unknown; choose from {', '.join(CHOICES)}")
        if appearance != "own" and any(domain.is_vectors for domain in task.sources):
            raise InputError(f"appearance={appearance} is of images; vectors have no colours: use own")
        for name, value in {"batch_size": batch_size, "target_batch_size": target_batch_size}.items():
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be an integer of at least 1; got {value!r}")
        if not 0 <= labelled_share <= 1:
            raise InputError(f"labelled_share must lie in [0, 1]; got {labelled_share!r}")
        labelled, unlabelled, target = task.labelled, task.unlabelled, task.training
        _same_size(task.sources, "sources")
        _same_size(target, "target images")
        pool = [] if task.bridges is None else [task.bridges]
        _same_size([target[0], *pool], "target images and bridges")

        self.problem = task.problem
        self.augment = task.augment if augment is None else augment
        self.batch_size, self.target_batch_size = batch_size, target_batch_size
        share = 0.0 if labelled is None else 1.0 if unlabelled is None else labelled_share
        self.labelled_per_batch = math.floor(share * target_batch_size + 0.5)
        self.seed, self.synchronised = seed, synchronised
        self.device = torch.device(device)
        self.step = 0
        self._streams = _stream_names(task.sources)
        labels = self.problem.labels
        self._sources = [(d.images.to(self.device), labels(d).to(self.device)) for d in task.sources]
        self._source_cycles = [
            Cycle(len(domain), seed, f"source {stream}")
            for domain, stream in zip(task.sources, self._streams, strict=True)
        ]
        self.appearance = appearance
        if appearance != "own":
            self._colours = [Colours.of(images) for images, _ in self._sources]
            given = Colours.cat([Colours.of(domain.images.to(self.device)) for domain in target])
            self._palettes = self._colours if appearance == "mixed" else [given]
        if appearance == "target":
            self._sources = [
                (recoloured(images, own.pooled(), given.pooled()), y)
                for (images, y), own in zip(self._sources, self._colours, strict=True)
            ]
        self._bridges = [
            (domain.images.to(self.device), Cycle(len(domain), seed, "bridges")) for domain in pool
        ]
        # An absent domain is one without rows. The labels of unlabelled images stay behind.
        self._target_sizes = (len(labelled or ()), len(unlabelled or ()))
        self._labelled_x, self._labelled_y = (
            rows[: self._target_sizes[0]].to(self.device) for rows in (target[0].images, labels(target[0]))
        )
        self._unlabelled_x = target[-1].images[: self._target_sizes[1]].to(self.device)
        self._target_streams = ["shared"] if synchronised or not self._streams else self._streams
        self._target_cycles = [
            tuple(
                Cycle(n, seed, f"{kind} target {stream}")
                for kind, n in zip(("labelled", "unlabelled"), self._target_sizes, strict=True)
            )
            for stream in self._target_streams
        ]
        self._configuration = {
            "seed": seed,
            "batch_size": batch_size,
            "target_batch_size": target_batch_size,
            "labelled_per_batch": self.labelled_per_batch,
            "synchronised": synchronised,
            "augment": asdict(self.augment),
            "appearance": appearance,
            "sources": [[d.name, len(d), *d.size] for d in task.sources],
            "target": [*self._target_sizes, *target[0].size],
            **({"bridges": len(pool[0])} if pool else {}),
        }

    @property
    def J(self) -> int:
        """Number of sources."""
        return len(self._sources)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        batch = self.at(self.step)
        self.step += 1
        return batch

    def at(self, step: int) -> Batch:
        """The batch of one step, without moving the iterator."""
        x, y, ids = self._drawn_sources(step) if self._sources else self._no_sources()
        targets = tuple(self._target(k, step) for k in range(len(self._target_streams)))
        return Batch(
            source_x=x,
            source_y=y,
            source_ids=ids,
            targets=targets * max(self.J, 1) if self.synchronised else targets,
            bridges=self._bridge_images(step),
        )

    def _drawn_sources(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and rows of a step, as a `Batch` holds them."""
        b = self.batch_size
        ids = torch.stack([cycle.rows(step * b, b) for cycle in self._source_cycles])
        rows = ids.to(self.device, non_blocking=True)
        x, y = (
            torch.cat([pixels[kind].index_select(0, rows[j]) for j, pixels in enumerate(self._sources)])
            for kind in (0, 1)
        )
        if self.appearance in ("image", "mixed"):
            own = Colours.cat([colours.at(rows[j]) for j, colours in enumerate(self._colours)])
            x = recoloured(x, own, self._drawn_colours(step))
        draw = Draw.cat([self._draw(b, f"source {stream}", step) for stream in self._streams])
        sources, y = self._varied(x, y, draw)
        return sources.images.unflatten(0, (self.J, b)), y.unflatten(0, (self.J, b)), ids

    def _no_sources(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same of none: no image in the target's shape."""
        b, x, y = self.batch_size, self._unlabelled_x, self._labelled_y
        nothing = x.new_zeros(0, b, *x.shape[1:], dtype=torch.float32)
        labels = torch.float32 if self.problem.moves else torch.int64
        return nothing, y.new_zeros(0, b, *y.shape[1:], dtype=labels), torch.zeros(0, b, dtype=torch.int64)

    def _bridge_images(self, step: int) -> Tensor | None:
        """b bridges, varied as sources are."""
        if not self._bridges:
            return None
        ((images, cycle),) = self._bridges
        rows = cycle.rows(step * self.batch_size, self.batch_size).to(self.device, non_blocking=True)
        images = images.index_select(0, rows)
        if images.shape[-2:] == (1, 1):
            return to_float(images)
        return transform(images, self._draw(self.batch_size, "bridges", step)).images

    def state_dict(self) -> dict:
        """Step and configuration as plain values: with the same task they give all batches to come."""
        return {"step": self.step, **self._configuration}

    def load_state_dict(self, state: dict) -> None:
        """Continue where ``state`` was taken.

        Raises:
            InputError: the state belongs to another seed, configuration or task.
        """
        for name, value in self._configuration.items():
            if state.get(name) != value:
                raise InputError(
                    f"checkpoint of other batches: {name} is {state.get(name)!r} there and {value!r} here; "
                    "resume with the configuration it was saved with, or start a new run"
                )
        self.step = int(state["step"])

    def source_images(self, j: int) -> Tensor:
        """The images of source j, uint8, as far as their appearance is the same in every step."""
        return self._sources[j][0]

    def _drawn_colours(self, step: int) -> Colours:
        """Colours for the J·b source images of a step."""
        sizes = torch.tensor([len(palette.mean) for palette in self._palettes])
        draws = [
            torch.rand(
                self.batch_size,
                2,
                generator=stream_generator(self.seed, f"source {stream}", "appearance", step),
            )
            for stream in self._streams
        ]
        palette, place = torch.cat(draws).double().T
        palette = (palette * len(sizes)).long()
        rows = (sizes.cumsum(0) - sizes)[palette] + (place * sizes[palette]).long()
        return Colours.cat(self._palettes).at(rows.to(self.device, non_blocking=True))

    def _draw(self, n: int, stream: str, step: int) -> Draw:
        return self.augment.draw(n, stream_generator(self.seed, stream, "augment", step))

    def _target(self, k: int, step: int) -> TargetBatch:
        m, l = self.target_batch_size, self.labelled_per_batch
        labelled, unlabelled = self._target_cycles[k]
        known, unknown = labelled.rows(step * l, l), unlabelled.rows(step * (m - l), m - l)
        rows = torch.cat([known, unknown]).to(self.device, non_blocking=True)
        x = torch.cat(
            [self._labelled_x.index_select(0, rows[:l]), self._unlabelled_x.index_select(0, rows[l:])]
        )
        draw = self._draw(m, f"target {self._target_streams[k]}", step)
        varied, y = self._varied(x, self._labelled_y.index_select(0, rows[:l]), draw)
        return TargetBatch(
            x=varied.images,
            y=y,
            plain=varied.plain,
            ids=torch.cat([known, unknown + self._target_sizes[0]]),
        )

    def _varied(self, x: Tensor, y: Tensor, draw: Draw) -> tuple[Augmented, Tensor]:
        """Network inputs, and the labels of the first of them: masks follow the geometry, classes do not."""
        if self.problem.moves:
            result = transform(x, draw, y)
            return result, result.masks
        if x.shape[-2:] == (1, 1):
            vectors = to_float(x)
            return Augmented(vectors, vectors, None, None), y.long()
        return transform(x, draw), y.long()


def _stream_names(sources: tuple[Domain, ...]) -> list[str]:
    """One name per source: the domain's, with a count where several share it."""
    names = [domain.name for domain in sources]
    return [f"{name} {names[:j].count(name)}" for j, name in enumerate(names)]


def _same_size(domains: tuple[Domain, ...] | list[Domain], what: str) -> None:
    if len({domain.size for domain in domains}) > 1:
        found = ", ".join(f"{domain.name} {domain.size}" for domain in domains)
        raise InputError(f"all {what} must have one height and width; got {found}: resize them alike")
