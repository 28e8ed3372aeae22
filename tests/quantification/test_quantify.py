"""Quantities of hand-made answers: counts, areas, volumes, shares of the lung, severity."""

import numpy as np
import pycocotools.mask as mask_util
import pytest

from ctmasknet.inference.predictions import Instance, SlicePrediction
from ctmasknet.lung import LungMask
from ctmasknet.quantification.grown_lung import grown_lung
from ctmasknet.quantification.quantify import (
    join,
    lobe_shares,
    quantify,
    severity,
    shares,
    slice_shares,
)

SIZE = (8, 10)
BOTH = ("GGO", "C")
SPACING = (5.0, 2.0, 2.0)  # 20 mm3 a voxel


def instance(name, rows, columns, score=0.9):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[rows, columns] = 1
    return Instance(name, score, (0, 0, 1, 1), mask_util.encode(mask), int(mask.sum()))


def found(*instances, classes=BOTH, has_masks=True, pixel_mm=None):
    return SlicePrediction(SIZE, classes, instances, has_masks, pixel_mm=pixel_mm)


def lung_of(slices, rows=np.s_[:], columns=np.s_[0:5], grows=False):
    mask = np.zeros((slices, *SIZE), bool)
    mask[:, rows, columns] = True
    return LungMask(mask, "drawn", grows)


def scan():
    """12 px of GGO of which 4 are C's, on two slices that touch; and a lone C on the last."""
    ground_glass = instance("GGO", np.s_[0:4], np.s_[0:3], score=0.6)
    core = instance("C", np.s_[2:4], np.s_[1:4])  # 6 px, 4 of them in the ground glass
    return [
        found(ground_glass, core),
        found(instance("GGO", np.s_[4], np.s_[4:6])),
        found(),
        found(instance("C", np.s_[7], np.s_[7:9])),
    ]


def test_a_scan_with_two_classes():
    quantities = quantify(scan(), SPACING)
    assert quantities.names == ("GGO", "C", "any lesion")
    assert quantities.instances.tolist() == [[1, 1, 2], [1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert quantities.areas_px.tolist() == [[8, 6, 14], [2, 0, 2], [0, 0, 0], [0, 2, 2]]
    assert quantities.pixel_mm2.tolist() == [4.0] * 4
    # No outline lies on one of its class on another slice; "any lesion" is the sum.
    assert quantities.lesion_counts.tolist() == [2, 2, 4]
    assert [(x.lesion_class, x.voxels) for x in quantities.lesions] == [
        *(("GGO", 8), ("C", 6), ("GGO", 2), ("C", 2)),
    ]
    assert quantities.lesion_ids == ((1, 2), (3,), (), (4,))
    assert quantities.volumes_ml == pytest.approx([0.2, 0.16, 0.36])
    assert quantities.lung_px is quantities.lung_volume_ml is quantities.lung_lesion_px is None
    assert quantities.lung_method == ""
    with pytest.raises(ValueError, match="no lung"):
        shares(quantities)


def test_one_class_stands_for_itself():
    slices = [found(instance("lesion", np.s_[0], np.s_[0:3]), classes=("lesion",))]
    quantities = quantify(slices, SPACING, lung=lung_of(1))
    assert quantities.names == ("lesion",)
    assert quantities.instances.tolist() == [[1]] and quantities.areas_px.tolist() == [[3]]
    assert quantities.lesion_counts.tolist() == [1]
    assert shares(quantities).tolist() == [3 / 40]


def test_a_given_lung_is_taken_as_it_is():
    quantities = quantify(scan(), SPACING, lung=lung_of(4))
    assert quantities.lung_px.tolist() == [40] * 4
    assert quantities.lung_volume_ml == pytest.approx(3.2)
    assert quantities.lung_lesion_px.tolist() == [[8, 6, 14], [1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert shares(quantities) == pytest.approx([9 / 160, 6 / 160, 15 / 160])
    assert slice_shares(quantities)[:, 2] == pytest.approx([14 / 40, 1 / 40, 0, 0])


def bent_lung(slices, columns):
    """Whole columns and, bent around what is beside them, row 6 and the last column."""
    lung = lung_of(slices, columns=columns, grows=True)
    lung.mask[:, 6] = lung.mask[:, :, 9] = True
    return lung


def test_a_found_lung_grows_by_lesions_that_lie_in_it_by_a_half():
    # Columns 0 and 1 have 8 of the 16 px of the first lesion, which reaches into the second slice.
    quantities = quantify(scan(), SPACING, lung=bent_lung(4, np.s_[0:2]))
    assert quantities.lung_px.tolist() == [31 + 6, 31 + 2, 31, 31]
    assert quantities.lung_lesion_px[:, -1].tolist() == [14, 2, 0, 0]
    less = quantify(scan(), SPACING, lung=bent_lung(4, np.s_[0:1]))
    assert less.lung_px.tolist() == [24] * 4
    assert less.lung_lesion_px[:, -1].tolist() == [4, 0, 0, 0]


def test_it_does_not_grow_beyond_its_hulls():
    lung, lesion = np.zeros((2, 1, 8, 10), bool)
    lung[0, :, 0:4] = True
    lung[0, 3, 2:4] = False
    lesion[0, 3, 1:6] = True  # 2 px are a dent of the lung, of which 1 is lung; 2 lie in the wall
    lung[0, 3, 2] = lung[0, 4, 8:10] = True
    grown = grown_lung(lung, lesion)
    assert np.argwhere(grown & ~lung).tolist() == []  # it lies in it by less than a half
    lesion[0, 3, 0] = True
    grown = grown_lung(lung, lesion)
    assert np.argwhere(grown & ~lung).tolist() == [[0, 3, 3]]


def test_growing_is_26_connected_and_leaves_its_input():
    lung, lesion = np.zeros((2, 3, 4, 4), bool)
    lung[0, 0, 0] = lung[1, 0] = lung[1, :, 0] = lung[1, 3] = True  # a bow around the second
    lesion[0, 0, 0] = lesion[1, 1, 1] = True  # half of it
    lesion[0, 3, 3] = lesion[1, 3, 3] = lesion[2, 3, 3] = True  # a third of it
    lung[2, 3, 3] = True
    grown = grown_lung(lung, lesion)
    assert np.argwhere(grown & ~lung).tolist() == [[1, 1, 1]]
    assert grown.sum() == lung.sum() + 1
    assert (grown_lung(lung, np.zeros_like(lesion)) == lung).all()


def test_single_slices_do_not_lie_on_each_other():
    slices = [found(*one.instances, pixel_mm=(1.0, 2.0)) for one in scan()]
    lung = bent_lung(1, np.s_[5:7])
    quantities = join([quantify([one], lung=lung) for one in slices])
    assert quantities.lesions is quantities.volumes_ml is quantities.lung_volume_ml is None
    assert quantities.lesion_counts is None and quantities.lesion_ids == ()
    assert quantities.pixel_mm2.tolist() == [2.0] * 4
    # Now nothing joins the first slice's lesion to the lung.
    assert quantities.lung_px.tolist() == [31, 32, 31, 31]
    assert quantities.areas_px[:, 2].tolist() == [14, 2, 0, 2]


def test_slices_of_any_size_are_joined_and_weighed_by_their_pixels():
    lesion = instance("C", np.s_[0:2], np.s_[0:2])
    parts = [
        quantify([found(lesion, pixel_mm=(1.0, 1.0))], lung=lung_of(1)),
        quantify([found(pixel_mm=(2.0, 1.0))], lung=lung_of(1)),
        quantify([SlicePrediction((3, 3), BOTH, (), True)]),
    ]
    measured = join(parts[:2])
    assert shares(measured) == pytest.approx([0, 4 / 120, 4 / 120])
    joined = join(parts)  # a pixel size is unknown: all count the same
    assert shares(joined) == pytest.approx([0, 4 / 80, 4 / 80])
    assert joined.lung_px.tolist() == [40, 40, 0] and joined.lung_method == "drawn"
    assert np.isnan(slice_shares(joined)[2]).all()
    assert np.isnan(joined.pixel_mm2).tolist() == [False, False, True]
    assert join(parts[2:]).lung_px is None
    with pytest.raises(ValueError, match="0 quantities of different models"):
        join([])


def test_boxes_without_masks_are_only_counted():
    boxes = [found(Instance("C", 0.9, (0, 0, 2, 2)), has_masks=False)] * 2
    quantities = quantify(boxes, SPACING, lung=lung_of(2, grows=True))
    assert quantities.instances.tolist() == [[0, 1, 1]] * 2
    assert quantities.areas_px is quantities.lesions is quantities.volumes_ml is None
    assert quantities.lung_px.tolist() == [40, 40]
    assert quantities.lung_volume_ml is quantities.lung_lesion_px is None


def test_nothing_found_and_nothing_known():
    quantities = quantify([found()] * 3, None, lung=lung_of(3, columns=np.s_[0:0], grows=True))
    assert quantities.areas_px.tolist() == [[0, 0, 0]] * 3
    assert quantities.lesion_counts.tolist() == [0, 0, 0] and quantities.lesions == ()
    assert quantities.volumes_ml is None and np.isnan(quantities.pixel_mm2).all()
    assert np.isnan(shares(quantities)).all() and np.isnan(slice_shares(quantities)).all()
    healthy = quantify([found()], SPACING, lung=lung_of(1))
    assert healthy.volumes_ml.tolist() == [0, 0, 0] and shares(healthy).tolist() == [0, 0, 0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="0 slices"):
        quantify([])
    with pytest.raises(ValueError, match="2 different models"):
        quantify([found(), found(classes=("lesion",))])
    with pytest.raises(ValueError, match=r"shape \(3, 8, 10\) for 2 slices of \(8, 10\)"):
        quantify([found()] * 2, lung=lung_of(3))


@pytest.mark.parametrize(
    ("share", "band"),
    [
        (0.0, "none"),
        (1e-6, "<5 %"),
        (0.0499, "<5 %"),
        (0.05, "5-25 %"),
        (0.25, "25-50 %"),
        (0.50, "50-75 %"),
        (0.75, "50-75 %"),
        (0.7501, ">75 %"),
        (1.0, ">75 %"),
    ],
)
def test_severity_bands(share, band):
    assert severity(share) == band


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_no_share_has_no_severity(share):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        severity(share)


def test_shares_of_lobes():
    lobes = np.zeros((4, *SIZE), np.uint8)
    for lobe, columns in enumerate(np.split(np.arange(SIZE[1]), 5), 1):
        lobes[..., columns] = lobe
    lung = LungMask(lobes > 0, "drawn", False, lobes)
    quantities = quantify(scan(), SPACING, lung=lung)
    assert quantities.lobe_px.tolist() == [64] * 5
    # 8 + 6 pixels on the first slice: columns 0 to 2 of ground glass, 1 to 3 of consolidation.
    assert quantities.lobe_lesion_px[:2].tolist() == [[6, 2, 8], [2, 4, 6]]
    assert lobe_shares(quantities)[0] == pytest.approx([6 / 64, 2 / 64, 8 / 64])
    assert (
        quantities.lobe_lesion_px.sum(axis=0).tolist() == quantities.areas_px.sum(axis=0).tolist()
    )
    without = quantify(scan(), SPACING, lung=lung_of(4))
    assert without.lobe_px is None
    with pytest.raises(ValueError, match="no lobes"):
        lobe_shares(without)
