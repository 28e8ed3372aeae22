"""Metrics of image classes as a Detectron2 evaluator."""

from __future__ import annotations

import logging
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from .aggregation import MEAN, levels
from .prediction_table import PREDICTIONS, make_table, write_predictions
from .tasks import measure
from .text import confusion_table


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
            distributed: gather predictions from all processes.
        """
        self._class_names = MetadataCatalog.get(dataset_name).image_classes
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._distributed = distributed
        self._logger = logging.getLogger(__name__)
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
        """Return task -> metrics; an empty dict in all processes but the first.

        Raises:
            ValueError: there was no image, or one came twice.
        """
        rows = self._rows
        if self._distributed:
            comm.synchronize()
            rows = [row for part in comm.gather(rows, dst=0) for row in part]
            if not comm.is_main_process():
                return {}
        table = make_table(rows, self._class_names, self._dataset_name)
        if self._output_dir:
            write_predictions(table, Path(self._output_dir) / PREDICTIONS)
        found = levels(table, MEAN)
        text = confusion_table(found[0].confusion(), self._class_names)
        self._logger.info("image classes of %s:\n%s", self._dataset_name, text)
        measured = measure("images", {level.name: (level,) for level in found}, training=True)
        return {task: one.metrics() for task, one in measured.items()}
