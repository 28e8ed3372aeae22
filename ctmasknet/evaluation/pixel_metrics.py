"""Dice, IoU and area of lesions: the union of predicted masks against the union of true masks.

Crowd annotations are no lesions. Shapes: I images, B sets of weights.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util

from ..atomic_write import atomic_write
from ..csv_cells import write_rows
from .bootstrap import point_values
from .lesion_set import LesionImage, LesionSet
from .metric_names import any_lesion, metric_suffix
from .per_image_ap import weighted_mean

PIXEL_SCORE_THRESH = 0.5
LIMITS_SD = 1.96  # Bland and Altman's 95 % limits of agreement


class PixelStatistic:
    """Metrics of pixels of weighted images.

    For any lesion (see `any_lesion`) and, of several classes, each class:
    dice, iou: mean over images that have predicted or true pixels.
    dice_present: mean over images that have true pixels.
    dice_all: mean over all images; one that is empty on both sides counts 1, as in MEDPSeg.
    precision, recall: mean over images that have predicted, or true, pixels.
    pooled_dice, pooled_iou, pooled_precision, pooled_recall: over the pixels of all images.
    area_bias: mean of predicted - true area, as a share of the image (not of the lung), over
        images that have predicted or true pixels; area_mae: mean of its absolute value.
    area_bias_px, area_mae_px: the same in pixels.
    area_loa_low, area_loa_high: bias -+ 1.96 standard deviations of the images.
    """

    def __init__(self, lesions: LesionSet, score_thresh: float | np.ndarray = PIXEL_SCORE_THRESH):
        """Measure masks that score at least score_thresh, one number or one for each image."""
        thresholds = np.broadcast_to(score_thresh, len(lesions.images))
        number = len(lesions.class_names)
        kinds = {any_lesion(lesions.class_names): range(number)}
        if number > 1:
            kinds |= {metric_suffix(x): range(k, k + 1) for k, x in enumerate(lesions.class_names)}
        # Suffix of any lesion, or of a class -> (3, I) true, predicted and common pixels.
        self.areas = {
            name: np.array(
                [
                    _areas(image, classes, thresh)
                    for image, thresh in zip(lesions.images, thresholds, strict=True)
                ]
            ).T
            for name, classes in kinds.items()
        }
        self.sizes = np.array([image.height * image.width for image in lesions.images])

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return <metric>_<class> -> (B,) from weights (B, I)."""
        values: dict[str, np.ndarray] = {}
        for name, areas in self.areas.items():
            measures = _overlap(*areas)
            measures["dice_present"] = np.where(areas[0] > 0, measures["dice"], np.nan)
            measures["dice_all"] = np.where(self.not_empty(name), measures["dice"], 1.0)
            of_images = {k: weighted_mean(x, weights) for k, x in measures.items()}
            pooled = _overlap(*(weights @ x for x in areas))
            found = of_images | {f"pooled_{k}": x for k, x in pooled.items()}
            kept = self.not_empty(name)
            found |= _area_errors((areas[1] - areas[0])[kept], self.sizes[kept], weights[:, kept])
            values |= {f"{metric}_{name}": x for metric, x in found.items()}
        return values

    def metrics(self) -> dict[str, float]:
        """Return all metrics, and images_empty_<class>: how many images are empty on both sides."""
        empty = {f"images_empty_{k}": int((~self.not_empty(k)).sum()) for k in self.areas}
        return point_values(self, len(self.sizes)) | empty

    def not_empty(self, name: str) -> np.ndarray:
        """Return (I,) bool: images with true or predicted pixels."""
        return self.areas[name][:2].sum(axis=0) > 0


def write_per_image(
    path: Path, lesions: LesionSet, pixels: PixelStatistic, columns: Mapping[str, np.ndarray]
) -> None:
    """Write a CSV with a line for each image: columns (I,) and, for each class, three areas."""
    columns = dict(columns)
    for name, areas in pixels.areas.items():
        for kind, values in zip(("true", "predicted", "overlap"), areas, strict=True):
            columns[f"{kind}_px_{name}"] = values.astype(int)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        rows = (
            [image.image_id, image.file_name, image.patient, image.scan, *row]
            for image, row in zip(lesions.images, values, strict=True)
        )
        write_rows(file, [["image_id", "file_name", "patient", "scan", *columns], *rows])


def _areas(image: LesionImage, classes: range, score_thresh: float) -> list[float]:
    """Return true, predicted and common pixels."""
    true = _union(image.true_masks, image.true_classes, classes)
    found = _union(
        image.found_masks[: (image.scores >= score_thresh).sum()], image.found_classes, classes
    )
    both = mask_util.merge([true, found], intersect=True) if true and found else None
    return [float(mask_util.area(x)) if x else 0.0 for x in (true, found, both)]


def _union(masks: list[dict], labels: np.ndarray, classes: range) -> dict | None:
    chosen = [mask for mask, label in zip(masks, labels, strict=False) if label in classes]
    return mask_util.merge(chosen) if chosen else None


def _overlap(true: np.ndarray, found: np.ndarray, both: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore"):
        return {
            "dice": 2 * both / (true + found),
            "iou": both / (true + found - both),
            "precision": both / found,
            "recall": both / true,
        }


def _area_errors(
    pixels: np.ndarray, sizes: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    error = pixels / sizes
    bias, count = weighted_mean(error, weights), weights.sum(axis=1)
    squares = np.array([w @ (error - b) ** 2 for w, b in zip(weights, bias, strict=True)])
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(squares / (count - 1))
    return {
        "area_bias": bias,
        "area_mae": weighted_mean(abs(error), weights),
        "area_bias_px": weighted_mean(pixels, weights),
        "area_mae_px": weighted_mean(abs(pixels), weights),
        "area_loa_low": bias - LIMITS_SD * deviation,
        "area_loa_high": bias + LIMITS_SD * deviation,
    }
