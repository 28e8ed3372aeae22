"""Results files: of a run, with the metrics of its test sets, and of each of its evaluations."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from ..atomic_write import atomic_write
from ..provenance import versions
from ..wording import NOTICE

RESULTS = "results.json"
KINDS = ("images", "lesions")  # of the evaluation of one data set
DETECTIONS = "coco_instances_results.json"  # as Detectron2 calls it
GROUND_TRUTH = "ground_truth.json"  # what they were held against
Metrics = dict[str, dict[str, dict[str, float]]]  # data set -> task -> metric -> value


def write_results(path: str | os.PathLike, metrics: Mapping, **about: Any) -> None:
    """Write a results file, whole or not at all.

    Args:
        path: the file, usually results.json.
        metrics: nested dictionaries of numbers; NaN and infinity become null, dataclasses
            dictionaries of their fields.
        about: what else to record (model, settings, intervals, seconds, ...).
    """
    write_json(path, {**about, "versions": versions(), "notice": NOTICE, "metrics": metrics})


def write_json(path: str | os.PathLike, content: Mapping) -> None:
    """Write valid JSON, whole or not at all; NaN and infinity become null."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Read a results file; null stands for a number without a value.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is not a results file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such results file")
    try:
        results = json.loads(path.read_text())
        results["metrics"], results["versions"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a results file ({error!r})") from None
    return results


def check_output(output: Path, inputs: Sequence[Path | None]) -> None:
    """Raise a ValueError if a report in `output` would overwrite its inputs, or a run's report."""
    for path in filter(None, inputs):
        if path.resolve().parent == output.resolve():
            raise ValueError(f"{path} lies in --output and might be lost: name another folder")
    results = output / RESULTS
    # A run has one for all its data sets (weights), and one for each (weights_sha256).
    if results.is_file() and {"weights", "weights_sha256"} & set(read_results(results)):
        raise ValueError(f"{results} is the report of a run: name another folder as --output")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
