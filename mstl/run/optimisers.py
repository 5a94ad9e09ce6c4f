"""Optimisers and schedules by name, and which parameters have which."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from mstl.run.adadelta import Adadelta


def optimisers(
    name: str,
    rate: float,
    network: Sequence[nn.Parameter],
    discriminators: Sequence[nn.Parameter],
    started: Sequence[nn.Parameter] = (),
    share: float = 1.0,
) -> tuple[list[Optimizer], list[float]]:
    """An optimiser of the networks and, where there are any, one of the discriminators; and their peak rates.

    Beside AdamW discriminators have Adam at twice the rate, which keeps the adversary ahead of what it
    judges. Papers that name another optimiser use it for all. Parameters of the network that ``started`` from
    weights have ``share`` of its rate (`set_rate`).
    """
    slow = {id(p) for p in started} if share != 1 else set()
    groups: list[dict] = [{"params": [p for p in network if id(p) not in slow]}]
    if slow:
        groups.append({"params": [p for p in network if id(p) in slow], "share": share})
    made, rates = [_optimiser(name, groups, rate)], [rate]
    if discriminators and name == "adamw":
        rates.append(2 * rate)
        made.append(torch.optim.Adam(discriminators, lr=2 * rate, betas=(0.5, 0.99), fused=True))
    elif discriminators:
        rates.append(rate)
        made.append(_optimiser(name, discriminators, rate))
    return made, rates


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every group of parameters its share of a rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def _optimiser(name: str, parameters: Sequence, rate: float) -> Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4, fused=True)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, fused=True)
    return Adadelta(parameters, lr=rate)


def factor(schedule: str, progress: float) -> float:
    r"""Share of the peak rate at ``progress`` p in [0, 1].

    .. math:: \text{cosine: } \min\big(1, \tfrac{p}{0.05}\big)\, \tfrac12 (1 + \cos \pi p), \qquad
        \text{inverse: } (1 + 10 p)^{-3/4}, \qquad \text{constant: } 1

    Source: the second is that of Ganin & Lempitsky, ICML 2015.
    """
    if schedule == "cosine":
        return min(1.0, (progress + 1e-3) / 0.05) * 0.5 * (1 + math.cos(math.pi * progress))
    return (1 + 10 * progress) ** -0.75 if schedule == "inverse" else 1.0
