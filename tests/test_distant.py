"""DDTL: the selection is the least of its objective, what stands still, and distant pairs with bridges."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import textures, toy_classes
from small import gradients, whole_and_resumed
from test_golden import det
from test_golden_family import agree, vec

from mstl.data import local_task
from mstl.data.augment import Augment, to_float
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.nn.reconstruction import Reconstruction
from mstl.nn.selection import bridge_scores, objective, selected, source_scores, squared_errors
from mstl.run.checkpoint import load_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
from mstl.system.errors import InputError

SHAPE = (3, 32, 32)
LAMBDA_S, LAMBDA_I = 0.9, 1.2


# --- numbers ------------------------------------------------------------------------------------------------


def scores():
    """Of the source, the bridges and the target, as in the golden file."""
    s = squared_errors(det(4, 3, 0, 1, 0), det(4, 3, 0.3, 1.1, 0))
    i = squared_errors(det(5, 3, 1, 1, 0), det(5, 3, 1.6, 1, 0.1))
    t = squared_errors(det(3, 3, 2, 1, 0), det(3, 3, 2.2, 1, 0))

    def logits(n, phase):
        return vec(n, phase, 2, 0).view(-1, 1, 1, 1)

    return (
        source_scores(logits(4, 0.3), torch.tensor([1, 0, 1, 0]), s),
        bridge_scores(logits(5, 1.3), i),
        source_scores(logits(3, 0.9), torch.tensor([0, 1, 1]), t),
    )


def test_numbers():
    source, bridges, target = scores()
    agree(source, "ddtl", "score_source")
    agree(bridges, "ddtl", "score_intermediate")
    v_s, v_i = selected(source, LAMBDA_S), selected(bridges, LAMBDA_I)
    agree(v_s, "ddtl", "v_S")
    agree(v_i, "ddtl", "v_I")
    agree(objective(target, ((source, v_s, LAMBDA_S), (bridges, v_i, LAMBDA_I))), "ddtl", "J1_plus_J2")
    ones = (torch.ones(4, dtype=torch.float64), torch.ones(5, dtype=torch.float64))
    every = objective(target, ((source, ones[0], LAMBDA_S), (bridges, ones[1], LAMBDA_I)))
    agree(every, "ddtl", "J1_plus_J2_all_selected")


def test_the_closed_form_is_the_least_of_all_selections():
    source, bridges, target = scores()

    def of(v):
        v = torch.tensor(v, dtype=torch.float64)
        return objective(target, ((source, v[:4], LAMBDA_S), (bridges, v[4:], LAMBDA_I))).item()

    least = min(product((0.0, 1.0), repeat=9), key=of)
    closed = torch.cat((selected(source, LAMBDA_S), selected(bridges, LAMBDA_I)))
    assert list(least) == closed.tolist()


def test_a_score_on_the_threshold_is_not_selected():
    assert selected(torch.tensor([0.5, 1.0, 1.5]), 1.0).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("map_shape", "shape"), [((50, 4, 4), (3, 28, 28)), ((8, 3, 5), (3, 24, 36)), ((7, 1, 1), (9, 1, 1))]
)
def test_a_map_of_any_size_is_read_back(map_shape, shape):
    assert Reconstruction(map_shape, shape)(torch.randn(2, *map_shape)).shape == (2, *shape)


# --- the method ---------------------------------------------------------------------------------------------


def task(bridges=True, labels=6, shape=SHAPE):
    made = toy_classes(shape, sources=1, labels=labels)
    pool = textures("bridges", 20, shape, made.problem.classes, 300)
    return replace(made, bridges=pool if bridges else None)


def batch(**options):
    return next(Batches(task(**options), batch_size=6, target_batch_size=8, augment=Augment.none()))


def made(overrides="", shape=SHAPE):
    torch.manual_seed(0)
    return build("ddtl", 1, True, f"encoder=lenet {overrides}", task(shape=shape).problem).train()


def test_in_the_first_round_the_source_teaches_and_no_bridge():
    losses = made().losses(batch(), 0.0)
    assert losses["bridges"] == 0 and losses["source"] > 0 and losses["target"] > 0


def test_v_is_asked_of_the_network_that_began_the_round():
    """So it does not change within a round, and is the closed form at its start."""
    b, method = batch(), made("source_threshold=3 bridge_threshold=3 rounds=2")
    method.losses(b, 0.6)
    x, y = b.pooled
    with torch.no_grad():
        before = method._scores(method.model.eval(), x, 0, y), method._scores(method.model, b.bridges, 1)
    thresholds = [float(s.median()) for s in before]  # so that some are in and some are out
    method = made(f"source_threshold={thresholds[0]} bridge_threshold={thresholds[1]} rounds=2")
    method.losses(b, 0.6)
    expected = [selected(s, threshold) for s, threshold in zip(before, thresholds, strict=True)]
    assert all(0 < v.mean() < 1 for v in expected)
    for _ in range(2):
        assert torch.equal(method._source(b, 1)[1], expected[0])
        assert torch.equal(method._bridges(b.bridges, 1)[1], expected[1])
        with torch.no_grad():
            for p in method.model.parameters():
                p.add_(0.05 * torch.randn_like(p))


def test_the_objective_never_rises_where_v_is_chosen_anew():
    b, method = batch(), made("source_threshold=1.2 bridge_threshold=1.2 rounds=4")
    optimiser = torch.optim.SGD(method.model.parameters(), lr=1e-3)

    def value(v_s, v_i):
        x, y = b.pooled
        source, bridges = method._scores(method.model, x, 0, y), method._scores(method.model, b.bridges, 1)
        target = method._scores(method.model, b.target.x[: len(b.target.y)], 1, b.target.y)
        v_s, v_i = (
            (selected(source, 1.2) if v_s is None else v_s),
            (selected(bridges, 1.2) if v_i is None else v_i),
        )
        return objective(target, ((source, v_s, 1.2), (bridges, v_i, 1.2))), v_s.detach(), v_i.detach()

    v_s, v_i = torch.ones(6), torch.zeros(6)
    last = float("inf")
    for _ in range(6):
        for _ in range(5):  # Θ, with v as it is
            loss, *_ = value(v_s, v_i)
            assert loss.item() <= last + 1e-6
            last = loss.item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        before, *_ = value(v_s, v_i)
        loss, v_s, v_i = value(None, None)  # v, with Θ as it is
        assert loss.item() <= before.item() + 1e-6
        last = loss.item()


def test_without_bridges_and_source_it_is_an_autoencoder_of_the_target():
    one, two = batch(), batch()
    two.source_x.mul_(-2)
    two.bridges.mul_(-2)
    method = made("source_threshold=0 bridges=none")
    for progress in (0.1, 0.9):
        first, second = (method.losses(b, progress) for b in (one, two))
        assert first["source"] == first["bridges"] == 0
        assert first["target"].item() == second["target"].item()


def test_a_task_without_bridges_is_source_and_target():
    method = made()
    assert method.losses(batch(bridges=False), 0.9)["bridges"] == 0
    assert set(method.eval().observe(batch(bridges=False), 0.9)) == {"selected_source"}


def test_random_bridges_are_as_many():
    b = batch()
    scored, drawn = (
        made("rounds=2 bridge_threshold=1.5"),
        made("rounds=2 bridge_threshold=1.5 bridges=random"),
    )
    for method in (scored, drawn):
        method.losses(b, 0.9)
    assert scored._bridges(b.bridges, 1)[1].sum() == drawn._bridges(b.bridges, 1)[1].sum()


def test_a_threshold_that_selects_nothing_is_said(capsys):
    method, b = made("rounds=2 bridge_threshold=0"), batch()
    assert method.losses(b, 0.9)["bridges"] == 0
    method.adapt({k: v.item() for k, v in method.eval().observe(b, 0.9).items()})
    assert "bridge_threshold=0 selects no bridge" in capsys.readouterr().err


def test_what_chooses_gets_no_gradient():
    method = made("rounds=2 bridges=all")
    losses = method.losses(batch(), 0.9)
    assert not any(p.requires_grad for p in method.begun.parameters())
    assert any(g.any() for g in gradients(method.model["decoder"], losses["bridges"]))


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path):
    def config(name):
        values = {"data": "digits", "recipe": "serif-to-handwritten", "labels": 6, "profile": "tiny"}
        values |= {"overrides": "encoder=lenet", "precision": "32-true", "device": "cpu"}
        return TrainConfig(method="ddtl", out=str(tmp_path / name), **values)

    whole, resumed = whole_and_resumed(config, 15, task())
    one, two = (load_checkpoint(folder / "checkpoint.pt")["method"] for folder in (whole, resumed))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert one["round"] == 4


# --- distant pairs ------------------------------------------------------------------------------------------

RECIPE = "distant.serif.3.8-to-handwritten.4.9"


def test_a_distant_pair_has_four_classes_and_the_others_are_bridges():
    made = local_task("digits", RECIPE, labels=12)
    assert made.problem.classes == ("first", "second") and len(made.sources) == 1
    assert len(made.sources[0]) == 200 and made.labelled.labels.bincount().tolist() == [6, 6]
    whole = local_task("digits", "serif-to-handwritten", labels=0)
    threes = whole.sources[0].images[whole.sources[0].labels == 3]
    assert torch.equal(made.sources[0].images[made.sources[0].labels == 0], threes)
    assert len(made.bridges) == 6 * 100 + int(np.isin(digits_labels(), [0, 1, 2, 5, 6, 7]).sum())
    assert made.fingerprint() != replace(made, bridges=None).fingerprint()


def test_source_and_target_may_have_one_class_in_common_for_what_is_neither():
    made = local_task("digits", "distant.serif.3.0-to-handwritten.4.0", labels=12)
    whole = local_task("digits", "serif-to-handwritten", labels=0)
    zeros = whole.sources[0].images[whole.sources[0].labels == 0]
    assert torch.equal(made.sources[0].images[made.sources[0].labels == 1], zeros)
    assert len(made.bridges) == 7 * 100 + int((~np.isin(digits_labels(), [0, 3, 4])).sum())


def digits_labels():
    from sklearn.datasets import load_digits

    return load_digits().target


def test_bridges_are_drawn_in_passes_and_only_where_there_are_any():
    batches = Batches(task(), batch_size=6, augment=Augment.none())
    seen = torch.cat([batches.at(step).bridges for step in range(10)])  # three passes over 20 images
    assert seen.shape == (60, *SHAPE) and len(seen.flatten(1).unique(dim=0)) == 20
    assert batches.state_dict()["bridges"] == 20
    plain = Batches(task(bridges=False), batch_size=6)
    assert plain.at(0).bridges is None and "bridges" not in plain.state_dict()


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("distant.serif.3.x-to-handwritten.4.9", {}, "the source has no class 'x'; it has 0, 1"),
        ("distant.serif.3.8-to-handwritten.4.y", {}, "the target has no class 'y'"),
        ("distant.serif.3.8-to-handwritten.3.9", {}, "four classes, each named once"),
        ("distant.serif.3.8-to-handwritten.8.9", {}, "four classes, each named once"),
        ("distant.serif.3.3-to-handwritten.4.3", {}, "four classes, each named once"),
        ("distant.serif.3.0-to-serif.4.0", {}, "source and target are one domain, whose images of '0'"),
        ("distant.nowhere.3.8-to-handwritten.4.9", {}, "has no domain 'nowhere'"),
        (RECIPE, {"keep": "first"}, "says all of it"),
    ],
)
def test_bad_input(recipe, options, message):
    with pytest.raises(InputError, match=message):
        local_task("digits", recipe, labels=8, **options)


def test_no_class_left_for_bridges_and_bridges_of_another_size():
    with pytest.raises(InputError, match="target images and bridges must have one height"):
        Batches(replace(task(), bridges=textures("b", 4, (3, 16, 16), ("NA", "b", "c"), 0)))
    for options, message in {"rounds=0": "rounds=0 must be ≥ 1", "bridges=some": "bridges='some'"}.items():
        with pytest.raises(InputError, match=message):
            build("ddtl", 1, True, options, task().problem)


def test_it_learns_a_distant_pair():
    config = TrainConfig(data="digits", recipe=RECIPE, method="ddtl", labels=12, profile="digits", steps=15,
                         precision="32-true", device="cpu")  # fmt: skip
    trainer = Trainer(config, config.task())
    first = trainer.update()
    for _ in range(14):
        last = trainer.update()
    assert last["target"] < first["target"] and int(trainer.method.round) == 4
    v, score = trainer.method.chosen(to_float(trainer.task.bridges.images[:64]))
    assert torch.equal(v, (score < 0.8).float())
