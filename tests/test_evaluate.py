"""Scores against torchmetrics and against their definitions at the edges."""

from dataclasses import replace

import pytest
import torch
from conftest import blobs
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from mstl.problems.segmentation import (
    Segmentation,
    counts,
    dice,
    dice_mean_over_images,
    dice_pooled,
    iou,
    iou_mean_over_images,
    part_recall,
)
from mstl.run.evaluate import predict_domain


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 1, 9, 11, generator=generator)
    masks = (torch.rand(7, 1, 9, 11, generator=generator) > 0.6).float()
    return logits, masks


def test_counts_partition_the_pixels(case):
    count = counts(*case)
    assert count.shape == (7, 4)
    assert (count.sum(1) == 9 * 11).all()
    assert (count[:, 0] + count[:, 2] == case[1].flatten(1).sum(1)).all()


def test_dice_and_iou_agree_with_torchmetrics(case):
    logits, masks = case
    predicted, true = (logits > 0).int(), masks.int()
    for k, row in enumerate(counts(logits, masks)):
        assert dice(row[None]).item() == pytest.approx(
            binary_f1_score(predicted[k], true[k]).item(), abs=1e-6
        )
        assert iou(row[None]).item() == pytest.approx(
            binary_jaccard_index(predicted[k], true[k]).item(), abs=1e-6
        )
    assert dice_pooled(counts(logits, masks)).item() == pytest.approx(
        binary_f1_score(predicted, true).item(), abs=1e-6
    )


def test_dice_and_iou_determine_each_other(case):
    count = counts(*case)
    assert torch.allclose(dice(count), 2 * iou(count) / (1 + iou(count)))
    assert dice_mean_over_images(count) >= iou_mean_over_images(count)


@pytest.mark.trust(
    "limits", "An empty mask predicted empty scores 1, an empty mask with any prediction 0, in Dice and IoU."
)
@pytest.mark.parametrize(
    ("tp_fp_fn_tn", "expected"), [((0, 0, 0, 9), 1.0), ((0, 1, 0, 8), 0.0), ((0, 0, 1, 8), 0.0)]
)
def test_empty_masks(tp_fp_fn_tn, expected):
    count = torch.tensor([tp_fp_fn_tn])
    assert dice(count).item() == expected
    assert iou(count).item() == expected


def test_swapping_prediction_and_mask_leaves_dice(case):
    logits, masks = case
    swapped = counts(masks - 0.5, (logits > 0).float())
    assert torch.equal(dice(counts(logits, masks)), dice(swapped))


def test_part_recall_is_the_share_of_each_part():
    parts = torch.tensor([[1, 1, 1, 1, 2, 2, 0, 0]], dtype=torch.uint8).view(1, 1, 2, 4)
    logits = torch.tensor([[1.0, 1, 1, -1, -1, 1, 1, 1]]).view(1, 1, 2, 4)
    recall = part_recall(logits, parts, 3)[0]
    assert recall[:2].tolist() == [0.75, 0.5]
    assert recall[2].isnan()


def test_a_perfect_prediction_scores_one_everywhere(task):
    domain = task.test
    masks = iter(domain.masks.float().split(4))
    table = Segmentation().table(
        predict_domain(lambda images: next(masks) - 0.5, domain, batch_size=4), domain
    )
    assert (table[["dice", "iou", "recall_left", "recall_right"]] == 1).all(axis=None)
    assert table["car"].tolist() == list(domain.groups)


def test_shapes_must_agree(case):
    with pytest.raises(ValueError, match="differ in shape"):
        counts(case[0], case[1][:, :, :-1])


def test_a_logit_of_zero_and_a_mask_of_one_half_are_background():
    logits = torch.tensor([2.0, 1e-6, 0.0, -1.0, 3.0, -0.5, 0.0]).view(1, 1, 1, 7)
    masks = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.5]).view(1, 1, 1, 7)
    count = counts(logits, masks)
    assert count.tolist() == [[2, 1, 2, 2]]  # tp, fp, fn, tn
    assert count.dtype == torch.int64
    assert dice(count).item() == 4 / 7
    assert iou(count).item() == 2 / 5


def test_one_wrong_pixel_is_enough_to_lose_and_one_right_pixel_to_win():
    count = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    assert dice(count).tolist() == [1, 0, 0, 2 / 3, 1]
    assert iou(count).tolist() == [1, 0, 0, 1 / 2, 1]
    assert dice(count).dtype == iou(count).dtype == torch.float64


def test_means_are_over_images_and_pooling_is_over_pixels():
    count = torch.tensor([[8, 1, 1, 0], [0, 1, 1, 8]])  # Dice 16/18 and 0
    assert dice_mean_over_images(count).item() == pytest.approx(8 / 18)
    assert iou_mean_over_images(count).item() == pytest.approx(0.4)
    assert dice_pooled(count).item() == pytest.approx(16 / 20)
    assert dice_pooled(count).ndim == dice_mean_over_images(count).ndim == 0


def test_part_recall_counts_from_one_and_needs_a_logit_above_zero():
    parts = torch.tensor([[0, 1, 1, 2], [3, 3, 3, 3]], dtype=torch.uint8).view(2, 1, 1, 4)
    logits = torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]).view(2, 1, 1, 4)
    recall = part_recall(logits, parts, 3)
    expected = torch.tensor([[0.5, 1.0, torch.nan], [torch.nan, torch.nan, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(recall, expected, equal_nan=True)
    nothing = part_recall(logits, parts, 0)
    assert nothing.shape == (2, 0)
    assert nothing.dtype == torch.float64


def test_a_domain_is_predicted_once_in_order_in_batches_of_64_and_without_gradient():
    domain, sizes = blobs("many", 130, (8, 8), 0), []
    scale = torch.ones((), requires_grad=True)

    def predict(images):
        sizes.append(len(images))
        assert images.dtype == torch.float32
        return (scale * images.mean(1, keepdim=True)).double()

    logits = predict_domain(predict, domain)
    assert sizes == [64, 64, 2]
    assert not logits.requires_grad
    assert logits.dtype == torch.float32
    # Network input is 4·(x/255 - ½).
    expected = (4 * (domain.images.double() / 255 - 0.5)).mean(1, keepdim=True)
    torch.testing.assert_close(logits.double(), expected, atol=1e-5, rtol=0)
    sizes.clear()
    assert torch.equal(predict_domain(predict, domain, batch_size=65), logits)
    assert sizes == [65, 65]


def test_the_table_has_one_row_an_image_and_its_columns_in_order(task):
    domain = task.test
    torch.manual_seed(0)
    logits = torch.randn(domain.masks.shape)
    table = Segmentation().table(logits, domain)
    assert list(table) == [
        *("car", "view", "tp", "fp", "fn", "tn", "dice", "iou", "recall_left", "recall_right"),
    ]
    assert table["view"].tolist() == domain.views.tolist()
    assert table[["tp", "fp", "fn", "tn"]].to_numpy().tolist() == counts(logits, domain.masks).tolist()
    recall = part_recall(logits, domain.parts, 2)
    assert table[["recall_left", "recall_right"]].to_numpy().tolist() == recall.tolist()
    assert list(Segmentation().table(logits, replace(domain, parts=None))) == list(table)[:8]
