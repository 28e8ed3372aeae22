"""Images per second as one setting grows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ctmasknet.figures import BLUE, DARK_GREY, GREEN, VERMILION, save_figure

from .rounds import Measurement, measure
from .settings import Case, Contender

SERIES = {
    "batch": (1, 2, 4, 8, 16, 32),
    "threads": (1, 2),
    "num_ranked": (64, 128, 256, 512),
    "side": (256, 512, 768, 1024),
}
_LABELS = {
    "batch": "images in a batch",
    "threads": "threads",
    "num_ranked": "N, ranked boxes",
    "side": "side of the image (pixels)",
}
_COLOURS = (BLUE, VERMILION, DARK_GREY, GREEN)
_MARKERS = "osD^"
Groups = dict[str, list[list[Measurement]]]


def measure_growth(
    case: Case,
    contenders: Sequence[Contender],
    repeats: int,
    show: Callable[[list[Measurement]], object] = lambda group: None,
) -> Groups:
    """Vary each setting of `SERIES` alone; equal cases are measured once.

    Args:
        case: has the other settings.
        contenders: as in `measure`.
        repeats: counted rounds of each.
        show: called with each result.

    Returns:
        Name of the setting -> a group of measurements for each value.
    """
    known: dict[Case, list[Measurement]] = {}
    found: Groups = {}
    for name, values in SERIES.items():
        found[name] = []
        for value in values:
            changed: dict[str, Any] = {name: value}
            point = replace(case, **changed)
            if point not in known:
                known[point] = measure(point, contenders, repeats)
                show(known[point])
            found[name].append(known[point])
    return found


def save_growth(path: Path, groups: Groups) -> None:
    """Save one panel a setting, on one logarithmic scale: medians, with bars between quartiles.

    Args:
        path: PNG file.
        groups: see `measure_growth`.
    """
    figure = Figure(figsize=(3.1 * len(groups), 3.4), layout="constrained")
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for ax, (name, series) in zip(axes, groups.items(), strict=True):
        _panel(ax, name, series)
    axes[0].set_ylabel("images per second")
    lines = axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=4, frameon=False)
    save_figure(figure, path, foot="")


def _panel(ax: Axes, name: str, series: list[list[Measurement]]) -> None:
    values = [getattr(group[0].case, name) for group in series]
    for i, contender in enumerate(m.contender for m in series[0]):
        # Slowest quartile of times first: the lowest rate.
        rates = [[1000 / ms for ms in group[i].quartiles()] for group in series]
        high, middle, low = zip(*rates, strict=True)
        ax.plot(
            *(values, middle, f"-{_MARKERS[i % 4]}"),
            color=_COLOURS[i % 4],
            label=f"{contender.name}, {contender.precision}",
            lw=2,
            ms=5,
        )
        ax.vlines(values, low, high, color=_COLOURS[i % 4], lw=1.5)
    ax.set_xscale("log", base=2)
    ax.set_xticks(values, map(str, values))
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_xlabel(_LABELS[name])
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
