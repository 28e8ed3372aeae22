"""COCO's AP of lesions in training: Detectron2's evaluator, which always gives numbers.

All values are in percent, as Detectron2 gives them.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from pycocotools.coco import COCO

from .coco_ap import AREA_RANGES, IOU_METRICS
from .metric_names import metric_suffix


class LesionCOCOEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator with numbers for a model that finds nothing.

    Without any detection AP is 0 for what has lesions, where Detectron2 gives NaN, and the classes
    are there too. Classes are named "AP_GGO" instead of "AP-GGO", which Detectron2 would not log.
    """

    def __init__(self, dataset_name: str, output_dir: str, masks: bool, max_detections: int):
        """Read the ground truth.

        Args:
            dataset_name: a registered COCO-format data set.
            output_dir: folder for coco_instances_results.json.
            masks: whether to judge masks beside boxes.
            max_detections: so many with the highest scores count in an image.
        """
        super().__init__(
            dataset_name,
            # Named, because found by itself segm is lost when there is no detection.
            tasks=("bbox", "segm") if masks else ("bbox",),
            output_dir=output_dir,
            max_dets_per_image=max_detections,
            use_fast_impl=False,  # the fast one needs Detectron2's compiled operators
        )
        metadata = MetadataCatalog.get(dataset_name)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(metadata.json_file)
        lesions = [x for x in truth.dataset["annotations"] if not x.get("iscrowd")]
        self._defined = {
            name
            for name, (low, high) in AREA_RANGES.items()
            if any(low <= x["area"] <= high for x in lesions)
        }
        if lesions:
            self._defined |= IOU_METRICS.keys()
        categories = sorted(truth.dataset["categories"], key=lambda x: x["id"])
        self._class_metrics = []
        if len(categories) > 1:
            self._class_metrics = [f"AP_{metric_suffix(x['name'])}" for x in categories]
            present = {x["category_id"] for x in lesions}
            named = zip(categories, self._class_metrics, strict=True)
            self._defined |= {name for x, name in named if x["id"] in present}

    def evaluate(self, img_ids: Sequence[int] | None = None) -> dict[str, dict[str, float]]:
        """Return {"bbox": metrics, "segm": metrics}; {} in all processes but the first."""
        results = {}
        for task, found in (super().evaluate(img_ids) or {}).items():
            metrics = {
                f"AP_{metric_suffix(name[3:])}" if name.startswith("AP-") else name: value
                for name, value in found.items()
            }
            metrics |= {name: math.nan for name in self._class_metrics if name not in metrics}
            results[task] = {
                name: 0.0 if math.isnan(value) and name in self._defined else value
                for name, value in metrics.items()
            }
        return results
