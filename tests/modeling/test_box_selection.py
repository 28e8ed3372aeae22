import torch

from ctmasknet.modeling.box_selection import select_boxes as select

IMAGE = (100, 100)


def test_boxes_are_ranked_by_score_and_duplicates_dropped():
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 80, 80], [20, 20, 30, 30]], dtype=torch.float
    )[:, None]
    scores = torch.tensor([[0.3], [0.6], [0.1], [0.9]])
    roi, cls, kept, score = select(scores, boxes, IMAGE, nms_thresh=0.75, num=10)
    # RoI 0 overlaps RoI 1 with IoU 0.9 and has the lower score; a score of 0.1 is kept.
    assert roi.tolist() == [3, 1, 2]
    assert cls.tolist() == [0, 0, 0]
    assert torch.equal(kept, boxes[[3, 1, 2], 0])
    assert torch.equal(score, scores[[3, 1, 2], 0])


def test_every_class_of_a_roi_is_a_row_of_its_own_and_nms_keeps_classes_apart():
    box = torch.tensor([10.0, 10, 40, 40])
    boxes = box.expand(2, 2, 4)
    scores = torch.tensor([[0.2, 0.7], [0.5, 0.6]])
    roi, cls, *_ = select(scores, boxes, IMAGE, 0.75, 10)
    assert list(zip(roi.tolist(), cls.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_boxes_without_area_after_clipping_are_dropped():
    boxes = torch.tensor([[120.0, 0, 150, 20], [5, 5, 5, 30], [-5, -5, 20, 20]])[:, None]
    roi, _, kept, _ = select(torch.tensor([[0.9], [0.8], [0.1]]), boxes, IMAGE, 0.75, 10)
    assert roi.tolist() == [2]
    assert kept.tolist() == [[0, 0, 20, 20]]


def test_equal_scores_keep_the_order_of_rois_and_the_cut_is_exact():
    boxes = torch.tensor([[10.0 * i, 0, 10.0 * i + 5, 5] for i in range(6)])[:, None]
    roi, *_ = select(torch.full((6, 1), 0.5), boxes, IMAGE, 0.75, num=4)
    assert roi.tolist() == [0, 1, 2, 3]


def test_score_threshold_is_strict_and_its_default_keeps_zero():
    boxes = torch.tensor([[10.0 * i, 0, 10.0 * i + 5, 5] for i in range(3)])[:, None]
    scores = torch.tensor([[0.5], [0.6], [0.0]])
    assert select(scores, boxes, IMAGE, 0.75, None, score_thresh=0.5).roi.tolist() == [1]
    assert select(scores, boxes, IMAGE, 0.75, None).roi.tolist() == [1, 0, 2]


def test_float64_is_kept():
    # In float32 the first box ends at 20.0 and the IoU is 0.5, not above.
    boxes = torch.tensor([[0, 0, 20.000000001, 10], [0, 0, 10, 10]], dtype=torch.float64)
    scores = torch.tensor([[0.9], [0.8]], dtype=torch.float64)
    kept = select(scores, boxes[:, None], IMAGE, 0.49999999999, None)
    assert kept.box.dtype == torch.float64 and kept.box[0, 2] == 20.000000001
    assert kept.roi.tolist() == [0, 1]


def test_no_roi_gives_no_box():
    kept = select(torch.zeros(0, 2), torch.zeros(0, 2, 4), IMAGE, 0.75, 5)
    assert [len(x) for x in kept] == [0, 0, 0, 0]
