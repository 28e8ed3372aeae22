"""Metrics of lesions while training: Detectron2's COCO evaluator and the registered tasks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator

from .coco_ap import coco_metrics, run_coco
from .lesion_files import read_lesions
from .lesion_report import LesionReportSettings, measure_lesions
from .lesion_set import LesionSet
from .metric_names import metric_suffix
from .results import DETECTIONS
from .text import lesion_task


class LesionEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator, with all tasks for training beside "bbox" and "segm".

    Without any detection AP is 0 for what has lesions, where Detectron2 gives NaN and leaves the
    classes out. Classes are named "AP_GGO" instead of "AP-GGO", which Detectron2 would not log.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str,
        masks: bool,
        max_detections: int,
        settings: LesionReportSettings | None = None,
    ):
        """Read the ground truth.

        Args:
            dataset_name: a registered COCO-format data set.
            output_dir: folder for coco_instances_results.json.
            masks: whether to judge masks beside boxes.
            max_detections: so many with the highest scores count in an image, for COCO's AP.
            settings: of the other tasks; None stands for the defaults.
        """
        super().__init__(
            dataset_name,
            # Named, because Detectron2 by itself loses segm when there is no detection.
            tasks=("bbox", "segm") if masks else ("bbox",),
            output_dir=output_dir,
            max_dets_per_image=max_detections,
            use_fast_impl=False,  # the fast one needs Detectron2's compiled operators
        )
        self._truth = MetadataCatalog.get(dataset_name).json_file
        self._detections = Path(output_dir) / DETECTIONS
        self._masks = masks
        self._settings = settings or LesionReportSettings()

    def evaluate(self, img_ids: Sequence[int] | None = None) -> dict[str, dict[str, float]]:
        """Return task -> metrics (COCO's in percent); {} in all processes but the first."""
        results = super().evaluate(img_ids)
        if not results:
            return {}
        lesions = read_lesions(self._truth, [self._detections], self._masks)
        results = {task: _named(task, found, lesions) for task, found in results.items()}
        shown = {"settings": asdict(self._settings)}
        for task, one in measure_lesions(lesions, self._settings, training=True).items():
            if task not in results:
                results[task] = one.metrics()
                text = lesion_task(task, results[task], shown)
                logging.getLogger(__name__).info("%s", text)
        return results


def _named(task: str, found: dict[str, float], lesions: LesionSet) -> dict[str, float]:
    """Detectron2's metrics of a task under our names, complete where nothing was detected."""
    suffixes = [*map(metric_suffix, lesions.class_names)] if len(lesions.class_names) > 1 else []
    if lesions.detections:
        return {
            f"AP_{metric_suffix(name[3:])}" if name.startswith("AP-") else name: value
            for name, value in found.items()
        }
    ours = coco_metrics(run_coco(lesions, task), lesions.class_names)
    return {name: ours[name] for name in [*found, *(f"AP_{suffix}" for suffix in suffixes)]}
