"""From lesions and detections to numbers, figures and results.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode

from ..atomic_write import atomic_files
from ..data.classes import MIN_LESION_AREA
from .bootstrap import RESAMPLES, SEED, group_indices, interval_warnings
from .coco_ap import precision_recall
from .froc import FROC_IOU
from .lesion_figures import save_bland_altman, save_froc, save_precision_recall
from .lesion_set import LesionSet
from .per_image_ap import IOU_THRESHOLDS, MAX_DETECTIONS, SCORE_THRESH
from .pixel_metrics import PIXEL_SCORE_THRESH, write_per_image
from .results import DETECTIONS, GROUND_TRUTH, RESULTS, read_results, write_results
from .scan_lesions import ScanSet, group_scans
from .tasks import Measured, describe_intervals, measure

PER_IMAGE = "per_image.csv"


@dataclass(frozen=True)
class LesionReportSettings:
    """What the numbers depend on."""

    # Per-image AP; COCO's AP and the others see all lesions and detections.
    score_thresh: float = SCORE_THRESH  # detections score above it; 0.75 in the papers' tables
    min_area: int = MIN_LESION_AREA  # lesions of at most so many pixels are background
    max_detections: int = MAX_DETECTIONS  # so many with the highest scores count in an image
    iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS  # an IoU must be strictly above
    pixel_score_thresh: float = PIXEL_SCORE_THRESH  # detections score at least it
    froc_iou: float = FROC_IOU  # a lesion is found at this IoU or more
    resamples: int = RESAMPLES  # of the bootstrap; 0 computes no intervals
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 0 < self.froc_iou <= 1 or not self.iou_thresholds or self.resamples < 0:
            raise ValueError(
                f"froc_iou is {self.froc_iou}, iou_thresholds are {self.iou_thresholds}, resamples "
                f"are {self.resamples}: expected 0 < froc_iou <= 1, one threshold or more, and 0 "
                "resamples or more"
            )

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "LesionReportSettings":
        """Return the settings of a run."""
        return cls(
            score_thresh=cfg.TEST.PER_IMAGE_AP_SCORE_THRESH,
            min_area=cfg.INPUT.MIN_LESION_AREA,
            pixel_score_thresh=cfg.TEST.PIXEL_SCORE_THRESH,
            resamples=cfg.TEST.BOOTSTRAP_RESAMPLES,
        )


def measure_lesions(
    lesions: LesionSet, settings: LesionReportSettings, training: bool = False
) -> dict[str, Measured]:
    """Return task -> its statistic on a set of lesions; `training` as in `measure`.

    Tasks of scans are there where all slices tell their scan and place (see `group_scans`).
    """
    samples: dict[str, tuple] = {"image": (lesions, settings)}
    if isinstance(scans := group_scans(lesions), ScanSet):
        samples["scan"] = (scans, settings)
    return measure("lesions", samples, lesions.masks, training)


def report_lesions(
    lesions: LesionSet, output: Path, settings: LesionReportSettings, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write results.json, per_image.csv, ground_truth.json, the detections and the figures.

    All of them or none. Detections are written as coco_instances_results.json, unless they were
    read from there. With ground_truth.json they are all that is needed to compute everything again.
    `about` is recorded, too (model, command, ...). Returns the content of results.json. A
    ValueError: the folder holds one of several files of detections, which would be lost.
    """
    measured = measure_lesions(lesions, settings)
    metrics = {task: one.metrics() for task, one in measured.items()}
    unit = "patient" if lesions.has_patients else "slice"
    about = {
        **about,
        "kind": "lesions",
        "classes": list(lesions.class_names),
        "dataset": {**about.get("dataset", {}), **_dataset(lesions)},
        "detections": len(lesions.detections),
        "intervals": describe_intervals(measured, unit, settings.resamples, settings.seed),
        "settings": asdict(settings),
        "warnings": _warnings(lesions, settings),
    }
    with atomic_files(output, last=RESULTS) as partial:
        _write_files(lesions, partial, output)
        curves = _draw(lesions, measured, metrics, settings, partial)
        write_results(partial / RESULTS, metrics, **about, curves=curves)
    return read_results(output / RESULTS)


def _draw(
    lesions: LesionSet,
    measured: Mapping[str, Measured],
    metrics: Mapping[str, Mapping[str, float]],
    settings: LesionReportSettings,
    output: Path,
) -> dict[str, Any]:
    """Write figures and per_image.csv; return the curves."""
    statistics: dict[str, Any] = {task: one.statistic for task, one in measured.items()}
    names, judged = lesions.class_names, "segm" if lesions.masks else "bbox"
    curves = statistics["froc"].curves()
    save_froc(output / "froc.png", curves, names, settings.froc_iou, judged)
    if "lesion_3d" in statistics:
        curves["lesion_3d"] = statistics["lesion_3d"].curve()
    found = precision_recall(statistics[judged].evaluation, names)
    save_precision_recall(output / "precision_recall.png", found, judged)
    if lesions.masks:
        pixels, columns = statistics["pixel"], statistics["per_image_ap"].columns
        save_bland_altman(output / "bland_altman.png", pixels, metrics["pixel"], names)
        write_per_image(output / PER_IMAGE, lesions, pixels, columns)
    return {**curves, "precision_recall": found}


def _write_files(lesions: LesionSet, partial: Path, output: Path) -> None:
    """Write what comes from `partial` to `output`, but for detections that were read there."""
    target = output / DETECTIONS
    sources = [path.resolve() for path in lesions.detection_paths]
    if target.resolve() in sources and len(sources) > 1:
        raise ValueError(f"{target} is one of several files of detections: use another folder")
    files: dict[str, Any] = {GROUND_TRUTH: lesions.truth.dataset}
    if target.resolve() not in sources:
        files[DETECTIONS] = lesions.detections
    for name, content in files.items():
        (partial / name).write_text(json.dumps(content), encoding="utf-8")


def _dataset(lesions: LesionSet) -> dict[str, Any]:
    labels = np.concatenate([image.true_classes for image in lesions.images])
    counts = np.bincount(labels, minlength=len(lesions.class_names)).tolist()
    return {
        "fingerprint": lesions.fingerprint(),
        "images": len(lesions.images),
        "lesion_images": sum(bool(image.true_masks) for image in lesions.images),
        "patients": len(set(lesions.patients)) if lesions.has_patients else None,
        "lesions": dict(zip(lesions.class_names, counts, strict=True)),
    }


def _warnings(lesions: LesionSet, settings: LesionReportSettings) -> list[str]:
    unknown = sum(not image.patient for image in lesions.images)
    warnings = []
    if unknown:
        missing = f"{unknown} of the {len(lesions.images)} images have no patient id"
        warnings.append(
            f"{missing if lesions.has_patients else 'no patient ids'}: intervals take such slices "
            "as independent and are too narrow where patients have several"
        )
    if not lesions.masks:
        warnings.append("boxes only: the detections have no masks, so nothing is said of masks")
    if isinstance(problem := group_scans(lesions), str) and problem:
        warnings.append(f"nothing is said of lesions in three dimensions: {problem}")
    if settings.resamples:
        warnings += interval_warnings(group_indices(lesions.patients))
    return warnings
