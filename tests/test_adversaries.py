"""Every adversarial method: is its adversary alive, and would these checks notice if it were not?

The checks are plain functions. They run once on the code as it is, for every method of the registry, and once
more with each of three defects planted that released code has or had:

* *softmax*: a Softmax over the one logit of the discriminator. Its loss is a constant and no gradient leaves
  it; tests that only watch the training loss pass, since the task is learnt all the same.
* *sign*: the reversal without its minus. The extractor helps the discriminator.
* *late*: the strength is read when the gradient comes back, not when the features go out, so the latest
  strength counts for every graph that is still open.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from contextlib import suppress

import pytest
import torch
from conftest import OF_MASKS
from small import gradients, total
from torch import nn

from mstl.data.batches import Batch, TargetBatch
from mstl.methods import build, dctn, mdan
from mstl.methods.adversary import largest, weighted_reversal
from mstl.methods.mdan import worst_case_weights
from mstl.nn import (
    ImageDiscriminator,
    Layers,
    LocationDiscriminator,
    Predictor,
    domain_loss,
    ramp,
    segmentation_loss,
)
from mstl.nn.reverse import _Reverse
from mstl.nn.unet import Encoder
from mstl.system.errors import InputError

ADVERSARIAL = [
    "consistency", "dann", "dann_per_source", "dctn", "mdan_hard", "mdan_soft", "mstl", "mstl_plus"
]  # fmt: skip
# Part of some methods and none of the game: source images lent between sub-networks, pseudo-labels, a second
# level of features, and a gate that leaves the game where foreground shares differ.
PLAIN = {
    "mstl_plus": "mixing=0 agreement=false",
    "dctn": "pseudo=0",
    "consistency": "levels=1",
}
KINDS = ["location", "image"]


def made(name, sources, overrides="", **options):
    torch.manual_seed(0)
    method = build(name, sources, False, f"{PLAIN.get(name, '')} {overrides}", **options)
    method.name = name
    return method


def domain(n, flag, generator, noise=1.0):
    """Images of a useful channel that the mask follows, a channel with the domain's flag, and an empty one.

    The mask is drawn with probability σ(useful), so that the best logits are finite and known.
    """
    useful = noise * torch.randn(n, 1, 8, 8, generator=generator)
    masks = torch.rand(useful.shape, generator=generator) < useful.sigmoid()
    return torch.cat((useful, torch.full_like(useful, flag), torch.zeros_like(useful)), 1), masks.float()


def batch_of(sources, generator, flags=(1.0, -1.0), n=4, noise=1.0, dtype=torch.float32):
    pairs = [domain(n, flags[0], generator, noise) for _ in range(sources)]
    images, masks = (torch.stack(tensors).to(dtype) for tensors in zip(*pairs, strict=True))
    target = domain(n, flags[1], generator, noise)[0].to(dtype)
    rows = torch.arange(n)
    unseen = TargetBatch(target, masks[0, :0], target, rows)
    return Batch(images, masks, rows.expand(sources, -1), (unseen,) * sources)


def adversary_of(method):
    return method.adversary if hasattr(method, "adversary") else method.adversaries[-1]


def optimisers(method, rate):
    """The two of the training loop: the discriminators have one of their own, with a rate of their own."""
    own = {id(p) for p in method.discriminator_parameters()}
    network = [p for p in method.parameters() if id(p) not in own]
    return (
        torch.optim.AdamW(network, lr=rate, weight_decay=1e-4, fused=True),
        torch.optim.Adam(method.discriminator_parameters(), lr=0.01, betas=(0.5, 0.99), fused=True),
    )


def extra_updates(method, batch, progress, optimiser):
    for _ in range(method.discriminator_updates):
        optimiser.zero_grad()
        total(method.discriminator_losses(batch, progress)).backward()
        optimiser.step()


# --- The checks ------------------------------------------------------------------------------------------


def plain_losses(method, batch):
    """Domain losses without any reversal, one a discriminator, from the features the method compares."""
    target = batch.target.x
    if method.name == "dann":
        pairs = [(method.source_features(images, 0) for images in (batch.source_x.flatten(0, 1), target))]
    else:
        pairs = [
            (method.source_features(images, j), method.source_features(target, j))
            for j, images in enumerate(batch.source_x)
        ]
    discriminators = adversary_of(method).discriminators
    return torch.stack([domain_loss(d(s), d(t)) for d, (s, t) in zip(discriminators, pairs, strict=True)])


@torch.no_grad()
def shares(method, batch, deltas, strength):
    """Factor with which the extractor ascends each domain loss; the strength and, for some, a weight."""
    if method.name == "dctn":  # the hardest pair alone
        return strength * largest(deltas)
    if method.name.startswith("mdan"):
        errors = torch.stack(
            [
                segmentation_loss(method.network(images).logits, masks)
                for images, masks in zip(batch.source_x, batch.source_y, strict=True)
            ]
        )
        gamma = getattr(method.hyper, "gamma", math.inf)
        return strength * worst_case_weights(errors - strength * deltas, gamma)
    return deltas.new_full((len(deltas),), strength / len(deltas))


def check_gradients(name, kind="location"):
    """The domain loss teaches D, and the extractor the opposite, times the strength of that forward pass."""
    method = made(name, 3, f"depth=2 strength=0.7 discriminator={kind}", width=4).double().eval()
    generator = torch.Generator().manual_seed(1)
    batch = batch_of(3, generator, flags=(0.3, -0.3), dtype=torch.float64)
    own = {id(p) for p in method.discriminator_parameters()}
    network = nn.ParameterList(p for p in method.parameters() if id(p) not in own)
    discriminators = adversary_of(method).discriminators
    deltas = plain_losses(method, batch)
    factors = shares(method, batch, deltas.detach(), 0.7 * ramp(0.5))
    straight = gradients(network, (factors * deltas).sum())
    taught = gradients(discriminators, deltas.mean())

    adversarial = method.losses(batch, 0.5)["adversarial"]
    method.losses(batch, 0.1)  # another strength, before the gradient of the first comes back
    reversed_ = gradients(network, adversarial)
    largest_difference = 0.0
    for found, wanted in zip(reversed_, straight, strict=True):
        torch.testing.assert_close(found, -wanted, rtol=1e-9, atol=1e-14)
        largest_difference = max(largest_difference, (found + wanted).abs().max().item())
    assert torch.stack([g.square().sum() for g in reversed_]).sum().sqrt() > 1e-3
    for found, wanted in zip(gradients(discriminators, adversarial), taught, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)
        assert found.abs().sum() > 0
    # At the start of the ramp the extractor is left alone and D learns already.
    silent = method.losses(batch, 0.0)["adversarial"]
    assert all((g == 0).all() for g in gradients(network, silent))
    assert all((g != 0).any() for g in gradients(discriminators, silent))
    return largest_difference


def check_separation(name, kind="location", steps=20):
    """At strength 0 the discriminators, trained by the method's own losses, tell two domains apart."""
    method = made(name, 2, f"depth=2 norm=none strength=0 discriminator={kind}", width=8).train()
    generator = torch.Generator().manual_seed(2)
    _, own = optimisers(method, 0.0)
    for i in range(steps):
        batch = batch_of(2, generator, (2.0, -2.0), noise=0.3)
        own.zero_grad()
        method.losses(batch, i / steps)["adversarial"].backward()
        own.step()
        extra_updates(method, batch, i / steps, own)
    method.eval()
    accuracy = method.observe(batch_of(2, generator, (2.0, -2.0), n=16, noise=0.3), 1.0)[
        "discriminator_accuracy"
    ].item()
    assert accuracy > 0.9
    return accuracy


class Look(nn.Conv2d):
    """A level of an extractor that normalises nothing, whatever the domain."""

    def forward(self, x, domain=None):
        return super().forward(x)


def play(name, strength, steps=80, rate=0.05, seed=0):
    """The game with features f = a·useful + b·flag: |a|, |b| of every extractor, and the target's accuracy.

    One channel and no ReLU: the useful coordinate is noise to the discriminator, so that a flag can be
    hidden by degrees, and what an extractor looks at can be read off its two weights.
    """
    method = made(name, 2, f"depth=1 strength={strength}", width=1)
    extractors = [module for module in method.modules() if isinstance(module, Encoder)]
    for extractor in extractors:
        look = Look(3, 1, 1, bias=False)
        nn.init.ones_(look.weight)
        extractor.levels = nn.ModuleList([Layers(look)])
    for head in (module.head for module in method.modules() if isinstance(module, Predictor)):
        nn.init.constant_(head.weight, 1.0)
        nn.init.constant_(head.bias, -1.0)  # the source's flag is taken off: the task leaves it alone
    generator = torch.Generator().manual_seed(seed)
    both = optimisers(method.train(), rate)
    rates = [optimiser.param_groups[0]["lr"] for optimiser in both]
    for i in range(steps):
        for optimiser, peak in zip(both, rates, strict=True):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = peak * 0.5 * (1 + math.cos(math.pi * i / steps))
        batch = batch_of(2, generator)
        total(method.losses(batch, i / steps)).backward()
        for optimiser in both:
            optimiser.step()
        extra_updates(method, batch, i / steps, both[1])
    useful, flag = torch.stack([e.levels[0][0].weight.detach().abs().flatten()[:2] for e in extractors]).T
    images, _ = domain(64, -1.0, generator)
    with torch.no_grad():
        right = ((method.eval().predict(images) > 0) == (images[:, :1] > 0)).float().mean()
    return useful, flag, right.item()


def check_behaviour(name):
    """The flag stays at strength 0 and goes at strength 1; the useful coordinate stays."""
    useful, flag, alone = play(name, 0.0)
    assert (flag > 0.5 * useful).all()
    useful, flag, hidden = play(name, 1.0)
    assert (flag < 0.15 * useful).all()
    assert (useful > 0.5).all()
    # The head was taught on sources alone: with the flag it is wrong about the target, without it right.
    assert alone < 0.7 and hidden > 0.85
    return (flag / useful).max().item()


# --- The checks on the code as it is ---------------------------------------------------------------------


def test_these_are_all_the_adversarial_methods():
    found = set()
    for name in OF_MASKS:
        for labelled in (True, False):
            with suppress(InputError):  # some methods need labels
                if build(name, 2, labelled, "depth=2", width=4).discriminator_parameters():
                    found.add(name)
    assert sorted(found) == ADVERSARIAL


@pytest.mark.trust(
    "adversaries",
    "The domain loss reaches every discriminator and, times minus the strength of its own forward pass, the "
    "extractor.",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_extractor_ascends_what_the_discriminator_descends(name, kind, record_property):
    record_property("largest difference", check_gradients(name, kind))


@pytest.mark.trust("adversaries", "At strength 0 discriminators tell separable domains apart in over 90 %.")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_discriminator_that_is_not_fought_separates_the_domains(name, kind, record_property):
    record_property("accuracy", check_separation(name, kind))


@pytest.mark.trust(
    "adversaries",
    "Of a useful coordinate and a domain flag, strength 0 keeps both, strength 1 the useful one alone.",
)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_flag_is_suppressed_only_by_a_strength_above_zero(name, record_property):
    record_property("flag to useful at strength 1", check_behaviour(name))


# --- The checks on code with a defect --------------------------------------------------------------------


def plant_softmax(monkeypatch):
    for kind in (LocationDiscriminator, ImageDiscriminator):
        forward = kind.forward
        monkeypatch.setattr(kind, "forward", lambda self, x, forward=forward: forward(self, x).softmax(1))


def plant_sign(monkeypatch):
    reverse = _Reverse._reversed
    monkeypatch.setattr(_Reverse, "_reversed", staticmethod(lambda ctx, g: -reverse(ctx, g)))


def plant_late(monkeypatch):
    latest = {}
    monkeypatch.setattr(
        _Reverse, "setup_context", staticmethod(lambda ctx, inputs, output: latest.update(strength=inputs[1]))
    )
    monkeypatch.setattr(_Reverse, "_reversed", staticmethod(lambda ctx, g: -latest["strength"] * g))
    # Where the strength travels in a hook instead, the hook looks it up when it is called.
    source = textwrap.dedent(inspect.getsource(weighted_reversal))
    early = "lambda gradient, factor=factor: "
    assert source.count(early) == 1
    late = dict(weighted_reversal.__globals__)
    exec(source.replace(early, "lambda gradient: "), late)
    for module in (mdan, dctn):
        monkeypatch.setattr(module, "weighted_reversal", late["weighted_reversal"])


DEFECTS = {"softmax": plant_softmax, "sign": plant_sign, "late": plant_late}
CHECKS = {"gradients": check_gradients, "separation": check_separation, "behaviour": check_behaviour}


@pytest.fixture(params=DEFECTS)
def defect(request, monkeypatch):
    """The code with one defect planted, by its name."""
    DEFECTS[request.param](monkeypatch)
    return request.param


def failing(name, checks=CHECKS):
    """The checks that a method fails."""
    found = []
    for title in checks:
        try:
            CHECKS[title](name)
        except AssertionError:
            found.append(title)
    return found


@pytest.mark.trust(
    "adversaries",
    "Every adversarial method fails these checks with a Softmax over one logit, a flipped sign or a strength "
    "read too late.",
)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_planted_defect_is_noticed_in_every_method(name, defect):
    assert failing(name, ["gradients"]) == ["gradients"]


SEEN = {
    "softmax": ["gradients", "separation", "behaviour"],
    "sign": ["gradients", "behaviour"],  # nobody is fought at strength 0, where separation is checked
    "late": ["gradients"],  # one forward pass a step: the latest strength is the right one
}


@pytest.mark.trust("adversaries", "Training itself shows a dead or a helping adversary.")
def test_which_check_sees_which_defect(defect):
    assert failing("dann") == SEEN[defect]
