"""Optimisers and schedules by name: what they are equal to, and where they begin and end."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from mstl.run.adadelta import BLOCK, Adadelta
from mstl.run.config import OPTIMISERS, SCHEDULES
from mstl.run.optimisers import factor, optimisers


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((3,), (BLOCK + 5,), (40, 2000))]


def test_adadelta_is_pytorchs_to_the_bit():
    ours, theirs = weights(), weights()
    pair = Adadelta(ours, lr=0.7), torch.optim.Adadelta(theirs, lr=0.7)
    for step in range(4):
        for parameters, optimiser in zip((ours, theirs), pair, strict=True):
            for k, p in enumerate(parameters):
                p.grad = None if step == 1 and k == 0 else torch.sin(p.detach() * (step + 1))
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for a, b in zip(*(o.state_dict()["state"].values() for o in pair), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_state_goes_on_in_the_other():
    ours, theirs = weights(), weights()
    first, second = Adadelta(ours, lr=0.7), torch.optim.Adadelta(theirs, lr=0.7)
    for p in ours:
        p.grad = p.detach().clone()
    first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for p, q in zip(ours, theirs, strict=True):
        q.data.copy_(p.data)
        p.grad = q.grad = torch.ones_like(p)
    first.step(), second.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_descends_and_discriminators_have_one_of_their_own(name):
    network, judge = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([-3.0]))
    made, rates = optimisers(name, 0.1, [network], [judge])
    assert [len(o.param_groups[0]["params"]) for o in made] == [1, 1]
    assert rates == [0.1, 0.2 if name == "adamw" else 0.1]
    for _ in range(5):
        for o in made:
            o.zero_grad()
        (0.1 * network.square() + 0.1 * judge.square()).sum().backward()
        for o in made:
            o.step()
    assert 0 < network.item() < 2 and -3 < judge.item() < 0
    assert len(optimisers(name, 0.1, [network], [])[0]) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_never_rise_after_the_warm_up(name):
    values = [factor(name, p / 100) for p in range(5, 101)]
    assert all(a >= b for a, b in pairwise(values))
    assert 0 <= values[-1] <= values[0] <= 1


def test_schedules_at_their_ends():
    assert factor("cosine", 0.0) == pytest.approx(0.02) and factor("cosine", 1.0) == pytest.approx(0)
    assert factor("inverse", 0.0) == 1 and factor("inverse", 1.0) == pytest.approx(11**-0.75)
    assert factor("constant", 0.0) == factor("constant", 1.0) == 1
