"""Classifiers that were trained on the same folds: a table, a figure and paired differences.

Slices of all folds are judged together, each by the model that has not seen it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..atomic_write import atomic_write
from ..figures import BLUE, DARK_GREY, save_figure
from .aggregation import levels
from .bootstrap import RESAMPLES, SEED, Interval, difference, intervals
from .prediction_table import PREDICTIONS, PredictionTable, make_table, read_predictions
from .results import RESULTS, read_results, write_results
from .rules import MEAN
from .tasks import Measured, measure

METRICS = ("accuracy", "auroc_macro", "brier", "ece")
TABLE, FIGURE = "table.md", "comparison.png"


def compare_runs(
    folders: Mapping[str, Sequence[Path]],
    output: Path,
    about: Mapping[str, Any],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Write results.json, table.md and comparison.png.

    Args:
        folders: name of a run -> the folders of its folds, each with predictions and results.json.
            The others are compared with the first, if they are of the same slices.
        output: folder.
        about: what else to record.
        resamples, seed: of the bootstrap, which draws the column patient.

    Returns:
        The content of results.json: "metrics" is run -> metric -> value, "intervals" and
        "differences" run -> metric -> Interval, "slices" and "minutes" (of training) are by run.
    """
    tables = {name: joined_predictions(found) for name, found in folders.items()}
    slices = {name: measured_slices(table) for name, table in tables.items()}
    of_runs = {
        name: intervals(one.statistic, one.groups, resamples, seed, progress=f"intervals of {name}")
        for name, one in slices.items()
    }
    reference = next(iter(tables))
    changes = {
        name: intervals(
            difference(slices[reference].statistic, one.statistic),
            *(one.groups, resamples, seed),
            progress=f"{name} against {reference}",
        )
        for name, one in slices.items()
        if name != reference and tables[name].fingerprint() == tables[reference].fingerprint()
    }
    content = {
        **about,
        "kind": "runs on folds",
        "reference": reference,
        "classes": tables[reference].class_names,
        "slices": {name: len(table.labels) for name, table in tables.items()},
        "minutes": {name: _minutes(found) for name, found in folders.items()},
        "intervals": of_runs,
        "differences": changes,
        "resamples": resamples,
        "seed": seed,
    }
    metrics = {name: one.metrics() for name, one in slices.items()}
    write_results(output / RESULTS, metrics, **content)
    with atomic_write(output / TABLE) as partial:
        partial.write_text(runs_table(read_results(output / RESULTS)), encoding="utf-8")
    save_runs_figure(output / FIGURE, of_runs, changes, reference)
    return read_results(output / RESULTS)


def joined_predictions(folders: Sequence[Path]) -> PredictionTable:
    """Return the predictions of several folds as one table; a ValueError for a slice in two."""
    rows, classes = [], None
    for folder in folders:
        classes = read_results(folder / RESULTS)["classes"]
        table = read_predictions(folder / PREDICTIONS, classes)
        columns = table.file_names, table.patients, table.scans, table.labels.tolist()
        rows += [*zip(*columns, table.logits.tolist(), strict=True)]
    return make_table(rows, classes or (), str(folders[0]))


def measured_slices(table: PredictionTable) -> Measured:
    """Return the task of slices, measured."""
    return measure("images", {level.name: (level,) for level in levels(table, MEAN)})["image"]


def runs_table(results: Mapping[str, Any]) -> str:
    """Lay results.json out as Markdown."""
    sensitivities = [m for m in next(iter(results["metrics"].values())) if m.startswith("sens")]
    columns = (*METRICS[:2], *sensitivities, *METRICS[2:])
    against = f"accuracy - {results['reference']}"
    head = ["run", *columns, against, "AUROC - its", "slices", "minutes"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for name, metrics in results["metrics"].items():
        found = results["intervals"][name]
        cells = [
            _with_interval(found[m]) if m in METRICS[:2] else _number(metrics[m]) for m in columns
        ]
        change = results["differences"].get(name, {})
        cells += [_with_interval(change.get(m), sign="+") for m in METRICS[:2]]
        cells += [str(results["slices"][name]), f"{results['minutes'][name]:.1f}"]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    lines.append("\nIn brackets 95 % intervals of a bootstrap, of differences a paired one. ")
    return "\n".join(lines) + f"{results['notice']}\n"


def save_runs_figure(
    path: Path,
    of_runs: Mapping[str, Mapping[str, Interval]],
    changes: Mapping[str, Mapping[str, Interval]],
    reference: str,
) -> None:
    """Save accuracies, and their differences to the reference, with intervals."""
    figure = Figure(figsize=(9, 1.6 + 0.36 * len(of_runs)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names = [*of_runs]
    for ax, values, colour in ((axes[0], of_runs, BLUE), (axes[1], changes, DARK_GREY)):
        for place, name in enumerate(names):
            if name in values:
                x = values[name]["accuracy"]
                ax.plot([x.low, x.high], [place, place], color=colour)
                ax.plot(x.value, place, "o", color=colour)
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("accuracy")
    axes[1].axvline(0, color="0.6", linestyle="--", linewidth=1)
    axes[1].set_xlabel(f"accuracy - {reference}, paired")
    save_figure(figure, path)


def _minutes(folders: Sequence[Path]) -> float:
    """Return the mean minutes of a fold's training."""
    seconds = [read_results(x / RESULTS)["seconds"]["training"] or 0 for x in folders]
    return sum(seconds) / len(seconds) / 60


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _with_interval(found: Mapping[str, Any] | None, sign: str = "") -> str:
    if not found or found["value"] is None:
        return "-"
    low, high = (_number(found[x]) for x in ("low", "high"))
    return f"{found['value']:{sign}.3f} ({low} to {high})"
