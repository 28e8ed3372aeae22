"""Detectron2's evaluators of image classes and of lesions, with the registered tasks."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.utils import comm

from ..atomic_write import atomic_files
from .aggregation import levels
from .coco_ap import coco_metrics, run_coco
from .lesion_files import read_lesions
from .lesion_report import LesionReportSettings, measure_lesions
from .lesion_set import LesionSet
from .metric_names import metric_suffix
from .prediction_table import PREDICTIONS, make_table, names_without_folders, write_predictions
from .results import DETECTIONS
from .rules import MEAN
from .tasks import measure
from .text import confusion_table, lesion_task

logger = logging.getLogger(__name__)


class ImageClassificationEvaluator(DatasetEvaluator):
    """All tasks of images for training, and a CSV from which they can be computed again.

    Probabilities are averaged over the slices of a scan and the scans of a patient. A slice without
    patient or scan is a patient or scan of its own.
    """

    def __init__(self, dataset_name: str, output_dir: str | None = None, distributed: bool = True):
        """Prepare an empty evaluation.

        Args:
            dataset_name: a registered image-level data set; its metadata has `image_classes`.
            output_dir: folder for predictions.csv; None writes nothing.
            distributed: whether to gather predictions from all processes.
        """
        self._class_names = MetadataCatalog.get(dataset_name).image_classes
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._distributed = distributed
        self._rows: list[tuple[str, str, str, int, list[float]]] = []

    def reset(self) -> None:
        self._rows = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep label and logits of a batch of images."""
        for sample, output in zip(inputs, outputs, strict=True):
            logits = output["image_logits"].tolist()
            if len(logits) != len(self._class_names):
                raise ValueError(
                    f"the model gives {len(logits)} image logits, but {self._dataset_name} has "
                    f"{len(self._class_names)} classes; set MODEL.IMAGE_HEAD.NUM_CLASSES"
                )
            name = sample["file_name"]
            known = (sample.get(key) for key in ("patient", "scan"))
            patient, scan = (name if x in (None, "") else str(x) for x in known)
            self._rows.append((name, patient, scan, sample["label"], logits))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return task -> metrics; {} in all processes but the first.

        Raises:
            ValueError: there was no image, or one came twice.
        """
        rows = self._rows
        if self._distributed:
            comm.synchronize()
            rows = [row for part in comm.gather(rows, dst=0) for row in part]
            if not comm.is_main_process():
                return {}
        files = [row[0] for row in rows]
        short = dict(zip(files, names_without_folders(files), strict=True))
        rows = [
            (short[file], short.get(patient, patient), short.get(scan, scan), label, logits)
            for file, patient, scan, label, logits in rows
        ]
        table = make_table(rows, self._class_names, self._dataset_name)
        if self._output_dir:
            write_predictions(table, Path(self._output_dir) / PREDICTIONS)
        found = levels(table, MEAN)
        text = confusion_table(found[0].confusion(), self._class_names)
        logger.info("image classes of %s:\n%s", self._dataset_name, text)
        measured = measure("images", {level.name: (level,) for level in found}, training=True)
        return {task: one.metrics() for task, one in measured.items()}


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
        # Checked, with ids from 1: to pycocotools 0 means "not matched".
        self._coco_api = read_lesions(self._truth, ()).truth
        self._detections = Path(output_dir) / DETECTIONS
        self._masks = masks
        self._settings = settings or LesionReportSettings()

    def evaluate(self, img_ids: Sequence[int] | None = None) -> dict[str, dict[str, float]]:
        """Return task -> metrics (COCO's in percent); {} in all processes but the first."""
        if not comm.is_main_process():
            return super().evaluate(img_ids)
        with atomic_files(self._detections.parent) as partial:
            self._output_dir = str(partial)  # where Detectron2 writes
            results = super().evaluate(img_ids)
        if not results:
            return {}
        lesions = read_lesions(self._truth, [self._detections], self._masks)
        results = {task: _named(task, found, lesions) for task, found in results.items()}
        shown = {"settings": asdict(self._settings)}
        for task, one in measure_lesions(lesions, self._settings, training=True).items():
            if task not in results:
                results[task] = one.metrics()
                logger.info("%s", lesion_task(task, results[task], shown))
        return results


def _named(task: str, found: dict[str, float], lesions: LesionSet) -> dict[str, float]:
    """Detectron2's metrics of a task under our names, complete where nothing was detected."""
    if lesions.detections:
        return {
            f"AP_{metric_suffix(name[3:])}" if name.startswith("AP-") else name: value
            for name, value in found.items()
        }
    ours = coco_metrics(run_coco(lesions, task), lesions.class_names)
    suffixes = [*map(metric_suffix, lesions.class_names)] if len(lesions.class_names) > 1 else []
    return {name: ours[name] for name in [*found, *(f"AP_{suffix}" for suffix in suffixes)]}
