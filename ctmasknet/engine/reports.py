"""Reports of a run's test sets from the files of predictions that its model has written."""

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from ..data.registration import dataset_source
from ..evaluation.image_report import ImageReportSettings, report_images
from ..evaluation.lesion_files import read_lesions
from ..evaluation.lesion_report import LesionReportSettings, report_lesions
from ..evaluation.prediction_table import PREDICTIONS, PredictionTable, read_predictions
from ..evaluation.results import DETECTIONS, Metrics
from ..evaluation.text import describe
from ..modeling import is_classifier
from ..provenance import machine, sha256_of

logger = logging.getLogger(__name__)


def prediction_folder(cfg: CfgNode, dataset_name: str) -> Path:
    """Return the folder of predictions on a data set and of their report."""
    return Path(cfg.OUTPUT_DIR) / "inference" / dataset_name


def datasets_to_predict(cfg: CfgNode) -> tuple[str, ...]:
    """Return the test sets and, of a CT-Mask-Net, the validation sets that their reports need."""
    names = list(cfg.DATASETS.TEST)
    if is_classifier(cfg):
        names += [v for test in cfg.DATASETS.TEST if (v := validation_of(cfg, test))]
    return tuple(dict.fromkeys(names))


def validation_of(cfg: CfgNode, test: str) -> str | None:
    """Return the first validation set other than the test set, if any.

    Temperature, rule of aggregation and operating points are chosen on it.
    """
    return next((name for name in cfg.DATASETS.VALIDATION if name != test), None)


def write_reports(cfg: CfgNode, weights: Path, keep_paths: bool = True, **about: Any) -> Metrics:
    """Report each test set: tables to the log, results.json and figures beside its predictions.

    Predictions on `datasets_to_predict` are already there, made by the checkpoint `weights`;
    `about` is recorded, too; without `keep_paths`, files are named without their folders. Returns
    data set -> task -> metric -> value.
    """
    about = {
        "model": cfg.MODEL.NAME,
        "weights": str(weights) if keep_paths else weights.name,
        "weights_sha256": sha256_of(weights) if weights.is_file() else None,
        "training_seed": cfg.SEED,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**machine(), "device": cfg.MODEL.DEVICE, "processes": comm.get_world_size()},
        **about,
    }
    metrics: Metrics = {}
    for name in cfg.DATASETS.TEST:
        folder = prediction_folder(cfg, name)
        source = dataset_source(name)
        source = source if keep_paths else Path(source).name
        mine = {**about, "dataset": {"name": name, "source": source}}
        if MetadataCatalog.get(name).evaluator_type == "image":
            results = _report_images(cfg, name, folder, mine)
        else:
            truth = MetadataCatalog.get(name).json_file
            lesions = read_lesions(truth, [folder / DETECTIONS], cfg.MODEL.MASK_ON)
            results = report_lesions(lesions, folder, LesionReportSettings.from_cfg(cfg), mine)
        logger.info("%s, in %s:\n%s", name, folder, describe(results))
        metrics[name] = {
            task: {key: math.nan if value is None else value for key, value in values.items()}
            for task, values in results["metrics"].items()
        }
    return metrics


def _report_images(cfg: CfgNode, name: str, folder: Path, about: Mapping) -> dict[str, Any]:
    table, validation = _read_table(cfg, name), validation_of(cfg, name)
    known = _read_table(cfg, validation) if validation else None
    if known and known.fingerprint() == table.fingerprint():
        warning = f"validation set {validation} has the same slices, so nothing is chosen on it"
        known, about = None, {**about, "warnings": [warning]}
    return report_images(table, folder, known, ImageReportSettings.from_cfg(cfg), about)


def _read_table(cfg: CfgNode, name: str) -> PredictionTable:
    path = prediction_folder(cfg, name) / PREDICTIONS
    return read_predictions(path, MetadataCatalog.get(name).image_classes)
