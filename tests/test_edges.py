"""The edges of what data may be: every method trains on them, and nothing becomes infinite."""

from dataclasses import replace

import pytest
import torch
from conftest import OF_MASKS, blobs, toy_task

from mstl.data.batches import Batches
from mstl.data.task import Task
from mstl.problems import Segmentation
from mstl.run.config import TrainConfig
from mstl.run.evaluate import predict_domain
from mstl.run.train import Trainer

SIZE, WINDOW = (16, 24), (16, 16)


def painted(task: Task, value: int) -> Task:
    """The task with ``value`` in every mask."""

    def paint(domain):
        return domain and replace(domain, masks=torch.full_like(domain.masks, value), parts=None)

    return Task(
        task.name,
        tuple(map(paint, task.sources)),
        *(paint(getattr(task, key)) for key in ("labelled", "unlabelled", "validation", "test")),
    )


def single(task: Task) -> Task:
    """The task with one image in every domain."""
    return Task(
        task.name,
        tuple(source.select([0]) for source in task.sources),
        *(getattr(task, key).select([0]) for key in ("labelled", "unlabelled", "validation", "test")),
    )


def ragged(sources: int) -> Task:
    """Sources of 1, 2, 9 and 17 images, fewer and more than a batch holds, in windows of a few pixels."""
    numbers = (1, 17, 2, 9)[:sources]
    small = tuple(blobs(f"source {j}", n, (8, 16), j) for j, n in enumerate(numbers))
    return replace(toy_task(1, 4, SIZE), sources=small)


EDGES = {  # task of J sources, images of a source and of the target in a batch
    "sources of different sizes": (ragged, 3, 4),
    "one image in a batch": (lambda j: toy_task(j, 4, SIZE, WINDOW), 1, 1),
    "one image in every domain": (lambda j: single(toy_task(j, 4, SIZE, WINDOW)), 3, 4),
    "masks all background": (lambda j: painted(toy_task(j, 4, SIZE, WINDOW), 0), 3, 4),
    "masks all object": (lambda j: painted(toy_task(j, 4, SIZE, WINDOW), 1), 3, 4),
    "no target label": (lambda j: toy_task(j, 0, SIZE, WINDOW), 3, 4),
    "all target images labelled": (lambda j: toy_task(j, 4, SIZE, WINDOW).with_all_labels(), 3, 4),
    "labels fill a batch": (lambda j: toy_task(j, 1, SIZE, WINDOW), 3, 1),
}
NUMBERS = dict(zip(EDGES, ((4, 1), (3,), (2,), (1, 3), (4,), (3,), (1,), (2,)), strict=True))


@pytest.mark.trust(
    "limits",
    "Every method trains on the edges of what data may be - unequal sources, one image, empty and full "
    "masks, no label, only labels, one source - and no loss, weight, prediction or score stops being finite.",
)
@pytest.mark.parametrize(
    ("edge", "sources", "name"),
    [
        (edge, sources, name)
        for edge, numbers in NUMBERS.items()
        for sources in numbers
        for name in OF_MASKS
        if not (edge == "no target label" and name == "target_only")
    ],
)
def test_every_method_stands_the_edges(edge, sources, name, tmp_path):
    make, images, target_images = EDGES[edge]
    task = make(sources)
    config = TrainConfig(method=name, profile="tiny", out=str(tmp_path), batch_size=images)
    trainer = Trainer(config, task)
    trainer.batches = Batches(
        trainer.task,
        batch_size=images,
        target_batch_size=target_images,
        synchronised=trainer.method.synchronised,
    )
    for step in (0, 15):  # before and after pseudo-labels begin
        trainer.step = step
        losses = trainer.update()
        assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    trainer.method.eval()
    seen = trainer.method.observe(trainer.batches.at(2), 0.9)
    assert all(value.isfinite() for value in seen.values()), seen
    for value in [*trainer.method.state_dict().values(), *trainer.averaged.state_dict().values()]:
        assert value.isfinite().all()
    logits = predict_domain(trainer.predict, task.test)
    assert logits.shape == task.test.masks.shape
    assert logits.isfinite().all()
    scores = Segmentation().table(logits, task.test)[["dice", "iou"]]
    assert ((scores >= 0) & (scores <= 1)).all(axis=None)


@pytest.mark.trust(
    "limits",
    "Where there is nothing to find, predicting nothing is right: trained on empty masks alone a method says "
    "background everywhere, and its Dice is 1.",
)
@pytest.mark.parametrize("name", ["source_combine", "mstl"])
def test_nothing_to_find_is_learnt(name, tmp_path):
    task = painted(toy_task(2, 4, SIZE, WINDOW), 0)
    config = TrainConfig(
        method=name, profile="tiny", out=str(tmp_path), steps=40, learning_rate=0.02, ema=0.5
    )
    trainer = Trainer(config, task)
    first = trainer.update()["source"]
    for _ in range(39):
        last = trainer.update()["source"]
    assert last < 0.7 * first  # 1 - Dice of an empty mask stays near 1 until every probability is nearly 0
    scores = Segmentation().table(predict_domain(trainer.predict, task.test), task.test)
    assert (scores[["dice", "iou"]] == 1).all(axis=None)
