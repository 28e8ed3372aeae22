"""Outlines on domes are left out: hand-made scans of 64 x 64 pixels."""

import numpy as np
from report_cases import a_slice, an_instance

from ctmasknet.lung import LungMask
from ctmasknet.quantification.domes import without_domes


def lung(*domes, slices=3):
    """All is lung, but for the squares (z, x0, y0, x1, y1)."""
    mask = np.ones((slices, 64, 64), bool)
    for z, x0, y0, x1, y1 in domes:
        mask[z, y0:y1, x0:x1] = False
    return LungMask(mask, "drawn", grows=False)


def left(slices, mask):
    found, notes = without_domes(slices, mask)
    return [len(x.instances) for x in found], notes


def test_what_stands_on_no_lung_and_goes_no_higher_is_left_out():
    dome = an_instance("GGO", 0.8, 10, 10, 20, 20)
    beside = an_instance("GGO", 0.8, 30, 10, 40, 20)
    slices = [a_slice(), a_slice([dome, beside]), a_slice()]
    counts, notes = left(slices, lung((0, 5, 5, 25, 25)))
    assert counts == [0, 1, 0]
    assert notes == [
        "Domes of the diaphragm or heart: 1 outline on one slice that stood on what is no lung; "
        "left out."
    ]
    # Three of ten rows have lung below.
    assert left(slices, lung((0, 5, 13, 25, 25))) == ([0, 2, 0], [])


def test_a_lesion_that_goes_on_above_or_comes_from_below_stays():
    lesion = an_instance("C", 0.8, 10, 10, 20, 20)
    no_lung_below = lung((0, 5, 5, 25, 25), (1, 5, 5, 25, 25))
    assert left([a_slice(), a_slice([lesion]), a_slice([lesion])], no_lung_below)[0] == [0, 1, 1]
    assert left([a_slice([lesion]), a_slice([lesion]), a_slice()], no_lung_below)[0] == [1, 1, 0]


def test_the_lowest_slice_has_no_slice_below():
    lesion = an_instance("GGO", 0.8, 10, 10, 20, 20)
    assert left([a_slice([lesion])], lung(slices=1)) == ([1], [])
    empty = an_instance("GGO", 0.8, 10, 10, 10, 10)
    assert left([a_slice(), a_slice([lesion, empty])], lung((0, 5, 5, 25, 25), slices=2))[0] == [
        0,
        1,
    ]
