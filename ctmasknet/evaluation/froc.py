"""FROC: sensitivity for lesions at numbers of false positives per slice.

Detections are matched by COCO's rule: at falling score each takes the free lesion of its class with
the highest IoU. All slices count, also those without lesions.

Shapes: I images, N detections, B sets of weights.
"""

from __future__ import annotations

import numpy as np

from .coco_ap import AREA_RANGES, Matches, class_matches, run_coco
from .lesion_set import LesionSet
from .metric_names import metric_suffix

FROC_IOU = 0.5
RATES = {"1_8": 1 / 8, "1_4": 1 / 4, "1_2": 1 / 2, "1": 1, "2": 2, "4": 4, "8": 8}
CURVE_POINTS = 200


class FrocStatistic:
    """Sensitivities at false positives per slice as a function of the images' weights.

    sensitivity_<rate>_fp is the highest sensitivity whose false positives per slice do not exceed
    the rate. Detections with the same score are taken together. sensitivity_mean is the mean over
    the rates. Of several classes each has its own values beside those that pool the lesions of all
    classes. In [0, 1].
    """

    def __init__(self, lesions: LesionSet, iou: float = FROC_IOU):
        """Match detections, masks where there are any and else boxes, at an IoU of at least iou."""
        task = "segm" if lesions.masks else "bbox"
        classes = class_matches(run_coco(lesions, task, [iou], [AREA_RANGES["AP"]]), lesions)
        self._curves = {"": _Curve(classes)}
        if len(classes) > 1:
            for name, matches in zip(lesions.class_names, classes, strict=True):
                self._curves[f"_{metric_suffix(name)}"] = _Curve([matches])

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric -> (B,), from weights (B, I); NaN where there is no lesion."""
        values = {}
        for suffix, curve in self._curves.items():
            sensitivity = np.array([curve.at_rates(w) for w in weights])
            for name, column in zip(RATES, sensitivity.T, strict=True):
                values[f"sensitivity_{name}_fp{suffix}"] = column
            values[f"sensitivity_mean{suffix}"] = sensitivity.mean(axis=1)
        return values

    def curves(self) -> dict[str, list[list[float]]]:
        """Return "froc" and, of several classes, "froc_<class>" -> points of a curve.

        Points are [false positives per slice, sensitivity] where sensitivity rises, and the ends;
        there are none without lesions.
        """
        return {f"froc{suffix}": curve.thinned() for suffix, curve in self._curves.items()}


class _Curve:
    """Detections of some classes by falling score."""

    def __init__(self, classes: list[Matches]):
        scores = np.concatenate([m.scores for m in classes])
        order = np.argsort(-scores, kind="stable")
        self._images = np.concatenate([m.images for m in classes])[order]
        self._hits = np.concatenate([m.hits[0] for m in classes])[order]
        self._misses = np.concatenate([m.counted[0] & ~m.hits[0] for m in classes])[order]
        self._ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # of equal scores
        self._lesions = np.sum([m.lesions for m in classes], axis=0)

    def points(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """False positives per slice and sensitivity, from no detection to all."""
        each = weights[self._images]
        hits, misses = (
            np.append(0.0, np.cumsum(each * chosen)[self._ends])
            for chosen in (self._hits, self._misses)
        )
        with np.errstate(invalid="ignore"):
            return misses / weights.sum(), hits / (self._lesions @ weights)

    def at_rates(self, weights: np.ndarray) -> np.ndarray:
        false_positives, sensitivity = self.points(weights)
        rates = list(RATES.values())
        return sensitivity[np.searchsorted(false_positives, rates, side="right") - 1]

    def thinned(self) -> list[list[float]]:
        x, y = self.points(np.ones(len(self._lesions)))
        if np.isnan(y[0]):
            return []
        kept = np.unique([0, *np.flatnonzero(np.diff(y)) + 1, len(y) - 1])
        if len(kept) > CURVE_POINTS:
            kept = kept[np.linspace(0, len(kept) - 1, CURVE_POINTS).round().astype(int)]
        return np.stack([x[kept], y[kept]], axis=1).tolist()
