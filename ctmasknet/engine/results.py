"""The results of a run, in a file that a person and a program can read."""

import json
import math
import platform
from pathlib import Path
from typing import Any

import detectron2
import torch

from ..whole_files import whole_file

Metrics = dict[str, dict[str, dict[str, float]]]  # data set -> task -> metric -> value


def write_results(path: str | Path, metrics: Metrics, **about: Any) -> None:
    """Write a results file in one step: a reader sees the old one or the new one.

    Args:
        path: the file, usually OUTPUT_DIR/results.json.
        metrics: data set -> task -> metric -> value; NaN and infinity become null.
        about: what else to record (model, weights, seconds, ...).
    """
    from ctmasknet import __version__

    versions = {
        "ctmasknet": __version__,
        "detectron2": detectron2.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    content = {**about, "versions": versions, "metrics": metrics}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read a results file; null stands for a metric without a value."""
    return json.loads(Path(path).read_text())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
