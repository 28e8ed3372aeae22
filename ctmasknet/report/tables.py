"""What is known of a case as result.json, lesions.csv, outlines.csv and ranked_boxes.csv.

Numbers have at most six decimals. What is unknown is null, or empty in CSV. Slices count from 0 at
the lowest, positions are in mm above it, boxes in pixels.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..atomic_write import atomic_write
from ..csv_cells import write_rows
from ..inference.predictions import Classification, Instance
from ..quantification.case import Case
from ..quantification.lesion_measures import Lesion
from ..quantification.lobes import LOBES, lobe_score
from ..quantification.quantify import Quantities, lobe_shares, severity, shares, slice_shares
from ..wording import NOTICE

_BOX = ("x0", "y0", "x1", "y1")
LESION_COLUMNS = (
    *("lesion_id", "class", "score", "voxels", "volume_ml", "diameter_mm", "largest_slice"),
    *("first_slice", "last_slice", "mean_hu", "min_hu", "side", "lobe"),
)
_ATTRIBUTES = {"class": "lesion_class"}
OUTLINE_COLUMNS = ("slice", "file", "position_mm", "class", "score", *_BOX, "area_px", "area_mm2")
RANKED_BOX_COLUMNS = ("slice", "file", "rank", "lesion_class", "score", *_BOX)


def result_json(case: Case) -> dict[str, Any]:
    """Return everything but masks and ranked boxes, in plain types.

    "kind" is "scan" or "slices". Of loose slices "patient", "scan", "spacing_mm", "class",
    "probabilities", "aggregation" and "lesions" are null, as are volumes, shares and severity.
    """
    scan = case.scan
    spacing = scan.spacing if scan else None
    classification = scan.classification if scan else None
    return {
        "notice": NOTICE,
        "name": case.name,
        "input": case.source,
        "kind": "scan" if scan else "slices",
        "patient": scan.patient if scan else None,
        "scan": scan.scan if scan else None,
        "spacing_mm": _named("zyx", spacing),
        **_answer(classification),
        "aggregation": scan.rule if scan and classification else None,
        "quantities": _sums(case),
        "lesions": None if case.lesions is None else [_lesion(x) for x in case.lesions],
        "slices": _slices(case),
        "notes": list(case.notes),
        "problems": list(case.problems),
        "about": dict(case.about),
    }


def write_result(path: str | os.PathLike, case: Case) -> None:
    """Write `result_json` as UTF-8 JSON, whole or not at all."""
    text = json.dumps(result_json(case), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_lesions(path: str | os.PathLike, lesions: Sequence[Lesion]) -> None:
    """Write a CSV with LESION_COLUMNS and a line for each lesion of a scan, the largest first."""
    _write_csv(path, LESION_COLUMNS, [list(_lesion(x).values()) for x in lesions])


def write_outlines(path: str | os.PathLike, case: Case) -> None:
    """Write a CSV with OUTLINE_COLUMNS and a line for each instance, best first on each slice.

    Where lesions in three dimensions are known, lesion_id is the last column; see `Quantities`.
    """
    rows = []
    for index, prediction in enumerate(case.slices):
        place = _number(position_mm(case, index))
        for instance, lesion_id in zip(prediction.instances, _ids(case, index), strict=True):
            name, score, box, *areas = _outline(instance).values()
            row = [index, prediction.source, place, name, score, *box, *areas]
            rows.append(row if case.lesions is None else [*row, lesion_id])
    known = () if case.lesions is None else ("lesion_id",)
    _write_csv(path, [*OUTLINE_COLUMNS, *known], rows)


def write_ranked_boxes(path: str | os.PathLike, case: Case) -> None:
    """Write a CSV with a line for each different ranked box, best first (rank 1) on each slice.

    RANKED_BOX_COLUMNS are followed by contribution_<class> for each image class and, of an image
    head that weighs its boxes, attention.
    """
    if not case.image_classes:
        raise ValueError(
            f"{case.source}: found no ranked boxes: the model classifies no images; use a "
            "CT-Mask-Net"
        )
    rows = []
    for index, prediction in enumerate(case.slices):
        if (table := prediction.ranked_boxes) is None:
            continue
        numbers = np.column_stack([table.scores, table.boxes, table.contributions])
        if table.attention is not None:
            numbers = np.column_stack([numbers, table.attention])
        for rank, (name, values) in enumerate(zip(table.lesion_classes, numbers, strict=True), 1):
            rows.append([index, prediction.source, rank, name, *map(_number, values)])
    names = [f"contribution_{name}" for name in case.image_classes]
    if any(x.ranked_boxes and x.ranked_boxes.attention is not None for x in case.slices):
        names.append("attention")
    _write_csv(path, [*RANKED_BOX_COLUMNS, *names], rows)


def position_mm(case: Case, index: int) -> float | None:
    """Return how far a slice lies above the lowest, in mm; None if unknown."""
    return index * case.scan.spacing[0] if case.scan and case.scan.spacing else None


def total_area(quantities: Quantities, column: int) -> tuple[int | None, float | None]:
    """Return the pixels and mm2 of a name's lesions over all slices, None if unknown."""
    if quantities.areas_px is None:
        return None, None
    areas = quantities.areas_px[:, column]
    return int(areas.sum()), float((areas * quantities.pixel_mm2).sum())


def lung_shares(case: Case) -> np.ndarray | None:
    """Return the share of the lung that each name covers; None without a lung or a scan."""
    if case.scan is None or case.quantities.lung_lesion_px is None:
        return None
    found = shares(case.quantities)
    return None if np.isnan(found).any() else found


def lobe_scores(case: Case) -> list[int] | None:
    """Return the score of each lobe, in the order of LOBES; None if lobes are not known."""
    if case.quantities.lobe_lesion_px is None:
        return None
    return [lobe_score(float(share)) for share in lobe_shares(case.quantities)[:, -1]]


def lobe_volumes_ml(case: Case) -> np.ndarray | None:
    """Return the volume of each lobe, (5,) float64; None if unknown."""
    px, spacing = case.quantities.lobe_px, case.scan.spacing if case.scan else None
    return None if px is None or spacing is None else px * float(np.prod(spacing)) / 1000


def _slices(case: Case) -> list[dict[str, Any]]:
    quantities = case.quantities
    known = quantities.lung_lesion_px is not None
    of_lung = slice_shares(quantities) if known else [None] * len(case.slices)
    slices = []
    for index, prediction in enumerate(case.slices):
        answer, areas = prediction.classification, None
        if quantities.areas_px is not None:
            areas = {
                name: {"px": int(px), "mm2": _number(px * quantities.pixel_mm2[index])}
                for name, px in zip(quantities.names, quantities.areas_px[index], strict=True)
            }
        slices.append(
            {
                "index": index,
                "file": prediction.source or None,
                "position_mm": _number(position_mm(case, index)),
                "size": list(prediction.size),
                "searched": prediction.searched,
                "field": list(prediction.field) if prediction.field else None,
                **_answer(answer),
                "logits": _named(answer.class_names, answer.logits) if answer else None,
                "lesions": [
                    {**_outline(instance), "lesion_id": lesion_id}
                    for instance, lesion_id in zip(
                        prediction.instances, _ids(case, index), strict=True
                    )
                ],
                "areas": areas,
                "lung_px": None if quantities.lung_px is None else int(quantities.lung_px[index]),
                "share_of_lung": _named(quantities.names, of_lung[index]),
            }
        )
    return slices


def _lesion(lesion: Lesion) -> dict[str, Any]:
    """Return what is known of a lesion, in the order of LESION_COLUMNS."""
    values = ((name, getattr(lesion, _ATTRIBUTES.get(name, name))) for name in LESION_COLUMNS)
    return {name: _number(x) if isinstance(x, float) else x for name, x in values}


def _ids(case: Case, index: int) -> Sequence[int | None]:
    """Return the lesion of each instance of a slice: None without one of its own, or unknown."""
    if case.lesions is None:
        return [None] * len(case.slices[index].instances)
    return [lesion_id or None for lesion_id in case.quantities.lesion_ids[index]]


def _outline(instance: Instance) -> dict[str, Any]:
    return {
        "class": instance.lesion_class,
        "score": _number(instance.score),
        "box": [_number(value) for value in instance.box],
        "area_px": instance.area_px,
        "area_mm2": _number(instance.area_mm2),
    }


def _sums(case: Case) -> dict[str, Any]:
    """Return the sums over all slices, for each name and of the lung."""
    quantities = case.quantities
    of_lung = lung_shares(case)
    lesions = {}
    for column, name in enumerate(quantities.names):
        px, mm2 = total_area(quantities, column)
        count, volumes = quantities.lesion_counts, quantities.volumes_ml
        lesions[name] = {
            "instances": int(quantities.instances[:, column].sum()),
            "area_px": px,
            "area_mm2": _number(mm2),
            "lesions_3d": None if count is None else int(count[column]),
            "volume_ml": None if volumes is None else _number(volumes[column]),
            "share_of_lung": None if of_lung is None else _number(of_lung[column]),
        }
    return {
        "lesions": lesions,
        "lung_method": quantities.lung_method or None,
        "lung_volume_ml": _number(quantities.lung_volume_ml),
        "severity": None if of_lung is None else severity(float(of_lung[-1])),
        **_lobes(case),
    }


def _lobes(case: Case) -> dict[str, Any]:
    """Return what is known of the lobes, and the CT score of Pan et al."""
    scores = lobe_scores(case)
    if scores is None:
        return {"lobes": None, "ct_score": None}
    of_lobes, volumes = lobe_shares(case.quantities), lobe_volumes_ml(case)
    lobes = {
        name: {
            "volume_ml": None if volumes is None else _number(volumes[index]),
            "share_of_lobe": _named(case.quantities.names, of_lobes[index]),
            "score": scores[index],
        }
        for index, name in enumerate(LOBES)
    }
    return {"lobes": lobes, "ct_score": sum(scores)}


def _answer(found: Classification | None) -> dict[str, Any]:
    if found is None:
        return {"class": None, "probabilities": None}
    return {
        "class": found.image_class,
        "probabilities": _named(found.class_names, found.probabilities),
    }


def _named(names: Sequence[str], values: Iterable[float] | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: float | None) -> float | None:
    """Round to six decimals; None stays, NaN and infinity become it."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def _write_csv(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        write_rows(file, [columns, *rows])
