"""Calibration of probabilities, and thresholds for them.

Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
Shapes: S samples, C image classes.
"""

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
    """Samples in equal bins of the highest probability: (bins,) arrays, NaN in an empty bin."""

    counts: np.ndarray  # int64
    confidence: np.ndarray  # mean highest probability
    accuracy: np.ndarray  # share whose class is right


def bin_index(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return each sample's bin; a bin holds its lower end, the last one 1, too."""
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1])


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> ReliabilityBins:
    """Sort samples with labels (S,) and probabilities (S, C) into bins."""
    confidence = probabilities.max(axis=1)
    index = bin_index(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    right = probabilities.argmax(axis=1) == labels
    with np.errstate(invalid="ignore"):
        means = (np.bincount(index, values, bins) / counts for values in (confidence, right))
        return ReliabilityBins(counts, *means)


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Return the mean gap of confidence and accuracy (section 2), 0 to 1; NaN without samples."""
    if not bins.counts.any():
        return float("nan")
    gaps = np.abs(bins.confidence - bins.accuracy)
    return float(np.nansum(gaps * bins.counts) / bins.counts.sum())


def calibration_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return mean negative log-likelihood, Brier score and calibration error of S >= 1 samples."""
    classes = range(probabilities.shape[1])
    return {
        "nll": float(log_loss(labels, probabilities, labels=classes)),
        "brier": float(brier_score_loss(labels, probabilities, labels=classes)),
        "ece": expected_calibration_error(reliability_bins(labels, probabilities)),
    }


def fit_temperature(table: PredictionTable) -> float:
    """Return the divisor of validation logits with the highest likelihood (section 4.2).

    It lies in [e^-5, e^5]; above 1 the model was too sure.
    """
    rows = np.arange(len(table.labels))

    def loss(log_temperature: float) -> float:
        scaled = table.logits / np.exp(log_temperature)
        return -log_softmax(scaled, axis=1)[rows, table.labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES).x))


def at_limit(temperature: float) -> bool:
    """Return whether a fitted temperature is at an end of its range, so that none is best."""
    return bool(np.isclose(abs(np.log(temperature)), _LOG_TEMPERATURES[1], atol=0.01))


def operating_point(scores: np.ndarray, positive: np.ndarray, sensitivity: float) -> float:
    """Return the largest threshold at which the positives are found with the wanted sensitivity.

    `scores` (S,) at or above it are positive; `positive` (S,) bool is the truth; the sensitivity is
    in (0, 1]. NaN without positives.
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity {sensitivity}: expected a share above 0 and at most 1")
    found = np.sort(scores[positive])[::-1]
    if not found.size:
        return float("nan")
    shares = np.arange(1, found.size + 1) / found.size
    return float(found[np.searchsorted(shares, sensitivity)])


def at_threshold(scores: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, float]:
    """Return sensitivity, specificity and precision at a threshold; all NaN where that is NaN."""
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
