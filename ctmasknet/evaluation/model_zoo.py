"""Results files -> the table of models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..wording import NOTICE
from .metric_names import metric_suffix
from .results import KINDS, RESULTS, read_results

_LESIONS = {  # column -> (task, metric, factor)
    "mask AP": ("segm", "AP", 1),
    "mask AP50": ("segm", "AP50", 1),
    "box AP50": ("bbox", "AP50", 1),
    "per-image mAP": ("per_image_ap", "mAP", 100),
    "silent detector": ("per_image_ap", "silent_detector", 100),
    "mAP, images with lesions": ("per_image_ap", "mAP_lesion_images", 100),
    "Dice": ("pixel", "dice_lesion", 100),
    "sensitivity at 1 FP": ("froc", "sensitivity_1_fp", 100),
}


def find_evaluations(paths: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """All evaluations of single data sets in or below folders, or given as files.

    Args:
        paths: results files, or folders that are searched for them.

    Returns:
        (file, its content) sorted by model, data set and file; a run's own results.json, which
        sums up several data sets, is left out.

    Raises:
        FileNotFoundError, ValueError: no such path, or none of them has a results file.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        files += sorted(path.rglob(RESULTS)) if path.is_dir() else [path]
    found = [(file, read_results(file)) for file in dict.fromkeys(files)]
    found = [(file, results) for file, results in found if results.get("kind") in KINDS]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, paths))}: found no {RESULTS} of a data set; train_net.py writes "
            "them to OUTPUT_DIR/inference/DATASET"
        )
    return sorted(found, key=lambda item: (_model(item[1]), item[1]["dataset"]["name"], item[0]))


def zoo_page(evaluations: Iterable[tuple[Path, dict[str, Any]]], command: str) -> str:
    """The table of models as a Markdown page.

    Args:
        evaluations: of `find_evaluations`.
        command: what was run, to be printed with the numbers.

    Returns:
        Markdown; numbers in percent with their 95 % intervals by patients.
    """
    contents = [results for _, results in evaluations]
    parts = [
        "# Model zoo",
        f"Made by `{command}` from results files; no number is typed by hand. Percent, with 95 % "
        "intervals from a bootstrap over patients (over slices where patients are unknown, marked "
        "with *). [docs/evaluation.md](docs/evaluation.md) says what each number means. "
        f"{NOTICE}",
    ]
    lesions = [results for results in contents if results["kind"] == "lesions"]
    if lesions:
        parts += ["## Lesion models", _table(list(_LESIONS), map(_lesion_row, lesions))]
    classes = dict.fromkeys(tuple(x["classes"]) for x in contents if x["kind"] == "images")
    for names in classes:
        rows = [x for x in contents if x["kind"] == "images" and tuple(x["classes"]) == names]
        columns = ["accuracy", *(f"sensitivity {name}" for name in names), "AUROC", "ECE"]
        columns += ["scan accuracy", "patient accuracy"]
        parts += [f"## {', '.join(names)}", _table(columns, (_image_row(x, names) for x in rows))]
    return "\n\n".join(parts) + "\n"


def _lesion_row(results: dict[str, Any]) -> list[str]:
    return _about(results) + [_value(results, *place) for place in _LESIONS.values()]


def _image_row(results: dict[str, Any], names: Sequence[str]) -> list[str]:
    metrics = ["accuracy", *(f"sensitivity_{metric_suffix(name)}" for name in names)]
    places = [("image", metric) for metric in (*metrics, "auroc_macro", "ece")]
    places += [("scan", "accuracy"), ("patient", "accuracy")]
    return _about(results) + [_value(results, *place, 100) for place in places]


def _about(results: dict[str, Any]) -> list[str]:
    data = results["dataset"]
    weights = (results.get("weights_sha256") or "")[:12]
    return [_model(results), data["name"], f"{data['images']:,}", f"`{weights}`" if weights else ""]


def _model(results: dict[str, Any]) -> str:
    return results.get("model") or "(predictions)"


def _value(results: dict[str, Any], task: str, metric: str, factor: float) -> str:
    value = results["metrics"].get(task, {}).get(metric)
    if value is None:
        return "-"
    text = f"{factor * value:.1f}"
    found = results.get("intervals") or {}
    interval = found.get("values", {}).get(task, {}).get(metric)
    if not interval or interval["low"] is None:
        return text
    mark = "" if found["unit"] == "patient" else "*"
    return f"{text} ({factor * interval['low']:.1f} to {factor * interval['high']:.1f}){mark}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = ["model", "data", "slices", *columns]
    lines = [["", *head][1:] + ["weights"]]
    lines += [["---", "---", *["--:"] * (len(columns) + 1), "---"]]
    lines += [[*row[:3], *row[4:], row[3]] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
