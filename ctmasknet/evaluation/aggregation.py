"""From slices to scans and patients by a named rule, which validation data may choose.

Shapes: S samples (slices, scans or patients), G groups of them, C image classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

from .bootstrap import group_indices
from .image_metrics import classification_metrics
from .prediction_table import PredictionTable
from .rules import MEAN, RULES, Rule


@dataclass(frozen=True)
class Level:
    """Slices, scans or patients, each with one label and one row of probabilities."""

    name: str  # "image", "scan" or "patient"
    class_names: tuple[str, ...]
    labels: np.ndarray  # (S,) int64 in 0..C-1; S may be 0 for scans and patients
    probabilities: np.ndarray  # (S, C) float64, rows add up to 1
    patients: tuple[str, ...]
    left_out: int = 0  # groups without a label, because their slices have several

    def confusion(self) -> np.ndarray:
        """Return (C, C) int64 counts, M[true, predicted]; the highest probability predicts."""
        classes = range(len(self.class_names))
        if not len(self.labels):
            return np.zeros((len(classes), len(classes)), np.int64)
        return confusion_matrix(self.labels, self.probabilities.argmax(axis=1), labels=classes)


def levels(table: PredictionTable, rule: Rule) -> tuple[Level, Level, Level]:
    """Return the slices, scans and patients of a table.

    Scans are told apart by patient and name. A patient's probabilities are the mean over the scans,
    whatever the rule for scans, so that a long scan counts no more than a short one. Scans and
    patients whose slices have several labels are left out.
    """
    classes, probabilities = table.class_names, table.probabilities()
    scan_of = scan_groups(table)
    patient_of = group_indices(table.patients)
    scans = rule(probabilities, scan_of)
    patient_of_scan = patient_of[np.unique(scan_of, return_index=True)[1]]

    def level(name: str, groups: np.ndarray, group_probabilities: np.ndarray) -> Level:
        first = np.unique(groups, return_index=True)[1]
        labels, agree = group_labels(table.labels, groups)
        patients = tuple(table.patients[i] for i in first[agree])
        left_out = int((~agree).sum())
        return Level(name, classes, labels[agree], group_probabilities[agree], patients, left_out)

    return (
        Level("image", classes, table.labels, probabilities, table.patients),
        level("scan", scan_of, scans),
        level("patient", patient_of, MEAN(scans, patient_of_scan)),
    )


def scan_groups(table: PredictionTable) -> np.ndarray:
    """Return the scan (S,) of each slice, 0..G-1; scans are told apart by patient and name."""
    return group_indices([str(pair) for pair in zip(table.patients, table.scans, strict=True)])


def group_labels(labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels (G,) of groups' first samples, and (G,) bool whether the others agree."""
    of_groups = labels[np.unique(groups, return_index=True)[1]]
    return of_groups, np.bincount(groups, labels != of_groups[groups]) == 0


def choose_rule(
    validation: PredictionTable, rules: Sequence[Rule] = RULES
) -> tuple[Rule, dict[str, float]]:
    """Return the rule with the highest balanced accuracy over validation's scans, and all scores.

    Of equal rules the first wins. The data that are reported must not choose.
    """
    scores = {}
    for rule in rules:
        confusion = levels(validation, rule)[1].confusion()
        metrics = classification_metrics(confusion, validation.class_names)
        scores[rule.name] = metrics["balanced_accuracy"]
    return max(rules, key=lambda rule: scores[rule.name]), scores
