"""From slices to scans and patients by a named rule, which validation data may choose.

Shapes: S samples (slices, scans or patients), G groups of them, C image classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

from .bootstrap import group_indices
from .image_metrics import classification_metrics
from .prediction_table import PredictionTable


@dataclass(frozen=True)
class Level:
    """Slices, scans or patients, each with one label and one row of probabilities.

    Attributes:
        name: "image", "scan" or "patient".
        class_names: C names.
        labels: (S,) int64 in 0..C-1; S may be 0 for scans and patients.
        probabilities: (S, C) float64, rows add up to 1.
        patients: S names.
        left_out: groups that have no label because their slices have several.
    """

    name: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    patients: tuple[str, ...]
    left_out: int = 0

    def confusion(self) -> np.ndarray:
        """Return (C, C) int64 counts, M[true, predicted]; the highest probability predicts."""
        classes = range(len(self.class_names))
        if not len(self.labels):
            return np.zeros((len(classes), len(classes)), np.int64)
        return confusion_matrix(self.labels, self.probabilities.argmax(axis=1), labels=classes)


@dataclass(frozen=True)
class Rule:
    """How the slices of a scan are summed up, class by class: the mean of the highest values.

    Attributes:
        name: see `parse_rule`.
        highest: number of values that are averaged; None takes all.
        above: None takes probabilities as values, else values are 1 above it and 0 otherwise.
    """

    name: str
    highest: int | None = None
    above: float | None = None

    def __call__(self, probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Sum up probabilities (S, C) of groups (S,), 0 to G-1, each occurring.

        Returns:
            (G, C), rows add up to 1. A group in which no class is ahead (none above a threshold, or
            two equally often) gets its mean probabilities, lest the first class win by its place.
        """
        values = probabilities if self.above is None else probabilities > self.above
        sizes = np.bincount(groups)
        starts = np.cumsum(sizes) - sizes
        taken = np.minimum(sizes, self.highest or len(groups))
        kept = np.arange(len(groups)) < np.repeat(starts + taken, sizes)
        result = np.empty((len(sizes), values.shape[1]))
        for column, out in zip(values.T.astype(float), result.T, strict=True):
            highest_first = column[np.lexsort((-column, groups))]
            out[:] = np.add.reduceat(highest_first * kept, starts) / taken
        tied = (result == result.max(axis=1, keepdims=True)).sum(axis=1) > 1
        if tied.any() and self.name != "mean":
            result[tied] = MEAN(probabilities, groups)[tied]
        return result / result.sum(axis=1, keepdims=True)


def parse_rule(text: str) -> Rule:
    """Return the rule of a name.

    Args:
        text: "mean", "max", "top_<k>_mean" (mean of the k highest, k >= 1) or "share_above_<t>"
            (share of the slices whose probability is above t, 0 <= t < 1).

    Raises:
        ValueError: something else.
    """
    if text == "mean":
        return Rule(text)
    if text == "max":
        return Rule(text, highest=1)
    if (match := re.fullmatch(r"top_(\d+)_mean", text)) and int(match[1]) >= 1:
        return Rule(text, highest=int(match[1]))
    if match := re.fullmatch(r"share_above_(0(?:\.\d+)?)", text):
        return Rule(text, above=float(match[1]))
    raise ValueError(
        f"aggregation rule '{text}': expected mean, max, top_<k>_mean with k of 1 or more "
        "(top_3_mean) or share_above_<t> with 0 <= t < 1 (share_above_0.5)"
    )


MEAN = parse_rule("mean")
_OTHERS = ("max", "top_3_mean", "top_10_mean", "share_above_0.5", "share_above_0.8")
RULES = (MEAN, *map(parse_rule, _OTHERS))


def levels(table: PredictionTable, rule: Rule) -> tuple[Level, Level, Level]:
    """Return the slices, scans and patients of a table.

    Scans are told apart by patient and name. A patient's probabilities are the mean over the scans,
    whatever the rule for scans, so that a long scan counts no more than a short one. Scans and
    patients whose slices have several labels are left out.
    """
    classes, probabilities = table.class_names, table.probabilities()
    scan_of = group_indices([str(pair) for pair in zip(table.patients, table.scans, strict=True)])
    patient_of = group_indices(table.patients)
    scans = rule(probabilities, scan_of)
    patient_of_scan = patient_of[np.unique(scan_of, return_index=True)[1]]

    def level(name: str, groups: np.ndarray, group_probabilities: np.ndarray) -> Level:
        first = np.unique(groups, return_index=True)[1]
        labels = table.labels[first]
        agree = np.bincount(groups, table.labels != labels[groups]) == 0
        patients = tuple(table.patients[i] for i in first[agree])
        left_out = int((~agree).sum())
        return Level(name, classes, labels[agree], group_probabilities[agree], patients, left_out)

    return (
        Level("image", classes, table.labels, probabilities, table.patients),
        level("scan", scan_of, scans),
        level("patient", patient_of, MEAN(scans, patient_of_scan)),
    )


def choose_rule(
    validation: PredictionTable, rules: Sequence[Rule] = RULES
) -> tuple[Rule, dict[str, float]]:
    """Choose the rule with the highest balanced accuracy of validation's scans.

    Args:
        validation: predictions for validation data, never for the data that are reported.
        rules: candidates; of equal ones the first wins.

    Returns:
        The rule, and name of each rule -> balanced accuracy.
    """
    scores = {}
    for rule in rules:
        confusion = levels(validation, rule)[1].confusion()
        metrics = classification_metrics(confusion, validation.class_names)
        scores[rule.name] = metrics["balanced_accuracy"]
    return max(rules, key=lambda rule: scores[rule.name]), scores
