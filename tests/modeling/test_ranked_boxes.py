import pytest
import torch

from ctmasknet.modeling.ranked_boxes import fill_positions, rank_rows, select_boxes

IMAGE = (100, 100)


def test_boxes_are_ranked_by_score_and_duplicates_dropped():
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 80, 80], [20, 20, 30, 30]], dtype=torch.float
    )[:, None]
    scores = torch.tensor([[0.3], [0.6], [0.1], [0.9]])
    roi, cls, kept = select_boxes(scores, boxes, IMAGE, nms_thresh=0.75, num=10)
    # RoI 0 overlaps RoI 1 with IoU 0.9 and has the lower score; a score of 0.1 is kept.
    assert roi.tolist() == [3, 1, 2]
    assert cls.tolist() == [0, 0, 0]
    assert torch.equal(kept, boxes[[3, 1, 2], 0])


def test_every_class_of_a_roi_is_a_row_of_its_own_and_nms_keeps_classes_apart():
    box = torch.tensor([10.0, 10, 40, 40])
    boxes = box.expand(2, 2, 4)
    scores = torch.tensor([[0.2, 0.7], [0.5, 0.6]])
    roi, cls, _ = select_boxes(scores, boxes, IMAGE, 0.75, 10)
    assert list(zip(roi.tolist(), cls.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_boxes_without_area_after_clipping_are_dropped():
    boxes = torch.tensor([[120.0, 0, 150, 20], [5, 5, 5, 30], [-5, -5, 20, 20]])[:, None]
    roi, _, kept = select_boxes(torch.tensor([[0.9], [0.8], [0.1]]), boxes, IMAGE, 0.75, 10)
    assert roi.tolist() == [2]
    assert kept.tolist() == [[0, 0, 20, 20]]


def test_equal_scores_keep_the_order_of_rois_and_the_cut_is_exact():
    boxes = torch.tensor([[10.0 * i, 0, 10.0 * i + 5, 5] for i in range(6)])[:, None]
    roi, _, _ = select_boxes(torch.full((6, 1), 0.5), boxes, IMAGE, 0.75, num=4)
    assert roi.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("count", "num", "expected"),
    [
        (3, 5, [0, 0, 1, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (4, 5, [0, 0, 1, 2, 3]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_fill_uses_every_rank_in_order(count, num, expected):
    assert fill_positions(count, num).tolist() == expected


def test_rank_rows_fills_and_passes_the_sum_of_gradients():
    three = torch.tensor([[0.9, 1, 1, 1, 1], [0.5, 2, 2, 2, 2], [0.1, 3, 3, 3, 3]])
    three.requires_grad_()
    none = torch.zeros(0, 5)
    ranked = rank_rows(
        [three, none],
        [torch.arange(12.0).view(3, 4), torch.zeros(0, 4)],
        [torch.tensor([0, 1, 0]), torch.zeros(0, dtype=torch.int64)],
        num=5,
    )
    assert torch.equal(ranked.rows[0], three.detach()[[0, 0, 1, 1, 2]])
    assert ranked.classes[0].tolist() == [0, 0, 1, 1, 0]
    assert ranked.counts.tolist() == [3, 0]
    assert ranked.rows[1].abs().sum() == 0 and ranked.boxes[1].abs().sum() == 0
    ranked.rows.sum().backward()
    assert three.grad[:, 0].tolist() == [2, 2, 1]
