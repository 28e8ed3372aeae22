"""Two models on the same data: is one better, or can these data not tell?

The bootstrap is paired: it draws the same patients for both models, so that cases that are hard
for both do not hide a difference.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ..wording import NOTICE
from .aggregation import levels
from .bootstrap import Interval, difference, intervals, point_values
from .lesion_files import read_lesions
from .lesion_report import LesionReportSettings, measure_lesions
from .prediction_table import PREDICTIONS, read_predictions
from .results import DETECTIONS, GROUND_TRUTH, KINDS, RESULTS, read_results
from .scan_rules import rule_of_results
from .tasks import Measured, measure

NOT_DISTINGUISHABLE = "not distinguishable"
_OF_THE_BOOTSTRAP = ("resamples", "seed")


@dataclass(frozen=True)
class Difference:
    """One metric of two models: its values, second - first with an interval, and a verdict."""

    first: float
    second: float
    change: Interval
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two models on one data set."""

    tasks: dict[str, dict[str, Difference]]  # task -> metric -> difference
    unit: str  # what was drawn: "patient", or "slice" where patients are unknown
    notes: list[str]  # warnings of the two, and their rules for scans


def common_evaluations(first: Path, second: Path) -> dict[str, tuple[Path, Path]]:
    """Pair the evaluations of two runs: name of the data set -> its folder in each.

    A path is that of a data set's results.json, of its folder, or of a run's output folder with
    several of them in inference/. Two single folders are a pair whatever their data sets are
    called. Raises a FileNotFoundError or ValueError without results, or without a common data set.
    """
    one, other = _evaluations(first), _evaluations(second)
    if len(one) == len(other) == 1:
        return dict(zip(one, zip(one.values(), other.values(), strict=True), strict=True))
    common = {name: (one[name], other[name]) for name in one if name in other}
    if not common:
        raise ValueError(
            f"{first} has results for {', '.join(one)}, {second} for {', '.join(other)}: no data "
            "set in common"
        )
    return common


def compare(first: Path, second: Path, resamples: int, seed: int) -> Comparison:
    """Compute the differences of two models from the results and predictions in two folders.

    Raises a FileNotFoundError or ValueError if something is missing, or the two are of different
    data or have other thresholds.
    """
    contents = [read_results(folder / RESULTS) for folder in (first, second)]
    _check_alike(first, second, contents)
    one, other = (_measure(*x) for x in zip((first, second), contents, strict=True))
    tasks: dict[str, dict[str, Difference]] = {}
    for task, mine in one.items():
        groups = mine.groups
        if task not in other or not len(groups):
            continue
        a, b = (point_values(x.statistic, len(groups)) for x in (mine, other[task]))
        both = difference(mine.statistic, other[task].statistic)
        changes = intervals(both, groups, resamples, seed, progress="compare")
        tasks[task] = {
            name: Difference(a[name], b[name], change, _verdict(change))
            for name, change in changes.items()
        }
    groups = next(iter(one.values())).groups
    unit = "slice" if groups.max() + 1 == len(groups) else "patient"
    return Comparison(tasks, unit, _notes(contents))


def describe_comparison(comparison: Comparison) -> str:
    """Lay out the differences, one table a task."""
    parts = []
    for task, metrics in comparison.tasks.items():
        rows = [
            [
                name,
                *map(_number, (x.first, x.second, x.change.value)),
                f"{_number(x.change.low)} to {_number(x.change.high)}",
                x.verdict,
            ]
            for name, x in metrics.items()
        ]
        head = [task, "A", "B", "B - A", f"95 % by {comparison.unit}s", "verdict"]
        align = ["left", *["right"] * 4, "left"]
        parts.append(tabulate(rows, head, disable_numparse=True, colalign=align))
    parts += comparison.notes
    parts.append(
        "Not distinguishable: the interval of the difference holds 0. Of many metrics some differ "
        f"by chance.\n{NOTICE}"
    )
    return "\n\n".join(parts)


def _evaluations(path: Path) -> dict[str, Path]:
    """Name of the data set -> folder."""
    folder = path.parent if path.is_file() else path
    files = sorted((folder / "inference").glob(f"*/{RESULTS}")) or [folder / RESULTS]
    contents = ((file.parent, read_results(file)) for file in files)
    found = {x["dataset"]["name"]: where for where, x in contents if x.get("kind") in KINDS}
    if not found:
        raise ValueError(f"{path}: its {RESULTS} is not that of an evaluation of a data set")
    return found


def _check_alike(first: Path, second: Path, contents: list[dict[str, Any]]) -> None:
    one, other = contents
    if one["kind"] != other["kind"]:
        raise ValueError(f"{first} is about {one['kind']}, {second} about {other['kind']}")
    if one["dataset"]["fingerprint"] != other["dataset"]["fingerprint"]:
        counts = [f"{x['dataset']['name']} ({x['dataset']['images']} slices)" for x in contents]
        raise ValueError(
            f"{first} is about {counts[0]}, {second} about {counts[1]}: other slices, labels, "
            "patients or lesions; evaluate both models on the same data"
        )
    if one["kind"] == "images":  # each keeps its own rule for scans
        return
    settings, others = one["settings"], other["settings"]
    unlike = [k for k in settings if k not in _OF_THE_BOOTSTRAP and settings[k] != others[k]]
    if unlike:
        listed = ", ".join(f"{k} {settings[k]} and {others[k]}" for k in unlike)
        raise ValueError(
            f"{first} and {second} were evaluated with different settings ({listed}): evaluate "
            "one of them again"
        )


def _notes(contents: list[dict[str, Any]]) -> list[str]:
    notes = list(dict.fromkeys(line for results in contents for line in results["warnings"]))
    if contents[0]["kind"] == "images":
        rules = [results["aggregation"]["rule"] for results in contents]
        notes.append(f"Slices to scans: A by the rule {rules[0]}, B by {rules[1]}.")
    return notes


def _measure(folder: Path, results: dict[str, Any]) -> dict[str, Measured]:
    if results["kind"] == "lesions":
        masks = "segm" in results["metrics"]
        lesions = read_lesions(folder / GROUND_TRUTH, [folder / DETECTIONS], masks)
        return measure_lesions(lesions, LesionReportSettings(**results["settings"]))
    table = read_predictions(folder / PREDICTIONS, results["classes"])
    found = levels(table, rule_of_results(results["aggregation"]))
    return measure("images", {level.name: (level,) for level in found})


def _verdict(change: Interval) -> str:
    if np.isnan(change.low):
        return "undefined"
    if change.low <= 0 <= change.high:
        return NOT_DISTINGUISHABLE
    return "B is higher" if change.low > 0 else "A is higher"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "-"
