"""Lesions are cut to the lung: hand-made slices of 64 x 64 pixels."""

import numpy as np
from report_cases import a_slice, an_instance

from ctmasknet.lung import LungMask
from ctmasknet.quantification.lung_rules import cut_to_lung


def lung(grows=False, slices=1):
    """Columns 0 to 31."""
    mask = np.zeros((slices, 64, 64), bool)
    mask[..., :32] = True
    return LungMask(mask, "drawn", grows)


def test_what_lies_outside_is_left_out_and_the_rest_is_cut():
    inside = an_instance("GGO", 0.9, 2, 2, 6, 6)
    across = an_instance("C", 0.8, 30, 10, 40, 20)
    outside = an_instance("GGO", 0.7, 50, 50, 60, 60)
    (found,), own, notes = cut_to_lung([a_slice([inside, across, outside])], lung())
    assert found.instances[0] is inside and len(found.instances) == 2
    cut = found.instances[1]
    assert (cut.area_px, cut.area_mm2, cut.box) == (20, 5.0, (30, 10, 32, 20))
    assert cut.mask.sum() == 20 and cut.mask[10:20, 30:32].all()
    assert (own.mask == lung().mask).all()
    # Areas of 16, 100 and 100 px: 36 of 216 are left.
    assert notes == [
        "Outside the lung: 1 of 3 outlines, 83.3% of the area that the model took for lesion; left "
        "out."
    ]


def test_a_lesion_half_in_a_lung_found_by_density_belongs_to_it():
    beside = an_instance("C", 0.8, 24, 10, 40, 20)
    apart = an_instance("C", 0.8, 40, 40, 50, 50)
    bent = lung(grows=True)
    bent.mask[:, :2] = bent.mask[:, 60:] = True  # its hull is the slice
    (found,), own, notes = cut_to_lung([a_slice([beside, apart])], bent)
    assert found.instances == (beside,)
    assert own.mask.sum() == bent.mask.sum() + 80 and not own.grows
    assert notes and "1 of 2 outlines" in notes[0]


def test_nothing_to_leave_out():
    inside = an_instance("GGO", 0.9, 2, 2, 6, 6)
    slices, _, notes = cut_to_lung([a_slice([inside]), a_slice()], lung(slices=2))
    assert [len(x.instances) for x in slices] == [1, 0] and notes == []


def test_slivers_and_empty_outlines_are_left_out():
    sliver = an_instance("C", 0.8, 31, 10, 42, 20)  # a column of eleven
    tenth = an_instance("C", 0.8, 31, 30, 41, 40)
    empty = an_instance("C", 0.7, 50, 50, 50, 50)
    (found,), _, notes = cut_to_lung([a_slice([sliver, tenth, empty])], lung())
    assert [x.box for x in found.instances] == [(31, 30, 32, 40)]
    assert "2 of 3 outlines" in notes[0]
