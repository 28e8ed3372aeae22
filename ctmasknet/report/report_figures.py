"""Pictures and charts of a report, each with a text that says what is seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..figures import (
    BLACK,
    BLUE,
    GREEN,
    LINE_STYLES,
    VERMILION,
    lesion_colour,
    picture_uri,
    svg_uri,
)
from ..inference.predictions import Classification, Instance, RankedBoxTable, SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..quantification.case import Case
from ..wording import area_text, counted, percent
from .overlay import draw_contributions, draw_instances
from .panels import score_map_picture
from .paper_figures import figure_3

_LARGEST_SIDE = 1024  # pixels: keeps reports of large slices small
_SCORES_SIZE = (5.6, 5.0)  # inches: at the width of a phone the text is still readable
_LISTED = 8  # lesions in the text of a picture
_WIDTH, _PANEL_HEIGHT = 5.2, 2.5  # inches, for the same reason
_CLASS_COLOURS = (BLUE, VERMILION, GREEN, BLACK)
_LETTER, _HANDLE, _LINE = 0.085, 0.6, 0.2  # inches, in a legend
_NAME_LETTERS = 50  # on a line of a legend
_FEW_SLICES = 40  # up to so many, each gets a point


@dataclass(frozen=True)
class Picture:
    """A picture for a page."""

    uri: str  # data URI
    alt: str  # what is seen, with its numbers


def lesion_picture(prediction: SlicePrediction, image: np.ndarray) -> Picture:
    """Draw the lesions of a slice over its image, (H, W, 3) uint8 RGB."""
    found = prediction.instances
    what = "lesion" if prediction.has_masks else "box"
    listed = "; ".join(map(_instance_text, found[:_LISTED]))
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    alt = f"CT slice with {counted(len(found), what)} drawn: {listed}{more}."
    drawn = draw_instances(image, found, prediction.lesion_classes)
    return _photo(drawn, alt if found else f"CT slice; no {what} was found on it.")


def contribution_picture(
    ranked: RankedBoxTable, image: np.ndarray, answer: Classification
) -> Picture:
    """Draw a slice's ranked boxes, one or more, by what each adds to the logit of its class."""
    index = int(answer.probabilities.argmax())
    values = ranked.contributions[:, index]
    strongest = int(np.abs(values).argmax())
    alt = (
        f"CT slice with ranked boxes: of {len(values)}, {(values > 0).sum()} speak for "
        f"{answer.image_class} and {(values < 0).sum()} against it; the strongest adds "
        f"{values[strongest]:+.2g} to the class logit, {_place(ranked.boxes[strongest])}."
    )
    return _photo(draw_contributions(image, ranked, index), alt)


def mask_logit_picture(score_map: np.ndarray) -> Picture | None:
    """Colour the mask logits (H, W), NaN outside boxes; None where no box was found."""
    known = score_map[np.isfinite(score_map)]
    if not known.size:
        return None
    lesion = int(np.count_nonzero(known >= MASK_CUT))
    alt = (
        f"Map of the mask logits: {known.min():.1f} to {known.max():.1f} in the boxes, which cover "
        f"{percent(known.size / score_map.size)} of the slice; "
        f"{counted(lesion, 'pixel')} from {MASK_CUT:g} up, which is lesion."
    )
    return _photo(score_map_picture(score_map), alt)


def score_figure(ranked: RankedBoxTable, lesion_classes: Sequence[str]) -> Picture:
    """Draw the papers' Figure 3 of one ranked box or more."""
    scores = ranked.scores
    alt = (
        f"Scores of {len(scores)} ranked boxes: highest {scores.max():.2f}, median "
        f"{np.median(scores):.2f}, {(scores >= 0.5).sum()} of 0.5 or more; and scores over the "
        "areas of the boxes."
    )
    figure = figure_3(ranked, lesion_classes=lesion_classes)
    figure.set_size_inches(*_SCORES_SIZE)
    figure.suptitle("")  # the page's caption says it
    for ax in figure.axes:
        ax.title.set_fontsize(10)
        ax.tick_params(axis="x", rotation=45)
    return Picture(svg_uri(figure), alt)


def _instance_text(found: Instance) -> str:
    area = "" if found.area_px is None else f", {area_text(found.area_px, found.area_mm2)}"
    return f"{found.lesion_class}, score {found.score:.2f}{area}, {_place(found.box)}"


def _place(box: Sequence[float] | np.ndarray) -> str:
    x0, y0, x1, y1 = (f"{value:.0f}" for value in box)
    return f"at x {x0} to {x1}, y {y0} to {y1}"


def _photo(picture: np.ndarray, alt: str) -> Picture:
    return Picture(picture_uri(picture, _LARGEST_SIDE, "webp", 85), alt)


def scan_chart(case: Case, marked: Sequence[int]) -> Picture | None:
    """Chart probabilities and lesion areas along a scan, with marks at the indices given.

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
        figure.set_figheight(figure.get_figheight() + _LINE * (_legend(ax) - 1))
    spacing = case.scan.spacing
    axes[-1].set_xlabel("slice, 0 is the lowest" + (" (mm from it below)" if spacing else ""))
    if spacing:
        axes[-1].xaxis.set_major_formatter(lambda x, _: f"{x:.0f}\n{x * spacing[0]:.0f} mm")
    return Picture(svg_uri(figure), f"Along {len(case.slices)} slices. {' '.join(texts)}")


def _probabilities(ax: Axes, case: Case) -> str:
    """Draw the slices' class probabilities and return what is seen."""
    assert case.scan is not None and case.scan.classification is not None
    values = case.scan.probabilities
    assert values is not None
    names, own = case.scan.classification.class_names, case.scan.classification.image_class
    texts = []
    for index, (name, line) in enumerate(zip(names, values.T, strict=True)):
        colour = _CLASS_COLOURS[index % len(_CLASS_COLOURS)]
        _plot(ax, line, index, name, color=colour, lw=2.4 if name == own else 1.4)
        texts.append(
            f"{name} {percent(np.nanmean(line))} on average, at most {percent(np.nanmax(line))} on "
            f"slice {np.nanargmax(line)}"
        )
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("probability")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return f"Probabilities: {'; '.join(texts)}."


def _areas(ax: Axes, case: Case) -> str:
    """Draw the slices' lesion areas and return what is seen."""
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
    style = LINE_STYLES[index % len(LINE_STYLES)]
    ax.plot(line, style, marker=marker, ms=4, label=fill(name, _NAME_LETTERS), **look)


def _legend(ax: Axes) -> int:
    """Put the legend above the axes, where it hides no line, and return its number of lines."""
    handles, names = ax.get_legend_handles_labels()
    beside = _LETTER * sum(map(len, names)) + _HANDLE * len(names) < _WIDTH
    legend = ax.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(-0.15, 1),
        ncols=len(names) if beside else 1,
        frameon=False,
        fontsize=10,
        handlelength=2.2,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return 1 if beside else sum(name.count("\n") + 1 for name in names)
