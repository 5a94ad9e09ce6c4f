"""AFA, DELTA and AMCF give the numbers of golden_family.json, most of which released code gives, too."""

import math
from itertools import count

import numpy as np
import pytest
import torch
from test_golden import det
from test_golden_family import GOLDEN, agree, vec
from torch import nn
from torch.nn import functional as F

from mstl.measures.swarm import Swarm, inertia, velocity
from mstl.methods.amcf import collaboration
from mstl.nn.transfer import (
    ChannelAttention,
    PlaceAttention,
    channel_distance,
    importance,
    map_distance,
    place_distance,
    squared_norm,
    weighted_map_distance,
)


def det4(b, c, h, w, phase, scale, shift):
    return det(b, c * h * w, phase, scale, shift).reshape(b, c, h, w)


S, T = det4(2, 3, 4, 4, 0, 1, 0), det4(2, 3, 4, 4, 0.5, 1.2, 0.3)


def filled(module, **values):
    module.double()
    for name, value in values.items():
        owner = module.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], nn.Parameter(value))
    return module


def place_attention():
    values = {
        "inner.weight": det(4, 16, 0.3, 4, 0),
        "outer.weight": det(16, 4, 0.7, 2, 0),
        "outer.bias": vec(16, 1.1, 0.3, 0),
    }
    return filled(PlaceAttention(4, 4), **values)


def channel_attention():
    values = {
        "inner.weight": det(4, 16, 0.2, 0.5, 0.1),
        "outer.weight": det(1, 4, 0.9, 1, 0),
        "offset": vec(3, 0.4, 0.5, 0),
    }
    return filled(ChannelAttention(4, 4, 3), **values)


def norms(*tensors):
    return torch.stack([t.norm() for t in tensors])


def test_attention_over_places_and_its_distance():
    attention, target = place_attention(), T.clone().requires_grad_()
    agree(attention(S), "afa", "spatial_attention")
    distance = place_distance(S, target, attention(S))
    agree(distance, "afa", "omega_sp")
    distance.backward()
    agree(target.grad[0, 0, 0], "afa", "omega_sp_grad_T")
    agree(attention.outer.bias.grad, "afa", "omega_sp_grad_b")
    agree(
        norms(attention.inner.weight.grad, attention.outer.weight.grad),
        "afa",
        "omega_sp_grad_W1_W2_frobenius",
    )


def test_attention_over_channels_and_its_distance():
    attention, target = channel_attention(), T.clone().requires_grad_()
    agree(attention(S), "afa", "channel_attention")
    distance = channel_distance(S, target, attention(S))
    agree(distance, "afa", "omega_ch")
    distance.backward()
    agree(target.grad[0, 0, 0], "afa", "omega_ch_grad_T")
    agree(attention.offset.grad, "afa", "omega_ch_grad_beta")
    agree(
        norms(attention.inner.weight.grad, attention.outer.weight.grad),
        "afa",
        "omega_ch_grad_W3_W4_frobenius",
    )


def test_uniform_attention_leaves_the_distance_of_maps():
    places, channels = (torch.full((2, k), 1 / k, dtype=torch.float64) for k in (16, 3))
    agree(place_distance(S, T, places), "afa", "limit_uniform_attention")
    agree(channel_distance(S, T, channels), "afa", "limit_uniform_attention")


def test_attention_is_paid_for_looking_away():
    moved = (T - S).flatten(2).square().sum(1)
    least = (1 / moved) / (1 / moved).sum(1, keepdim=True)
    agree(place_distance(S, T, least), "afa", "degenerate_minimum_spatial")
    free = torch.zeros(2, 16, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = place_distance(S, T, free.softmax(1))
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(free.detach().softmax(1), least, atol=1e-4, rtol=0)


def test_fixed_maps_and_channels_that_count():
    agree(map_distance(S, T), "afa", "feature_map")
    weights = importance(vec(3, 0.8, 0.2, 0.1))
    agree(weights, "afa", "delta_channel_weights")
    agree(weighted_map_distance(S, T, weights), "afa", "delta")


def test_distance_to_the_starting_weights_and_decay_of_the_head():
    body = det(4, 5, 0.1, 1, 0), vec(4, 0.3, 0.5, 1)
    start = det(4, 5, 0.2, 1.1, 0.05), vec(4, 0.6, 0.5, 1)
    agree(squared_norm(body, start), "afa", "l2_sp")
    agree(squared_norm((det(3, 5, 0.4, 0.6, 0), vec(3, 0.9, 0.2, 0))), "afa", "fc_decay")


def test_delta_is_afa_with_another_scale():
    equal = torch.full((3,), 1 / 3, dtype=torch.float64)
    ours, deltas = channel_distance(S, T, equal.expand(2, 3)), weighted_map_distance(S, T, equal)
    torch.testing.assert_close(ours, deltas * 16 / 2)
    torch.testing.assert_close(importance(torch.full((3,), 0.7, dtype=torch.float64)), equal)


O = torch.stack([det(4, 5, 0, 2, 0), det(4, 5, 0.7, 1.5, 0.2), det(4, 5, 1.4, 1, -0.1)])
Y = torch.tensor([0, 3, 1, 4])


@pytest.mark.parametrize("J", [2, 3])
def test_collaboration(J):
    agree(collaboration(O[:J]), "amcf", f"collaboration_J{J}")
    loss = sum(F.cross_entropy(o, Y) for o in O[:J]) + 0.2 * collaboration(O[:J])
    agree(loss, "amcf", f"mc_loss_J{J}")
    assert O[:J].mean(0).argmax(1).tolist() == GOLDEN["amcf"][f"prediction_J{J}"]["value"]


def test_two_networks_are_half_their_distance_from_the_mean():
    agree(torch.linalg.vector_norm(O[0] - O[1], dim=1).mean() / 2, "amcf", "identity_J2")
    released = sum(-(o.softmax(1) + 1e-8).log()[range(4), Y].mean() for o in O[:2]) + 0.2 * collaboration(
        O[:2]
    )
    agree(released, "amcf", "mc_loss_J2_released")


def test_networks_that_agree_are_not_drawn_anywhere():
    same = O[:1].expand(3, 4, 5).clone().requires_grad_()
    collaboration(same).backward()
    assert torch.equal(same.grad, torch.zeros_like(same))


def fitness(x):
    return 1 / (1 + ((x[0] - 20) ** 2 + (x[1] - 31) ** 2) / 100)


def test_the_swarm_moves_as_released():
    numbers = (0.5 + 0.5 * math.sin(1.7 * n + 0.3) for n in count())
    swarm = Swarm((48, 48), particles=4)
    best, value = swarm.search(fitness, lambda: next(numbers))
    found = [[*place, number] for place, number in swarm.bests]
    for name, mine in {
        "pso_best_per_iteration": found,
        "pso_final_positions": swarm.positions,
        "pso_final_velocities": swarm.velocities,
        "pso_inertia": [inertia(i, 5) for i in range(5)],
    }.items():
        np.testing.assert_allclose(mine, GOLDEN["amcf"][name]["value"], atol=1e-10, rtol=0, err_msg=name)
    assert value == fitness(best) == swarm.bests[-1][1]


def test_one_move():
    x, own, best = np.array([12.0, 40]), np.array([30.0, 8]), np.array([20.0, 31])
    v = velocity(np.array([2.0, -4]), x, own, best, 0.98, 1.5, 0.25, 0.6)
    clipped = np.clip(v, -5, 5)
    np.testing.assert_allclose([v, clipped, x + clipped], GOLDEN["amcf"]["pso_one_step"]["value"], atol=1e-12)
