"""How much the answers of trained models depend on precision."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from tabulate import tabulate

from ctmasknet.engine import Trainer, load_config
from ctmasknet.engine.reports import prediction_folder
from ctmasknet.evaluation.prediction_table import PREDICTIONS, read_predictions
from ctmasknet.inference.model_spec import find_model
from ctmasknet.modeling import is_classifier

from .steps import build_ours


def measure_agreement(
    run: Path, precisions: Sequence[str], opts: Sequence[str] = ()
) -> dict[str, Any]:
    """Evaluate a training run's weights on its first test set in several precisions.

    Args:
        run: the output folder of the run.
        precisions: the others are compared with the first.
        opts: config overrides (KEY VALUE ...).

    Returns:
        "run", "dataset" and, by precision, its "metrics"; of a CT-Mask-Net "slices" and, by
        precision, "same_class", the share of slices with the class of the first one.

    Raises:
        FileNotFoundError, ValueError: no such run, or nothing to test on.
    """
    weights = find_model(run).weights
    found: dict[str, Any] = {"run": str(run), "metrics": {}, "same_class": {}}
    first = None
    logging.getLogger("detectron2").setLevel(logging.WARNING)
    logging.getLogger("ctmasknet").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="ctmasknet-") as scratch:
        for precision in precisions:
            wanted = ["MODEL.PRECISION", precision, "OUTPUT_DIR", f"{scratch}/{precision}"]
            cfg = load_config(str(run / "config.yaml"), [*opts, *wanted])
            if not cfg.DATASETS.TEST:
                raise ValueError(f"{run}: its DATASETS.TEST is empty; give --dataset")
            name = found["dataset"] = cfg.DATASETS.TEST[0]
            found["metrics"][precision] = _evaluate(cfg, weights, name)
            if is_classifier(cfg):
                path = prediction_folder(cfg, name) / PREDICTIONS
                table = read_predictions(path, MetadataCatalog.get(name).image_classes)
                classes = dict(zip(table.file_names, table.logits.argmax(axis=1), strict=True))
                first = first or classes
                same = sum(first[file] == own for file, own in classes.items())
                found["slices"] = len(classes)
                found["same_class"][precision] = same / len(classes)
    return found


def _evaluate(cfg: CfgNode, weights: str, name: str) -> dict[str, float]:
    model = build_ours(cfg, weights)
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        tasks = Trainer.evaluate(cfg, model, [name])[name]
    wanted = ("image/accuracy", "segm/AP", "segm/AP50", "per_image_ap/mAP")
    flat = {
        f"{task}/{key}": value for task, values in tasks.items() for key, value in values.items()
    }
    return {key: flat[key] for key in wanted if key in flat}


def describe_agreement(found: dict[str, Any]) -> str:
    """The result as a table."""
    rows = [
        {"precision": precision, **metrics}
        | ({"same class": f"{found['same_class'][precision]:.2%}"} if found["same_class"] else {})
        for precision, metrics in found["metrics"].items()
    ]
    slices = f", {found['slices']} slices" if "slices" in found else ""
    table = tabulate(rows, headers="keys", floatfmt=".2f")
    return f"{found['run']} on {found['dataset']}{slices}\n{table}"
