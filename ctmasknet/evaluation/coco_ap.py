"""COCO's AP of lesions, also of weighted images.

All values are in percent, as Detectron2 gives them.

Shapes: I images, K classes, T IoU thresholds, N detections of one class, B sets of weights.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .lesion_set import LesionSet
from .metric_names import metric_suffix

# Metric -> least and greatest area of a lesion, in pixels. Most lesions are small to COCO, hence
# the last two.
AREA_RANGES = {
    "AP": (0, 1e10),
    "APs": (0, 32**2),
    "APm": (32**2, 96**2),
    "APl": (96**2, 1e10),
    "AP_area_100_256": (100, 16**2),
    "AP_area_256_1024": (16**2, 32**2),
}
_AT = {"AP50": 0, "AP75": 5}  # index among COCO's IoU thresholds
COCO_MAX_DETECTIONS = 100


def run_coco(
    lesions: LesionSet,
    task: str,
    iou_thresholds: Sequence[float] | None = None,
    area_ranges: Sequence[tuple[float, float]] = tuple(AREA_RANGES.values()),
) -> COCOeval:
    """Match and accumulate with pycocotools; no detection is left out for the number of them.

    Args:
        lesions: truth and detections.
        task: "bbox" or "segm".
        iou_thresholds: T values; None takes COCO's ten.
        area_ranges: (least, greatest) areas in pixels, all areas first.
    """

    def area(detection: dict) -> float:  # as Detectron2: of the mask where masks are judged
        if task == "segm":
            return float(mask_util.area(detection["segmentation"]))
        return detection["bbox"][2] * detection["bbox"][3]

    detections = [
        {**x, "id": i, "iscrowd": 0, "area": area(x)}
        for i, x in enumerate(lesions.detections, start=1)
    ]
    truth, found = COCO(), COCO()
    # Copies, because COCOeval writes into annotations.
    truth.dataset = {**lesions.truth.dataset}
    truth.dataset["annotations"] = [{**x} for x in lesions.truth.dataset["annotations"]]
    found.dataset = {**lesions.truth.dataset, "annotations": detections}
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints what it does
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, task)
        evaluation.params.areaRng = [list(limits) for limits in area_ranges]
        most = max(len(image.scores) for image in lesions.images)
        evaluation.params.maxDets = [max(most, COCO_MAX_DETECTIONS)]
        if iou_thresholds is not None:
            evaluation.params.iouThrs = np.array(iou_thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def coco_metrics(evaluation: COCOeval, class_names: Sequence[str]) -> dict[str, float]:
    """Return AP, AP50, AP75, AP by area and, of several classes, AP and AP50 of each class.

    Args:
        evaluation: of `run_coco` with COCO's thresholds and all ranges of areas.
        class_names: K names.

    Returns:
        Metric -> percent; NaN where there is no lesion.
    """
    precision = evaluation.eval["precision"][..., 0]  # (T, recall, K, area)
    values = {"AP": precision[..., 0], **{name: precision[t, ..., 0] for name, t in _AT.items()}}
    values |= {name: precision[..., a] for a, name in enumerate(AREA_RANGES)}
    if len(class_names) > 1:
        for k, name in enumerate(map(metric_suffix, class_names)):
            values[f"AP_{name}"] = precision[:, :, k, 0]
            values[f"AP50_{name}"] = precision[_AT["AP50"], :, k, 0]
    defined = {name: value[value > -1] for name, value in values.items()}
    return {name: 100 * float(x.mean()) if x.size else math.nan for name, x in defined.items()}


def precision_recall(
    evaluation: COCOeval, class_names: Sequence[str]
) -> dict[str, dict[str, list[list[float]]]]:
    """Return class -> "AP50" and "AP75" -> [recall, precision] pairs, of classes with lesions."""
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (T, recall, K)
    recall = evaluation.params.recThrs
    return {
        name: {
            metric: np.stack([recall, precision[t, :, k]], axis=1).tolist()
            for metric, t in _AT.items()
        }
        for k, name in enumerate(class_names)
        if precision[0, 0, k] > -1
    }


@dataclass(frozen=True)
class Matches:
    """COCO's matches of one class in all images.

    Attributes:
        scores: (N,) falling; equal scores keep the order of the images' ids.
        images: (N,) index of the image in the lesion set.
        hits: (T, N) bool: the detection found a lesion.
        counted: (T, N) bool: False for a detection of a crowd, which is neither right nor wrong.
        lesions: (I,) number of lesions in each image.
    """

    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    counted: np.ndarray
    lesions: np.ndarray


def class_matches(evaluation: COCOeval, lesions: LesionSet) -> list[Matches]:
    """Return the matches of all K classes, of lesions of any area."""
    position = {image.image_id: i for i, image in enumerate(lesions.images)}
    count, areas = len(lesions.images), len(evaluation.params.areaRng)
    none = np.zeros((len(evaluation.params.iouThrs), 0))

    def of_class(k: int) -> Matches:
        start = k * areas * count  # by class, then area, then image
        found = [x for x in evaluation.evalImgs[start : start + count] if x]
        number = np.zeros(count)
        for x in found:
            number[position[x["image_id"]]] = np.count_nonzero(np.asarray(x["gtIgnore"]) == 0)
        scores = np.concatenate([none[0], *(x["dtScores"] for x in found)])
        order = np.argsort(-scores, kind="stable")
        images = [position[x["image_id"]] for x in found for _ in x["dtScores"]]
        matched, ignored = (
            np.concatenate([none, *(x[key] for x in found)], axis=1)[:, order] > 0
            for key in ("dtMatches", "dtIgnore")
        )
        images_by_score = np.array(images, dtype=np.int64)[order]
        return Matches(scores[order], images_by_score, matched & ~ignored, ~ignored, number)

    return [of_class(k) for k in range(len(lesions.class_names))]


class CocoStatistic:
    """AP, AP50, AP75 and, of several classes, AP and AP50 of each, of weighted images.

    An image of weight w counts as w copies of it. This is exact where the scores within an image
    differ; detections of equal score follow each other in another order than COCO's.

    Attributes:
        evaluation: COCO's, of all images.
    """

    def __init__(self, lesions: LesionSet, task: str):
        """Match detections.

        Args:
            lesions: truth and detections.
            task: "bbox" or "segm".
        """
        self.evaluation = evaluation = run_coco(lesions, task)
        self._class_names = lesions.class_names
        names = map(metric_suffix, lesions.class_names)
        self._suffixes = [f"_{name}" for name in names] if len(lesions.class_names) > 1 else []
        self._recalls = evaluation.params.recThrs
        self._classes = [
            # At each IoU the images of the detections that count, and which of these are hits.
            (
                m.lesions,
                [
                    (m.images[counted], np.flatnonzero(hits[counted]))
                    for hits, counted in zip(m.hits, m.counted, strict=True)
                ],
            )
            for m in class_matches(evaluation, lesions)
        ]
        self._present = [k for k, (number, _) in enumerate(self._classes) if number.any()] or [0]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric -> (B,) percent, from weights (B, I); NaN where there is no lesion.

        Means over classes are NaN, too, where a class that has lesions has none of weight: they
        would be means over other classes than the value.
        """
        ap = np.array([[self._ap(*one, w) for one in self._classes] for w in weights])  # (B, K, T)
        mean = ap[:, self._present].mean(axis=1)
        values = {"AP": mean.mean(axis=1), **{name: mean[:, t] for name, t in _AT.items()}}
        for k, suffix in enumerate(self._suffixes):
            values[f"AP{suffix}"] = ap[:, k].mean(axis=1)
            values[f"AP50{suffix}"] = ap[:, k, _AT["AP50"]]
        return values

    def metrics(self) -> dict[str, float]:
        """Return `coco_metrics` of all images: those by area have no weighted form."""
        return coco_metrics(self.evaluation, self._class_names)

    def _ap(self, lesions: np.ndarray, matches: list, weights: np.ndarray) -> list[float]:
        """Compute T values of one class as COCOeval.accumulate does, from the hits alone."""
        total = lesions @ weights
        if not total:
            return [math.nan] * len(matches)
        result = []
        for images, hits in matches:
            seen = np.cumsum(weights[images])[hits]
            found = np.cumsum(weights[images[hits]])
            precision = np.zeros(len(hits) + 1)
            precision[:-1] = found / (seen + np.spacing(1))
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(found / total, self._recalls)
            result.append(100 * precision[reached].mean())
        return result
