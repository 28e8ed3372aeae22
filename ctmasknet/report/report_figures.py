"""Pictures of a report, each with a text that says what is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..figures import picture_uri
from ..inference.predictions import Classification, Instance, RankedBoxTable, SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..wording import area_text, counted, percent
from .overlay import draw_contributions, draw_instances
from .score_maps import score_map_picture

_LARGEST_SIDE = 1024  # pixels: keeps reports of large slices small
_LISTED = 8  # lesions in the text of a picture


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


def _instance_text(found: Instance) -> str:
    area = "" if found.area_px is None else f", {area_text(found.area_px, found.area_mm2)}"
    return f"{found.lesion_class}, score {found.score:.2f}{area}, {_place(found.box)}"


def _place(box: Sequence[float] | np.ndarray) -> str:
    x0, y0, x1, y1 = (f"{value:.0f}" for value in box)
    return f"at x {x0} to {x1}, y {y0} to {y1}"


def _photo(picture: np.ndarray, alt: str) -> Picture:
    return Picture(picture_uri(picture, _LARGEST_SIDE, "webp", 85), alt)
