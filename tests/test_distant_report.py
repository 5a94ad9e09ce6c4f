"""Figures and bars of the pages on distant pairs and on relations."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import textures, toy_classes
from test_family_report import spent, table

from mstl.data.augment import to_float
from mstl.report.family import distant, relations
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
from mstl.system.errors import InputError

PAIR = "distant.a.1.2-to-b.3.2"
DISTANT = {
    "target_only": 0.50,
    "source_combine": 0.60,
    "ddtl+source_threshold=0.5+bridge_threshold=0.2": 0.70,
    "ddtl+source_threshold=0.5+bridge_threshold=0.2+bridges=random": 0.90,
    "ddtl+source_threshold=0.5+bridges=none": 0.65,
    "ddtl+source_threshold=0+bridges=all": 0.55,
}
RELATIONS = {"glomo": 0.7, "glomo+graph=none": 0.6, "glomo+graph=random": 0.75, "target_only": 0.9}


def test_a_distant_pair_is_held_against_the_best_baseline_and_bridges_at_random():
    cars = table(DISTANT, [PAIR])
    found = distant.distant_bars(cars, spent(cars)).set_index("bar")
    assert found["reached"].to_dict() == {"D1": "yes", "D2": "no", "D3": "yes"}
    for bar, expected in {"D1": 5, "D2": -20, "D3": 20}.items():
        assert found.loc[bar, "difference"] == pytest.approx(expected, abs=1)
    without = table({name: level for name, level in DISTANT.items() if "bridge_" not in name}, [PAIR])
    assert set(distant.distant_bars(without, spent(without))["reached"]) == {"not run"}


def test_relations_are_held_against_the_same_network():
    cars = table(RELATIONS, ["to-a"])
    found = relations.relation_bars(cars, spent(cars)).set_index("bar")
    assert found["reached"].to_dict() == {"G1": "yes", "G2": "no", "G3": "not run"}
    assert found.loc["G1", "difference"] == pytest.approx(10, abs=1)


def trainer(method, overrides, bridges=0, steps=18):
    task = toy_classes((3, 28, 28), sources=1)
    if bridges:
        task = replace(task, bridges=textures("bridges", bridges, (3, 28, 28), task.problem.classes, 300))
    config = TrainConfig(
        data="digits", method=method, overrides=overrides, labels=6, profile="tiny", steps=steps, device="cpu"
    )
    return Trainer(config, task)


def test_bridges_are_asked_as_each_round_begins():
    run = trainer("ddtl", "rounds=4 bridge_threshold=1.5 encoder=lenet", bridges=30)
    pool = run.task.bridges
    asked = distant.rounds(run, pool)
    assert run.step == 18 and asked.groupby("round").size().to_dict() == {1: 30, 2: 30, 3: 30}
    assert (asked["chosen"] == (asked["score"] < 1.5)).all()
    # What is asked is the network that then chooses: the copy that the method makes at its next step.
    again = trainer("ddtl", "rounds=4 bridge_threshold=1.5 encoder=lenet", bridges=30)
    for _ in range(18):
        again.update()
        now = int(again.method.round)
        if now:
            begun = again.method._scores(again.method.begun.eval(), to_float(pool.images), 1).detach()
            np.testing.assert_allclose(asked[asked["round"] == now]["score"], begun, rtol=1e-4)
    assert now == 3
    with pytest.raises(InputError, match="rounds=1: both must be"):
        distant.rounds(trainer("ddtl", "rounds=1 encoder=lenet", bridges=30), pool)
    figure = distant.shown(pool, asked, each=4)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["cost least", "cost most"]
    plt.close(figure)


def test_how_far_links_reach_is_the_mean_over_pairs_of_that_offset():
    rng = np.random.default_rng(0)
    graphs = rng.random((2, 3, 6, 6))
    found = relations.by_offset(graphs, (2, 3))
    assert found.shape == (3, 5)
    mean = graphs.mean((0, 1)).reshape(2, 3, 2, 3)
    assert found[1, 2] == pytest.approx(np.mean([mean[y, x, y, x] for y in range(2) for x in range(3)]))
    assert found[2, 1] == pytest.approx(np.mean([mean[0, x, 1, x - 1] for x in (1, 2)]))
    even = relations.by_offset(np.full((1, 6, 6), 1 / 6), (2, 3))
    np.testing.assert_allclose(even, 1 / 6)


def test_links_are_drawn_from_patches_that_show_something():
    image = torch.zeros(3, 28, 28, dtype=torch.uint8)
    image[:, 8:20, 8:12] = 255
    image[:, 8:20, 10] = 100
    assert {t % 7 for t in relations.asked(image, 4, 3)} == {2}
    run = trainer("glomo", "graph=uniform")
    figure = relations.linked(run.method.eval(), run.task.test.images[:2], units=2, links=2)
    # In either direction every patch draws on all alike: two asked patches, two links each.
    assert [len(ax.lines) for ax in figure.axes] == [2 * (2 * 2 + 1)] * 2
    plt.close(figure)
    drawing = trainer("glomo", "graph=random")
    figure = relations.linked(drawing.method.eval(), run.task.test.images[:2], units=2, links=2)
    earlier, later = relations.DIRECTIONS.values()
    drawn = [line for ax in figure.axes for line in ax.lines if len(line.get_xdata()) == 2]
    for line in drawn:
        start, end = (int(y) // 4 * 7 + int(x) // 4 for x, y in line.get_xydata())
        assert (start < end) == (line.get_color() == earlier)
    assert {line.get_color() for line in drawn} == {earlier, later}
    plt.close(figure)
    figure = relations.reaching({"even": run.method}, run.task.test.images[:2])
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), 1 / 49, rtol=1e-5)
    plt.close(figure)
