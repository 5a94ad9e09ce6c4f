"""SAN, PADA, IWAN, DAN and JAN as methods: where one becomes another, and what stands still.

Their formulas are held against numbers in test_golden_family.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import toy_classes
from small import close, gradients, total, whole_and_resumed

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.methods.adversary import Adversary
from mstl.nn import ramp
from mstl.run.checkpoint import load_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
from mstl.system.errors import InputError

SHAPE = (12, 1, 1)
HYPER = "hidden=16-8 strength=0.7"
ALIGNED = "hidden=16-8 weight=0.7"


def batch(sources=1, labels=0, size=6, **options):
    task = toy_classes(SHAPE, sources=sources, labels=labels)
    return next(Batches(task, batch_size=size, target_batch_size=6, augment=Augment.none(), **options))


def made(name, overrides, sources=1, labelled=False):
    torch.manual_seed(0)
    return build(name, sources, labelled, overrides, toy_classes(SHAPE).problem).train()


def same_discriminators(method, other):
    """Every discriminator of ``method`` is the first one of ``other``."""
    (theirs,) = other.adversary.discriminators
    for mine in method.adversary.discriminators:
        mine.load_state_dict(theirs.state_dict())


def know_nothing(method):
    """Predictions are uniform."""
    with torch.no_grad():
        method.network.predictor.head.weight.zero_()
        method.network.predictor.head.bias.zero_()


def on_network(method, losses):
    return gradients(method.network, total(losses))


@pytest.mark.parametrize("progress", [0.1, 0.5, 1.0])
def test_san_that_selects_nothing_is_dann(progress):
    san, dann = made("san", f"{HYPER} entropy=0"), made("dann", f"{HYPER} updates=0")
    same_discriminators(san, dann)
    for method in (san, dann):
        know_nothing(method)
    found = [method.losses(batch(), progress) for method in (san, dann)]
    assert torch.allclose(found[0]["adversarial"], found[1]["adversarial"], atol=1e-6)
    assert close(*(on_network(m, f) for m, f in zip((san, dann), found, strict=True)))


def test_san_forgets_a_class_that_no_target_image_is_taken_for():
    san = made("san", f"{HYPER} entropy=0 memory=0")
    with torch.no_grad():
        san.network.predictor.head.bias.copy_(torch.tensor([-200.0, 0, 0]))
    loss = san.losses(batch(), 0.5)["adversarial"]
    assert san.shares[0] == 0
    slopes = [sum(g.abs().sum() for g in gradients(d, loss)) for d in san.adversary.discriminators]
    assert slopes[0] == 0 and slopes[1] > 0 and slopes[2] > 0


@pytest.mark.parametrize("form", ["official", "tllib"])
@pytest.mark.parametrize("sources", [1, 3])
def test_pada_whose_classes_all_count_the_same_is_dann(form, sources):
    pada = made("pada", f"{HYPER} form={form}", sources)
    dann = made("dann", f"{HYPER} updates=0", sources)
    same_discriminators(pada, dann)
    for method in (pada, dann):
        know_nothing(method)
    found = [method.losses(batch(sources), 0.4) for method in (pada, dann)]
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][key], found[1][key], atol=1e-6) for key in found[0])
    assert close(*(on_network(m, f) for m, f in zip((pada, dann), found, strict=True)))


def test_a_class_that_pada_has_dropped_teaches_nothing():
    pada, one = made("pada", f"{HYPER} memory=0.999999"), batch()
    with torch.no_grad():
        pada.shares.copy_(torch.tensor([0.0, 1, 1]))
    other = replace(one, source_x=one.source_x.clone())
    dropped = one.source_y[0] == 0
    assert 0 < dropped.sum() < len(dropped)
    other.source_x[0][dropped] += 1
    for key in ("source", "adversarial"):
        found = [pada.losses(b, 0.4)[key] for b in (one, other)]
        assert torch.allclose(*found, atol=1e-4), key


def test_iwan_whose_judge_knows_nothing_is_dann_on_the_targets_extractor():
    method, b = made("iwan", f"{HYPER} first=0.5 entropy=0"), batch()
    with torch.no_grad():
        for parameter in method.judge.parameters():
            parameter.zero_()
    plain = Adversary(1, method.network.channels[-1], updates=0)
    plain.discriminators.load_state_dict(method.adversary.discriminators.state_dict())
    losses = method.losses(b, 0.8)
    features = method.source_encoder(b.pooled.x, 0)[-1], method.network.encoder(b.target.x, 1)[-1]
    (expected,) = plain.losses([features], method.hyper.strength * ramp(0.6, method.hyper.gain))
    assert torch.allclose(losses["adversarial"], expected, atol=1e-6)
    mine = gradients(method.network.encoder, total(losses))
    assert close(mine, gradients(method.network.encoder, expected))
    assert any(g.abs().max() > 0 for g in mine)


def test_in_iwans_second_stage_sources_and_classifier_stand_still_and_the_judge_sends_nothing_back():
    method = made("iwan", f"{HYPER} first=0.5")
    losses = method.losses(batch(), 0.8)
    loss = total(losses)
    assert all(not g.any() for g in gradients(method.network.predictor, loss))
    assert not any(p.requires_grad for p in method.source_encoder.parameters())
    assert all(not g.any() for g in gradients(method.network, losses["judge"]))
    assert all(g.any() for g in gradients(method.judge, losses["judge"])[-2:])
    assert all(not g.any() for g in gradients(method.judge, losses["adversarial"]))  # weights are numbers


def test_iwan_copies_its_extractor_once_and_only_when_the_second_stage_begins():
    method = made("iwan", f"{HYPER} first=0.5")
    at_first = [p.clone() for p in method.source_encoder.parameters()]
    method.losses(batch(), 0.4)
    assert close(at_first, list(method.source_encoder.parameters()), 0)
    assert not close(at_first, list(method.network.encoder.parameters()))
    method.losses(batch(), 0.5)
    learnt = [p.clone() for p in method.network.encoder.parameters()]
    assert close(learnt, list(method.source_encoder.parameters()), 0)
    with torch.no_grad():
        for parameter in method.network.encoder.parameters():
            parameter.add_(1)
    method.losses(batch(), 0.6)
    assert close(learnt, list(method.source_encoder.parameters()), 0)


@pytest.mark.parametrize("stop_at", [5, 10, 15])
def test_iwan_resumes_in_either_stage_to_the_same_bits(tmp_path, stop_at):
    def config(place):
        return TrainConfig(
            data="digits", recipe="partial-serif-to-handwritten", method="iwan", labels=0, profile="tiny",
            steps=20, overrides="first=0.5", out=str(tmp_path / place), device="cpu",
        )  # fmt: skip

    whole, folder = whole_and_resumed(config, stop_at)
    both = [load_checkpoint(run / "checkpoint.pt")["method"] for run in (whole, folder)]
    assert both[0].keys() == both[1].keys() and both[0]["second.done"]
    assert all(torch.equal(both[0][key], both[1][key]) for key in both[0])
    assert (whole / "images.csv").read_bytes() == (folder / "images.csv").read_bytes()


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "linear"])
def test_jan_with_one_layer_is_dan(estimator):
    found = []
    for name in ("dan", "jan", "jan_a"):
        method = made(name, f"{ALIGNED} outputs=false estimator={estimator}")
        losses = method.losses(batch(), 0.5)
        found.append((losses["mmd"], on_network(method, losses)))
    for loss, slopes in found[1:]:
        assert torch.allclose(loss, found[0][0], atol=1e-6) and close(slopes, found[0][1], 1e-5)


def test_jan_a_begins_as_jan_and_its_maps_climb():
    jan, worst = made("jan", ALIGNED), made("jan_a", ALIGNED)
    found = [method.losses(batch(), 0.5) for method in (jan, worst)]
    assert torch.allclose(found[0]["mmd"], found[1]["mmd"], atol=1e-6)
    assert close(*(on_network(m, f) for m, f in zip((jan, worst), found, strict=True)), 1e-5)
    slopes = torch.autograd.grad(found[1]["mmd"], worst.discriminator_parameters())
    with torch.no_grad():  # what the loop does: a step down their gradient
        for theta, slope in zip(worst.discriminator_parameters(), slopes, strict=True):
            theta.sub_(0.05 * slope / slope.norm())
    assert worst.losses(batch(), 0.5)["mmd"] > found[1]["mmd"]


def test_domains_that_are_alike_have_nothing_to_align():
    one = batch(size=6)
    target = replace(one.target, x=one.source_x[0])
    alike = replace(one, targets=(target,))
    for name in ("dan", "jan", "jan_a"):
        assert made(name, ALIGNED).losses(alike, 0.5)["mmd"].abs() < 1e-6
        assert made(name, ALIGNED).losses(one, 0.5)["mmd"] > 1e-3


@pytest.mark.parametrize("name", ["dan", "jan", "jan_a"])
def test_one_image_has_no_pairs_for_an_unbiased_estimate(name):
    task = toy_classes(SHAPE, sources=1, labels=0)
    single = next(Batches(task, batch_size=1, target_batch_size=1, augment=Augment.none()))
    with pytest.raises(InputError, match="unbiased"):
        made(name, f"{ALIGNED} estimator=unbiased").losses(single, 0.5)
    assert made(name, ALIGNED).losses(single, 0.5)["mmd"].isfinite()


FAMILY = ["dan", "jan", "jan_a", "san", "pada", "iwan"]


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("sources", [1, 3])
@pytest.mark.parametrize("labels", [0, 6])
def test_a_batch_of_one_class_is_learnt_from(name, sources, labels):
    one = batch(sources, labels)
    one = replace(one, source_y=torch.ones_like(one.source_y))
    method = made(name, "hidden=16-8", sources, labels > 0)
    for progress in (0.0, 0.5, 1.0):
        losses = method.losses(one, progress)
        assert all(loss.isfinite() for loss in losses.values())
        assert all(g.isfinite().all() for g in gradients(method, total(losses)))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("kept", [("0",), tuple("012345678")])
def test_targets_of_one_class_and_of_all_but_one_are_trained_on(name, kept, tmp_path):
    config = TrainConfig(
        data="digits", recipe="serif-to-handwritten", keep=",".join(kept), method=name, labels=0,
        profile="tiny", steps=4, out=str(tmp_path), device="cpu",
    )  # fmt: skip
    trainer = Trainer(config, config.task())
    for _ in range(4):
        assert all(loss.isfinite() for loss in trainer.update().values())
