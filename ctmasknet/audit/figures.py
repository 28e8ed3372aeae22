"""Figures of an audit, as SVG in data URIs, so that the page is one file."""

from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from ..data.images import read_slice
from ..figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    figure_uri,
    picture_uri,
    plain_lines,
)
from .confounding import Position
from .groups import area_shares, instances_per_slice
from .records import Split

_WIDTH, _HEIGHT = 5.4, 3.4  # inches: at the width of a phone the text is still readable
_LETTERS = 60  # that fit below it
_MOST_BARS = 20
_PICTURE_SIDE = 256


def lesion_figures(splits: Sequence[Split]) -> list[tuple[str, str]]:
    """Draw histograms of lesions in a slice and of their areas (TS20a, Figure 1) for each class.

    Classes are those of one name, whatever their order; where the names differ, all lesions count
    alike. Returns what each figure shows, and its data URI.
    """
    alike = len({frozenset(split.classes) for split in splits}) == 1
    names = splits[0].classes if alike else ("lesion",)
    figures = []
    for name in names:
        chosen = name if alike else None
        figures.append((f"number of {name} in a slice", _count_figure(splits, chosen, name)))
        figures.append((f"area of {name}, share of the image", _area_figure(splits, chosen, name)))
    return figures


def _count_figure(splits: Sequence[Split], lesion_class: str | None, name: str) -> str:
    """Draw the lesions in a slice, each split as a share of its slices."""
    figure, ax = _figure()
    counts = [np.minimum(instances_per_slice(split, lesion_class), _MOST_BARS) for split in splits]
    top = int(max((values.max(initial=0) for values in counts), default=0))
    _histogram(ax, counts, np.arange(-0.5, top + 1), splits)
    ax.set_xticks(range(0, top + 1, 1 if top < 12 else 2))
    beyond = f" ({_MOST_BARS}: that many or more)" if top == _MOST_BARS else ""
    ax.set_xlabel(plain_lines(f"{name}: instances in a slice{beyond}", _LETTERS))
    ax.set_ylabel("share of slices")
    return figure_uri(figure)


def _area_figure(splits: Sequence[Split], lesion_class: str | None, name: str) -> str:
    """Draw areas as shares of the image on a logarithmic axis; each split adds up to 1."""
    figure, ax = _figure()
    shares = [np.array(area_shares(split, lesion_class)) for split in splits]
    every = np.concatenate(shares)
    every = every[every > 0]
    low, high = (every.min() * 0.99, every.max() * 1.01) if len(every) else (1e-3, 1)
    _histogram(ax, shares, np.geomspace(low, high, 16), splits)
    ax.set_xscale("log")
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    marks = [step * 10.0**power for power in range(-7, 1) for step in steps]
    marks = [mark for mark in marks if low <= mark <= high] or [(low + high) / 2]
    ax.set_xticks(marks, [f"{100 * mark:.3g} %" for mark in marks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(plain_lines(f"{name}: area of an instance, as a share of its image", _LETTERS))
    ax.set_ylabel("share of instances")
    return figure_uri(figure)


def position_figure(position: Position) -> str:
    """Draw the share of each class in each bin of slice numbers."""
    figure, ax = _figure()
    table = np.array(position["table"])
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    bottom = np.zeros(len(table))
    colours = cycle((BLUE, ORANGE, VERMILION, GREY))
    for name, values, colour in zip(position["columns"], share.T, colours, strict=False):
        ax.bar(range(len(table)), values, bottom=bottom, color=colour, label=name, width=0.9)
        bottom += values
    ax.set_xticks(range(len(table)), position["rows"], rotation=40, ha="right")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("slice number")
    ax.set_ylabel("share of slices")
    _legend(ax)
    return figure_uri(figure)


def picture(path: str) -> str:
    """Return a small copy of an image as a data URI; "" when it cannot be read."""
    try:
        return picture_uri(read_slice(path), _PICTURE_SIDE, "jpeg", 80)
    except (OSError, ValueError):
        return ""


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _histogram(
    ax: Axes, values: Sequence[np.ndarray], bins: np.ndarray, splits: Sequence[Split]
) -> None:
    """Draw the bars of all splits side by side; each split's add up to 1."""
    weights = [np.full(len(items), 1 / max(len(items), 1)) for items in values]
    labels = [f"{split.name} ({len(items):,})" for split, items in zip(splits, values, strict=True)]
    colours = list(islice(cycle((BLUE, ORANGE, GREEN, PURPLE)), len(values)))
    ax.hist(list(values), bins.tolist(), weights=weights, label=labels, color=colours)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(ax)


def _legend(ax: Axes) -> None:
    # Above the axes, where it hides no bar.
    handles, names = ax.get_legend_handles_labels()
    columns = 3 if sum(map(len, names)) < 50 else 1
    ax.figure.legend(handles, names, loc="outside upper center", ncols=columns, frameon=False)
