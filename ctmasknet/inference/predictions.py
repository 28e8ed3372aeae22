"""Predictions in plain types.

Shapes: slices of H x W pixels, Z slices of a scan, n different ranked boxes, N rows of the ranked
tensor with D numbers, C image classes. Pixels are those of the slice as it was given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..lung import Box


@dataclass(frozen=True, eq=False)
class Instance:
    """A lesion on a slice.

    Attributes:
        lesion_class: its name.
        score: in 0..1.
        box: x0, y0, x1, y1 in pixels.
        rle: its mask as COCO's compressed RLE ("size", "counts" as str); None without a mask head.
        area_px: pixels of the mask; None without one.
        area_mm2: the same in mm2; None where the pixels' size is unknown too.
    """

    lesion_class: str
    score: float
    box: tuple[float, float, float, float]
    rle: Mapping[str, Any] | None = None
    area_px: int | None = None
    area_mm2: float | None = None

    @property
    def mask(self) -> np.ndarray | None:
        """Decode the mask, anew each time: (H, W) bool; None without a mask head."""
        return None if self.rle is None else mask_util.decode(self.rle).astype(bool)


@dataclass(frozen=True, eq=False)
class Classification:
    """The class of a slice or of a scan.

    Attributes:
        class_names: C names.
        probabilities: (C,) float64, adding up to 1.
        logits: (C,) float64, of a slice; None of a scan.
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray
    logits: np.ndarray | None = None

    @property
    def image_class(self) -> str:
        """Return the class with the highest probability."""
        return self.class_names[int(self.probabilities.argmax())]


@dataclass(frozen=True, eq=False)
class RankedBoxTable:
    """The ranked boxes that a slice was classified from, best first, with their contributions.

    Attributes:
        rows: (N, D) float32, the ranked tensor as the image head read it.
        boxes: (n, 4) float32, x0 y0 x1 y1 in pixels, of the n different ones among its rows.
        scores: (n,) float32 in 0..1.
        lesion_classes: n names.
        contributions: (n, C) float32, how far each class logit falls when the box is taken out; see
            `modeling.occlusion.box_contributions`.
        attention: (n,) float32, the weights of the boxes in an image head that has such; they add
            up to 1. Unlike contributions they do not say for which class a box speaks.
        boxes_share: (C,) float32 in 0..1, how much of each class logit the boxes explain, of an
            image head that reads the image around them, too; see `modeling.occlusion`. None: all.
    """

    rows: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    lesion_classes: tuple[str, ...]
    contributions: np.ndarray
    attention: np.ndarray | None = None
    boxes_share: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SlicePrediction:
    """The prediction for one slice.

    Attributes:
        size: (H, W).
        lesion_classes: names of the classes that the model tells apart, found or not.
        instances: lesions, best first.
        has_masks: whether instances have masks, found or not.
        classification: None of a lesion model.
        ranked_boxes: None of a lesion model or a baseline that reads no boxes.
        pixel_mm: (height, width) of a pixel; None if unknown.
        source: the file, or "" if it was given as an array.
        field: x0, y0, x1, y1 in whole pixels, where lesions were looked for; None is all.
        searched: False for a slice of a scan without lung, where nothing was looked for: it has no
            instances, no classification and no ranked boxes.
    """

    size: tuple[int, int]
    lesion_classes: tuple[str, ...]
    instances: tuple[Instance, ...]
    has_masks: bool
    classification: Classification | None = None
    ranked_boxes: RankedBoxTable | None = None
    pixel_mm: tuple[float, float] | None = None
    source: str = ""
    field: Box | None = None
    searched: bool = True


@dataclass(frozen=True, eq=False)
class ScanPrediction:
    """The prediction for a scan.

    Attributes:
        slices: Z predictions, lowest slice first; `source` is the slice's file where each has one.
        source: the file or folder.
        patient, scan: identifiers, as the volume has them.
        spacing: (z, y, x) in mm; None if unknown (8-bit images).
        classification: of the scan, from that of its slices that were searched; None of a lesion
            model.
        rule: from the slices' classes to the scan's; see `evaluation.scan_rules.find_rule`.
        skipped: what the reader left out, a line each.
    """

    slices: tuple[SlicePrediction, ...]
    source: str
    patient: str
    scan: str
    spacing: tuple[float, float, float] | None
    classification: Classification | None = None
    rule: str = "mean"
    skipped: tuple[str, ...] = ()

    @property
    def probabilities(self) -> np.ndarray | None:
        """Return the slices' class probabilities; see `class_probabilities`."""
        return class_probabilities(self.slices)


def class_probabilities(slices: Sequence[SlicePrediction]) -> np.ndarray | None:
    """Return (Z, C), NaN for slices that were not searched; None if none is classified."""
    found = [s.classification.probabilities if s.classification else None for s in slices]
    known = next((x for x in found if x is not None), None)
    if known is None:
        return None
    return np.array([np.full(len(known), np.nan) if x is None else x for x in found])
