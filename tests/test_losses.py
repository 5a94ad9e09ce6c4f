"""Segmentation loss and soft Dice."""

import pytest
import torch
from torchmetrics.functional.segmentation import dice_score

from mstl.nn import segmentation_loss, soft_dice
from mstl.system.errors import InputError

CERTAIN = 60.0  # a logit whose sigmoid is 0 or 1 in float32


def masks(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    share = torch.linspace(0.2, 0.8, n).view(n, 1, 1, 1)
    return (torch.rand(n, 1, 8, 12, generator=generator) < share).float()


def logits_of(prediction):
    return CERTAIN * (2 * prediction - 1)


def test_soft_dice_of_hard_predictions_equals_torchmetrics():
    truth, prediction = masks(seed=0), masks(seed=1)
    reference = dice_score(
        prediction.long().squeeze(1),
        truth.long().squeeze(1),
        num_classes=2,
        include_background=False,
        average="none",
        input_format="index",
    )
    torch.testing.assert_close(soft_dice(logits_of(prediction), truth, smooth=0.0), reference.flatten())


def test_perfect_and_opposite_predictions():
    truth = masks()
    assert segmentation_loss(logits_of(truth), truth).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice(logits_of(1 - truth), truth, smooth=0.0).max().item() < 1e-20


@pytest.mark.trust(
    "formulas", "A false alarm on an empty mask costs, which a published Dice loss gives away for nothing."
)
def test_empty_mask_predicted_empty_costs_nothing_and_any_prediction_costs():
    empty = torch.zeros(1, 1, 8, 12)
    assert segmentation_loss(logits_of(empty), empty).item() == pytest.approx(0, abs=1e-6)
    prediction, previous = empty.clone(), 0.0
    for pixel in range(8):
        prediction[0, 0, pixel, pixel] = 1
        cost = 1 - soft_dice(logits_of(prediction), empty).item()
        assert cost == pytest.approx(1 - 1 / (pixel + 2))
        assert cost > previous
        previous = cost


def test_gradient_on_an_empty_mask_pushes_every_prediction_down():
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    soft_dice(logits, torch.zeros(1, 1, 4, 4)).sum().backward()
    assert (logits.grad < 0).all()  # Dice falls as any probability rises


def test_dice_is_a_mean_over_images_not_over_pixels():
    """A small object weighs as much as a large one."""
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, 0, 0, 0] = 1
    truth[1] = 1
    logits = logits_of(torch.stack((torch.zeros(1, 8, 8), truth[1])))
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    dice = segmentation_loss(logits, truth) - cross_entropy
    assert dice.item() == pytest.approx(0.5 * (1 - 1 / 2))
    alone = [segmentation_loss(logits[i : i + 1], truth[i : i + 1]) for i in range(2)]
    assert segmentation_loss(logits, truth).item() == pytest.approx(torch.stack(alone).mean().item())


def test_gradient_is_the_derivative():
    truth = masks(3).double()
    logits = torch.randn(3, 1, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, truth), (logits.requires_grad_(),))


def test_extreme_logits_stay_finite():
    logits = torch.full((1, 1, 4, 4), 1e4, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad.min() > 0


def test_single_precision_for_half_precision_logits():
    logits, truth = torch.randn(2, 1, 8, 12), masks(2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = segmentation_loss(logits.bfloat16(), truth)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(segmentation_loss(logits, truth).item(), rel=0.02)


def test_no_images_cost_nothing():
    logits = torch.zeros(0, 1, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(0, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0


def test_shapes_must_agree():
    with pytest.raises(InputError, match="same shape"):
        segmentation_loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
