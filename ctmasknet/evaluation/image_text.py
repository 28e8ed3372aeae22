"""What a person reads in the terminal about image classes, from the content of results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from ..wording import counted, percent
from .image_metrics import classification_metrics
from .metric_names import metric_suffix

LEVEL_UNITS = {"image": "slice", "scan": "scan", "patient": "patient"}


def confusion_table(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """Lay a confusion matrix out as text, with each class's sensitivity and precision.

    Args:
        matrix: (C, C) counts, M[true, predicted].
        class_names: C names.
    """
    metrics = classification_metrics(matrix, class_names)
    rows = [
        [f"true {name}", *counts, percent(metrics[f"sensitivity_{metric_suffix(name)}"])]
        for name, counts in zip(class_names, np.asarray(matrix).tolist(), strict=True)
    ]
    precisions = [percent(metrics[f"precision_{metric_suffix(name)}"]) for name in class_names]
    rows.append(["precision", *precisions, f"accuracy {percent(metrics['accuracy'])}"])
    headers = ["", *(f"as {name}" for name in class_names), "sensitivity"]
    return _table(rows, headers, named=1)


def describe_images(results: Mapping[str, Any]) -> str:
    """All of an evaluation of image classes as text.

    Args:
        results: what `read_results` gives of a results.json of the kind "images".

    Returns:
        Paragraphs and tables; "-" stands for an undefined value.
    """
    dataset = results["dataset"]
    counts = ", ".join(counted(dataset[f"{name}s"], unit) for name, unit in LEVEL_UNITS.items())
    parts = [
        f"{dataset['name']}: {counts}" if "name" in dataset else counts,
        confusion_table(results["confusion"]["image"], results["classes"]),
        *(_level_table(results, name) for name in LEVEL_UNITS),
        _rule(results["aggregation"]),
        _calibration(results["calibration"]),
        _operating_points(results["operating_points"]),
        *(f"Warning: {warning}." for warning in results["warnings"]),
        results["notice"],
    ]
    return "\n\n".join(filter(None, parts))


def _number(metric: str, value: float | None) -> str:
    if value is None or metric not in ("brier", "ece"):
        return percent(value)
    return f"{value:.3f}"


def _level_table(results: Mapping[str, Any], level: str) -> str:
    unit, about = LEVEL_UNITS[level], results["intervals"]
    headers = [f"by {unit}", "value"]
    naive = level != "patient" and about and about["unit"] == "patient"
    if about:
        headers.append(f"{100 * about['confidence']:g} % by {about['unit']}s")
    if naive:
        headers += [f"by {unit}s (naive)", "design effect"]
    rows = []
    for metric, value in results["metrics"][level].items():
        row = [metric, _number(metric, value)]
        interval = about["values"].get(level, {}).get(metric) if about else None
        if interval:
            row.append(_range(metric, interval["low"], interval["high"]))
        if interval and naive:
            effect = interval["design_effect"]
            row.append(_range(metric, interval["naive_low"], interval["naive_high"]))
            row.append("-" if effect is None else f"{effect:.1f}")
        rows.append(row)
    return _table(rows, headers, named=1)


def _table(rows: Sequence[Sequence[Any]], headers: Sequence[str], named: int) -> str:
    """Columns of names to the left, those of numbers to the right."""
    aligned = ["left"] * named + ["right"] * (len(headers) - named)
    return tabulate(rows, headers, disable_numparse=True, colalign=aligned)


def _range(metric: str, low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{_number(metric, low)} to {_number(metric, high)}"


def _rule(aggregation: Mapping[str, Any]) -> str:
    how = {
        "validation": "chosen by the balanced accuracy of validation's scans",
        "given": "as asked",
        "default": "the default, as there are no validation scans of several slices",
    }[aggregation["chosen_on"]]
    text = f"Slices to scans by the rule {aggregation['rule']}: {how}."
    scores = aggregation["validation_scores"] or {}
    listed = ", ".join(f"{rule} {percent(score)}" for rule, score in scores.items())
    return f"{text}\n{listed}" if listed else text


def _calibration(calibration: Mapping[str, Any] | None) -> str:
    if not calibration:
        return ""
    before, after = calibration["before"], calibration["after"]
    rows = [[metric, f"{before[metric]:.3f}", f"{after[metric]:.3f}"] for metric in before]
    fitted = counted(calibration["fitted_on"]["images"], "validation slice")
    title = f"Temperature {calibration['temperature']:.2f}, fitted on {fitted}:"
    return f"{title}\n{_table(rows, ['by slice', 'before', 'after'], named=1)}"


def _operating_points(points: Mapping[str, Any] | None) -> str:
    if not points:
        return ""
    shares = ("validation_sensitivity", "sensitivity", "specificity", "precision")
    rows = []
    for level, classes in points["values"].items():
        for name, at in classes.items():
            threshold = "-" if at["threshold"] is None else f"{at['threshold']:.3g}"
            rows.append([LEVEL_UNITS[level], name, threshold, *(percent(at[x]) for x in shares)])
    headers = ["by", "class", "threshold", "on validation", *shares[1:]]
    wanted = percent(points["requested_sensitivity"])
    title = f"Thresholds for a sensitivity of {wanted} or more on validation:"
    return f"{title}\n{_table(rows, headers, named=2)}"
