"""Pictures of a report, each as a data URI with a text that says what is seen.

Shapes: Z slices of H x W pixels, n different ranked boxes, C image classes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..inference.predictions import Instance, RankedBoxTable, SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..wording import counted, percent
from .contribution_overlay import contribution_overlay
from .overlay import draw_instances
from .paper_figures import score_map_picture
from .ranked_box_figure import figure_3

_LARGEST_SIDE = 1024  # pixels: keeps reports of large slices small
_SCORES_SIZE = (5.6, 5.0)  # inches: at the width of a phone the text is still readable
_LISTED = 8  # lesions that are listed in the text of a picture


@dataclass(frozen=True)
class Picture:
    """A picture for a page.

    Attributes:
        uri: data URI.
        alt: what is seen, with its numbers.
    """

    uri: str
    alt: str


def lesion_picture(prediction: SlicePrediction, image: np.ndarray) -> Picture:
    """The slice with its lesions drawn.

    Args:
        prediction: of the slice.
        image: (H, W, 3) uint8 RGB.
    """
    drawn = draw_instances(image, prediction.instances, prediction.lesion_classes)
    found = prediction.instances
    what = "lesion" if prediction.has_masks else "box"
    if not found:
        return Picture(_photo(drawn), f"CT slice; no {what} was found on it.")
    listed = "; ".join(_instance_text(instance) for instance in found[:_LISTED])
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    alt = f"CT slice with {counted(len(found), what)} drawn: {listed}{more}."
    return Picture(_photo(drawn), alt)


def contribution_picture(
    ranked: RankedBoxTable, image: np.ndarray, class_index: int, class_name: str
) -> Picture:
    """The slice with the ranked boxes by what each adds to a class logit.

    Args:
        ranked: boxes in pixels of the image, one or more.
        image: (H, W, 3) uint8 RGB.
        class_index: in 0..C-1.
        class_name: of it.
    """
    values = ranked.contributions[:, class_index]
    strongest = int(np.abs(values).argmax())
    alt = (
        f"CT slice with ranked boxes: of {len(values)}, {int((values > 0).sum())} speak for "
        f"{class_name} and {int((values < 0).sum())} against it; the strongest adds "
        f"{values[strongest]:+.2g} to the class logit, {_place(ranked.boxes[strongest])}."
    )
    return Picture(_photo(contribution_overlay(image, ranked, class_index)), alt)


def mask_logit_picture(score_map: np.ndarray) -> Picture | None:
    """The combined mask-logit score map; None where no box was found.

    Args:
        score_map: (H, W) float32, NaN outside of boxes.
    """
    known = score_map[np.isfinite(score_map)]
    if not known.size:
        return None
    alt = (
        f"Map of the mask logits: {known.min():.1f} to {known.max():.1f} in the boxes, which cover "
        f"{percent(known.size / score_map.size)} of the slice; "
        f"{counted(int((known >= MASK_CUT).sum()), 'pixel')} from {MASK_CUT:g} up, which is lesion."
    )
    return Picture(_photo(score_map_picture(score_map)), alt)


def score_figure(ranked: RankedBoxTable) -> Picture:
    """The papers' Figure 3: scores of the ranked boxes, and scores over areas."""
    scores = ranked.scores
    alt = (
        f"Scores of {len(scores)} ranked boxes: highest {scores.max():.2f}, median "
        f"{np.median(scores):.2f}, {int((scores >= 0.5).sum())} of 0.5 or more; "
        "and scores over the areas of the boxes."
        if len(scores)
        else "No ranked box."
    )
    figure = figure_3(ranked)
    figure.set_size_inches(*_SCORES_SIZE)
    figure.suptitle("")  # the page's caption says it
    for ax in figure.axes:
        ax.title.set_fontsize(10)
        ax.tick_params(axis="x", rotation=45)
    return Picture(drawing(figure), alt)


def drawing(figure: Figure) -> str:
    """A figure as an SVG data URI, the same bytes each time."""
    stream = io.BytesIO()
    # A fixed salt and no date, which Matplotlib would otherwise choose.
    with matplotlib.rc_context({"svg.hashsalt": "ctmasknet"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _instance_text(instance: Instance) -> str:
    area = ""
    if instance.area_mm2 is not None:
        area = f", {instance.area_mm2:,.0f} mm²"
    elif instance.area_px is not None:
        area = f", {instance.area_px:,} px"
    return f"{instance.lesion_class}, score {instance.score:.2f}{area}, {_place(instance.box)}"


def _place(box: Sequence[float] | np.ndarray) -> str:
    x0, y0, x1, y1 = (f"{value:.0f}" for value in box)
    return f"at x {x0} to {x1}, y {y0} to {y1}"


def _photo(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
