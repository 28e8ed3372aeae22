"""The table of models, from results files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..wording import NOTICE
from .metric_names import metric_suffix
from .results import KINDS, RESULTS, read_results
from .tasks import TASKS, Task

_FIRST = ("segm", "bbox", "per_image_ap", "pixel")  # masks first; others as registered


def find_evaluations(paths: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the (file, content) of each data set's evaluation, by model, data set and file.

    Paths are results files, or folders to search for them. Results that sum up a run are left out.
    Raises a FileNotFoundError or ValueError if a path does not exist, or none has results.
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
            f"{', '.join(map(str, paths))}: found no {RESULTS} of a data set; a training and "
            "`ctmasknet evaluate` write them to OUTPUT/inference/DATASET"
        )
    return sorted(found, key=lambda item: (_model(item[1]), item[1]["dataset"]["name"], item[0]))


def zoo_page(evaluations: Iterable[tuple[Path, dict[str, Any]]], command: str) -> str:
    """Return the table of models in Markdown; `command` is printed as what made it."""
    parts = [
        "# Model zoo",
        f"Made by `{command}` from results files; no number is typed by hand. Percent, with 95 % "
        "intervals from a bootstrap over patients (over slices where patients are unknown, marked "
        "with *). [docs/evaluation.md](docs/evaluation.md) says what each number means. "
        f"{NOTICE}",
    ]
    groups: dict[tuple, list] = {("lesions", ()): []}  # lesions first
    for results in (x for _, x in evaluations):
        classes = tuple(results["classes"]) if results["kind"] == "images" else ()
        groups.setdefault((results["kind"], classes), []).append(results)
    for (kind, classes), found in groups.items():
        if found:
            columns = _columns(kind, classes)
            rows = [_about(x) + [_value(x, *place) for place in columns.values()] for x in found]
            parts += [f"## {', '.join(classes) or 'Lesion models'}", _table([*columns], rows)]
    return "\n\n".join(parts) + "\n"


def _columns(kind: str, classes: Sequence[str]) -> dict[str, tuple[Task, str]]:
    """Return heading -> task and metric."""
    tasks = [TASKS[name] for name in dict.fromkeys([*_FIRST, *TASKS])]
    return {
        heading.replace("{class}", name): (task, metric.replace("{class}", metric_suffix(name)))
        for task in tasks
        if task.kind == kind
        for heading, metric in task.columns.items()
        for name in (classes if "{class}" in heading else [""])
    }


def _about(results: dict[str, Any]) -> list[str]:
    data = results["dataset"]
    weights = (results.get("weights_sha256") or "")[:12]
    return [_model(results), data["name"], f"{data['images']:,}", f"`{weights}`" if weights else ""]


def _model(results: dict[str, Any]) -> str:
    return results.get("model") or "(predictions)"


def _value(results: dict[str, Any], task: Task, metric: str) -> str:
    value = results["metrics"].get(task.name, {}).get(metric)
    if value is None:
        return "-"
    text = f"{task.factor * value:.1f}"
    found = results.get("intervals") or {}
    interval = found.get("values", {}).get(task.name, {}).get(metric)
    if not interval or interval["low"] is None:
        return text
    low, high = (f"{task.factor * interval[end]:.1f}" for end in ("low", "high"))
    return f"{text} ({low} to {high}){'' if found['unit'] == 'patient' else '*'}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = ["model", "data", "slices", *columns]
    lines = [[*head, "weights"], ["---", "---", *["--:"] * (len(columns) + 1), "---"]]
    lines += [[*row[:3], *row[4:], row[3]] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
