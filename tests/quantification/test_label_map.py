"""Label maps: which class a pixel of several instances has."""

from dataclasses import replace

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.inference.predictions import Instance, SlicePrediction
from ctmasknet.quantification.label_map import label_map, label_volume

SIZE = (4, 6)


def instance(name, score, rows, columns):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[rows, columns] = 1
    return Instance(name, score, (0, 0, 1, 1), mask_util.encode(mask), int(mask.sum()))


def found(*instances, size=SIZE, has_masks=True):
    return SlicePrediction(size, ("GGO", "C"), instances, has_masks)


@pytest.mark.parametrize("order", [1, -1])
def test_the_highest_score_has_the_pixel(order):
    low = instance("GGO", 0.5, np.s_[0:3], np.s_[0:3])
    high = instance("C", 0.9, np.s_[1:4], np.s_[2:5])
    labels = label_map(found(*[high, low][::order]))
    expected = [[1, 1, 1, 0, 0, 0], [1, 1, 2, 2, 2, 0], [1, 1, 2, 2, 2, 0], [0, 0, 2, 2, 2, 0]]
    assert labels.tolist() == expected and labels.dtype == np.uint8


def test_of_equal_scores_the_first_has_the_pixel():
    first = instance("C", 0.5, np.s_[0], np.s_[0:2])
    second = instance("GGO", 0.5, np.s_[0], np.s_[1:3])
    assert label_map(found(first, second))[0].tolist() == [2, 2, 1, 0, 0, 0]


def test_a_volume_has_its_slices_in_order():
    first = instance("C", 0.9, np.s_[0], np.s_[0])
    labels = label_volume([found(), found(first)])
    assert labels.shape == (2, *SIZE) and labels.dtype == np.uint8
    assert np.argwhere(labels).tolist() == [[1, 0, 0]] and labels.max() == 2


def test_what_makes_no_volume_is_refused():
    with pytest.raises(ValueError, match="boxes without masks"):
        label_map(found(has_masks=False))
    with pytest.raises(ValueError, match="2 different sizes or classes among 2 slices"):
        label_volume([found(), found(size=(4, 7))])
    with pytest.raises(ValueError, match="among 0 slices"):
        label_volume([])
    many = replace(found(), lesion_classes=tuple(map(str, range(256))))
    with pytest.raises(ValueError, match="found 256 lesion classes, expected at most 255"):
        label_map(many)
