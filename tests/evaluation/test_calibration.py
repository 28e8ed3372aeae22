import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from ctmasknet.evaluation.calibration import (
    at_threshold,
    calibration_metrics,
    expected_calibration_error,
    fit_temperature,
    operating_point,
    reliability_bins,
)
from ctmasknet.evaluation.prediction_table import make_table


def random_samples(count=400, classes=3, seed=0):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.5] * classes, count)
    return random.integers(classes, size=count), probabilities


def table_of(labels, logits):
    rows = [
        (f"{i:04}.png", f"P{i}", "S", label, row)
        for i, (label, row) in enumerate(zip(labels, logits, strict=True))
    ]
    return make_table(rows, [f"c{i}" for i in range(len(logits[0]))], "test")


def test_bins_of_three_slices():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.45, 0.55, 0], [0, 0, 1]])
    bins = reliability_bins(np.array([0, 0, 2]), probabilities, bins=2)
    assert bins.counts.tolist() == [0, 3]  # a bin holds its lower end, the last one also 1
    assert np.isnan(bins.confidence[0]) and np.isnan(bins.accuracy[0])
    assert bins.confidence[1] == pytest.approx((0.5 + 0.55 + 1) / 3)
    assert bins.accuracy[1] == pytest.approx(2 / 3)
    assert expected_calibration_error(bins) == pytest.approx((2.05 - 2) / 3)


def test_calibration_error_is_that_of_torchmetrics():
    labels, probabilities = random_samples()
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), num_classes=3, n_bins=15
    )
    found = expected_calibration_error(reliability_bins(labels, probabilities))
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_brier_score_by_hand():
    three, two = (
        calibration_metrics(np.array([0]), np.array([x])) for x in ([0.5, 0.3, 0.2], [0.7, 0.3])
    )
    assert three["brier"] == pytest.approx(0.38)
    assert two["brier"] == pytest.approx(0.09)


def test_no_samples_have_no_values():
    labels, probabilities = np.zeros(0, int), np.zeros((0, 3))
    assert math.isnan(expected_calibration_error(reliability_bins(labels, probabilities)))


def test_temperature_of_logits_that_are_right_three_times_in_four():
    # Two classes, logits (4, 0), right in 3 of 4: sigmoid(4 / T) must be 3/4, so T = 4 / ln 3.
    table = table_of([0, 0, 0, 1], [[4.0, 0.0]] * 4)
    assert fit_temperature(table) == pytest.approx(4 / math.log(3), rel=1e-3)


def test_temperature_scales_with_the_logits():
    labels, probabilities = random_samples()
    logits = np.log(probabilities) + 2 * np.eye(3)[labels]
    first = fit_temperature(table_of(labels.tolist(), logits))
    half = fit_temperature(table_of(labels.tolist(), logits / 2))
    assert half == pytest.approx(first / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("sensitivity", "threshold"), [(0.25, 0.9), (0.26, 0.8), (0.75, 0.8), (0.76, 0.1), (1, 0.1)]
)
def test_operating_point_is_the_largest_threshold_that_suffices(sensitivity, threshold):
    scores = np.array([0.9, 0.8, 0.8, 0.1, 0.95, 0.85])
    positive = np.array([True, True, True, True, False, False])
    assert operating_point(scores, positive, sensitivity) == threshold


def test_wanted_sensitivity_is_not_missed_by_rounding():
    scores = np.arange(20.0)
    assert operating_point(scores, scores >= 0, 0.55) == 9  # 0.55 * 20 is above 11 in floats


@pytest.mark.parametrize("sensitivity", [0, -0.1, 1.01, math.nan])
def test_impossible_sensitivity_is_refused(sensitivity):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        operating_point(np.ones(1), np.array([True]), sensitivity)


def test_at_threshold_by_hand():
    scores = np.array([0.9, 0.5, 0.4, 0.6, 0.1, 0.2])
    positive = np.array([True, True, True, False, False, False])
    assert at_threshold(scores, positive, 0.5) == pytest.approx(
        {"sensitivity": 2 / 3, "specificity": 2 / 3, "precision": 2 / 3}
    )
    assert math.isnan(at_threshold(scores, positive, 1)["precision"])
    assert math.isnan(at_threshold(scores, ~positive & positive, 0.5)["sensitivity"])


def test_without_positives_there_is_no_operating_point():
    none = np.array([False, False])
    threshold = operating_point(np.ones(2), none, 0.9)
    assert math.isnan(threshold)
    assert all(map(math.isnan, at_threshold(np.ones(2), none, threshold).values()))
