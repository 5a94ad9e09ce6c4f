"""Source images in the colours of the target."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_classes, toy_task

from mstl.data.appearance import Colours, recoloured
from mstl.data.augment import Augment, to_float
from mstl.data.batches import Batches
from mstl.methods import METHODS, configured
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
from mstl.system.errors import InputError

DRAWN = ("image", "mixed")


def batches(appearance, task=None, augment=None, **options):
    augment = augment or Augment.none()
    return Batches(
        task or toy_task(labels=0), batch_size=4, appearance=appearance, augment=augment, **options
    )


def moments(x):
    """Per channel of network inputs (n, 3, h, w), in grey levels: (n, 3) each."""
    grey = (x.flatten(2).double() + 2) * 255 / 4
    return grey.mean(-1), grey.std(-1, correction=0)


def targets(task):
    return moments(to_float(torch.cat([d.images for d in (task.labelled, task.unlabelled) if d is not None])))


@pytest.mark.parametrize("labels", [0, 4])
def test_a_source_in_the_target_s_colours_has_its_moments_over_all_images(labels):
    task = toy_task(labels=labels)
    made = batches("target", task)
    target = torch.cat([d.images for d in (task.labelled, task.unlabelled) if d is not None])
    wanted = [f(target.double().transpose(0, 1).flatten(1)) for f in (_mean, _deviation)]
    for j, source in enumerate(task.sources):
        shown = made.source_images(j)
        assert shown.dtype == torch.uint8 and shown.shape == source.images.shape
        found = [f(shown.double().transpose(0, 1).flatten(1)) for f in (_mean, _deviation)]
        for one, other in zip(found, wanted, strict=True):
            assert (one - other).abs().max() < 1.5  # what is cut at 0 and 255, and rounding
    assert not torch.equal(batches("own", task).source_images(0), made.source_images(0))


def _mean(x):
    return x.mean(1)


def _deviation(x):
    return x.std(1, correction=0)


def test_equal_colours_change_no_pixel_and_a_flat_channel_gets_the_mean():
    images = toy_task().sources[0].images
    own = Colours.of(images)
    assert torch.equal(recoloured(images, own, own), images)
    flat = torch.full_like(images, 7)
    wanted = Colours(torch.full((1, 3), 100.0), torch.full((1, 3), 20.0))
    assert torch.equal(recoloured(flat, Colours.of(flat), wanted), torch.full_like(images, 100))


def test_pooled_colours_are_those_of_all_places():
    images = torch.randint(0, 256, (70, 3, 8, 8), dtype=torch.uint8)  # more than one piece
    all_places = images.double().transpose(0, 1).flatten(1)
    pooled = Colours.of(images).pooled()
    torch.testing.assert_close(pooled.mean[0].double(), all_places.mean(1), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        pooled.deviation[0].double(), all_places.std(1, correction=0), rtol=1e-5, atol=1e-4
    )


def test_each_image_has_the_moments_of_one_target_image_drawn_anew():
    task = toy_task(labels=4)
    made, own, known = batches("image", task), batches("own", task), targets(task)
    chosen = []
    for step in range(6):
        batch = made.at(step)
        assert torch.equal(batch.source_y, own.at(step).source_y)
        assert torch.equal(batch.target.x, own.at(step).target.x)
        found = moments(batch.source_x.flatten(0, 1))
        apart = sum((a[:, None] - b[None]).abs().amax(-1) for a, b in zip(found, known, strict=True))
        assert (apart.amin(1) < 4).all()
        chosen += apart.argmin(1).tolist()
    assert len(set(chosen)) > 5  # labelled and unlabelled ones alike


def test_mixed_images_have_the_moments_of_other_sources():
    task = toy_task(labels=0)
    made = batches("mixed", task)
    known = [moments(to_float(source.images)) for source in task.sources]
    chosen = set()
    for step in range(4):
        for image in made.at(step).source_x.flatten(0, 1):
            mean, deviation = moments(image[None])
            apart = [((mean - m).abs().amax(-1) + (deviation - d).abs().amax(-1)).min() for m, d in known]
            assert min(apart) < 4
            chosen.add(int(np.argmin(apart)))
    assert chosen == {0, 1, 2}


@pytest.mark.parametrize("appearance", ["own", "target", *DRAWN])
def test_a_seed_and_a_step_decide_every_colour(appearance):
    one, same, other = (batches(appearance, seed=seed) for seed in (0, 0, 1))
    for _ in range(2):
        next(same)
    assert torch.equal(one.at(2).source_x, next(same).source_x)
    assert not torch.equal(one.at(1).source_x, other.at(1).source_x)
    resumed = batches(appearance)
    resumed.load_state_dict(same.state_dict())
    assert torch.equal(next(resumed).source_x, one.at(3).source_x)
    with pytest.raises(InputError, match="appearance is"):
        batches("target" if appearance == "own" else "own").load_state_dict(one.state_dict())


def test_no_mask_of_the_target_is_read():
    task = toy_task(labels=4)
    blind = replace(
        task,
        labelled=replace(task.labelled, masks=1 - task.labelled.masks),
        unlabelled=replace(task.unlabelled, masks=1 - task.unlabelled.masks),
    )
    for appearance in ("target", *DRAWN):
        left, right = (batches(appearance, t).at(0).source_x for t in (task, blind))
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_option(name):
    assert configured(name).appearance == "own"
    assert configured(name, "appearance=image").appearance == "image"


def test_a_run_is_trained_so_and_named_so(tmp_path):
    config = TrainConfig(method="dann", overrides="appearance=target", profile="tiny", out=str(tmp_path))
    trainer, plain = (
        Trainer(made, toy_task()) for made in (config, TrainConfig(method="dann", profile="tiny"))
    )
    assert trainer.update()["source"] != plain.update()["source"]
    assert config.variant == "dann+appearance=target"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: batches("lab"), "appearance='lab' is unknown; choose from own, target, image, mixed"),
        (lambda: configured("mstl", "appearance=lab"), "choose from own, target, image, mixed"),
        (
            lambda: batches("target", toy_classes((12, 1, 1), labels=0)),
            "appearance=target is of images; vectors have no colours",
        ),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(InputError, match=message):
        make()
