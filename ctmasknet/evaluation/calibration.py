"""Whether probabilities mean what they say, and where to cut them: chosen on validation data.

Shapes: S samples, C image classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from .prediction_table import PredictionTable

BINS = 15
_LOG_TEMPERATURES = (-5.0, 5.0)


@dataclass(frozen=True)
class ReliabilityBins:
    """Samples in equal bins of the highest probability, from 0 to 1.

    Attributes:
        counts: (bins,) int64 samples.
        confidence: (bins,) mean highest probability; NaN in an empty bin.
        accuracy: (bins,) share whose class is right; NaN in an empty bin.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def bin_index(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of each highest probability: a bin holds its lower end, the last one 1 as well."""
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1])


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> ReliabilityBins:
    """Bins of a reliability diagram.

    Args:
        labels: (S,) 0..C-1.
        probabilities: (S, C), rows add up to 1.
        bins: number of bins.
    """
    confidence = probabilities.max(axis=1)
    index = bin_index(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    right = probabilities.argmax(axis=1) == labels
    with np.errstate(invalid="ignore"):
        means = (np.bincount(index, values, bins) / counts for values in (confidence, right))
        return ReliabilityBins(counts, *means)


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Mean distance of confidence and accuracy over the samples, in [0, 1]; NaN without any.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    if not bins.counts.any():
        return float("nan")
    gaps = np.abs(bins.confidence - bins.accuracy)
    return float(np.nansum(gaps * bins.counts) / bins.counts.sum())


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance of probabilities and truth, summed over classes; NaN without samples.

    0 to 2; for two classes half of it, the usual Brier score of one probability.
    """
    if not len(labels):
        return float("nan")
    return float(brier_score_loss(labels, probabilities, labels=range(probabilities.shape[1])))


def calibration_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Negative log-likelihood (nats, mean), Brier score and calibration error of S >= 1 samples."""
    return {
        "nll": float(log_loss(labels, probabilities, labels=range(probabilities.shape[1]))),
        "brier": brier_score(labels, probabilities),
        "ece": expected_calibration_error(reliability_bins(labels, probabilities)),
    }


def fit_temperature(table: PredictionTable) -> float:
    """The temperature over which the logits of a validation set have the highest likelihood.

    Args:
        table: predictions for validation data.

    Returns:
        A number in [e^-5, e^5]: above 1 the model was too sure. Classes do not change by it.
        Source: Guo et al. 2017, section 4.2.
    """
    rows = np.arange(len(table.labels))

    def loss(log_temperature: float) -> float:
        scaled = table.logits / np.exp(log_temperature)
        return -log_softmax(scaled, axis=1)[rows, table.labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES).x))


def at_limit(temperature: float) -> bool:
    """Whether a fitted temperature is at an end of its range, where no best one was found."""
    return bool(np.isclose(abs(np.log(temperature)), _LOG_TEMPERATURES[1], atol=0.01))


def operating_point(scores: np.ndarray, positive: np.ndarray, sensitivity: float) -> float:
    """The largest threshold that finds the wanted share of the positives.

    Args:
        scores: (S,) of validation samples; a score at or above the threshold is called positive.
        positive: (S,) bool truth.
        sensitivity: wanted share, above 0 and at most 1.

    Returns:
        The threshold; NaN where there is no positive.

    Raises:
        ValueError: a sensitivity outside (0, 1].
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity {sensitivity}: expected a share above 0 and at most 1")
    found = np.sort(scores[positive])[::-1]
    if not found.size:
        return float("nan")
    shares = np.arange(1, found.size + 1) / found.size
    return float(found[np.searchsorted(shares, sensitivity)])


def at_threshold(scores: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, float]:
    """Sensitivity, specificity and precision when scores at or above a threshold are positive.

    Args:
        scores: (S,).
        positive: (S,) bool truth.
        threshold: NaN, for none, gives NaN throughout.
    """
    if np.isnan(threshold) or not len(scores):
        return dict.fromkeys(("sensitivity", "specificity", "precision"), float("nan"))
    (true_negatives, alarms), (missed, hits) = confusion_matrix(
        positive, scores >= threshold, labels=[False, True]
    )
    with np.errstate(invalid="ignore"):
        return {
            "sensitivity": float(hits / (hits + missed)),
            "specificity": float(true_negatives / (true_negatives + alarms)),
            "precision": float(hits / (hits + alarms)),
        }
