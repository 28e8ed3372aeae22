"""Pictures of a report, each with a text that says what is seen.

Shapes: a slice of H x W pixels, n different ranked boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..figures import picture_uri, svg_uri
from ..inference.predictions import Classification, Instance, RankedBoxTable, SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..wording import area_text, counted, percent
from .overlay import draw_contributions, draw_instances
from .panels import score_map_picture
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
    """The slice, (H, W, 3) uint8 RGB, with its lesions drawn."""
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
    """The slice with the ranked boxes by what each adds to the logit of the slice's class.

    Args:
        ranked: boxes in pixels of the image, one or more.
        image: (H, W, 3) uint8 RGB.
        answer: of the slice.
    """
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
    """The score map of mask logits; None where no box was found.

    Args:
        score_map: (H, W) float32, NaN outside of boxes.
    """
    known = score_map[np.isfinite(score_map)]
    if not known.size:
        return None
    alt = (
        f"Map of the mask logits: {known.min():.1f} to {known.max():.1f} in the boxes, which cover "
        f"{percent(known.size / score_map.size)} of the slice; "
        f"{counted((known >= MASK_CUT).sum(), 'pixel')} from {MASK_CUT:g} up, which is lesion."
    )
    return _photo(score_map_picture(score_map), alt)


def score_figure(ranked: RankedBoxTable) -> Picture:
    """The papers' Figure 3 of one ranked box or more: scores, and scores over areas."""
    scores = ranked.scores
    alt = (
        f"Scores of {len(scores)} ranked boxes: highest {scores.max():.2f}, median "
        f"{np.median(scores):.2f}, {(scores >= 0.5).sum()} of 0.5 or more; and scores over the "
        "areas of the boxes."
    )
    figure = figure_3(ranked)
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
