"""The papers' lesion AP: computed for each image, then averaged over images.

It is not COCO's AP, which pools the detections of all images. A detector that finds nothing
scores here the share of lesion-free images, so that value is reported beside it.

Shapes: D detections and G ground-truth lesions of one image, T IoU thresholds.
"""

import contextlib
import io
import itertools
import logging
from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from pycocotools.coco import COCO

from ..data.classes import MIN_LESION_AREA

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2))


def image_average_precision(
    ious: np.ndarray,
    scores: np.ndarray,
    detected_classes: np.ndarray,
    true_classes: np.ndarray,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> np.ndarray:
    """Average precision of one image at each IoU threshold.

    In turn each lesion takes, among the detections of its class with an IoU above the threshold,
    the one with the highest IoU; then all-point interpolation over detections by score, classes
    pooled. An image with neither lesion nor detection scores 1, with only one of them 0.

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


class PerImageAPEvaluator(DatasetEvaluator):
    """The papers' AP50, AP75 and mAP of lesion masks on a COCO-format data set.

    Reports under the task "per_image_ap": AP50, AP75, mAP (over all images), the same three with
    `_lesion_images` (over images that have a lesion) and `silent_detector` (the value a detector
    without any detection gets), all in [0, 1].
    """

    def __init__(
        self,
        dataset_name: str,
        score_thresh: float = 0.75,
        min_area: int = MIN_LESION_AREA,
        distributed: bool = True,
    ):
        """Read the ground truth.

        Args:
            dataset_name: a registered COCO-format data set with RLE or polygon masks.
            score_thresh: detections must score above it; the papers' tables use 0.75.
            min_area: lesions of at most so many pixels are background, as in the papers.
            distributed: gather predictions from all processes.
        """
        self._metadata = MetadataCatalog.get(dataset_name)
        with contextlib.redirect_stdout(io.StringIO()):  # COCO prints while it reads
            self._truth = COCO(self._metadata.json_file)
        self._score_thresh = score_thresh
        self._min_area = min_area
        self._distributed = distributed
        self._logger = logging.getLogger(__name__)
        self._ap: dict[int, tuple[bool, np.ndarray]] = {}

    def reset(self) -> None:
        self._ap = {}

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Score a batch of images (pasted masks in the size of the ground truth)."""
        for sample, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            instances = instances[instances.scores > self._score_thresh]
            self._ap[sample["image_id"]] = self._score(sample["image_id"], instances)

    def _score(self, image_id: int, instances) -> tuple[bool, np.ndarray]:
        lesions = [x for x in self._truth.imgToAnns[image_id] if x["area"] > self._min_area]
        to_contiguous = self._metadata.thing_dataset_id_to_contiguous_id
        found = [
            mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
            for mask in instances.pred_masks.numpy()
        ]
        true = [self._truth.annToRLE(lesion) for lesion in lesions]
        ious = mask_util.iou(found, true, [0] * len(true)) if found and true else np.empty((0, 0))
        ap = image_average_precision(
            ious,
            instances.scores.numpy(),
            instances.pred_classes.numpy(),
            np.array([to_contiguous[lesion["category_id"]] for lesion in lesions]),
        )
        return bool(lesions), ap

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
        has_lesion = np.array([lesion for lesion, _ in ap.values()])
        values = np.stack([value for _, value in ap.values()])
        metrics = {**_summary(values), "silent_detector": float(1 - has_lesion.mean())}
        metrics |= {f"{k}_lesion_images": v for k, v in _summary(values[has_lesion]).items()}
        self._logger.info(
            "per-image AP (the papers' metric, not COCO's): mAP %.4f, AP50 %.4f; a silent "
            "detector would get %.4f; mAP over the %d of %d images with lesions %.4f",
            metrics["mAP"],
            metrics["AP50"],
            metrics["silent_detector"],
            has_lesion.sum(),
            len(has_lesion),
            metrics["mAP_lesion_images"],
        )
        return {"per_image_ap": metrics}


def _summary(values: np.ndarray) -> dict[str, float]:
    """AP50, AP75, mAP of (images, T) values; NaN where there is no image."""
    mean = values.mean(axis=0) if len(values) else np.full(len(IOU_THRESHOLDS), np.nan)
    return {"AP50": float(mean[0]), "AP75": float(mean[5]), "mAP": float(mean.mean())}
