"""Lesions of scans drawn by hand: how many, how large, how dense, and where."""

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.inference.predictions import Instance, SlicePrediction
from ctmasknet.quantification.label_map import label_volume, lesion_volume
from ctmasknet.quantification.lesion_measures import find_lesions, longest_diameter
from ctmasknet.quantification.lung_sides import find_midline

SIZE = (20, 40)
SPACING = (5.0, 0.5, 0.5)  # 1.25 mm3 a voxel
CLASSES = ("GGO", "C")


def outline(x0, x1, y0, y1, name="GGO", score=0.9):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    box = (float(x0), float(y0), float(x1), float(y1))
    return Instance(name, score, box, mask_util.encode(mask), int(mask.sum()))


def scan(*slices):
    return [SlicePrediction(SIZE, CLASSES, tuple(part), True) for part in slices]


def lungs():
    """Columns 2 to 17 and 22 to 37: the patient's right and left lung."""
    lung = np.zeros((3, *SIZE), bool)
    lung[:, :, 2:18] = lung[:, :, 22:38] = True
    return lung


THREE = scan(
    [outline(4, 8, 2, 5)],  # 4 x 3 pixels
    [outline(4, 10, 2, 4, score=0.7), outline(30, 31, 7, 8, "C", 0.6)],  # 6 x 2, and one pixel
    [],
)


def test_each_lesion_is_measured():
    hu = np.arange(3 * 20 * 40, dtype=np.int16).reshape(3, *SIZE) - 900
    (large, small), ids = find_lesions(THREE, SPACING, hu, lungs())
    assert ids == ((1,), (1, 2), ())
    assert (large.lesion_id, large.lesion_class, large.score, large.voxels) == (1, "GGO", 0.9, 24)
    assert large.volume_ml == pytest.approx(24 * 1.25 / 1000)
    assert (large.first_slice, large.last_slice, large.largest_slice) == (0, 1, 1)
    assert large.diameter_mm == pytest.approx(np.hypot(3, 1))  # 6 x 2 pixels; 4 x 3 are 2.5 mm
    voxels = np.concatenate([hu[0, 2:5, 4:8].ravel(), hu[1, 2:4, 4:10].ravel()])
    assert (large.mean_hu, large.min_hu) == (pytest.approx(voxels.mean()), voxels.min())
    assert large.side == "right" and large.lobe is None  # columns go from right to left
    assert (small.lesion_class, small.voxels, small.side) == ("C", 1, "left")
    assert small.diameter_mm == pytest.approx(np.hypot(0.5, 0.5))
    assert small.mean_hu == small.min_hu == hu[1, 7, 30]


def test_what_is_unknown_is_none():
    (large, _), _ = find_lesions(THREE)
    assert large.voxels == 24 and large.largest_slice == 1
    unknown = (large.volume_ml, large.diameter_mm, large.mean_hu, large.min_hu, large.side)
    assert unknown == (None,) * 5
    # Without a spacing nobody knows which side is left.
    assert find_lesions(THREE, None, None, lungs())[0][0].side is None


def test_a_lobe_tells_its_side():
    lobes = np.zeros((3, *SIZE), np.uint8)
    lobes[0, :, :20] = 3  # right upper: 12 voxels
    lobes[1, :, :9] = 5  # right lower: 10 voxels
    (large, small), _ = find_lesions(THREE, SPACING, None, lungs(), lobes)
    assert (large.side, large.lobe) == ("right", "right upper")
    assert (small.side, small.lobe) == ("left", None)  # it lies in no lobe


def test_files_and_lists_have_the_same_lesions():
    """Overlaps: the higher score has the pixel, and what is left of a lesion is what counts."""
    slices = scan(
        [outline(0, 10, 0, 10, "GGO", 0.6), outline(4, 8, 4, 8, "C", 0.8)],
        [outline(4, 8, 4, 8, "GGO", 0.3), outline(2, 9, 2, 9, "C", 0.7)],  # the GGO is covered
        [outline(20, 22, 0, 2, "C", 0.5)],
    )
    lesions, ids = find_lesions(slices, SPACING)
    assert ids == ((1, 2), (1, 2), (3,))
    assert [(x.lesion_class, x.voxels, x.last_slice) for x in lesions] == [
        *(("GGO", 84, 0), ("C", 65, 1), ("C", 4, 2)),
    ]
    volume = lesion_volume(slices, ids)
    assert volume.dtype == np.uint16
    assert np.bincount(volume.ravel())[1:].tolist() == [x.voxels for x in lesions]
    classes = np.array([0, *(CLASSES.index(x.lesion_class) + 1 for x in lesions)])
    assert np.array_equal(classes[volume], label_volume(slices))


def test_a_lesion_that_others_cover_is_none():
    slices = scan([outline(4, 8, 4, 8, "GGO", 0.3), outline(2, 9, 2, 9, "C", 0.7)])
    lesions, ids = find_lesions(slices)
    assert [x.lesion_class for x in lesions] == ["C"] and ids == ((0, 1),)


def test_touching_lesions_are_two_and_one_in_two_parts_is_one():
    touching = scan(*[[outline(0, 4, 0, 4), outline(4, 7, 0, 4)]] * 3)
    assert [x.voxels for x in find_lesions(touching)[0]] == [48, 36]
    parts = scan([outline(0, 10, 0, 4)], [outline(0, 4, 0, 4), outline(6, 10, 0, 4)])
    (lesion,), ids = find_lesions(parts, SPACING)
    assert lesion.voxels == 72 and ids == ((1,), (1, 1))
    # Of two parts on a slice the longer counts, not the way from one to the other.
    assert lesion.diameter_mm == pytest.approx(np.hypot(5, 2)) and lesion.largest_slice == 0


def test_nothing_found():
    assert find_lesions(scan([], [])) == ((), ((), ()))


def test_of_equal_size_the_lower_comes_first():
    lesions, _ = find_lesions(scan([outline(0, 2, 0, 2)], [], [outline(8, 10, 0, 2, "C")]))
    assert [(x.lesion_id, x.lesion_class) for x in lesions] == [(1, "GGO"), (2, "C")]


@pytest.mark.parametrize("seed", range(3))
def test_the_longest_diameter_is_that_of_all_pairs_of_pixels(seed):
    mask = np.zeros(SIZE, bool)
    mask[4:12, 5:20] = np.random.default_rng(seed).random((8, 15)) < 0.85
    mask[7, 5:20] = mask[4:12, 9] = True  # one piece, but for corners that stand alone
    rows, columns = np.nonzero(_largest_piece(mask))
    corners = np.array(
        [
            (y + dy, x + dx)
            for y, x in zip(rows, columns, strict=True)
            for dy in (0, 1)
            for dx in (0, 1)
        ]
    ) * (0.7, 0.8)
    steps = corners[:, np.newaxis] - corners
    expected = np.sqrt((steps**2).sum(axis=-1)).max()
    assert longest_diameter(mask, (0.7, 0.8)) == pytest.approx(expected)


def _largest_piece(mask):
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else mask


def test_diameters_known_by_hand():
    assert longest_diameter(np.zeros((3, 3), bool)) == 0
    assert longest_diameter(np.ones((1, 1), bool)) == pytest.approx(2**0.5)
    assert longest_diameter(np.ones((3, 4), bool), (2.0, 0.5)) == pytest.approx(np.hypot(6, 2))
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    assert longest_diameter(ring) == pytest.approx(9 * 2**0.5)


def test_the_midline_lies_between_the_lungs():
    assert find_midline(lungs()) == 19.5
    moved = np.roll(lungs(), 2, axis=2)
    moved[0] = True  # on one slice they meet
    assert find_midline(moved) == 21.5
    assert find_midline(np.zeros((2, *SIZE), bool)) is None
    y, x = np.mgrid[:20, :40]
    one = ((x - 12) / 9) ** 2 + ((y - 10) / 9) ** 2 < 1
    assert find_midline(one[np.newaxis]) is None  # a single lung has no valley
    both = one | (((x - 30) / 7) ** 2 + ((y - 10) / 9) ** 2 < 1)
    assert 20 <= find_midline(both[np.newaxis]) <= 24
