"""Positive-unlabelled learning: a source's background is not background."""

import pytest
import torch
from conftest import toy_task
from small import batch_of
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import softplus

from mstl.methods import build
from mstl.nn import positive_unlabelled_loss
from mstl.system.errors import InputError

Z = torch.randn(3, 1, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MARKED = (torch.rand(3, 1, 6, 8, generator=torch.Generator().manual_seed(1)) < 0.2).double()


def test_a_value_computed_by_hand():
    """Two marked pixels of four, prior ¾; log(1 + e^−z) of 0 is log 2."""
    z = torch.tensor([0.0, 2.0, -1.0, 0.5]).view(1, 1, 2, 2).double()
    marked = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2).double()
    # l(z): .693147, .126928 | l(−z): .693147, 2.126928, .313262, .974077
    found, missed, all_missed = 0.4100375, 1.4100375, 1.0268535
    expected = 0.75 * found + max(0, all_missed - 0.75 * missed)
    assert expected == pytest.approx(0.3075281, abs=1e-6)  # the second term would be negative
    assert positive_unlabelled_loss(z, marked, 0.75).item() == pytest.approx(expected, abs=1e-6)
    expected = 0.25 * found + all_missed - 0.25 * missed
    assert positive_unlabelled_loss(z, marked, 0.25).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.trust(
    "limits",
    "nnPU: with prior 0 everything is background; with prior 1 and all pixels marked everything is object; "
    "where all of the object is marked it is binary cross-entropy.",
)
def test_limits_of_the_prior():
    torch.testing.assert_close(positive_unlabelled_loss(Z, MARKED, 0.0), softplus(Z).mean())
    everything = torch.ones_like(Z)
    torch.testing.assert_close(positive_unlabelled_loss(Z, everything, 1.0), bce(Z, everything))
    torch.testing.assert_close(positive_unlabelled_loss(Z, MARKED, MARKED.mean()), bce(Z, MARKED))
    nothing = torch.zeros_like(Z)
    torch.testing.assert_close(positive_unlabelled_loss(Z, nothing, 0.3), softplus(Z).mean())


def test_the_risk_of_the_background_cannot_fall_below_zero():
    """All marks found with certainty, and all else called object, too: no reward for that."""
    certain = 60 * (2 * MARKED - 1)
    z = certain.clone().requires_grad_()
    loss = positive_unlabelled_loss(z, 1 - MARKED, 0.9)  # wrong on every pixel
    assert loss >= 0.9 * softplus(-z)[MARKED == 0].mean()
    z = torch.full_like(Z, -5.0).requires_grad_()
    (slope,) = torch.autograd.grad(positive_unlabelled_loss(z, MARKED, 1.0), z)
    assert slope.isfinite().all()
    assert (slope[MARKED == 0] == 0).all() and (slope[MARKED == 1] < 0).all()


def test_more_prior_asks_for_more_object_on_unmarked_pixels():
    slopes = []
    for prior in (float(MARKED.mean()), 0.4, 0.6):
        z = torch.zeros_like(Z).requires_grad_()
        (slope,) = torch.autograd.grad(positive_unlabelled_loss(z, MARKED, prior), z)
        slopes.append(float(slope.sum()))
    assert slopes == sorted(slopes, reverse=True)


def fresh(partial=(), overrides=""):
    torch.manual_seed(0)
    return build("positive_unlabelled", 3, False, f"depth=3 {overrides}", partial=partial, width=4)


@pytest.mark.parametrize(
    ("partial", "expected"),
    [
        ((), lambda s: s.mean()),
        ((False, False, False), lambda s: s.mean()),
        ((True, True, True), lambda s: s.sum().clamp(max=1)),
        ((True, False, True), lambda s: s[1]),  # one source knows the whole
    ],
)
def test_the_prior_is_what_the_sources_masks_say(partial, expected):
    method, batch = fresh(partial), batch_of(toy_task(labels=0))
    shares = batch.source_y.mean(dim=(1, 2, 3, 4))
    loss = method.losses(batch, 0.5)["source"]
    torch.testing.assert_close(method.prior, expected(shares))
    logits = method.network(batch.pooled.x).logits
    torch.testing.assert_close(loss, positive_unlabelled_loss(logits, batch.pooled.y, expected(shares)))
    before = method.prior.clone()
    method.eval().losses(batch_of(toy_task(labels=0), seed=7), 0.5)
    assert torch.equal(method.prior, before)  # looking changes nothing
    assert fresh(partial, "prior=0.3").prior == 0.3


def test_where_masks_are_whole_it_is_pooled_training_with_cross_entropy():
    method, batch = fresh(), batch_of(toy_task(labels=0))
    loss = method.losses(batch, 0.5)["source"]
    torch.testing.assert_close(loss, bce(method.network(batch.pooled.x).logits, batch.pooled.y))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fresh(overrides="prior=1.5"), r"prior=1.5 must lie in \[0, 1\], or be -1"),
        (lambda: positive_unlabelled_loss(Z, MARKED[:1], 0.5), "logits and marks must have the same shape"),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(InputError, match=message):
        make()
