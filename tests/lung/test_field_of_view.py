"""The part that a network sees: boxes of drawn chests, in mm, and what is taken whole."""

import logging

import cv2
import numpy as np
import pytest

from ctmasknet.lung import FieldOfView, LungMask, field_of_view, find_lung, has_lung

SIZE, SPACING = 200, (5.0, 2.0, 2.0)


def disc(centre, radii):
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    return cv2.ellipse(canvas, centre, radii, 0, 0, 360, 1, cv2.FILLED) > 0


def chest(slices=1):
    """A body, x 20 to 180 and y 35 to 155, with lungs, x 38 to 162 and y 53 to 137."""
    hu = np.full((slices, SIZE, SIZE), -1000, np.int16)
    hu[:, disc((100, 95), (80, 60))] = 40
    hu[:, disc((140, 95), (22, 42)) | disc((60, 95), (22, 42))] = -850
    return hu


def test_the_lung_with_a_margin_in_mm():
    lung = (38, 53, 163, 138)
    assert FieldOfView("lung", 0).find(chest(), SPACING) == lung
    wider = FieldOfView("lung", 10).find(chest(), SPACING)
    assert wider == (33, 48, 168, 143)  # 10 mm are 5 pixels


def test_a_scan_has_one_box():
    hu = np.concatenate([chest(), chest()])
    hu[1, disc((60, 95), (22, 42))] = 40  # one lung on this slice
    assert FieldOfView("lung", 0).find(hu, SPACING) == (38, 53, 163, 138)


def test_a_lung_that_is_known_is_not_looked_for():
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[0, 20:180, 10:150] = True
    lung = LungMask(mask, "given", grows=False)
    assert FieldOfView("lung", 0).find(chest(), SPACING, lung) == (10, 20, 150, 180)


def test_a_small_lung_is_seen_with_160_mm():
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[0, 100:110, 50:60] = True
    lung = LungMask(mask, "given", grows=False)
    assert FieldOfView("lung", 10).find(chest(), SPACING, lung) == (15, 65, 95, 145)


def test_the_body():
    assert FieldOfView("body", 0).find(chest(2), SPACING) == pytest.approx(
        (20, 35, 181, 156), abs=2
    )


def test_all_of_the_image_where_it_is_wanted_cropped_or_without_lung(caplog):
    field_of_view._say_whole_once.cache_clear()
    cropped = chest()[:, 50:141, 35:166]
    empty = np.full((1, SIZE, SIZE), -1000, np.int16)
    assert FieldOfView("image").find(chest(), SPACING) is None
    with caplog.at_level(logging.WARNING):
        for hu in (cropped, empty, empty):
            assert FieldOfView("lung").find(hu, SPACING) is None
    assert [x.message for x in caplog.records] == [
        "the network sees the lung: images that are cropped to it, and those in which it was not "
        "found, are taken whole"
    ]


@pytest.mark.parametrize(
    ("kind", "margin", "error"),
    [("lungs", 10, "FIELD_OF_VIEW is 'lungs'"), ("lung", -1, "FIELD_MARGIN is -1")],
)
def test_what_cannot_be(kind, margin, error):
    with pytest.raises(ValueError, match=error):
        FieldOfView(kind, margin)


def test_slices_with_a_square_centimetre_of_lung():
    hu = np.concatenate([chest(), np.where(chest() < -900, chest(), 40)])
    assert has_lung(find_lung(hu, SPACING).mask, SPACING).tolist() == [True, False]
    mask = np.zeros((2, SIZE, SIZE), bool)
    mask[0, 0, :24] = mask[1, 0, :25] = True  # 96 and 100 mm2
    assert has_lung(mask, SPACING).tolist() == [False, True]
