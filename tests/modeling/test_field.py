"""Instances of a part of an image in the whole image."""

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances

from ctmasknet.modeling.field import postprocess_field


def raw():
    """One lesion in the middle of a network input of 8 x 8, its mask all foreground."""
    return Instances(
        (8, 8),
        pred_boxes=Boxes(torch.tensor([[2.0, 2.0, 6.0, 6.0]])),
        scores=torch.tensor([0.9]),
        pred_classes=torch.tensor([0]),
        pred_masks=torch.ones(1, 1, 28, 28),
    )


def test_box_and_mask_lie_in_the_whole_image():
    # A part of 16 x 16 pixels, seen at half its size.
    found = postprocess_field(detector_postprocess, raw(), (10, 20, 26, 36), 50, 40)
    assert found.image_size == (50, 40)
    assert found.pred_boxes.tensor.tolist() == [[14, 24, 22, 32]]
    assert found.pred_masks.shape == (1, 50, 40)
    assert found.pred_masks.sum() == 64 and found.pred_masks[0, 24:32, 14:22].all()
    assert found.scores.tolist() == [torch.tensor(0.9).item()]


def test_without_a_field_it_is_the_stock_postprocessing():
    found = postprocess_field(detector_postprocess, raw(), None, 16, 16)
    expected = detector_postprocess(raw(), 16, 16)
    assert torch.equal(found.pred_masks, expected.pred_masks)
    assert torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor)


def test_no_instances():
    found = postprocess_field(detector_postprocess, raw()[[]], (10, 20, 26, 36), 50, 40)
    assert len(found) == 0 and found.pred_masks.shape == (0, 50, 40)
