"""Figures of an evaluation of lesions, as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.classes import NOTICE
from ..whole_files import whole_file
from .froc import RATES
from .pixel_metrics import ANY_LESION, PixelStatistic

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00")  # Okabe and Ito
_GREY = "#555555"
_RATES_SHOWN = (1 / 16, 16)


def save_froc(path: Path, curves: Mapping[str, Any], iou: float) -> None:
    """Save sensitivity over false positives per slice; dotted where no detection is left.

    Args:
        path: PNG file.
        curves: "froc" and "froc_<class>" -> [false positives per slice, sensitivity] pairs.
        iou: of the matching.
    """
    figure, ax = _figure()
    shown = {name: np.array(x) for name, x in curves.items() if name.startswith("froc") and x}
    low, high = _RATES_SHOWN
    for i, (name, points) in enumerate(shown.items()):
        x, y = np.maximum(points[:, 0], low), points[:, 1]
        label = name.removeprefix("froc_") if i else "any lesion"
        ax.plot(x, y, drawstyle="steps-post", label=label, lw=2, color=_COLOURS[i % 5])
        ax.plot([x[-1], max(high, x[-1])], [y[-1]] * 2, ls=":", lw=2, color=_COLOURS[i % 5])
    ax.set_xscale("log", base=2)
    ax.set(xlim=(low, high), ylim=(-0.02, 1.02), ylabel="sensitivity (share of lesions found)")
    ax.set_xticks(list(RATES.values()), [name.replace("_", "/") for name in RATES])
    ax.set_xlabel("false positives per slice, all slices counted")
    ax.set_title(f"FROC, a lesion is found at IoU of {iou:g} or more")
    _finish(ax, _nothing(shown.values()), len(shown) > 1)
    _save(figure, path)


def save_precision_recall(path: Path, curves: Mapping[str, Any], task: str) -> None:
    """Save precision over recall: full lines at IoU 0.5, dashed ones at 0.75.

    Args:
        path: PNG file.
        curves: class -> "AP50" or "AP75" -> [recall, precision] pairs.
        task: "bbox" or "segm".
    """
    figure, ax = _figure()
    for i, (name, by_iou) in enumerate(curves.items(), start=len(curves) > 1):  # as in FROC
        for (metric, points), style in zip(by_iou.items(), ("-", "--"), strict=True):
            x, y = np.array(points).T
            label = f"{name}, {metric} {100 * y.mean():.1f} %"
            ax.plot(x, y, ls=style, lw=2, color=_COLOURS[i % 5], label=label)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")
    ax.set_title(f"{'masks' if task == 'segm' else 'boxes'}, as COCO matches them")
    _finish(ax, _nothing(by_iou["AP50"] for by_iou in curves.values()), True)
    _save(figure, path)


def save_bland_altman(path: Path, pixels: PixelStatistic, metrics: Mapping[str, float]) -> None:
    """Save how predicted areas differ from true ones, one panel a class.

    Args:
        path: PNG file.
        pixels: areas of all images.
        metrics: the bias and the limits of agreement, as `PixelStatistic` names them.
    """
    names = list(pixels.areas)
    figure = Figure(figsize=(5.4 * len(names), 4.6), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        true, found, _ = 100 * pixels.shares(name)
        lines = {
            label: 100 * metrics[f"area_{key}_{name}"]
            for label, key in (("+1.96 SD", "loa_high"), ("bias", "bias"), ("-1.96 SD", "loa_low"))
        }
        empty = not (true + found).any()
        if empty:
            ax.set(xticks=[], yticks=[])
        else:
            _bland_altman(ax, (true + found) / 2, found - true, lines)
        ax.set_xlabel("mean of true and predicted area (% of the image)")
        ax.set_ylabel("predicted - true area (% of the image)")
        ax.set_title("any lesion" if name == ANY_LESION else name, pad=24)
        _finish(ax, "no lesion, true or predicted" if empty else "", False)
    _save(figure, path)


def _bland_altman(ax: Axes, mean: np.ndarray, error: np.ndarray, lines: dict[str, float]) -> None:
    ax.scatter(mean, error, s=14, color=_COLOURS[0], alpha=0.5, linewidths=0)
    for label, value in lines.items():
        if np.isfinite(value):
            colour, style = (_COLOURS[4], "-") if label == "bias" else (_GREY, "--")
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


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    return figure, figure.subplots()


def _nothing(curves: Iterable[Any]) -> str:
    """Why curves of sensitivity or precision show nothing, "" where they show something."""
    heights = [np.max(points, axis=0)[1] for points in curves]
    return "" if any(heights) else "no lesion found" if heights else "no lesion in the data"


def _finish(ax: Axes, nothing: str, legend: bool) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    if nothing:
        ax.text(0.5, 0.5, f"nothing to show:\n{nothing}", transform=ax.transAxes, ha="center")
        return
    ax.grid(alpha=0.25)
    if legend:
        ax.legend(loc="best", fontsize=9)


def _save(figure: Figure, path: Path) -> None:
    figure.supxlabel(NOTICE, fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=120)
