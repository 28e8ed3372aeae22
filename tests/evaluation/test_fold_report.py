import math

import numpy as np
import pytest

from ctmasknet.evaluation.fold_report import FoldStatistics, lesion_share, table_row
from ctmasknet.evaluation.lesion_report import LesionReportSettings

SETTINGS = LesionReportSettings(pixel_score_thresh=0.5, resamples=20)


@pytest.fixture
def made(lesion_set):
    """Four slices of one lesion each, found well; in each a false one that scores 0.3 to 0.6."""
    lesions = [(i, 0, 0, 0, 20, 20) for i in range(1, 5)]
    found = [(i, 0, 0.9, 0, 0, 20, 20) for i in range(1, 5)]
    found += [(i, 0, 0.2 + 0.1 * i, 30, 0, 20, 20) for i in range(1, 5)]
    return lesion_set(lesions, found, images=4)


def test_thresholds_are_chosen_on_the_other_folds(made):
    folds = FoldStatistics(made, made, np.array([0, 0, 1, 1]), SETTINGS)
    # Fold 1's false scores (0.5, 0.6) choose fold 0's threshold, and the other way round.
    assert folds.chosen and folds.thresholds.tolist() == [0.65, 0.45]
    values = folds.values()["pixel"]
    # Fold 0 loses its false lesions (0.3, 0.4); in fold 1 they pass.
    assert values["dice_present_lesion"]["folds"] == [1, pytest.approx(2 / 3)]
    assert values["dice_present_lesion"]["value"] == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)
    assert values["dice_present_lesion"]["sd"] == pytest.approx((1 / 3) / math.sqrt(2))
    assert values["pooled_dice_lesion"]["value"] == pytest.approx(2 * 1600 / (1600 + 2400))
    interval = values["dice_present_lesion"]
    assert 2 / 3 <= interval["low"] <= interval["value"] <= interval["high"] <= 1


def healthy_slices(lesion_set, *scores):
    """Two slices without lesions; on the first a find of 12 x 16, 1/16 of it, for each score."""
    return lesion_set((), [(1, 0, score, 0, 0, 12, 16) for score in scores], images=2)


def test_thresholds_leave_healthy_lung_alone(lesion_set, made):
    free = [healthy_slices(lesion_set, 0.7), healthy_slices(lesion_set, 0.2)]
    folds = FoldStatistics(made, made, np.array([0, 0, 1, 1]), SETTINGS, free)
    # Without them 0.65 and 0.45; fold 0's model finds a lesion of 3 % of both slices up to 0.7.
    assert folds.thresholds.tolist() == [0.75, 0.45]
    assert folds.called_lesion.tolist() == [0, 0]
    said = folds.threshold_from([0, 1])
    assert "at most 0.5% of the lesion-free slices" in said and "highest" not in said
    assert lesion_share(free[0], 0.7) == pytest.approx(1 / 32)


def test_where_no_threshold_will_do_the_highest_is_taken_and_said(lesion_set, made):
    free = [healthy_slices(lesion_set, 0.2), healthy_slices(lesion_set, 0.97)]
    folds = FoldStatistics(made, made, np.array([0, 0, 1, 1]), SETTINGS, free)
    assert folds.thresholds.tolist() == [0.65, 0.95]
    assert folds.called_lesion.tolist() == [0, pytest.approx(1 / 32)]
    assert "none does in fold 4, which takes the highest, 0.95" in folds.threshold_from([1, 4])


def test_a_single_fold_says_what_it_calls_lesion_at_the_given_threshold(lesion_set, made):
    free = [healthy_slices(lesion_set, 0.5)]
    folds = FoldStatistics(made, made, np.zeros(4, int), SETTINGS, free)
    assert folds.thresholds.tolist() == [0.5]
    assert folds.called_lesion.tolist() == [pytest.approx(1 / 32)]
    assert "TEST.PIXEL_SCORE_THRESH" in folds.threshold_from([2])


def test_a_single_fold_takes_the_given_threshold(made):
    folds = FoldStatistics(made, made, np.zeros(4, int), SETTINGS)
    assert not folds.chosen and folds.thresholds.tolist() == [0.5]
    values = folds.values()
    assert values["pixel"]["dice_present_lesion"]["value"] == pytest.approx((2 + 2 * 2 / 3) / 4)
    assert math.isnan(values["pixel"]["dice_present_lesion"]["sd"])
    assert values["segm"]["AP50"]["value"] == 100  # false ones score below all true ones
    assert folds.by_threshold[0.65]["lesion"] == 1
    assert folds.by_threshold[0.05]["lesion"] == pytest.approx(2 / 3)


def test_conventions_differ_on_slices_without_the_class(lesion_set):
    # GGO in the first slice alone; C is found in the second where there is none.
    args = ([(1, 0, 0, 0, 10, 10)], [(1, 0, 0.9, 0, 0, 10, 10), (2, 1, 0.9, 0, 0, 10, 10)])
    made = lesion_set(*args, images=3, classes=("GGO", "C"))
    values = FoldStatistics(made, made, np.zeros(3, int), SETTINGS).values()["pixel"]
    found = {name: values[name]["value"] for name in values}
    assert found["dice_present_GGO"] == found["dice_all_GGO"] == 1
    assert math.isnan(found["dice_present_C"])
    assert found["dice_all_C"] == pytest.approx(2 / 3) and found["pooled_dice_C"] == 0
    assert found["dice_present_lesion"] == 1 and found["dice_all_lesion"] == pytest.approx(2 / 3)


def test_the_row_says_how_many_folds_and_what_is_unknown(made):
    folds = FoldStatistics(made, made, np.array([0, 0, 1, 1]), SETTINGS)
    results = {"model": "R18", "folds": 5, "finished": [0, 3], "minutes": 12.34}
    results |= {"thresholds": [0.65, 0.45], "suffixes": folds.suffixes, "metrics": folds.values()}
    head, line, row = table_row(results).splitlines()
    assert head.count("|") == line.count("|") == row.count("|")
    assert row.startswith("| R18 | 2 of 5 | 0.65, 0.45 | 0.833 / 0.833 / 0.800 | 0.236 | ")
    assert row.endswith("| 12.3 |")
    results["lesion_free_check"] = {"called_lesion": {"mean": 0.00423, "folds": [0, 0.00846]}}
    head, _, row = table_row(results).splitlines()
    assert head.endswith("| lesion-free called lesion |") and row.endswith("| 12.3 | 0.42% |")
