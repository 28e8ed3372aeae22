"""A case as one HTML page that loads nothing; of a scan its only script shows slice by slice.

Without JavaScript all but that viewer is there.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_write import atomic_write
from ..figures import lesion_colour, rgb
from ..inference.predictions import SlicePrediction
from ..modeling.mask_head import MASK_CUT
from ..quantification.case import Case, KeySlice
from ..quantification.lobes import LARGEST_SCORE
from ..quantification.quantify import severity
from ..wording import NOTICE, area_text, counted, percent, volume_text
from . import report_charts as charts
from . import report_figures as figures
from . import report_tables as tables
from .html_pages import render
from .overlay import AGAINST, FOR
from .tables import lobe_scores, lung_shares, position_mm, total_area
from .viewer import content_policy, make_viewer

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_FIRST_NOTES = 3  # shown in the summary


def write_report(
    path: str | os.PathLike, case: Case, key_slices: Sequence[KeySlice], viewer: bool = True
) -> None:
    """Write the HTML report of a case, whole or not at all.

    Args:
        key_slices: the slices that are shown, in order; see `case.choose_key_slices`.
        viewer: whether all slices of a scan are in it.

    Raises:
        ValueError: the case has no slice, or the key slices are not its own.
    """
    page = as_html(case, key_slices, viewer)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def as_html(case: Case, key_slices: Sequence[KeySlice], viewer: bool = True) -> str:
    """Return the page that `write_report` writes."""
    _check(case, key_slices)
    first = case.slices[0]
    shown = make_viewer(case) if viewer else None
    return render(
        _TEMPLATE,
        case=case,
        viewer=shown,
        policy=content_policy(shown),
        about=case.about,
        notice=NOTICE,
        answer=case.scan.classification if case.scan else None,
        classifies=bool(case.image_classes),
        reads_boxes=any(x.ranked_boxes for x in case.slices),
        has_masks=first.has_masks,
        papers_classes=set(first.lesion_classes) in ({"GGO"}, {"GGO", "C"}),
        lesion_colours=[(x, rgb(lesion_colour(i))) for i, x in enumerate(first.lesion_classes)],
        for_colour=FOR,
        against_colour=AGAINST,
        mask_cut=MASK_CUT,
        phantoms=[model["name"] for model in case.about["models"] if model.get("phantom")],
        subtitle=_subtitle(case),
        headlines=_headlines(case),
        share_words=_share_words(case),
        sums=tables.lesion_sums(case) if case.scan else None,
        lobes=tables.lobes(case),
        loose=None if case.scan else tables.loose_slices(case),
        # Notes on the lung come first: they say why its share is missing.
        first_notes=sorted(case.notes, key=lambda note: "lung" not in note.lower())[:_FIRST_NOTES],
        chart=charts.scan_chart(case, [key.index for key in key_slices]),
        shown=[_show(case, key) for key in key_slices],
        lesions=tables.lesions(case),
        lesion_words=tables.lesion_words(case),
        lesion_count=sum(len(s.instances) for s in case.slices),
    )


def _check(case: Case, key_slices: Sequence[KeySlice]) -> None:
    if not case.slices:
        raise ValueError(f"{case.source}: found no slice, expected one or more to report on")
    for key in key_slices:
        if not 0 <= key.index < len(case.slices):
            raise ValueError(
                f"{case.source}: key slice {key.index}, expected 0 to {len(case.slices) - 1}"
            )
        expected = (*case.slices[key.index].size, 3)
        if key.image.shape != expected:
            raise ValueError(
                f"{case.source}: the image of key slice {key.index} has the shape "
                f"{key.image.shape}, expected {expected}, that of its prediction"
            )


def _subtitle(case: Case) -> str:
    number = counted(len(case.slices), "slice")
    if case.scan is None:
        return f"{number}, each taken by itself"
    sizes = sorted({tuple(s.size) for s in case.slices})
    parts = [number, *(f"{width} x {height} pixels" for height, width in sizes)]
    if case.scan.spacing:
        z, y, x = case.scan.spacing
        parts.append(f"pixels of {x:.3g} x {y:.3g} mm, {z:.3g} mm from slice to slice")
    else:
        parts.append("size of the pixels unknown")
    if case.scan.patient and case.scan.patient != case.name:
        parts.append(f"patient {case.scan.patient}")
    return "; ".join(parts)


def _headlines(case: Case) -> list[tuple[str, str, str]]:
    """Return (what, number, explanation) of the lesions of all classes together."""
    quantities = case.quantities
    instances = int(quantities.instances[:, -1].sum())
    touched = int((quantities.instances[:, -1] > 0).sum())
    on_slices = f"on {touched:,} of {counted(len(case.slices), 'slice')}"
    if quantities.lesions is not None:
        seen = f"in three dimensions; {counted(instances, 'outline')} {on_slices}"
        found = [("Lesions", f"{len(quantities.lesions):,}", seen)]
    else:
        what = "Lesions" if case.slices[0].has_masks else "Lesion boxes"
        found = [(what, f"{instances:,}", on_slices)]
    if case.scan is None:
        return found  # sums over slices that may not belong together say nothing
    together = "summed over the slices" + (", all classes" if len(quantities.names) > 1 else "")
    if quantities.volumes_ml is not None:
        found.append(("Lesion volume", volume_text(quantities.volumes_ml[-1]), together))
    elif quantities.areas_px is not None:
        found.append(("Lesion area", area_text(*total_area(quantities, -1)), together))
    of_lung = lung_shares(case)
    if of_lung is not None:
        share = float(of_lung[-1])
        band = f"severity band: {severity(share)}"
        if share == 0 and quantities.areas_px is not None and quantities.areas_px[:, -1].any():
            band += "; the lesions found lie outside the lung"
        found.append(("Share of the lung", percent(share), band))
    if scores := lobe_scores(case):
        what = "0 to 5 for each lobe by its share of lesion (Pan et al. 2020)"
        found.append(("CT score", f"{sum(scores)} of {LARGEST_SCORE}", what))
    return found


def _share_words(case: Case) -> str:
    """Say how the lung was found, or that there is no share of it; "" if there are only boxes."""
    if not case.slices[0].has_masks:
        return ""
    quantities = case.quantities
    if quantities.lung_method:
        volume = quantities.lung_volume_ml
        size = "" if volume is None else f", {volume_text(volume)}"
        return f"Lung{size}: {quantities.lung_method.rstrip('.')}."
    why = "; the notes may say why" if case.notes else ""
    return f"No share of the lung: no lung mask was given or found{why}."


def _show(case: Case, key: KeySlice) -> dict[str, Any]:
    """Return a key slice's words and pictures; None for those the model does not give."""
    prediction = case.slices[key.index]
    name = tables.slice_names(case)[key.index]
    ranked, answer = prediction.ranked_boxes, prediction.classification
    reasons = scores = None
    if ranked is not None and answer is not None and len(ranked.boxes):
        reasons = figures.contribution_picture(ranked, key.image, answer)
        scores = charts.score_figure(ranked, prediction.lesion_classes)
    score_map = key.score_map
    return {
        "title": name[:1].upper() + name[1:] if case.scan else name,
        "facts": _facts(case, key.index),
        "prediction": prediction,
        "lesions": figures.lesion_picture(prediction, key.image),
        "reasons": reasons,
        "score_map": None if score_map is None else figures.mask_logit_picture(score_map),
        "scores": scores,
        "around": _share_around(prediction),
    }


def _share_around(prediction: SlicePrediction) -> str:
    """Say how much of the class comes from the image around the boxes; "" if they are all."""
    ranked, answer = prediction.ranked_boxes, prediction.classification
    if ranked is None or answer is None or ranked.boxes_share is None:
        return ""
    share = float(ranked.boxes_share[answer.probabilities.argmax()])
    return f"boxes {percent(share)}, the image around them {percent(1 - share)}"


def _facts(case: Case, index: int) -> str:
    """Return the numbers of a slice in one line."""
    prediction, quantities = case.slices[index], case.quantities
    answer, place = prediction.classification, position_mm(case, index)
    facts = [f"{place:,.0f} mm above the lowest slice"] if place else []
    if answer is not None:
        order = np.argsort(-answer.probabilities, kind="stable")
        facts += [f"{answer.class_names[i]} {percent(answer.probabilities[i])}" for i in order]
    if quantities.areas_px is not None:
        facts += [
            f"{name} {area_text(px, px * quantities.pixel_mm2[index])}"
            for name, px in zip(quantities.names, quantities.areas_px[index], strict=True)
            if px
        ]
    if not prediction.searched:
        facts.append("no lung: not searched")
    elif not prediction.instances:
        facts.append("no lesion found" if prediction.has_masks else "no box found")
    return "; ".join(facts)
