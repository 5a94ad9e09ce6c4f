"""The figure of the reading list says of every system which images and labels its losses look at."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from conftest import toy_classes
from small import batch_of, total

from mstl.methods import build
from mstl.methods.catalogue import described
from mstl.report.family.systems import COLUMNS, MUST, NAMES, NO, SYSTEMS, possible
from mstl.run.config import TrainConfig
from mstl.run.train import train
from mstl.system.errors import InputError

SHAPE = (3, 32, 32)
PARTS = {"source\nimages": 0, "source\nlabels": 1, "unlabelled\ntarget images": 2, "target\nlabels": 3}


def moved(batch, part):
    """The batch with other source images, source labels, unlabelled target images or target labels."""
    if part == 0:
        return replace(batch, source_x=batch.source_x.roll(1, -1))
    if part == 1:
        return replace(batch, source_y=(batch.source_y + 1) % 3)
    target, count = batch.target, len(batch.target.y)
    if part == 2:
        x, plain = target.x.clone(), target.plain.clone()
        x[count:], plain[count:] = x[count:].roll(1, -1), plain[count:].roll(1, -1)
        target = replace(target, x=x, plain=plain)
    else:
        target = replace(target, y=(target.y + 1) % 3)
    return replace(batch, targets=(target,) * batch.J)


@pytest.fixture(scope="module")
def inherited(tmp_path_factory):
    """A source classifier and a generator."""
    config = TrainConfig(
        data="digits",
        recipe="serif-to-handwritten",
        method="cvae",
        profile="tiny",
        steps=4,
        out=str(tmp_path_factory.mktemp("source")),
        overrides="units=16 encoder=lenet",
        device="cpu",
    )
    return train(config, task=toy_classes(SHAPE))


def test_what_runs_on_what_there_is():
    assert possible(NAMES) == [system.title for system in SYSTEMS] and possible(()) == []
    assert possible(("trained source network", "target labels")) == ["GLoMo", "AFA", "AMCF"]
    for system in SYSTEMS:
        must = [name for name, need in zip(NAMES, system.needs, strict=True) if need == MUST]
        assert system.title in possible(must)
        assert not any(system.title in possible([m for m in must if m != name]) for name in must)
    with pytest.raises(InputError, match="have: money is unknown; choose from source images"):
        possible(["money"])


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.title)
def test_losses_depend_on_what_a_system_needs_and_on_nothing_that_it_does_not(system, inherited):
    task = toy_classes(SHAPE, labels=6)
    batch = batch_of(task)
    for name in system.methods:
        check(system, name, task, batch, inherited)


def check(system, name, task, batch, inherited):
    overrides = f"generator={inherited}" if name == "pp_pssl" else ""
    torch.manual_seed(0)
    method = build(name, 3, True, overrides, task.problem, width=4).train()
    for p in method.parameters():  # heads begin at zero, where every label costs the same
        p.data += 0.05 * torch.randn_like(p)
    for column, part in PARTS.items():
        need, changed = system.needs[COLUMNS.index(column)], False
        for progress in (0.1, 0.6, 0.9):
            values = []
            for given in (batch, moved(batch, part)):
                torch.manual_seed(1)
                values.append(total(deepcopy(method).losses(given, progress)).item())
            changed |= values[0] != values[1]
        assert changed == (need != NO), (name, column)
    assert (system.needs[COLUMNS.index("target\nlabels")] == MUST) == described(name).needs_labels
