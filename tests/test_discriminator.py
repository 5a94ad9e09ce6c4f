"""Discriminators: the adversary plays."""

import pytest
import torch
from torch import nn

from mstl.nn import (
    FeatureBank,
    ImageDiscriminator,
    LocationDiscriminator,
    domain_accuracy,
    domain_loss,
    reverse_gradient,
)
from mstl.system.errors import InputError

KINDS = [LocationDiscriminator, ImageDiscriminator]


def domains(generator, shift=1.0, channels=4):
    """Source and target features (16, c, 3, 4) whose means differ by ``shift`` in every channel."""
    source, target = torch.randn(2, 16, channels, 3, 4, generator=generator)
    return source + shift, target


def train(discriminator, draw, steps=150, learning_rate=3e-3):
    optimiser = torch.optim.Adam(discriminator.parameters(), learning_rate)
    for _ in range(steps):
        source, target = draw()
        optimiser.zero_grad()
        domain_loss(discriminator(source), discriminator(target)).backward()
        optimiser.step()
    discriminator.eval()
    with torch.no_grad():
        source, target = draw()
        return domain_accuracy(discriminator(source), discriminator(target)).item()


@pytest.mark.parametrize(
    ("kind", "shape"), [(LocationDiscriminator, (2, 1, 3, 5)), (ImageDiscriminator, (2, 1))]
)
def test_logits_of_every_location_or_image(kind, shape):
    logits = kind(6)(torch.randn(2, 6, 3, 5))
    assert logits.shape == shape
    # A Softmax over one logit would be constant, a sigmoid would stay positive.
    assert (kind(6)(1e3 * torch.randn(64, 6, 1, 1)) < 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_the_discriminator_and_reversed_the_extractor(kind):
    torch.manual_seed(0)
    extractor, discriminator = nn.Conv2d(3, 4, 1), kind(4)
    discriminator.eval()
    source, target = torch.randn(2, 5, 3, 4, 4)

    def gradients(strength):
        extractor.zero_grad()
        discriminator.zero_grad()
        loss = domain_loss(
            *(discriminator(reverse_gradient(extractor(x), strength)) for x in (source + 1, target))
        )
        loss.backward()
        return [[p.grad.clone() for p in m.parameters()] for m in (extractor, discriminator)]

    extractor.zero_grad()
    domain_loss(discriminator(extractor(source + 1)), discriminator(extractor(target))).backward()
    plain = [p.grad.clone() for p in extractor.parameters()]
    assert all(g.abs().sum() > 0 for g in plain)
    (reversed_, to_discriminator), (cut_off, same) = gradients(0.3), gradients(0.0)
    for g, g0 in zip(reversed_, plain, strict=True):
        torch.testing.assert_close(g, -0.3 * g0)
    assert all(g.abs().sum() == 0 for g in cut_off)
    assert all(g.abs().sum() > 0 for g in to_discriminator)
    for a, b in zip(to_discriminator, same, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["mean", "common offset", "scale", "tiny"])
def test_separable_domains_are_separated(kind, case):
    """At strength 0 the discriminator only watches, and must see differences of every kind."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)

    def draw():
        source, target = domains(generator, 0.0)
        if case == "mean":
            source[:, 0] += 4
        elif case == "common offset":  # what a normalisation of each location by itself would remove
            source, target = source + 4, target
        elif case == "scale":
            source, target = 8 * source, 0.3 * target
        else:  # features an extractor has shrunk to hide them
            source, target = (source + 3) * 1e-3, (target - 3) * 1e-3
        return source, target

    assert train(kind(4), draw) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_equal_domains_cannot_be_told_apart(kind):
    """Whichever domain is passed first: the standardisation itself must not give it away."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    discriminator = kind(4)
    train(discriminator, lambda: domains(generator, 0.0))
    source, target = torch.randn(2, 500, 4, 3, 4, generator=generator)
    with torch.no_grad():
        assert 0.45 < domain_accuracy(discriminator(source), discriminator(target)) < 0.55


def test_extractor_behind_the_reversal_drops_the_domain_and_keeps_the_task():
    """f = a·useful + b·flag: strength 0 leaves the flag, which the task's bias absorbs; 1 removes it."""

    def weights(strength):
        torch.manual_seed(0)
        extractor, head = nn.Conv2d(2, 1, 1, bias=False), nn.Conv2d(1, 1, 1)
        nn.init.ones_(extractor.weight)
        discriminator = LocationDiscriminator(1, 16)
        slow = torch.optim.SGD([*extractor.parameters(), *head.parameters()], 0.05)
        fast = torch.optim.Adam(discriminator.parameters(), 5e-3)
        flag = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1).expand(2, 64, 1, 1, 1)
        for _ in range(200):
            useful = torch.randn(2, 64, 1, 1, 1)
            source, target = (extractor(x) for x in torch.cat((useful, flag), 2))
            logits = (discriminator(reverse_gradient(f, strength)) for f in (source, target))
            loss = nn.functional.mse_loss(head(source), useful[0]) + domain_loss(*logits)
            slow.zero_grad()
            fast.zero_grad()
            loss.backward()
            slow.step()
            fast.step()
        return extractor.weight.detach().flatten().abs()

    useful, flag = weights(0.0)
    assert flag > 0.5 * useful
    useful, flag = weights(1.0)
    assert flag < 0.15 * useful


def test_standardisation_is_one_map_for_both_domains():
    """Evaluated source by source or together, each vector gets the same logit."""
    torch.manual_seed(0)
    discriminator = LocationDiscriminator(4)
    source, target = domains(None)
    for x in (source, target):
        discriminator(x)
    discriminator.eval()
    apart = torch.cat((discriminator(source), discriminator(target)))
    torch.testing.assert_close(discriminator(torch.cat((source, target))), apart)
    standardised = discriminator.layers[0](torch.cat((source, target)))
    torch.testing.assert_close(standardised.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-3, rtol=0)
    again = LocationDiscriminator(4)
    again.load_state_dict(discriminator.state_dict())
    torch.testing.assert_close(again.eval()(source), discriminator(source))


def test_domain_loss_and_accuracy_weigh_both_domains_equally():
    knows_nothing = domain_loss(torch.zeros(3, 1), torch.zeros(50, 1, 2, 2))
    assert knows_nothing.item() == pytest.approx(torch.tensor(2.0).log().item())
    for constant in (-1.0, 0.0, 1.0):
        accuracy = domain_accuracy(torch.full((3,), constant), torch.full((50,), constant))
        assert accuracy.item() == 0.5
    assert domain_accuracy(torch.tensor([1.0, -1.0]), torch.tensor([-1.0])).item() == 0.75
    assert domain_loss(torch.full((3,), 99.0), torch.full((2,), -99.0)).item() < 1e-6
    assert domain_loss(torch.full((3,), -99.0), torch.full((2,), 99.0)).item() == pytest.approx(99)
    assert domain_loss(torch.zeros(2).bfloat16(), torch.zeros(2).bfloat16()).dtype == torch.float32


def test_bank_holds_recent_vectors():
    bank = FeatureBank(capacity=8, channels=2, pushes=4)
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        bank.push(torch.full((2, 2, 3, 3), float(step), requires_grad=True), generator)
        assert len(bank) == min(2 * (step + 1), 8)
    sample = bank.sample(200, generator)
    assert sample.shape == (200, 2, 1, 1)
    assert not sample.requires_grad
    assert set(sample.flatten().tolist()) == {2.0, 3.0, 4.0, 5.0}
    assert LocationDiscriminator(2)(sample).shape == (200, 1, 1, 1)


def test_bank_keeps_vectors_whole_and_draws_them_evenly():
    bank = FeatureBank(capacity=12, channels=3, pushes=1)
    location = torch.arange(12.0)
    bank.push(torch.stack((location, location + 100, location + 200)).view(3, 2, 6).expand(1, 3, 2, 6))
    sample = bank.sample(6000, torch.Generator().manual_seed(0))[:, :, 0, 0]
    torch.testing.assert_close(sample[:, 1:], sample[:, :1] + torch.tensor([100.0, 200.0]))
    counts = torch.bincount(sample[:, 0].long(), minlength=12)
    assert counts.min() > 400
    assert counts.max() < 600


def test_bank_resumes_from_its_state():
    def filled(steps, bank=None):
        generator = torch.Generator().manual_seed(3)
        bank = bank or FeatureBank(10, 2, pushes=3)
        for _ in range(steps):
            bank.push(torch.randn(2, 2, 3, 3, generator=generator).bfloat16(), generator)
        return bank, generator

    bank, generator = filled(5)
    copy = FeatureBank(10, 2, pushes=3)
    copy.load_state_dict(bank.state_dict())
    state = generator.get_state()
    after = []
    for b in (bank, copy):
        generator.set_state(state)
        b.push(torch.randn(2, 2, 3, 3, generator=generator), generator)
        after.append((b.vectors.clone(), b.sample(7, generator), len(b)))
    assert torch.equal(after[0][0], after[1][0])
    assert torch.equal(after[0][1], after[1][1])
    assert after[0][2] == after[1][2] == 10
    assert torch.equal(filled(5)[0].vectors, filled(5)[0].vectors)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FeatureBank(8, 2).sample(1), "cannot span"),
        (lambda: FeatureBank(16, 2).sample(1), "empty"),
        (lambda: FeatureBank(16, 2).push(torch.zeros(1, 3, 2, 2)), r"\(n, 2, h, w\)"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()
