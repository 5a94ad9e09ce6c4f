"""Networks that start: an object is found however small it is, bright or dark."""

import math

import numpy as np
import pytest
import torch
from conftest import toy_task
from torch import nn

from mstl import methods
from mstl.data.domain import Domain
from mstl.data.recipes.own import task_of
from mstl.nn import Encoder, Predictor
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

SIZE, STEPS = (32, 48), 150
OF_ONE_SOURCE = ("source_only", "dann_per_source", "consistency", "mstl", "mstl_plus")


def spots(name: str, n: int, share: float, tone: float, seed: int) -> Domain:
    """Noise with one ellipse an image, which covers ``share`` of it and differs by ``tone`` grey levels."""
    generator, (h, w) = np.random.default_rng(seed), SIZE
    radius = math.sqrt(share * h * w / math.pi)
    stretch = generator.uniform(0.8, 1.25, n)
    axes = radius * np.stack((stretch, 1 / stretch))
    centres = [
        generator.uniform(a.max() + 1, side - a.max() - 1, n) for a, side in zip(axes, SIZE, strict=True)
    ]
    y, x = np.mgrid[:h, :w]
    distance = sum(
        ((grid - centre[:, None, None]) / axis[:, None, None]) ** 2
        for grid, centre, axis in zip((y, x), centres, axes, strict=True)
    )
    masks = (distance <= 1)[:, None]
    images = 128 + generator.normal(0, 12, (n, 3, h, w)) + tone * masks
    return Domain(
        name,
        torch.from_numpy(images.clip(0, 255).astype(np.uint8)),
        torch.from_numpy(masks.astype(np.uint8)),
        groups=np.array([f"{name} {i}" for i in range(n)]),
        views=np.ones(n, dtype=int),
    )


def trained(method: str, share: float, tone: float, **options) -> Trainer:
    task = task_of(
        {f"s{j}": spots(f"s{j}", 24, share, tone, j) for j in range(2)},
        spots("target", 32, share, tone, 9),
    )
    config = TrainConfig(
        data="folder",
        recipe="own",
        method=method,
        profile="grid",
        steps=STEPS,
        precision="32-true",
        **options,
    )
    trainer = Trainer(config, task)
    while trainer.step < STEPS:
        trainer.update()
    return trainer


def dice(trainer: Trainer) -> float:
    test = trainer.task.test
    table = trainer.task.problem.table(trainer.predict(test.images / 255), test)
    return table["dice"].mean()


@pytest.mark.parametrize(
    ("method", "share", "tone"),
    [
        ("target_only", 0.01, 45),
        ("target_only", 0.01, -45),
        ("target_only", 0.05, -45),
        ("source_combine", 0.01, -45),
        ("mstl", 0.01, -45),
    ],
)
def test_objects_from_one_percent_of_the_image_are_found_bright_and_dark(method, share, tone):
    assert dice(trained(method, share, tone)) > 0.5


def test_from_a_bias_of_zero_a_small_object_is_not_found(monkeypatch):
    """What the start is for: should this fail one day, the network starts without it and it may go."""
    monkeypatch.setattr("mstl.nn.Predictor.expect", lambda self, share: nn.init.zeros_(self.head.bias))
    assert dice(trained("target_only", 0.01, 45)) == 0


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_fresh_head_predicts_the_share_it_expects(norm, share):
    torch.manual_seed(0)
    encoder = Encoder(8, 3, norm)
    predictor = Predictor(encoder.channels, norm, masks=2)
    predictor.expect(share)
    found = predictor(encoder(torch.rand(4, 3, 32, 32))).sigmoid().mean().item()
    assert found == pytest.approx(share, abs=0.1 if share > 0.1 else 0.02)


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_head_of_masks_begins_at_the_share_of_the_training_masks(method):
    """A network of source j alone begins at source j's share, one of the target alone at the target's."""
    task = toy_task(labels=2)
    by_source = [d.masks.double().mean().item() for d in task.sources]
    # The oracle's labelled images are all of the target's.
    target = (task.with_all_labels() if method == "oracle" else task).labelled.masks.double().mean().item()
    trainer = Trainer(TrainConfig(method=method, profile="tiny", labels=2), task)
    own = dict(trainer.method.networks_of_sources())
    assert (len(own) == 3) == (method in OF_ONE_SOURCE)
    alone = method in ("target_only", "oracle")
    expected = dict.fromkeys(heads_of(trainer.method), target if alone else (sum(by_source) + target) / 4)
    expected |= {head: by_source[j] for j, network in own.items() for head in heads_of(network)}
    assert expected
    for head, share in expected.items():
        assert head.bias.detach().double().sigmoid().tolist() == pytest.approx(
            [share] * len(head.bias), abs=1e-6
        )


def heads_of(network: nn.Module) -> list[nn.Conv2d]:
    return [m.head for m in network.modules() if isinstance(m, Predictor)]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_without_a_logit_is_cut(share):
    predictor = Predictor((4, 8))
    predictor.expect(share)
    assert abs(predictor.head.bias.item()) == pytest.approx(math.log(999), rel=1e-4)
