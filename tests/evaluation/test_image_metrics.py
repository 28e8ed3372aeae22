import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from ctmasknet.data.classes import IMAGE_CLASSES
from ctmasknet.evaluation import classification_metrics
from ctmasknet.evaluation.bootstrap import intervals
from ctmasknet.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    reliability_bins,
)
from ctmasknet.evaluation.image_metrics import ImageStatistic, image_metrics

# Published confusion matrix of the R50 merged model (rows Control, CP, COVID-19).
PUBLISHED = [[9236, 188, 26], [116, 7150, 129], [20, 298, 4028]]
NAMES = ["a", "b", "c"]


def random_samples(count, classes=3, seed=0):
    """Labels, and probabilities of one decimal, so that many scores are equal."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(10, [1 / classes] * classes, count)
    return random.integers(classes, size=count), counts / 10


def test_published_matrix_gives_the_published_figures():
    metrics = classification_metrics(PUBLISHED, IMAGE_CLASSES)
    assert round(100 * metrics["sensitivity_COVID_19"], 2) == 92.68
    assert round(100 * metrics["sensitivity_Common_Pneumonia"], 2) == 96.69
    assert round(100 * metrics["sensitivity_Control"], 2) == 97.74
    assert round(100 * metrics["accuracy"], 2) == 96.33
    assert metrics["precision_COVID_19"] == pytest.approx(4028 / (26 + 129 + 4028))
    assert metrics["specificity_COVID_19"] == pytest.approx(1 - 155 / (9450 + 7395))
    assert not any("-" in name for name in metrics)


# The third case lacks class c in the truth, so that it is predicted in vain.
@pytest.mark.parametrize("true_classes", [3, 3, 2])
def test_metrics_are_those_of_scikit_learn(true_classes):
    random = np.random.default_rng(true_classes)
    true, predicted = random.integers(true_classes, size=200), random.integers(3, size=200)
    metrics = classification_metrics(confusion_matrix(true, predicted, labels=range(3)), NAMES)
    by_class = precision_recall_fscore_support(true, predicted, labels=range(3), zero_division=0)
    for i in range(true_classes):
        found = [metrics[f"{metric}_{NAMES[i]}"] for metric in ("precision", "sensitivity", "f1")]
        assert found == pytest.approx([values[i] for values in by_class[:3]])
    assert metrics["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    for average in ("macro", "weighted"):
        expected = f1_score(true, predicted, average=average, zero_division=0)
        assert metrics[f"f1_{average}"] == pytest.approx(expected)
    present = predicted < true_classes  # scikit-learn warns of the others
    matrix = confusion_matrix(true[present], predicted[present], labels=range(3))
    expected = balanced_accuracy_score(true[present], predicted[present])
    assert classification_metrics(matrix, NAMES)["balanced_accuracy"] == pytest.approx(expected)


def test_what_is_undefined_is_nan():
    metrics = classification_metrics([[2, 1, 0], [0, 0, 0], [1, 0, 0]], NAMES)
    assert math.isnan(metrics["sensitivity_b"]) and metrics["precision_b"] == 0
    assert metrics["f1_b"] == 0
    assert metrics["f1_c"] == 0 and math.isnan(metrics["precision_c"])
    metrics = classification_metrics([[2, 0], [0, 0]], ["a", "b"])
    assert math.isnan(metrics["f1_b"]) and metrics["f1_macro"] == 1
    assert math.isnan(metrics["specificity_a"]) and metrics["specificity_b"] == 1
    assert all(map(math.isnan, classification_metrics(np.zeros((2, 2)), ["a", "b"]).values()))


def test_many_matrices_give_arrays():
    metrics = classification_metrics([[[1, 0], [0, 1]], [[1, 1], [2, 0]]], ["a", "b"])
    assert metrics["accuracy"].tolist() == [1, 0.25]
    assert metrics["precision_a"] == pytest.approx([1, 1 / 3])


def test_area_under_the_curve_leaves_a_missing_class_out():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.4, 0.6, 0], [0.5, 0.5, 0], [0.2, 0.8, 0]])
    metrics = image_metrics(labels, probabilities, NAMES)
    assert metrics["auroc_a"] == metrics["auroc_b"] == metrics["auroc_macro"] == 0.75
    assert math.isnan(metrics["auroc_c"])
    assert metrics["brier"] == pytest.approx((0.02 + 0.72 + 0.5 + 0.08) / 4)


def test_no_samples_give_no_value():
    metrics = image_metrics(np.zeros(0, int), np.zeros((0, 3)), NAMES)
    assert all(map(math.isnan, metrics.values()))


@pytest.mark.parametrize("classes", [2, 3])
def test_values_are_those_of_the_matrix_of_scikit_learn_and_of_the_bins(classes):
    labels, probabilities = random_samples(300, classes)
    names = NAMES[:classes]
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(classes))
    aurocs = [roc_auc_score(labels == i, probabilities[:, i]) for i in range(classes)]
    found = image_metrics(labels, probabilities, names)
    assert found == pytest.approx(
        {
            **classification_metrics(matrix, names),
            "auroc_macro": np.mean(aurocs),
            **{f"auroc_{name}": auroc for name, auroc in zip(names, aurocs, strict=True)},
            "brier": brier_score(labels, probabilities),
            "ece": expected_calibration_error(reliability_bins(labels, probabilities)),
        }
    )


def test_statistic_of_weights_is_that_of_repeated_samples():
    labels, probabilities = random_samples(120)
    weights = np.random.default_rng(1).integers(0, 4, (3, 120))
    found = ImageStatistic(labels, probabilities, NAMES)(weights.astype(float))
    for row, times in enumerate(weights):
        drawn = np.repeat(np.arange(120), times)
        expected = image_metrics(labels[drawn], probabilities[drawn], NAMES)
        assert {name: value[row] for name, value in found.items()} == pytest.approx(expected)


def test_weighted_values_are_those_of_scikit_learn_with_many_ties():
    labels, probabilities = random_samples(200)
    weights = np.random.default_rng(2).random((2, 200))
    found = ImageStatistic(labels, probabilities, NAMES)(weights)
    for row, weight in enumerate(weights):
        for i, name in enumerate(NAMES):
            expected = roc_auc_score(labels == i, probabilities[:, i], sample_weight=weight)
            assert found[f"auroc_{name}"][row] == pytest.approx(expected)
        expected = brier_score_loss(labels, probabilities, sample_weight=weight)
        assert found["brier"][row] == pytest.approx(expected)


def test_resamples_without_a_class_are_undefined_not_wrong():
    labels, probabilities = np.array([0, 1, 2]), np.eye(3)
    found = ImageStatistic(labels, probabilities, NAMES)(np.array([[1.0, 2, 0], [3, 0, 0]]))
    assert found["auroc_a"].tolist() == pytest.approx([1, math.nan], nan_ok=True)
    # A mean over the classes that are left would be another number.
    assert np.isnan([found["auroc_macro"], found["balanced_accuracy"], found["f1_macro"]]).all()
    assert np.isnan(found["sensitivity_c"]).all()


def test_a_constant_answer_has_one_balanced_accuracy_in_all_resamples():
    labels = np.repeat([0, 1, 2], [20, 2, 2])
    statistic = ImageStatistic(labels, np.tile([0.8, 0.1, 0.1], (24, 1)), NAMES)
    found = intervals(statistic, np.arange(24), resamples=500)["balanced_accuracy"]
    assert found.value == pytest.approx(1 / 3)
    assert (found.low, found.high) == pytest.approx((1 / 3, 1 / 3))
    assert 300 < found.defined < 500  # the others lack a class


def test_intervals_hold_the_values():
    labels, probabilities = random_samples(60)
    statistic = ImageStatistic(labels, probabilities, NAMES)
    found = intervals(statistic, np.arange(60) // 3, resamples=200)
    accuracy = image_metrics(labels, probabilities, NAMES)["accuracy"]
    assert found["accuracy"].low < accuracy < found["accuracy"].high
