"""results.json of lesions as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

_TITLES = {
    "bbox": "COCO AP of boxes (bbox), percent",
    "segm": "COCO AP of masks (segm), percent",
    "per_image_ap": "per-image AP of masks (per_image_ap): the papers' metric, not COCO's AP\n"
    "(lesions of more than {min_area} pixels, detections that score above {score_thresh:g})",
    "froc": "FROC (froc): sensitivity at false positives per slice, IoU of {froc_iou:g} or more",
    "pixel": "pixels (pixel): union of predicted masks that score {pixel_score_thresh:g} or more\n"
    "against union of true masks",
}
_PERCENT = ("bbox", "segm")
_WIDTH = 110


def describe_lesions(results: Mapping[str, Any]) -> str:
    """Lay the results of `report_lesions` out for a terminal, at most 110 columns wide.

    Args:
        results: content of results.json.
    """
    found = results.get("intervals") or {}
    parts = [_counts(results)]
    for task, metrics in results["metrics"].items():
        values = found.get("values", {}).get(task, {})
        head, rows = _columns(found), []
        for name, value in metrics.items():
            coarse = task in _PERCENT or "_px_" in name
            digits = 0 if name.startswith("images_") else 2 if coarse else 4
            rows.append([name, _number(value, digits), *_interval(values.get(name), digits, head)])
        align = ["left", "right", *["right"] * len(head)]
        table = tabulate(rows, ["", "value", *head], disable_numparse=True, colalign=align)
        parts.append(f"{_TITLES[task].format(**results['settings'])}\n{table}")
        if task == "per_image_ap":
            parts[-1] += (
                "\na detector that finds nothing gets the share of images without lesions, "
                f"{_number(metrics['silent_detector'], 4)};\n"
                f"mAP over the images with lesions is {_number(metrics['mAP_lesion_images'], 4)}"
            )
    parts += [textwrap.fill(f"warning: {line}", _WIDTH) for line in results["warnings"]]
    return "\n\n".join([*parts, results["notice"]])


def _counts(results: Mapping[str, Any]) -> str:
    data = results["dataset"]
    patients = "unknown patients" if data["patients"] is None else f"{data['patients']:,} patients"
    lesions = ", ".join(f"{name} {count:,}" for name, count in data["lesions"].items())
    return (
        f"{data['images']:,} images of {patients}, {data['lesion_images']:,} with lesions\n"
        f"lesions: {lesions}; detections: {results['detections']:,}"
    )


def _columns(intervals: Mapping[str, Any]) -> list[str]:
    if not intervals:
        return []
    percent = f"{100 * intervals['confidence']:.0f} %"
    if intervals["unit"] == "slice":
        return [f"{percent} by slices"]
    return [f"{percent} by patients", "by slices (naive)", "design effect"]


def _interval(interval: Mapping[str, Any] | None, digits: int, head: list[str]) -> list[str]:
    if interval is None:
        return [""] * len(head)
    cells = [
        f"{_number(interval[f'{kind}low'], digits)} to {_number(interval[f'{kind}high'], digits)}"
        if interval[f"{kind}low"] is not None
        else "-"
        for kind in ("", "naive_")
    ]
    return [*cells, _number(interval["design_effect"], 2)][: len(head)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
