"""A source of noise among good ones: what each method promises, and where it promises nothing."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_task
from rearranged import asked, made, rearranged, weights
from small import batch_of

from mstl.data.augment import to_float
from mstl.data.batches import Batches
from mstl.data.recipes.spoil import spoiled
from mstl.methods import build
from mstl.nn import domain_loss, ramp, segmentation_loss
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

IMAGES = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def with_noise(good: int, labels: int = 4):
    """A task of ``good`` sources of blobs and, last, one of noise with random masks."""
    task = toy_task(good, labels, (16, 24), (16, 24))
    return replace(task, sources=spoiled(task.sources, "useless", 0))


def trained(folder, name, steps, labels=4, overrides="") -> Trainer:
    config = TrainConfig(
        method=name,
        overrides=overrides,
        profile="tiny",
        labels=labels,
        out=str(folder),
        steps=steps,
        learning_rate=0.01,
    )
    trainer = Trainer(config, with_noise(3, labels))
    for _ in range(steps):
        trainer.update()
    return trainer


@pytest.mark.trust(
    "limits",
    "One more source moves a plain average of J + 1 probabilities by its share, at most 1/(J + 1), and by "
    "nothing less if it is useless: averages promise no more.",
)
@pytest.mark.parametrize("good", [1, 2, 3])
@pytest.mark.parametrize("name", ["source_only", "dann_per_source", "m3sda", "mfsan", "consistency"])
def test_an_average_gives_a_source_its_share_and_no_more(name, good):
    method = made(name, good + 1)
    state = weights(method)

    def probability(order):
        return asked(made(name, len(order)), rearranged(method, state, order))("predict", IMAGES).sigmoid()

    together, without, alone = (probability([*o]) for o in (range(good + 1), range(good), [good]))
    torch.testing.assert_close(together, (good * without + alone) / (good + 1))
    assert (together - without).abs().max() <= 1 / (good + 1)
    assert (together - without).abs().max() > 1e-4


@pytest.mark.trust(
    "limits",
    "The consensus of MSTL-plus outvotes one odd head among three or more; between two heads there is no "
    "majority, and the weights are equal.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("labels", [0, 4])
def test_consensus_needs_a_majority(labels, sources):
    torch.manual_seed(0)
    method = build("mstl_plus", sources, labels > 0, "depth=2", width=4).train()
    with torch.no_grad():
        method.subnetworks[0].predictor.head.weight.mul_(20)
        for network in method.subnetworks:  # all of one opinion but the last
            network.load_state_dict(method.subnetworks[0].state_dict())
        method.subnetworks[-1].predictor.head.weight.neg_()
    method.losses(batch_of(toy_task(sources, labels, (16, 24), (16, 16))), 0.5)
    if sources < 3:
        torch.testing.assert_close(method.weights, torch.full((sources,), 1 / sources))
    else:
        assert method.weights[-1] < 1e-3
        equal = torch.full((sources - 1,), 1 / (sources - 1))
        torch.testing.assert_close(method.weights[:-1], equal, atol=1e-3, rtol=0)


@pytest.mark.trust(
    "limits",
    "Trained with a source of noise among three good ones, MSTL-plus gives the noise the smallest weight "
    "without a look at any target label.",
)
def test_consensus_falls_for_a_useless_source(tmp_path, record_property):
    method = trained(tmp_path, "mstl_plus", 40).method
    record_property("weight of the useless source", round(method.weights[-1].item(), 4))
    assert method.weights.argmin() == 3
    assert method.weights[-1] < 0.2


@pytest.mark.trust(
    "limits",
    "DCTN weighs a source by how well its discriminator is deceived: noise that is told from the target "
    "weighs less than every source that looks like it, on every target image.",
)
def test_perplexity_falls_for_a_source_that_is_told_from_the_target(record_property):
    torch.manual_seed(0)
    method, task = build("dctn", 4, True, "depth=2", width=4).train(), with_noise(3)
    batches = Batches(task, batch_size=8, target_batch_size=8)
    optimiser = torch.optim.Adam(method.discriminator_parameters(), 0.02)
    for _ in range(60):  # the discriminators alone: so short a game would leave them undecided
        optimiser.zero_grad()
        method.losses(next(batches), 0.0)["adversarial"].backward()
        optimiser.step()
    method.eval()
    features = method.encoder(to_float(task.test.images))[-1].detach()
    votes = method.source_weights(features)
    record_property("largest weight of the useless source", round(votes[:, 3].max().item(), 4))
    assert (votes.argmin(1) == 3).all()
    assert votes[:, 3].max() < 0.25  # an equal share


@pytest.mark.trust(
    "limits",
    "MDAN promises the opposite: its weights follow the errors, so a source that cannot be learnt weighs "
    "most, and the hard form listens to it alone.",
)
@pytest.mark.parametrize("name", ["mdan_soft", "mdan_hard"])
def test_the_weights_of_mdan_follow_the_errors(name, tmp_path, record_property):
    trainer = trained(tmp_path, name, 40)
    method, batch = trainer.method.eval(), trainer.batches.at(0)
    target = method.network(batch.target.x).features
    outputs = [method.network(images) for images in batch.source_x]
    errors = torch.stack(
        [segmentation_loss(o.logits, y) for o, y in zip(outputs, batch.source_y, strict=True)]
    )
    deltas = torch.stack(
        [
            domain_loss(d(o.features), d(target))
            for d, o in zip(method.adversary.discriminators, outputs, strict=True)
        ]
    )
    values = errors - method.hyper.strength * ramp(0.9) * deltas
    given = method.weights(values)
    record_property(f"weight of the useless source in {name}", round(given[-1].item(), 4))
    assert values.argmax() == given.argmax() == 3
    if name == "mdan_hard":
        assert given.tolist() == [0, 0, 0, 1]
    else:
        assert torch.equal(values.argsort(), given.argsort())
