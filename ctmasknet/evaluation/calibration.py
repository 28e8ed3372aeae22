"""Calibration of probabilities, and thresholds for them.

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
    """Samples in equal bins of the highest probability.

    Attributes:
        counts: (bins,) int64 samples.
        confidence: (bins,) mean highest probability; NaN in an empty bin.
        accuracy: (bins,) share whose class is right; NaN in an empty bin.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def bin_index(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the bin of each highest probability; a bin holds its lower end, the last also 1."""
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1])


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> ReliabilityBins:
    """Sort samples with labels (S,) and probabilities (S, C) into the bins of a diagram."""
    confidence = probabilities.max(axis=1)
    index = bin_index(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    right = probabilities.argmax(axis=1) == labels
    with np.errstate(invalid="ignore"):
        means = (np.bincount(index, values, bins) / counts for values in (confidence, right))
        return ReliabilityBins(counts, *means)


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Return the mean distance of confidence and accuracy, in [0, 1]; NaN without samples.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    if not bins.counts.any():
        return float("nan")
    gaps = np.abs(bins.confidence - bins.accuracy)
    return float(np.nansum(gaps * bins.counts) / bins.counts.sum())


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return scikit-learn's Brier score (for two classes that of one); NaN without samples."""
    if not len(labels):
        return float("nan")
    return float(brier_score_loss(labels, probabilities, labels=range(probabilities.shape[1])))


def calibration_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return mean negative log-likelihood, Brier score and calibration error of S >= 1 samples."""
    return {
        "nll": float(log_loss(labels, probabilities, labels=range(probabilities.shape[1]))),
        "brier": brier_score(labels, probabilities),
        "ece": expected_calibration_error(reliability_bins(labels, probabilities)),
    }


def fit_temperature(table: PredictionTable) -> float:
    """Find the divisor of a validation set's logits with the highest likelihood.

    Returns:
        A number in [e^-5, e^5]; above 1 the model was too sure. Source: Guo et al. 2017, section
        4.2.
    """
    rows = np.arange(len(table.labels))

    def loss(log_temperature: float) -> float:
        scaled = table.logits / np.exp(log_temperature)
        return -log_softmax(scaled, axis=1)[rows, table.labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES).x))


def at_limit(temperature: float) -> bool:
    """Return whether a fitted temperature is at an end of its range: there is no best one."""
    return bool(np.isclose(abs(np.log(temperature)), _LOG_TEMPERATURES[1], atol=0.01))


def operating_point(scores: np.ndarray, positive: np.ndarray, sensitivity: float) -> float:
    """Return the largest threshold that finds the wanted share of the positives; NaN without any.

    Args:
        scores: (S,) of validation samples; at or above the threshold they are called positive.
        positive: (S,) bool truth.
        sensitivity: wanted share, above 0 and at most 1.

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
    """Return sensitivity, specificity and precision at a threshold of `operating_point`.

    Args:
        scores, positive: as in `operating_point`.
        threshold: NaN gives NaN throughout.
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
