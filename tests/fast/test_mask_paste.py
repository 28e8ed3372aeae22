import pytest
import torch
from detectron2.structures import Boxes, Instances, ROIMasks

from ctmasknet.fast.mask_paste import SeparableROIMasks, postprocess

# Small, of part of a pixel, as large as the image and larger, across each border, outside.
BOXES = [
    [10.3, 12.8, 40.1, 60.5], [30, 30, 30.4, 30.6], [0, 0, 96, 64], [-30, -20, 130, 90],
    [-10, 5, 10, 30], [80, 5, 120, 30], [5, -20, 30, 10], [5, 50, 30, 90], [200, 200, 220, 230],
]  # fmt: skip


def masks(count, side=28):
    torch.manual_seed(0)
    return torch.randn(count, side, side)


@pytest.mark.parametrize("threshold", [0.5, 0.0])
def test_masks_lie_where_detectron2_puts_them(threshold):
    boxes = Boxes(torch.tensor(BOXES[:-1] * 3))  # Detectron2 fails on one wholly outside
    raw = masks(len(boxes))
    theirs = ROIMasks(raw).to_bitmasks(boxes, 64, 96, threshold).tensor
    ours = SeparableROIMasks(raw).to_bitmasks(boxes, 64, 96, threshold).tensor
    assert ours.dtype == theirs.dtype == torch.bool
    if threshold:  # where nothing reaches, 0 is not below 0
        assert theirs.flatten(1).sum(1)[:8].count_nonzero() > 6
        assert torch.equal(ours, theirs)
    else:
        inside = SeparableROIMasks(raw.abs() + 1).to_bitmasks(boxes, 64, 96, 0.5).tensor
        assert torch.equal(ours & inside, theirs & inside)


def test_no_mask_and_a_picked_one():
    none = SeparableROIMasks(masks(0)).to_bitmasks(Boxes(torch.zeros(0, 4)), 64, 96)
    assert none.tensor.shape == (0, 64, 96)
    boxes = Boxes(torch.tensor(BOXES[:3]))
    picked = SeparableROIMasks(masks(3))[torch.tensor([False, True, True])]
    all_of_them = SeparableROIMasks(masks(3)).to_bitmasks(boxes, 64, 96).tensor
    assert torch.equal(picked.to_bitmasks(boxes[1:], 64, 96).tensor, all_of_them[1:])


def test_postprocess_is_detectron2s():
    from detectron2.modeling.postprocessing import detector_postprocess

    answers = []
    for function in (postprocess, detector_postprocess):
        found = Instances((64, 96), pred_boxes=Boxes(torch.tensor(BOXES)))
        found.pred_masks = masks(len(BOXES))[:, None]
        answers.append(function(found, 100, 150))
        assert found.pred_masks.shape == (len(BOXES), 1, 28, 28)  # what was given stays raw
    ours, theirs = answers
    assert len(ours) == len(theirs) == 8  # one lies outside
    assert torch.equal(ours.pred_masks, theirs.pred_masks)
