"""results.json of a data set as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from ..wording import counted, percent
from .image_metrics import classification_metrics
from .metric_names import metric_suffix
from .tasks import Task, find_task

UNITS = {"image": "slice", "scan": "scan", "patient": "patient"}
_WIDTH = 110


def describe(results: Mapping[str, Any]) -> str:
    """Lay out an evaluation of lesions (at most 110 columns wide) or of images.

    Args:
        results: of `report_lesions` or `report_images`, or read from their results.json.

    Returns:
        Paragraphs and tables; "-" stands for an undefined value.
    """
    parts = _lesions(results) if results["kind"] == "lesions" else _images(results)
    return "\n\n".join(filter(None, [*parts, results["notice"]]))


def confusion_table(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """Lay out a confusion matrix with each class's sensitivity and precision.

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
    return _table(rows, ["", *(f"as {name}" for name in class_names), "sensitivity"])


def lesion_task(task: str, metrics: Mapping[str, float | None], results: Mapping[str, Any]) -> str:
    """Lay out one task of lesions.

    Args:
        task: its name.
        metrics: its metrics.
        results: reads "settings" and, where there are any, "intervals".
    """
    entry = find_task(task, "lesions")
    text = f"{entry.title.format(**results['settings'])}\n{_task_table(entry, metrics, results)}"
    if entry.note:
        shown = {name: _number(entry, name, value) for name, value in metrics.items()}
        text += "\n" + entry.note.format(**shown)
    return text


def _lesions(results: Mapping[str, Any]) -> list[str]:
    data = results["dataset"]
    patients = "unknown patients" if data["patients"] is None else f"{data['patients']:,} patients"
    lesions = ", ".join(f"{name} {count:,}" for name, count in data["lesions"].items())
    counts = (
        f"{data['images']:,} images of {patients}, {data['lesion_images']:,} with lesions\n"
        f"lesions: {lesions}; detections: {results['detections']:,}"
    )
    tables = [lesion_task(task, metrics, results) for task, metrics in results["metrics"].items()]
    warnings = [textwrap.fill(f"warning: {line}", _WIDTH) for line in results["warnings"]]
    return [counts, *tables, *warnings]


def _images(results: Mapping[str, Any]) -> list[str]:
    data = results["dataset"]
    counts = ", ".join(counted(data[f"{name}s"], unit) for name, unit in UNITS.items())
    return [
        f"{data['name']}: {counts}" if "name" in data else counts,
        confusion_table(results["confusion"]["image"], results["classes"]),
        *(
            _task_table(find_task(name, "images"), metrics, results)
            for name, metrics in results["metrics"].items()
        ),
        _rule(results["aggregation"]),
        _calibration(results["calibration"]),
        _operating_points(results["operating_points"]),
        *(f"Warning: {line}." for line in results["warnings"]),
    ]


def _task_table(task: Task, metrics: Mapping[str, float | None], results: Mapping[str, Any]) -> str:
    """Values, and their intervals where there are any: naive ones where patients have several."""
    about, unit = results.get("intervals"), UNITS[task.level]
    head = [task.title if task.kind == "images" else "", "value"]
    if about:
        head.append(f"{100 * about['confidence']:g} % by {about['unit']}s")
    naive = about and about["unit"] == "patient" and task.level != "patient"
    if naive:
        head += [f"by {unit}s (naive)", "design effect"]
    values = about["values"].get(task.name, {}) if about else {}
    rows = []
    for metric, value in metrics.items():
        row = [metric, _number(task, metric, value)]
        if interval := values.get(metric):
            row.append(_range(task, metric, interval["low"], interval["high"]))
        if interval and naive:
            effect = interval["design_effect"]
            row.append(_range(task, metric, interval["naive_low"], interval["naive_high"]))
            digits = 1 if task.kind == "images" else 2
            row.append("-" if effect is None else f"{effect:.{digits}f}")
        rows.append(row)
    return _table(rows, head)


def _number(task: Task, metric: str, value: float | None) -> str:
    if value is None or np.isnan(value):
        return "-"
    if task.factor == 1:
        return f"{value:.2f}"
    if task.kind == "images":
        return f"{value:.3f}" if metric in ("brier", "ece") else percent(value)
    digits = 0 if metric.startswith("images_") else 2 if "_px_" in metric else 4
    return f"{value:.{digits}f}"


def _range(task: Task, metric: str, low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{_number(task, metric, low)} to {_number(task, metric, high)}"


def _table(rows: Sequence[Sequence[Any]], headers: Sequence[str], names: int = 1) -> str:
    """Align columns of names to the left, those of numbers to the right."""
    aligned = ["left"] * names + ["right"] * (len(headers) - names)
    return tabulate(rows, headers, disable_numparse=True, colalign=aligned)


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
    return f"{title}\n{_table(rows, ['by slice', 'before', 'after'])}"


def _operating_points(points: Mapping[str, Any] | None) -> str:
    if not points:
        return ""
    shares = ("validation_sensitivity", "sensitivity", "specificity", "precision")
    rows = []
    for level, classes in points["values"].items():
        for name, at in classes.items():
            threshold = "-" if at["threshold"] is None else f"{at['threshold']:.3g}"
            rows.append([UNITS[level], name, threshold, *(percent(at[x]) for x in shares)])
    headers = ["by", "class", "threshold", "on validation", *shares[1:]]
    wanted = percent(points["requested_sensitivity"])
    title = f"Thresholds for a sensitivity of {wanted} or more on validation:"
    return f"{title}\n{_table(rows, headers, names=2)}"
