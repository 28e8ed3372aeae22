"""Which slices are chosen: by hand, for scans, loose slices and models that give less."""

import numpy as np
import pytest

from ctmasknet.inference.predictions import Classification, ScanPrediction, SlicePrediction
from ctmasknet.quantification.case import Case, choose_key_slices
from ctmasknet.quantification.quantify import Quantities

CLASSES = ("Control", "COVID-19")


def a_case(areas, covid=None, is_scan=True, boxes=None, pixel_mm2=None, scan_class=1):
    """Areas in pixels and probabilities of COVID-19 by slice; areas of None: boxes are counted."""
    count = len(boxes if areas is None else areas)
    found = [Classification(CLASSES, np.array([1 - p, p])) for p in covid or ()] or [None] * count
    slices = tuple(SlicePrediction((8, 8), ("lesion",), (), True, answer) for answer in found)
    scan = None
    if is_scan:
        answer = Classification(CLASSES, np.eye(2)[scan_class]) if covid else None
        scan = ScanPrediction(slices, "", "", "", None, answer)
    column = None if areas is None else np.array(areas)[:, None]
    quantities = Quantities(
        names=("lesion",),
        instances=np.zeros((count, 1), int) if boxes is None else np.array(boxes)[:, None],
        areas_px=column,
        pixel_mm2=np.array(pixel_mm2 or [np.nan] * count),
        lesions=None,
        volumes_ml=None,
        lung_px=None,
        lung_method="",
        lung_volume_ml=None,
        lung_lesion_px=None,
    )
    return Case("a", "a", slices, scan, None, quantities, {})


def values(count, **at):
    """Zeros but for "at10=5"."""
    result = [0] * count
    for name, value in at.items():
        result[int(name[2:])] = value
    return result


def test_few_slices_are_all_chosen():
    assert choose_key_slices(a_case([0, 0, 5])) == [0, 1, 2]
    assert choose_key_slices(a_case([0] * 6)) == [0, 1, 2, 3, 4, 5]
    assert choose_key_slices(a_case([7])) == [0]


def test_largest_areas_three_slices_apart_in_a_scan_of_24():
    areas = values(24, at10=100, at11=99, at12=98, at13=97, at20=5)
    assert choose_key_slices(a_case(areas)) == [10, 13, 20]
    assert choose_key_slices(a_case(areas), most=1) == [10]
    assert choose_key_slices(a_case(areas), most=2) == [10, 13]


def test_neighbours_are_never_both_chosen_in_a_scan():
    assert choose_key_slices(a_case([9, 8, 7, 6, 5, 4, 3])) == [0, 2, 4, 6]


def test_area_and_probability_take_turns():
    areas = values(24, at10=100, at13=97, at20=5)
    covid = values(24, at3=0.9, at4=0.8, at16=0.7)
    assert choose_key_slices(a_case(areas, covid), most=2) == [3, 10]
    # Area 10, probability 3, area 13, probability 16 (4 lies beside 3).
    assert choose_key_slices(a_case(areas, covid), most=4) == [3, 10, 13, 16]


def test_probability_is_that_of_the_scan_s_class():
    covid = [0.9, *[0.5] * 22, 0.1]
    nothing = [0] * 24
    assert choose_key_slices(a_case(nothing, covid, scan_class=1), most=1) == [0]
    assert choose_key_slices(a_case(nothing, covid, scan_class=0), most=1) == [23]


def test_loose_slices_are_chosen_by_their_own_class_and_may_be_neighbours():
    covid = [0.5, 0.6, 0.05, 0.5, 0.97, 0.5, 0.5]
    assert choose_key_slices(a_case([0] * 7, covid, is_scan=False), most=2) == [2, 4]
    areas = [0, 5, 6, 7, 0, 0, 0]
    assert choose_key_slices(a_case(areas, is_scan=False)) == [1, 2, 3]


def test_boxes_are_counted_where_there_are_no_masks():
    boxes = values(24, at2=1, at9=4, at15=2)
    assert choose_key_slices(a_case(None, boxes=boxes), most=2) == [9, 15]


@pytest.mark.parametrize(("size_of_4", "chosen"), [(4.0, 4), (np.nan, 1)])
def test_areas_are_compared_in_mm2_if_all_are_known(size_of_4, chosen):
    areas = [0, 200, 0, 0, 100, 0, 0]
    case = a_case(areas, is_scan=False, pixel_mm2=[1, 1, 1, 1, size_of_4, 1, 1])
    assert choose_key_slices(case, most=1) == [chosen]


def test_the_middle_of_a_scan_without_lesions_and_classes():
    assert choose_key_slices(a_case([0] * 9)) == [4]


def test_300_slices_give_six_at_26_or_more_from_each_other():
    rng = np.random.default_rng(0)
    chosen = choose_key_slices(a_case(rng.integers(1, 100, 300).tolist(), rng.random(300).tolist()))
    assert len(chosen) == 6 and chosen == sorted(chosen)
    assert np.diff(chosen).min() >= 26
