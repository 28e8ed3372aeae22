"""Figures of an evaluation of lesions, as PNG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures import BLUE, DARK_GREY, VERMILION, line_colour, plain_lines, save_figure
from .froc import RATES
from .metric_names import any_lesion, metric_suffix
from .pixel_metrics import PixelStatistic

_LEGEND_INSIDE, _LEGEND_LINES = 5, 20  # lines among the curves, and in a column beside them
_MOST_COLUMNS = 4
_ANY = "any lesion"
_RATES_SHOWN = (1 / 16, 16)


def save_froc(
    path: Path, curves: Mapping[str, Any], class_names: Sequence[str], iou: float, task: str
) -> None:
    """Save sensitivity over false positives per slice; dotted where no detection is left.

    `curves` are those of `FrocStatistic`; `task` is what was matched, "bbox" or "segm".
    """
    figure, ax = _figure()
    titles = {f"froc_{name}": title for name, title in _titles(class_names).items()}
    shown = {name: np.array(x) for name, x in curves.items() if name.startswith("froc") and x}
    low, high = _RATES_SHOWN
    for i, (name, points) in enumerate(shown.items()):
        x, y = np.maximum(points[:, 0], low), points[:, 1]
        colour = line_colour(i)
        label = titles.get(name, _ANY)
        ax.plot(x, y, drawstyle="steps-post", label=label, lw=2, color=colour)
        ax.plot([x[-1], max(high, x[-1])], [y[-1]] * 2, ls=":", lw=2, color=colour)
    ax.set_xscale("log", base=2)
    ax.set(xlim=(low, high), ylim=(-0.02, 1.02), ylabel="sensitivity (share of lesions found)")
    ax.set_xticks(list(RATES.values()), [name.replace("_", "/") for name in RATES])
    ax.set_xlabel("false positives per slice, all slices counted")
    ax.set_title(f"FROC of {_judged(task)}, a lesion is found at IoU of {iou:g} or more")
    _finish(figure, ax, _nothing(shown.values()), len(shown) > 1)
    save_figure(figure, path)


def save_precision_recall(path: Path, curves: Mapping[str, Any], task: str) -> None:
    """Save precision over recall of `precision_recall`: full lines at IoU 0.5, dashed at 0.75."""
    figure, ax = _figure()
    for i, (name, by_iou) in enumerate(curves.items(), start=len(curves) > 1):  # as in FROC
        colour = line_colour(i)
        for (metric, points), style in zip(by_iou.items(), ("-", "--"), strict=True):
            x, y = np.array(points).T
            label = plain_lines(f"{name}, {metric} {100 * y.mean():.1f} %")
            ax.plot(x, y, ls=style, lw=2, color=colour, label=label)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")
    ax.set_title(f"{_judged(task)}, as COCO matches them")
    _finish(figure, ax, _nothing(by_iou["AP50"] for by_iou in curves.values()), True)
    save_figure(figure, path)


def save_bland_altman(
    path: Path, pixels: PixelStatistic, metrics: Mapping[str, float], class_names: Sequence[str]
) -> None:
    """Save how predicted areas differ from true ones, one panel a class.

    `metrics` holds bias and limits of agreement. Images that are empty on both sides are not shown.
    """
    names = list(pixels.areas)
    columns = min(len(names), _MOST_COLUMNS)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(5.4 * columns, 4.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        kept = pixels.not_empty(name)
        true, found, _ = 100 * pixels.areas[name][:, kept] / pixels.sizes[kept]
        lines = {
            label: 100 * metrics[f"area_{key}_{name}"]
            for label, key in (("+1.96 SD", "loa_high"), ("bias", "bias"), ("-1.96 SD", "loa_low"))
        }
        if kept.any():
            _bland_altman(ax, (true + found) / 2, found - true, lines)
        else:
            ax.set(xticks=[], yticks=[])
        ax.set_xlabel("mean of true and predicted area (% of the image)")
        ax.set_ylabel("predicted - true area (% of the image)")
        ax.set_title(
            _ANY if name == any_lesion(class_names) else _titles(class_names)[name], pad=24
        )
        _finish(figure, ax, "" if kept.any() else "no lesion, true or predicted", False)
    save_figure(figure, path)


def _bland_altman(ax: Axes, mean: np.ndarray, error: np.ndarray, lines: dict[str, float]) -> None:
    ax.scatter(mean, error, s=14, color=BLUE, alpha=0.5, linewidths=0)
    for label, value in lines.items():
        if np.isfinite(value):
            colour, style = (VERMILION, "-") if label == "bias" else (DARK_GREY, "--")
            ax.axhline(value, color=colour, ls=style, label=f"{label}: {value:+.2f} %")
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),  # above the axes, where it hides no point
        ncols=3,
        frameon=False,
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _titles(class_names: Sequence[str]) -> dict[str, str]:
    """Return the class's name in metrics -> its name."""
    return {metric_suffix(name): plain_lines(name) for name in class_names}


def _judged(task: str) -> str:
    return "masks" if task == "segm" else "boxes"


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    return figure, figure.subplots()


def _nothing(curves: Iterable[Any]) -> str:
    """Say why curves of sensitivity or precision show nothing; "" if they show something."""
    heights = [np.max(points, axis=0)[1] for points in curves]
    return "" if any(heights) else "no lesion found" if heights else "no lesion in the data"


def _finish(figure: Figure, ax: Axes, nothing: str, legend: bool) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    if nothing:
        ax.text(0.5, 0.5, f"nothing to show:\n{nothing}", transform=ax.transAxes, ha="center")
        return
    ax.grid(alpha=0.25)
    lines = len(ax.get_legend_handles_labels()[0]) if legend else 0
    if lines > _LEGEND_INSIDE:
        columns = math.ceil(lines / _LEGEND_LINES)
        figure.set_figwidth(figure.get_figwidth() + 3.6 * columns)
        figure.legend(loc="outside right upper", fontsize=9, frameon=False, ncols=columns)
    elif legend:
        ax.legend(loc="best", fontsize=9)
