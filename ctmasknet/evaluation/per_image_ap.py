"""The papers' lesion AP: computed for each image, then averaged over images.

It is not COCO's AP, which pools the detections of all images. A detector that finds nothing
scores here the share of lesion-free images, so that value is reported beside it.

Shapes: D detections and G ground-truth lesions of one image, T IoU thresholds, I images, B sets of
weights.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from pycocotools.coco import COCO

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
    """Average precision of one image at each IoU threshold.

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
    """(D,) bool: which detections are taken by a lesion."""
    best = ious.argmax(axis=0)
    taken = best[ious.max(axis=0) > threshold]
    return np.isin(np.arange(len(ious)), taken)


def _all_point_ap(matched: np.ndarray, num_true: int) -> float:
    precision = matched.cumsum() / np.arange(1, len(matched) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall steps by 1/G at each match.
    return float(precision[matched].sum() / num_true)


class PerImageAPStatistic:
    """The metrics of the task "per_image_ap" as a function of the images' weights.

    AP50 and AP75 (where they are among the thresholds) and mAP over all images, the same with
    `_lesion_images` over those that have a lesion, and `silent_detector`, which a detector
    without any detection gets; all in [0, 1].
    """

    def __init__(self, values: np.ndarray, has_lesion: np.ndarray, thresholds: Sequence[float]):
        """Take (I, T) AP values, (I,) bool and the T thresholds."""
        self.has_lesion = np.asarray(has_lesion, dtype=bool)
        percent = [round(100 * t) for t in thresholds]
        self.columns = {f"AP{p}": values[:, percent.index(p)] for p in (50, 75) if p in percent}
        self.columns["mAP"] = values.mean(axis=1)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Weights (B, I) -> metric -> (B,); NaN where there is no image."""
        with_lesion = {
            f"{name}_lesion_images": np.where(self.has_lesion, column, np.nan)
            for name, column in self.columns.items()
        }
        columns = {**self.columns, **with_lesion, "silent_detector": 1.0 - self.has_lesion}
        return {name: weighted_mean(column, weights) for name, column in columns.items()}


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) means of the values (I,) that are not NaN, by weights (B, I); NaN where none is left."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return weights @ np.where(defined, values, 0.0) / (weights @ defined.astype(float))


def per_image_ap(
    lesions: LesionSet,
    score_thresh: float = SCORE_THRESH,
    min_area: int = MIN_LESION_AREA,
    max_detections: int = MAX_DETECTIONS,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> PerImageAPStatistic:
    """The papers' AP of a data set with masks.

    Args:
        lesions: truth and detections.
        score_thresh, min_area, max_detections, iou_thresholds: as for `PerImageAPEvaluator`.
    """

    def score(image: LesionImage) -> tuple[bool, np.ndarray]:
        count = min(int((image.scores > score_thresh).sum()), max_detections)
        large = np.flatnonzero(image.true_areas > min_area)
        return bool(large.size), _masks_ap(
            image.found_masks[:count],
            image.scores[:count],
            image.found_classes[:count],
            [image.true_masks[i] for i in large],
            image.true_classes[large],
            iou_thresholds,
        )

    has_lesion, values = zip(*map(score, lesions.images), strict=True)
    return PerImageAPStatistic(np.stack(values), np.array(has_lesion), iou_thresholds)


def _masks_ap(
    found: list[dict],
    scores: np.ndarray,
    found_classes: np.ndarray,
    true: list[dict],
    true_classes: np.ndarray,
    thresholds: Sequence[float],
) -> np.ndarray:
    """(T,) AP of one image from RLEs."""
    ious = mask_util.iou(found, true, [0] * len(true)) if found and true else np.empty((0, 0))
    return image_average_precision(ious, scores, found_classes, true_classes, thresholds)


class PerImageAPEvaluator(DatasetEvaluator):
    """The papers' AP50, AP75 and mAP of lesion masks on a COCO-format data set.

    Reports under the task "per_image_ap" what `PerImageAPStatistic` names.
    """

    def __init__(
        self,
        dataset_name: str,
        score_thresh: float = SCORE_THRESH,
        min_area: int = MIN_LESION_AREA,
        distributed: bool = True,
        iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
        max_detections: int = MAX_DETECTIONS,
    ):
        """Read the ground truth.

        Args:
            dataset_name: a registered COCO-format data set with RLE or polygon masks.
            score_thresh: detections must score above it; the papers' tables use 0.75.
            min_area: lesions of at most so many pixels are background, as in the papers.
            distributed: gather predictions from all processes.
            iou_thresholds: T values; an IoU must be strictly above.
            max_detections: so many with the highest scores count in an image.
        """
        self._metadata = MetadataCatalog.get(dataset_name)
        with contextlib.redirect_stdout(io.StringIO()):  # COCO prints while it reads
            self._truth = COCO(self._metadata.json_file)
        self._score_thresh = score_thresh
        self._min_area = min_area
        self._distributed = distributed
        self._thresholds = tuple(iou_thresholds)
        self._max_detections = max_detections
        self._logger = logging.getLogger(__name__)
        self._ap: dict[int, tuple[bool, np.ndarray]] = {}

    def reset(self) -> None:
        self._ap = {}

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Score a batch of images (pasted masks in the size of the ground truth)."""
        for sample, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            instances = instances[instances.scores > self._score_thresh]
            highest = instances.scores.argsort(descending=True, stable=True)
            instances = instances[highest[: self._max_detections]]
            self._ap[sample["image_id"]] = self._score(sample["image_id"], instances)

    def _score(self, image_id: int, instances: Instances) -> tuple[bool, np.ndarray]:
        lesions = [
            x
            for x in self._truth.imgToAnns[image_id]
            if x["area"] > self._min_area and not x.get("iscrowd")
        ]
        to_contiguous = self._metadata.thing_dataset_id_to_contiguous_id
        found = [
            mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
            for mask in instances.pred_masks.numpy()
        ]
        return bool(lesions), _masks_ap(
            found,
            instances.scores.numpy(),
            instances.pred_classes.numpy(),
            [self._truth.annToRLE(lesion) for lesion in lesions],
            np.array([to_contiguous[lesion["category_id"]] for lesion in lesions]),
            self._thresholds,
        )

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return {"per_image_ap": metrics}; an empty dict in all processes but the first."""
        parts = [self._ap]
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(self._ap, dst=0)
            if not comm.is_main_process():
                return {}
        ap = dict(itertools.chain.from_iterable(part.items() for part in parts))
        if not ap:
            raise ValueError(f"per-image AP: {self._metadata.name} gave no image to evaluate")
        has_lesion, values = zip(*ap.values(), strict=True)
        statistic = PerImageAPStatistic(np.stack(values), np.array(has_lesion), self._thresholds)
        metrics = {k: float(v[0]) for k, v in statistic(np.ones((1, len(ap)))).items()}
        self._logger.info(
            "per-image AP (the papers' metric, not COCO's): %s; a silent detector would get %.4f; "
            "mAP over the %d of %d images with lesions %.4f",
            ", ".join(f"{name} {metrics[name]:.4f}" for name in reversed(statistic.columns)),
            metrics["silent_detector"],
            sum(has_lesion),
            len(has_lesion),
            metrics["mAP_lesion_images"],
        )
        return {"per_image_ap": metrics}
