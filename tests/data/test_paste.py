import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from ctmasknet.data.paste import paste_lesions


def slice_of(grey, size, *lesions):
    """A slice of one grey value with rectangles (class, x0, y0, x1, y1)."""
    made = Instances(size)
    masks = torch.zeros(len(lesions), *size, dtype=torch.bool)
    for mask, (_, x0, y0, x1, y1) in zip(masks, lesions, strict=True):
        mask[y0:y1, x0:x1] = True
    made.gt_classes = torch.tensor([x[0] for x in lesions], dtype=torch.int64)
    made.gt_masks = BitMasks(masks)
    made.gt_boxes = made.gt_masks.get_bounding_boxes() if lesions else Boxes(torch.zeros(0, 4))
    return {"image": torch.full((3, *size), grey, dtype=torch.uint8), "instances": made, "label": 1}


@pytest.fixture(autouse=True)
def all_are_taken(monkeypatch):
    monkeypatch.setattr(np.random, "random", lambda count: np.zeros(count))


def test_pixels_and_masks_move_together_and_are_scaled():
    target = slice_of(50, (40, 40), (0, 0, 0, 20, 20))
    source = slice_of(200, (80, 80), (1, 20, 20, 60, 60))
    pasted = paste_lesions(target, source)
    assert (target["image"] == 50).all() and pasted["label"] == 1
    assert (pasted["image"][:, 14:26, 14:26] == 200).all()
    assert (pasted["image"][:, :7] == 50).all()  # and between the two a border that fades
    found = pasted["instances"]
    assert found.gt_classes.tolist() == [0, 1]
    assert found.gt_boxes.tensor.tolist() == [[0, 0, 20, 20], [10, 10, 30, 30]]
    assert found.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [400 - 100, 400]


def test_what_is_covered_is_gone():
    pasted = paste_lesions(
        slice_of(0, (8, 8), (0, 2, 2, 4, 4)), slice_of(9, (8, 8), (1, 0, 0, 8, 8))
    )
    assert pasted["instances"].gt_classes.tolist() == [1]


def test_nothing_to_paste_and_nothing_to_paste_on():
    free, ill = slice_of(0, (8, 8)), slice_of(9, (8, 8), (1, 0, 0, 4, 4))
    assert paste_lesions(ill, free) is ill
    assert paste_lesions(free, ill)["instances"].gt_boxes.tensor.tolist() == [[0, 0, 4, 4]]
