"""The papers' lesion AP: computed for each image, then averaged over images.

It is not COCO's AP, which pools the detections of all images. A detector that finds nothing
scores here the share of lesion-free images, so that value is reported beside it.

Shapes: D detections and G ground-truth lesions of one image, T IoU thresholds, I images, B sets of
weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util

from ..data.classes import MIN_LESION_AREA
from .lesion_set import LesionImage, LesionSet

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
SCORE_THRESH = 0.75  # of the papers' tables
MAX_DETECTIONS = 128


def image_average_precision(
    ious: np.ndarray,
    scores: np.ndarray,
    detected_classes: np.ndarray,
    true_classes: np.ndarray,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> np.ndarray:
    """Compute the average precision of one image at each IoU threshold.

    In turn each lesion takes, among the detections of its class with an IoU above the threshold,
    the one with the highest IoU (of equal ones the highest score); then all-point interpolation
    over detections by score, classes pooled. An image with neither lesion nor detection scores 1,
    with only one of them 0.

    Args:
        ious: (D, G) IoU of masks, in [0, 1].
        scores: (D,).
        detected_classes: (D,) int.
        true_classes: (G,) int.
        thresholds: T values; an IoU must be strictly above.

    Returns:
        (T,) float64 in [0, 1].
    """
    if len(scores) == 0 or len(true_classes) == 0:
        return np.full(len(thresholds), float(len(scores) == len(true_classes)))
    order = np.argsort(-np.asarray(scores), kind="stable")
    same_class = np.asarray(detected_classes)[order, None] == np.asarray(true_classes)[None]
    ious = np.where(same_class, np.asarray(ious)[order], -1.0)
    return np.array([_all_point_ap(_matched(ious, t), ious.shape[1]) for t in thresholds])


def _matched(ious: np.ndarray, threshold: float) -> np.ndarray:
    """Return (D,) bool: the detections that a lesion takes."""
    best = ious.argmax(axis=0)
    taken = best[ious.max(axis=0) > threshold]
    return np.isin(np.arange(len(ious)), taken)


def _all_point_ap(matched: np.ndarray, num_true: int) -> float:
    precision = matched.cumsum() / np.arange(1, len(matched) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall steps by 1/G at each match.
    return float(precision[matched].sum() / num_true)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (B,) means of values (I,) without NaN, by weights (B, I); NaN where none is left."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return weights @ np.where(defined, values, 0.0) / (weights @ defined.astype(float))


class PerImageAPStatistic:
    """The papers' AP of lesion masks as a function of the images' weights.

    AP50 and AP75 (where they are among the thresholds) and mAP over all images, the same with
    `_lesion_images` over those that have a lesion, and `silent_detector`, what a detector without
    any detection gets; all in [0, 1].

    Attributes:
        columns: "AP50", "AP75" and "mAP" -> (I,).
    """

    def __init__(
        self,
        lesions: LesionSet,
        score_thresh: float = SCORE_THRESH,
        min_area: int = MIN_LESION_AREA,
        max_detections: int = MAX_DETECTIONS,
        iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    ):
        """Compute the AP of each image.

        Args:
            lesions: truth and detections with masks.
            score_thresh: detections must score above it; the papers' tables use 0.75.
            min_area: lesions of at most so many pixels are background, as in the papers.
            max_detections: so many with the highest scores count in an image.
            iou_thresholds: T values; an IoU must be strictly above.
        """

        def score(image: LesionImage) -> tuple[bool, np.ndarray]:
            count = min(int((image.scores > score_thresh).sum()), max_detections)
            large = np.flatnonzero(image.true_areas > min_area)
            true, found = [image.true_masks[i] for i in large], image.found_masks[:count]
            ious = (
                mask_util.iou(found, true, [0] * len(true)) if found and true else np.empty((0, 0))
            )
            return bool(large.size), image_average_precision(
                ious,
                image.scores[:count],
                image.found_classes[:count],
                image.true_classes[large],
                iou_thresholds,
            )

        has_lesion, values = map(np.array, zip(*map(score, lesions.images), strict=True))
        self._has_lesion = has_lesion
        percent = [round(100 * t) for t in iou_thresholds]
        self.columns = {f"AP{p}": values[:, percent.index(p)] for p in (50, 75) if p in percent}
        self.columns["mAP"] = values.mean(axis=1)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric -> (B,), from weights (B, I); NaN where there is no image."""
        with_lesion = {
            f"{name}_lesion_images": np.where(self._has_lesion, column, np.nan)
            for name, column in self.columns.items()
        }
        columns = {**self.columns, **with_lesion, "silent_detector": 1.0 - self._has_lesion}
        return {name: weighted_mean(column, weights) for name, column in columns.items()}
