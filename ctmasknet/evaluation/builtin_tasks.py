"""The tasks that ctmasknet comes with, in the order of its reports."""

from __future__ import annotations

from .aggregation import Level
from .coco_ap import CocoStatistic
from .froc import FrocStatistic
from .image_metrics import ImageStatistic
from .per_image_ap import PerImageAPStatistic
from .pixel_metrics import PixelStatistic
from .tasks import Task, register_task


def _image_statistic(level: Level) -> ImageStatistic:
    return ImageStatistic(level.labels, level.probabilities, level.class_names)


_TASKS = (
    Task(
        "bbox",
        "lesions",
        lambda lesions, _: CocoStatistic(lesions, "bbox"),
        "COCO AP of boxes (bbox), percent",
        metrics=CocoStatistic.metrics,
        factor=1,
        columns={"box AP50": "AP50"},
    ),
    Task(
        "segm",
        "lesions",
        lambda lesions, _: CocoStatistic(lesions, "segm"),
        "COCO AP of masks (segm), percent",
        needs_masks=True,
        metrics=CocoStatistic.metrics,
        factor=1,
        columns={"mask AP": "AP", "mask AP50": "AP50"},
    ),
    Task(
        "per_image_ap",
        "lesions",
        lambda lesions, settings: PerImageAPStatistic(
            lesions,
            settings.score_thresh,
            settings.min_area,
            settings.max_detections,
            settings.iou_thresholds,
        ),
        "per-image AP of masks (per_image_ap): the papers' metric, not COCO's AP\n"
        "(lesions of more than {min_area} pixels, detections that score above {score_thresh:g})",
        needs_masks=True,
        columns={
            "per-image mAP": "mAP",
            "silent detector": "silent_detector",
            "mAP, images with lesions": "mAP_lesion_images",
        },
        note="a detector that finds nothing gets the share of images without lesions, "
        "{silent_detector};\nmAP over the images with lesions is {mAP_lesion_images}",
    ),
    Task(
        "froc",
        "lesions",
        lambda lesions, settings: FrocStatistic(lesions, settings.froc_iou),
        "FROC (froc): sensitivity at false positives per slice, IoU of {froc_iou:g} or more",
        in_training=False,
        columns={"sensitivity at 1 FP": "sensitivity_1_fp"},
    ),
    Task(
        "pixel",
        "lesions",
        lambda lesions, settings: PixelStatistic(lesions, settings.pixel_score_thresh),
        "pixels (pixel): union of predicted masks that score {pixel_score_thresh:g} or more\n"
        "against union of true masks",
        needs_masks=True,
        in_training=False,
        metrics=PixelStatistic.metrics,
        columns={"Dice": "dice_lesion"},
    ),
    Task(
        "image",
        "images",
        _image_statistic,
        "by slice",
        columns={
            "accuracy": "accuracy",
            "sensitivity {class}": "sensitivity_{class}",
            "AUROC": "auroc_macro",
            "ECE": "ece",
        },
    ),
    Task(
        "scan", "images", _image_statistic, "by scan", "scan", columns={"scan accuracy": "accuracy"}
    ),
    Task(
        "patient",
        "images",
        _image_statistic,
        "by patient",
        "patient",
        columns={"patient accuracy": "accuracy"},
    ),
)
for _task in _TASKS:
    register_task(_task)
