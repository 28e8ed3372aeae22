import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from ctmasknet.modeling.semantic_head import dice_loss, semantic_targets


def instances(size, *lesions):
    """Rectangles (class, x0, y0, x1, y1) as ground truth."""
    made = Instances(size)
    masks = torch.zeros(len(lesions), *size, dtype=torch.bool)
    for mask, (_, x0, y0, x1, y1) in zip(masks, lesions, strict=True):
        mask[y0:y1, x0:x1] = True
    made.gt_classes = torch.tensor([x[0] for x in lesions], dtype=torch.int64)
    made.gt_boxes = Boxes(torch.tensor([x[1:] for x in lesions]).view(-1, 4).float())
    made.gt_masks = BitMasks(masks)
    return made


def test_targets_are_classes_then_background_then_what_is_ignored():
    first = instances((4, 6), (0, 0, 0, 2, 2), (1, 1, 1, 3, 3))
    targets = semantic_targets([first, instances((2, 2))], (4, 8), 2, 255)
    assert targets[0].tolist() == [
        [0, 0, 2, 2, 2, 2, 255, 255],
        [0, 1, 1, 2, 2, 2, 255, 255],
        [2, 1, 1, 2, 2, 2, 255, 255],
        [2, 2, 2, 2, 2, 2, 255, 255],
    ]
    assert (targets[1, :2, :2] == 2).all() and (targets[1] == 255).sum() == 28


def test_dice_loss_by_hand():
    targets = torch.tensor([[[0, 0, 1, 2, 255]]])
    right = torch.tensor([0, 0, 1, 2, 0])
    probs = torch.eye(3)[right].T[None, :, None]
    assert dice_loss(probs, targets, 255) == 0  # whatever is said of ignored pixels
    wrong = torch.eye(3)[torch.tensor([0, 2, 2, 2, 0])].T[None, :, None]
    # Class 0: 1 of 2 pixels, class 1: 0 of 1, any lesion: 1 of 3; 1 is added above and below.
    expected = 1 - (3 / 4 + 1 / 2 + 3 / 5) / 3
    assert dice_loss(wrong, targets, 255).item() == pytest.approx(expected)


def test_dice_loss_of_nothing_is_nothing():
    targets = torch.full((1, 2, 2), 2)
    probs = torch.zeros(1, 3, 2, 2)
    probs[:, 2] = 1
    assert dice_loss(probs, targets, 255) == 0
