"""What the lung decides on a scan or slice, rule by rule.

Shapes: Z slices of H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pycocotools.mask as mask_util

from ..inference.predictions import Instance, SlicePrediction
from ..lung import LungMask
from .grown_lung import grown_lung
from .label_map import label_volume

_LEAST = 0.1  # of an outline: with less in the lung it lies beside it, and what is cut is a sliver
FIELD_OF_VIEW, LUNG_SLICES, LUNG_LESIONS = "field-of-view", "lung-slices", "lung-lesions"
DOMES = "domes"
RULES = {
    FIELD_OF_VIEW: "the network sees what its config asks for (INPUT.FIELD_OF_VIEW), not all",
    LUNG_SLICES: "slices of a scan without lung are neither searched nor classified",
    LUNG_LESIONS: "lesions are cut to the lung, to which those belong that lie in it by a half",
    DOMES: "outlines on one slice of a scan that stand on what is no lung are no lesions, but the "
    "domes of diaphragm and heart",
}


def cut_to_lung(
    slices: Sequence[SlicePrediction], lung: LungMask
) -> tuple[tuple[SlicePrediction, ...], LungMask, list[str]]:
    """Leave out what lies outside the lung.

    A lesion that lies by a half in a lung which was found by its density belongs to it (density
    misses consolidation) but for what lies in the chest wall; a lung mask that was given is taken
    as it is.

    Args:
        slices: Z predictions of one size with masks.
        lung: of the same slices.

    Returns:
        The predictions, with masks, boxes and areas of what is left; the lung with the lesions that
        belong to it; and a note on what was left out, if anything was.
    """
    if lung.grows:
        grown = grown_lung(lung.mask, label_volume(slices) > 0)
        lung = replace(lung, mask=grown, grows=False)
    cut = tuple(
        replace(found, instances=_cut(found.instances, mask))
        for found, mask in zip(slices, lung.mask, strict=True)
    )
    return cut, lung, _left_out(slices, cut)


def _cut(instances: Sequence[Instance], lung: np.ndarray) -> tuple[Instance, ...]:
    return tuple(x for x in (_cut_one(instance, lung) for instance in instances) if x is not None)


def _cut_one(instance: Instance, lung: np.ndarray) -> Instance | None:
    mask = instance.mask
    assert mask is not None and instance.area_px is not None
    inside = mask & lung
    area = int(np.count_nonzero(inside))
    if not area or area < _LEAST * instance.area_px:
        return None
    if area == instance.area_px:
        return instance
    rle = mask_util.encode(np.asfortranarray(inside, np.uint8))
    x, y, width, height = mask_util.toBbox(rle).tolist()
    pixel = instance.area_mm2 and instance.area_mm2 / instance.area_px
    return replace(
        instance,
        box=(x, y, x + width, y + height),
        rle={**rle, "counts": rle["counts"].decode()},
        area_px=area,
        area_mm2=pixel and pixel * area,
    )


def _left_out(before: Sequence[SlicePrediction], after: Sequence[SlicePrediction]) -> list[str]:
    counts = [sum(len(x.instances) for x in slices) for slices in (before, after)]
    areas = [sum(i.area_px or 0 for x in slices for i in x.instances) for slices in (before, after)]
    if areas[0] == areas[1]:
        return []
    outlines = f"{counts[0] - counts[1]} of {counts[0]} outlines, "
    return [
        f"Outside the lung: {outlines if counts[0] > counts[1] else ''}"
        f"{1 - areas[1] / areas[0]:.1%} of the area that the model took for lesion; left out."
    ]
