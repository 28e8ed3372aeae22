"""Tasks: tables of metrics, each registered once and then known everywhere.

Evaluation while training, results.json and its intervals, the text in the terminal, the model zoo
and the comparison of two models all go through TASKS. Those of the papers stand at the end.

Shapes: S samples (slices, scans or patients).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .aggregation import Level
from .bootstrap import CONFIDENCE, Statistic, group_indices, intervals, point_values
from .coco_ap import CocoStatistic
from .froc import FrocStatistic
from .image_metrics import ImageStatistic
from .per_image_ap import PerImageAPStatistic
from .pixel_metrics import PixelStatistic
from .scan_lesions import LESION_IOU, ScanLesionStatistic


@dataclass(frozen=True)
class Task:
    """One table of metrics.

    Attributes:
        name: key in results.json; "name/metric" in metrics.json and TEST.BEST_METRIC.
        kind: "lesions" or "images", as in results.json.
        statistic: samples -> `bootstrap.Statistic`. Of lesions it takes a `LesionSet`, or of scans
            a `ScanSet`, and `LesionReportSettings`, of images a `Level`.
        title: heads the table; {names of settings} are filled in.
        level: the samples: "image" (slices), "scan" or, of images, "patient"; left out where
            slices are not known to be of scans.
        needs_masks: of lesions: left out where detections are boxes only.
        in_training: also computed on validation data while training.
        metrics: statistic -> metric -> value; None: the statistic has all metrics. Metrics that
            the statistic lacks have no interval.
        factor: turns values into percent for the model zoo; 1 for what is no fraction.
        columns: heading in the model zoo -> metric; "{class}" in both stands for each class.
        note: follows the table; {names of metrics} are filled in.
    """

    name: str
    kind: str
    statistic: Callable[..., Statistic]
    title: str
    level: str = "image"
    needs_masks: bool = False
    in_training: bool = True
    metrics: Callable[[Any], dict[str, float]] | None = None
    factor: float = 100
    columns: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Add a task to TASKS; reports list tasks in the order of registration.

    Raises:
        ValueError: the name is taken.
    """
    if task.name in TASKS:
        raise ValueError(f"a task called {task.name} is registered already: choose another name")
    TASKS[task.name] = task
    return task


def find_task(name: str, kind: str) -> Task:
    """Return a registered task, or for any other name a task with nothing but that name."""
    return TASKS.get(name) or Task(name, kind, lambda *_: lambda weights: {}, name)


@dataclass(frozen=True)
class Measured:
    """A task's statistic on one data set."""

    task: Task
    statistic: Statistic
    groups: np.ndarray  # (S,) index of each sample's patient

    def metrics(self) -> dict[str, float]:
        """Return all metrics of the whole data set; NaN where one is undefined."""
        if self.task.metrics:
            return self.task.metrics(self.statistic)
        return point_values(self.statistic, len(self.groups))


def measure(
    kind: str, samples: Mapping[str, tuple], masks: bool = True, training: bool = False
) -> dict[str, Measured]:
    """Apply the registered tasks of a kind ("lesions" or "images") to a data set.

    `samples` is level -> arguments of the tasks' statistics, the first with `patients`. Without
    `masks` tasks that need them are left out, in `training` those that are not for training.
    """
    return {
        task.name: Measured(
            task,
            task.statistic(*samples[task.level]),
            group_indices(samples[task.level][0].patients),
        )
        for task in TASKS.values()
        if task.kind == kind
        and task.level in samples
        and (masks or not task.needs_masks)
        and (task.in_training or not training)
    }


def describe_intervals(
    measured: Mapping[str, Measured], unit: str, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Compute "intervals" of results.json; None without resamples.

    `unit` is what is drawn: "patient", or "slice" where patients are unknown. Tasks without samples
    are left out.
    """
    if not resamples:
        return None
    return {
        "method": "percentile bootstrap",
        "unit": unit,
        "confidence": CONFIDENCE,
        "resamples": resamples,
        "seed": seed,
        "values": {
            name: intervals(one.statistic, one.groups, resamples, seed, f"intervals of {name}")
            for name, one in measured.items()
            if len(one.groups)
        },
    }


def _image_statistic(level: Level) -> ImageStatistic:
    return ImageStatistic(level.labels, level.probabilities, level.class_names)


# In the order of reports.
_BUILTIN = (
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
        "lesion_3d",
        "lesions",
        lambda scans, settings: ScanLesionStatistic(scans, settings.pixel_score_thresh),
        "lesions in three dimensions (lesion_3d): sensitivity and false positives per scan,\n"
        f"outlines that score {{pixel_score_thresh:g}} or more, IoU of {LESION_IOU:g} or more",
        level="scan",
        needs_masks=True,
        in_training=False,
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
for _task in _BUILTIN:
    register_task(_task)
