"""What is known of a case as result.json, lesions.csv and ranked_boxes.csv.

Shapes: Z slices, A names of quantities (the lesion classes, then any lesion). Numbers have at most
six decimals; what is unknown is null, or empty in CSV.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..atomic_write import atomic_write
from ..data.classes import NOTICE
from ..inference.predictions import Classification, Instance
from ..quantification.case import Case
from ..quantification.quantify import severity, shares, slice_shares

_BOX = ("x0", "y0", "x1", "y1")
LESION_COLUMNS = ("slice", "file", "position_mm", "class", "score", *_BOX, "area_px", "area_mm2")
RANKED_BOX_COLUMNS = ("slice", "file", "rank", "lesion_class", "score", *_BOX)


def result_json(case: Case) -> dict[str, Any]:
    """Everything but masks and ranked boxes, in plain types.

    Returns:
        notice, name, input, kind ("scan" or "slices"); patient, scan, spacing_mm, class,
        probabilities, aggregation (null but of a scan); quantities (whose volumes, shares and
        severity are null but of a scan), slices, notes, problems, about. Positions are in mm from
        the lowest slice, boxes in pixels, `slices[i].index` counts from 0 there.
    """
    scan = case.scan
    spacing = scan.spacing if scan else None
    classification = scan.classification if scan else None
    known = case.quantities.lung_lesion_px is not None
    of_lung = slice_shares(case.quantities) if known else None
    return {
        "notice": NOTICE,
        "name": case.name,
        "input": case.source,
        "kind": "scan" if scan else "slices",
        "patient": scan.patient if scan else None,
        "scan": scan.scan if scan else None,
        "spacing_mm": dict(zip("zyx", map(_number, spacing), strict=True)) if spacing else None,
        "class": classification.image_class if classification else None,
        "probabilities": _probabilities(classification),
        "aggregation": scan.rule if scan and classification else None,
        "quantities": _sums(case),
        "slices": [_slice(case, index, of_lung) for index in range(len(case.slices))],
        "notes": list(case.notes),
        "problems": list(case.problems),
        "about": dict(case.about),
    }


def write_result(path: str | os.PathLike, case: Case) -> None:
    """Write `result_json` as UTF-8 JSON, whole or not at all."""
    text = json.dumps(result_json(case), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_lesions(path: str | os.PathLike, case: Case) -> None:
    """Write a CSV with LESION_COLUMNS and a line for each instance, best first on each slice.

    `slice` counts from 0 at the lowest; `position_mm` is from the lowest slice; boxes are in
    pixels. Without instances the header stands alone.
    """
    rows = (
        [
            index,
            prediction.source,
            _position(case, index),
            instance.lesion_class,
            _number(instance.score),
            *map(_number, instance.box),
            instance.area_px,
            _number(instance.area_mm2),
        ]
        for index, prediction in enumerate(case.slices)
        for instance in prediction.instances
    )
    _write_csv(path, LESION_COLUMNS, rows)


def write_ranked_boxes(path: str | os.PathLike, case: Case) -> None:
    """Write a CSV with RANKED_BOX_COLUMNS, contribution_<class> for each image class, and a line
    for each different ranked box, best first (rank 1) on each slice.

    Raises:
        ValueError: the model classifies no images, so it has no ranked boxes.
    """
    classification = case.slices[0].classification if case.slices else None
    if classification is None:
        raise ValueError(
            f"{case.source}: found no ranked boxes: the model classifies no images; use a "
            "CT-Mask-Net"
        )
    rows = (
        [
            index,
            prediction.source,
            row + 1,
            table.lesion_classes[row],
            *map(_number, (table.scores[row], *table.boxes[row], *table.contributions[row])),
        ]
        for index, prediction in enumerate(case.slices)
        if (table := prediction.ranked_boxes) is not None
        for row in range(len(table.boxes))
    )
    names = [f"contribution_{name}" for name in classification.class_names]
    _write_csv(path, [*RANKED_BOX_COLUMNS, *names], rows)


def _slice(case: Case, index: int, of_lung: np.ndarray | None) -> dict[str, Any]:
    """`of_lung`: (Z, A), of `slice_shares`."""
    prediction, quantities = case.slices[index], case.quantities
    classification = prediction.classification
    areas = None
    if quantities.areas_px is not None:
        areas = {
            name: {"px": int(px), "mm2": _number(px * quantities.pixel_mm2[index])}
            for name, px in zip(quantities.names, quantities.areas_px[index], strict=True)
        }
    return {
        "index": index,
        "file": prediction.source or None,
        "position_mm": _position(case, index),
        "size": list(prediction.size),
        "class": classification.image_class if classification else None,
        "probabilities": _probabilities(classification),
        "logits": _logits(classification),
        "lesions": [_lesion(instance) for instance in prediction.instances],
        "areas": areas,
        "lung_px": None if quantities.lung_px is None else int(quantities.lung_px[index]),
        "share_of_lung": None if of_lung is None else _named(quantities.names, of_lung[index]),
    }


def _lesion(instance: Instance) -> dict[str, Any]:
    return {
        "class": instance.lesion_class,
        "score": _number(instance.score),
        "box": [_number(value) for value in instance.box],
        "area_px": instance.area_px,
        "area_mm2": _number(instance.area_mm2),
    }


def _sums(case: Case) -> dict[str, Any]:
    """Over all slices, for each name and of the lung.

    Slices that nothing says belong together have no share of a lung as a whole.
    """
    quantities = case.quantities
    known = quantities.lung_lesion_px is not None and case.scan is not None
    of_lung = shares(quantities) if known else np.full(len(quantities.names), np.nan)
    lesions = {}
    for column, name in enumerate(quantities.names):
        areas = None if quantities.areas_px is None else quantities.areas_px[:, column]
        lesions[name] = {
            "instances": int(quantities.instances[:, column].sum()),
            "area_px": None if areas is None else int(areas.sum()),
            "area_mm2": None if areas is None else _number((areas * quantities.pixel_mm2).sum()),
            "lesions_3d": _item(quantities.lesions, column),
            "volume_ml": _item(quantities.volumes_ml, column),
            "share_of_lung": _number(of_lung[column]),
        }
    return {
        "lesions": lesions,
        "lung_method": quantities.lung_method or None,
        "lung_volume_ml": _number(quantities.lung_volume_ml),
        "severity": None if np.isnan(of_lung[-1]) else severity(float(of_lung[-1])),
    }


def _item(values: np.ndarray | None, index: int) -> float | int | None:
    if values is None:
        return None
    return int(values[index]) if values.dtype.kind == "i" else _number(values[index])


def _position(case: Case, index: int) -> float | None:
    """In mm above the lowest slice; None if unknown."""
    return _number(index * case.scan.spacing[0]) if case.scan and case.scan.spacing else None


def _probabilities(classification: Classification | None) -> dict[str, float | None] | None:
    if classification is None:
        return None
    return _named(classification.class_names, classification.probabilities)


def _logits(classification: Classification | None) -> dict[str, float | None] | None:
    if classification is None or classification.logits is None:
        return None
    return _named(classification.class_names, classification.logits)


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: float | None) -> float | None:
    """With six decimals at most; None if there is none, or if it is NaN or infinite."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def _write_csv(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
