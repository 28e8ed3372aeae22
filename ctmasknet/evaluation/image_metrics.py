"""Metrics of image classes: from a confusion matrix, from probabilities, and of resamples.

Shapes: S samples (slices, scans or patients), C image classes, B sets of weights. Matrices are
M[true, predicted], in the order of the class names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .calibration import BINS, bin_index
from .metric_names import metric_suffix


def classification_metrics(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Compute the metrics that follow from a confusion matrix.

    Args:
        matrix: (C, C) counts, M[true, predicted], or (..., C, C) for many at once.
        class_names: C names.

    Returns:
        Fractions in [0, 1], floats or arrays (...): accuracy, balanced_accuracy (mean sensitivity),
        f1_macro, f1_weighted (by the classes' shares), and sensitivity_<class>,
        specificity_<class>, precision_<class>, f1_<class>. NaN where no sample is of that class or
        predicted so; F1 is NaN only where neither is. Means leave NaN out, as scikit-learn does.
    """
    matrix = np.asarray(matrix, dtype=float)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = true.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        others = total[..., None] - true
        by_class = {
            "sensitivity": hits / true,
            "specificity": (others - predicted + hits) / others,
            "precision": hits / predicted,
            "f1": 2 * hits / (true + predicted),
        }
        metrics = {
            "accuracy": hits.sum(axis=-1) / total,
            "balanced_accuracy": _mean_of_defined(by_class["sensitivity"]),
            "f1_macro": _mean_of_defined(by_class["f1"]),
            "f1_weighted": np.nansum(by_class["f1"] * true, axis=-1) / total,
        }
    for i, name in enumerate(class_names):
        for metric, values in by_class.items():
            metrics[f"{metric}_{metric_suffix(name)}"] = values[..., i]
    return {k: v if matrix.ndim > 2 else float(v) for k, v in metrics.items()}


MACROS = {"balanced_accuracy": "sensitivity", "f1_macro": "f1", "auroc_macro": "auroc"}


class ImageStatistic:
    """All metrics of image classes as a function of the samples' weights.

    Those of `classification_metrics`; auroc_<class>, one class against the rest, and auroc_macro,
    the mean of those that are defined; scikit-learn's brier; ece (15 bins of the highest
    probability). NaN where undefined. A mean over classes is NaN where a class that has a value
    with all samples has none: otherwise each resample would average other classes.
    """

    def __init__(self, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]):
        """Take labels (S,) in 0..C-1 and probabilities (S, C), the highest predicts; S may be 0."""
        self._class_names = class_names
        count = len(class_names)
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        cells = np.eye(count**2)[labels * count + predicted]
        squares = ((probabilities - np.eye(count)[labels]) ** 2).sum(axis=1)
        squares *= 0.5 if count == 2 else 1  # as scikit-learn's Brier score
        gaps = np.eye(BINS)[bin_index(confidence)] * (confidence - (predicted == labels))[:, None]
        # Everything but AUROC follows from weighted sums: one product of matrices gives them all.
        self._columns = np.column_stack([cells, squares, gaps])
        self._ranks = [_Ranks(labels == i, probabilities[:, i]) for i in range(count)]
        full = self._metrics(np.ones((1, len(labels))))
        self._classes_of = {
            macro: [
                name
                for name in (f"{metric}_{metric_suffix(x)}" for x in class_names)
                if not np.isnan(full[name][0])
            ]
            for macro, metric in MACROS.items()
        }

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric -> (B,) from weights (B, S) float64."""
        metrics = self._metrics(weights)
        for macro, names in self._classes_of.items():
            if names:
                metrics[macro] = np.mean([metrics[name] for name in names], axis=0)
        return metrics

    def _metrics(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        count = len(self._class_names)
        cells, squares, gaps = np.split(weights @ self._columns, [count**2, count**2 + 1], axis=1)
        total = weights.sum(axis=1)
        aurocs = {
            f"auroc_{metric_suffix(name)}": ranks.auroc(weights)
            for name, ranks in zip(self._class_names, self._ranks, strict=True)
        }
        with np.errstate(invalid="ignore"):
            return {
                **classification_metrics(cells.reshape(-1, count, count), self._class_names),
                "auroc_macro": _mean_of_defined(np.stack([*aurocs.values()], axis=1)),
                **aurocs,
                "brier": squares[:, 0] / total,
                "ece": np.abs(gaps).sum(axis=1) / total,
            }


class _Ranks:
    """Ranks of positives among negatives: AUROC counts pairs in order, and ties by half."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray):
        order = np.argsort(scores)
        self._positives, self._negatives = order[positive[order]], order[~positive[order]]
        low_to_high = scores[self._negatives]
        self._below = np.searchsorted(low_to_high, scores[self._positives], side="left")
        self._not_above = np.searchsorted(low_to_high, scores[self._positives], side="right")

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """Return (B,) from weights (B, S); NaN where a side has no weight."""
        negatives = np.zeros((len(weights), len(self._negatives) + 1))
        np.cumsum(weights[:, self._negatives], axis=1, out=negatives[:, 1:])
        positives = weights[:, self._positives]
        beaten = negatives[:, self._below] + negatives[:, self._not_above]
        with np.errstate(invalid="ignore"):
            pairs = positives.sum(axis=1) * negatives[:, -1]
            return np.einsum("bs,bs->b", positives, beaten) / (2 * pairs)


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of pairs that scores (S,) put in order; NaN unless there are both kinds.

    `positive` is (S,) bool; a tie is half a pair in order.
    """
    return float(_Ranks(positive, scores).auroc(np.ones((1, len(scores))))[0])


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return (...) from (..., C) as np.nanmean does, without its warning."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=-1) / (~np.isnan(values)).sum(axis=-1)
