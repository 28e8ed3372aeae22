"""Figures of image classes, as PNG: the confusion matrix and the reliability diagram."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures import BLUE, ORANGE, save_figure
from ..wording import counted, percent
from .calibration import ReliabilityBins, expected_calibration_error
from .image_metrics import classification_metrics
from .metric_names import metric_suffix


def save_confusion_matrix(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Save (C, C) counts M[true, predicted] with row shares, sensitivities and precisions."""
    matrix = np.asarray(matrix)
    metrics = classification_metrics(matrix, class_names)
    with np.errstate(invalid="ignore"):
        share = matrix / matrix.sum(axis=1, keepdims=True)
    side = 1.6 * max(len(class_names), 3)
    figure = Figure(figsize=(side + 2.2, side + 0.8), layout="constrained")
    ax = figure.subplots()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(matrix):
        colour = "white" if share[i, j] > 0.5 else "black"
        ax.text(j, i, f"{count:,}\n{percent(share[i, j])}", ha="center", va="center", color=colour)

    def with_metric(name: str, metric: str) -> str:
        return f"{fill(name, 16)}\n{metric} {percent(metrics[f'{metric}_{metric_suffix(name)}'])}"

    ticks = range(len(class_names))
    ax.set_xticks(ticks, [with_metric(name, "precision") for name in class_names])
    ax.set_yticks(ticks, [with_metric(name, "sensitivity") for name in class_names])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.set_title(f"{counted(matrix.sum(), 'slice')}, accuracy {percent(metrics['accuracy'])}")
    save_figure(figure, path, tight=True)


def save_reliability(
    path: Path, before: ReliabilityBins, after: ReliabilityBins | None = None
) -> None:
    """Save a reliability diagram over a histogram of confidence.

    `before` holds the probabilities as the model gives them, `after` those of a temperature.
    """
    figure = Figure(figsize=(6, 6.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect")
    edges = np.linspace(0, 1, len(before.counts) + 1)
    kinds = [(before, "as given", BLUE, "o-")]
    if after is not None:
        kinds.append((after, "after temperature", ORANGE, "s-"))
    for bins, name, colour, line in kinds:
        full = bins.counts > 0
        label = f"{name}, ECE {expected_calibration_error(bins):.3f}"
        top.plot(bins.confidence[full], bins.accuracy[full], line, color=colour, label=label)
        share = bins.counts / max(bins.counts.sum(), 1)
        bottom.stairs(share, edges, color=colour, linewidth=1.8)
    top.set(xlim=(0, 1.02), ylim=(-0.03, 1.03), ylabel="accuracy")
    top.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=9, frameon=False)
    bottom.set(xlabel="confidence (highest probability)", ylabel="share of slices")
    bottom.set_ylim(bottom=0)
    for axis in (top.xaxis, top.yaxis, bottom.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(counted(before.counts.sum(), "slice"), fontsize=11)
    save_figure(figure, path, tight=True)
