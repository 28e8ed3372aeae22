"""Detections of another convention than the truth: boxes as corners, classes of other numbers."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO

logger = logging.getLogger(__name__)
_TOLERANCE = 1.0  # px beyond the image, by rounding and conventions
_MEETS = 0.5  # IoU of a detection with its lesion
_WARN_ABOVE = 0.3  # mean of the best IoUs with lesions


def check_boxes(path: Path, detections: Sequence[dict], truth: COCO) -> None:
    """Look for boxes that are all corners x0, y0, x1, y1 within their images.

    Args:
        path: the file, for messages.
        detections: in COCO's result format, some with "bbox".
        truth: the images and their lesions.

    Raises:
        ValueError: read as COCO's, one of them reaches beyond its image. Where none does, but
            corners meet the lesions better, that is said as a warning.
    """
    stated = [x for x in detections if "bbox" in x]
    if not stated:
        return
    boxes = np.array([x["bbox"] for x in stated])  # (N, 4)
    images = [truth.imgs[x["image_id"]] for x in stated]
    limits = np.array([[x["width"], x["height"]] for x in images]) + _TOLERANCE
    first, last = boxes[:, :2], boxes[:, 2:]
    if not ((last > first) & (last <= limits)).all():
        return
    found = f"{path}: all bboxes fit as corners (x0, y0, x1, y1)"
    told = "write x, y, width, height"
    if beyond := np.flatnonzero((first + last > limits).any(axis=1)).tolist():
        worst = stated[beyond[0]]
        raise ValueError(
            f"{found}, while {len(beyond)} of {len(boxes)} reach beyond their images as x, y, "
            f"width, height, as {worst['bbox']} of image {worst['image_id']!r}: {told}"
        )
    as_corners = np.hstack([first, last - first])
    met, met_as_corners = (_mean_best_iou(stated, x, truth) for x in (boxes, as_corners))
    if met_as_corners > max(_WARN_ABOVE, 2 * met):
        logger.warning(
            "%s and then meet the lesions at a mean IoU of %.2f, not %.2f: %s if they are corners",
            *(found, met_as_corners, met, told),
        )


def check_classes(path: Path, detections: Sequence[dict], truth: COCO) -> None:
    """Say so if most detections of lesions are of another class, as by other numbers of classes.

    Args:
        path: the file, for messages.
        detections: in COCO's result format, with "bbox" and the truth's category ids.
        truth: the images and their lesions.
    """
    met = others = 0
    for detection in detections:
        if lesions := truth.imgToAnns[detection["image_id"]]:
            boxes = np.array([x["bbox"] for x in lesions])
            ious = mask_util.iou(np.array([detection["bbox"]]), boxes, [0] * len(lesions))[0]
            if ious.max() >= _MEETS:
                met += 1
                others += lesions[int(ious.argmax())]["category_id"] != detection["category_id"]
    if others > met / 2:
        names = ", ".join(f"{key} {x['name']}" for key, x in sorted(truth.cats.items()))
        logger.warning(
            "%s: %d of %d detections that meet a lesion are of another class: if their classes are "
            "not numbered as in the ground truth (%s), give a dictionary with its own categories",
            *(path, others, met, names),
        )


def _mean_best_iou(detections: Sequence[dict], boxes: np.ndarray, truth: COCO) -> float:
    """Return the mean over detections of the best IoU with a lesion of their image; 0 without."""
    own = defaultdict(list)
    for detection, box in zip(detections, boxes, strict=True):
        own[detection["image_id"]].append(box)
    best = []
    for image, mine in own.items():
        if lesions := [x["bbox"] for x in truth.imgToAnns[image]]:
            ious = mask_util.iou(np.array(mine), np.array(lesions), [0] * len(lesions))
            best += ious.max(axis=1).tolist()
    return float(np.mean(best)) if best else 0.0
