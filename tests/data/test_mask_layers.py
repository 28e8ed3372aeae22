"""Masks that are moved together are what each becomes by itself."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from pycocotools import mask as coco_mask

from ctmasknet.data.augment import NearestExtentTransform
from ctmasknet.data.mask_layers import transform_masks


def encoded(masks):
    return [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


def squares(count, side, overlapping):
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 90, 120), bool)
    for index, mask in enumerate(masks):
        y, x = rng.integers(0, 70, 2) if overlapping else divmod(index * side, 120)
        y = y if overlapping else y * side
        mask[y : y + side, x : x + side] = True
    return masks


TRANSFORMS = T.TransformList(
    [
        T.CropTransform(5, 3, 100, 80),
        T.RotationTransform(80, 100, 17.0, expand=False),
        NearestExtentTransform((-3, 4, 90, 88), (80, 100)),
        T.ResizeTransform(80, 100, 133, 71),
        T.HFlipTransform(71),
    ]
)


@pytest.mark.parametrize(
    "masks",
    [squares(9, 20, True), squares(300, 6, False), squares(0, 5, True)],
    ids=["overlapping", "more than a layer has numbers", "none"],
)
def test_together_is_as_alone(masks):
    rles = encoded(masks)
    together = transform_masks(rles, TRANSFORMS)
    alone = [TRANSFORMS.apply_segmentation(coco_mask.decode(rle)) for rle in rles]
    assert len(together) == len(alone)
    assert all(map(np.array_equal, together, alone))
    assert not alone or max(mask.max() for mask in together) == 1


def test_masks_that_do_not_overlap_are_one_picture():
    class Counting(T.NoOpTransform):
        calls = 0

        def apply_segmentation(self, segmentation):
            self.calls += 1
            return segmentation

    counting = Counting()
    transform_masks(encoded(squares(30, 10, False)), counting)
    assert counting.calls == 1
