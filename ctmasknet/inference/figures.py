"""Figures for people: a slice beside its truth and its prediction, and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..data.classes import NOTICE
from ..evaluation.image_classification import classification_metrics, metric_suffix


def save_panels(path: Path, panels: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Save pictures side by side, each under its caption.

    Args:
        path: PNG file.
        panels: (caption, (H, W, 3) uint8 RGB) pairs.
        title: line above all of them.
    """
    # Panels of about 580 pixels: overlays are 512 or more, and shrinking them would lose lines.
    figure = Figure(figsize=(5 * len(panels), 5.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (caption, image) in zip(axes, panels, strict=True):
        ax.imshow(image)
        ax.set_title(caption, fontsize=10)
        ax.set_axis_off()
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(NOTICE, fontsize=8)
    _save(figure, path)


def save_confusion_matrix(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Save a confusion matrix with counts, row shares, sensitivities and precisions.

    Args:
        path: PNG file.
        matrix: (C, C) counts, M[true, predicted].
        class_names: C names.
    """
    matrix = np.asarray(matrix)
    metrics = classification_metrics(matrix, class_names)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    ax = figure.subplots()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(matrix):
        colour = "white" if share[i, j] > 0.5 else "black"
        ax.text(j, i, f"{count}\n{share[i, j]:.0%}", ha="center", va="center", color=colour)

    def with_metric(name: str, metric: str) -> str:
        return f"{name}\n{metric} {metrics[f'{metric}_{metric_suffix(name)}']:.1%}"

    ticks = range(len(class_names))
    ax.set_xticks(ticks, [with_metric(name, "precision") for name in class_names])
    ax.set_yticks(ticks, [with_metric(name, "sensitivity") for name in class_names])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.set_title(f"{matrix.sum()} slices, accuracy {metrics['accuracy']:.1%}")
    figure.supxlabel(NOTICE, fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
