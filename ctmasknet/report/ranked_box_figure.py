"""The papers' figure of the boxes that a slice was classified from.

Source: Ter-Sarkisov 2020, the paper on lightweight models, Figure 3.
Shapes: n different ranked boxes, N rows of the ranked tensor.
"""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ..figures import BLACK, BLUE, lesion_colour, plain
from ..inference.predictions import RankedBoxTable
from ..wording import counted

TOP = 16  # boxes that the paper shows beside all of them


def figure_3(ranked: RankedBoxTable, name: str = "") -> Figure:
    """Draw the scores of the ranked boxes, and scores over areas, for the best 16 and for all.

    Args:
        ranked: boxes in pixels of the slice. With 16 boxes or fewer there is one row of panels.
        name: of the slice, for the title.
    """
    count = len(ranked.boxes)
    groups = [("top", TOP)] * (count > TOP) + [("all", count)]
    figure = Figure(figsize=(10, 3.4 * len(groups) + 0.5), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, sharex="col")
    for (left, right), (what, shown) in zip(axes, groups, strict=True):
        _score_histogram(left, ranked.scores[:shown])
        _score_over_area(right, ranked, shown)
        for ax, title in ((left, "scores"), (right, "scores over areas")):
            ax.set_title(f"{title}, {what} {counted(shown, 'box')}", fontsize=11)
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
            ax.tick_params(labelbottom=True)
            if not shown:
                ax.text(0.5, 0.5, "no box", transform=ax.transAxes, ha="center")
    title = (
        f"{counted(count, 'ranked box')} fill the {len(ranked.rows)} rows that the slice was "
        "classified from"
    )
    title = f"{fill(name, 100)}\n{title}" if name else title
    figure.suptitle(plain(title), fontsize=12)
    return figure


def _score_histogram(ax: Axes, scores: np.ndarray) -> None:
    ax.hist(scores, np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white")
    ax.set(xlim=(0, 1), xlabel="score", ylabel="boxes")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _score_over_area(ax: Axes, ranked: RankedBoxTable, shown: int) -> None:
    x0, y0, x1, y1 = ranked.boxes.T
    # Boxes clipped at the slice's border may have no area, which a logarithm cannot show.
    areas = np.maximum((x1 - x0) * (y1 - y0), 1)[:shown]
    classes = np.array(ranked.lesion_classes[:shown], dtype=str)
    names = list(dict.fromkeys(ranked.lesion_classes))
    for index, name in enumerate(names):
        own = classes == name
        ax.scatter(
            areas[own],
            ranked.scores[:shown][own],
            s=28,
            color=lesion_colour(index),
            edgecolors=BLACK,
            linewidths=0.5,
            alpha=0.8,
            label=plain(name),
        )
    if len(names) > 1:
        ax.legend(fontsize=9)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel="area of the box (px)", ylabel="score")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
