"""Probabilities and lesion areas along a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..figures import BLACK, BLUE, GREEN, LINE_STYLES, VERMILION, lesion_colour, svg_uri
from ..quantification.case import Case
from ..wording import counted, percent
from .report_figures import Picture

_WIDTH, _PANEL_HEIGHT = 5.2, 2.5  # inches: at the width of a phone the text is still readable
_CLASS_COLOURS = (BLUE, VERMILION, GREEN, BLACK)
_LETTER, _HANDLE = 0.085, 0.6  # inches of a legend
_NAME_LETTERS = 50
_FEW_SLICES = 40  # so many can each have a point


def scan_chart(case: Case, marked: Sequence[int]) -> Picture | None:
    """Probabilities and lesion areas along a scan, as far as the model gives them.

    Args:
        case: a scan.
        marked: indices of slices that get a mark.

    Returns:
        None where there is nothing to draw: loose slices, one slice, neither classes nor masks.
    """
    if case.scan is None or len(case.slices) < 2:
        return None
    panels = [_probabilities] * (case.scan.probabilities is not None)
    panels += [_areas] * (case.quantities.areas_px is not None)
    if not panels:
        return None
    figure = Figure(figsize=(_WIDTH, _PANEL_HEIGHT * len(panels) + 0.5), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    texts = [draw(ax, case) for draw, ax in zip(panels, axes, strict=True)]
    for ax in axes:
        at_top, place = [1] * len(marked), ax.get_xaxis_transform()
        ax.plot(marked, at_top, "v", ms=5, color="#444", clip_on=False, transform=place)
        ax.margins(x=0.01)
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _legend(ax)
    spacing = case.scan.spacing
    axes[-1].set_xlabel("slice, 0 is the lowest" + (" (mm from it below)" if spacing else ""))
    if spacing:
        axes[-1].xaxis.set_major_formatter(lambda x, _: f"{x:.0f}\n{x * spacing[0]:.0f} mm")
    return Picture(svg_uri(figure), f"Along {len(case.slices)} slices. {' '.join(texts)}")


def _probabilities(ax: Axes, case: Case) -> str:
    """Draw the slices' probabilities and say what is to be seen."""
    assert case.scan is not None and case.scan.classification is not None
    values = case.scan.probabilities
    assert values is not None
    names, own = case.scan.classification.class_names, case.scan.classification.image_class
    texts = []
    for index, (name, line) in enumerate(zip(names, values.T, strict=True)):
        colour = _CLASS_COLOURS[index % len(_CLASS_COLOURS)]
        _plot(ax, line, index, name, color=colour, lw=2.4 if name == own else 1.4)
        texts.append(
            f"{name} {percent(line.mean())} on average, at most {percent(line.max())} on slice "
            f"{line.argmax()}"
        )
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("probability")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return f"Probabilities: {'; '.join(texts)}."


def _areas(ax: Axes, case: Case) -> str:
    """Draw the slices' lesion areas and say what is to be seen."""
    quantities = case.quantities
    assert quantities.areas_px is not None
    known = np.isfinite(quantities.pixel_mm2).all()
    unit = "mm²" if known else "px"
    areas = quantities.areas_px * (quantities.pixel_mm2[:, np.newaxis] if known else 1)
    texts = []
    for index, name in enumerate(case.slices[0].lesion_classes):
        line, colour = areas[:, index], lesion_colour(index)  # as in the pictures
        ax.fill_between(np.arange(len(line)), line, color=colour, alpha=0.4, lw=0)
        # The pictures' colours are too pale for a line on white.
        _plot(ax, line, index, name, color=0.6 * np.array(to_rgb(colour)), lw=1.8)
        texts.append(
            f"{name} on {counted(int(np.count_nonzero(line)), 'slice')}"
            + (f", at most {line.max():,.0f} {unit} on slice {line.argmax()}" if line.any() else "")
        )
    if not areas.any():
        ax.set_ylim(0, 1)
        ax.set_yticks([0])
        ax.text(0.5, 0.5, "no lesion found", transform=ax.transAxes, ha="center", fontsize=10)
    ax.set_ylabel(f"lesion area ({unit})")
    return f"Lesion areas: {'; '.join(texts)}."


def _plot(ax: Axes, line: np.ndarray, index: int, name: str, **look: Any) -> None:
    """Plot a class in the line style of its index."""
    marker = "o" if len(line) <= _FEW_SLICES else ""
    short = name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"
    style = LINE_STYLES[index % len(LINE_STYLES)]
    ax.plot(line, style, marker=marker, ms=4, label=short, **look)


def _legend(ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    beside = _LETTER * sum(map(len, names)) + _HANDLE * len(names) < _WIDTH
    legend = ax.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(-0.15, 1),  # above the axes, where it hides no line
        ncols=len(names) if beside else 1,
        frameon=False,
        fontsize=10,
        handlelength=2.2,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
