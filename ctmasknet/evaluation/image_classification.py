"""Confusion matrix and what follows from it.

Shapes: C image classes; matrices are M[true, predicted], in the order of the class names.
"""

import csv
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from sklearn.metrics import confusion_matrix
from tabulate import tabulate

from ..whole_files import whole_file

COLUMNS = ("file_name", "patient", "scan", "label")


def metric_suffix(class_name: str) -> str:
    """Turn a class name into a metric's suffix: Detectron2 hides metrics with a "-" in them."""
    return re.sub(r"\W+", "_", class_name)


def classification_metrics(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
    """Accuracy, and sensitivity and precision of each class, from a confusion matrix.

    Args:
        matrix: (C, C) counts, M[true, predicted].
        class_names: C names.

    Returns:
        Fractions in [0, 1] named accuracy, sensitivity_<class> and precision_<class>; NaN where
        nothing is of that class, or nothing is predicted so.
    """
    matrix = np.asarray(matrix, dtype=float)
    hits, total = matrix.diagonal(), matrix.sum()
    with np.errstate(invalid="ignore"):
        sensitivity = hits / matrix.sum(axis=1)
        precision = hits / matrix.sum(axis=0)
        metrics = {"accuracy": float(hits.sum() / total) if total else float("nan")}
    for i, name in enumerate(class_names):
        metrics[f"sensitivity_{metric_suffix(name)}"] = float(sensitivity[i])
        metrics[f"precision_{metric_suffix(name)}"] = float(precision[i])
    return metrics


def confusion_table(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """Lay a confusion matrix out as text, with each class's sensitivity and precision."""
    metrics = classification_metrics(matrix, class_names)
    rows = [
        [f"true {name}", *counts, f"{metrics[f'sensitivity_{metric_suffix(name)}']:.1%}"]
        for name, counts in zip(class_names, np.asarray(matrix).tolist(), strict=True)
    ]
    precisions = [f"{metrics[f'precision_{metric_suffix(name)}']:.1%}" for name in class_names]
    rows.append(["precision", *precisions, f"accuracy {metrics['accuracy']:.1%}"])
    return tabulate(rows, headers=["", *(f"as {name}" for name in class_names), "sensitivity"])


class ImageClassificationEvaluator(DatasetEvaluator):
    """Metrics of image classes, and a CSV from which they can be recomputed.

    Reports under the task "image" what `classification_metrics` returns and writes
    `predictions.csv` (file_name, patient, scan, label, logit_0, ...) to `output_dir`.
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
        self._rows: list[list] = []

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
            self._rows.append([*(sample.get(column, "") for column in COLUMNS), *logits])

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return {"image": metrics}; an empty dict in all processes but the first."""
        rows = self._rows
        if self._distributed:
            comm.synchronize()
            rows = [row for part in comm.gather(rows, dst=0) for row in part]
            if not comm.is_main_process():
                return {}
        if not rows:
            raise ValueError(f"{self._dataset_name} gave no image to evaluate")
        rows.sort(key=lambda row: str(row[0]))  # the same file from any number of processes
        labels = [row[len(COLUMNS) - 1] for row in rows]
        predicted = [int(np.argmax(row[len(COLUMNS) :])) for row in rows]
        matrix = confusion_matrix(labels, predicted, labels=range(len(self._class_names)))
        if self._output_dir:
            self._write(rows)
        table = confusion_table(matrix, self._class_names)
        self._logger.info("image classes of %s:\n%s", self._dataset_name, table)
        return {"image": classification_metrics(matrix, self._class_names)}

    def _write(self, rows: list[list]) -> None:
        path = Path(str(self._output_dir)) / "predictions.csv"
        with whole_file(path) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *(f"logit_{i}" for i in range(len(self._class_names)))])
            writer.writerows(rows)


def read_predictions(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read labels (S,) int64 and logits (S, C) float64 of S images from a predictions.csv."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    logit_columns = [column for column in rows[0] if column.startswith("logit_")]
    labels = np.array([int(row["label"]) for row in rows])
    return labels, np.array([[float(row[column]) for column in logit_columns] for row in rows])
