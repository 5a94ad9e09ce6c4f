"""Scores against torchmetrics and against their definitions at the edges."""

import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from mstl.evaluate import (
    counts,
    dice,
    dice_mean_over_images,
    dice_pooled,
    iou,
    iou_mean_over_images,
    part_recall,
    predict_domain,
    score_table,
)


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
    table = score_table(predict_domain(lambda images: next(masks) - 0.5, domain, batch_size=4), domain)
    assert (table[["dice", "iou", "recall_left", "recall_right"]] == 1).all(axis=None)
    assert table["car"].tolist() == list(domain.groups)


def test_shapes_must_agree(case):
    with pytest.raises(ValueError, match="differ in shape"):
        counts(case[0], case[1][:, :, :-1])
