"""The lesions of a scan in three dimensions, and what is measured of each.

Shapes: Z slices of H x W pixels.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pycocotools.mask as mask_util

from ..data.linked_outlines import link_outlines
from ..inference.predictions import Instance, SlicePrediction
from .label_map import outline_map
from .lobes import LOBES
from .lung_sides import find_midline


@dataclass(frozen=True)
class Lesion:
    """A lesion of a scan: outlines that `link_outlines` found to be one.

    Attributes:
        lesion_id: from 1 on, the largest first.
        lesion_class: the class of its outlines.
        score: the highest of its outlines.
        voxels: its own ones; a pixel of several outlines belongs to the one with the highest score.
        volume_ml: None where the spacing is unknown.
        diameter_mm: the longest distance within one piece of it on one slice, from the outer corner
            of a pixel to that of another; None where the spacing is unknown.
        largest_slice: the slice where that is.
        first_slice, last_slice: from the lowest to the highest.
        mean_hu, min_hu: over its voxels; None where HU are unknown.
        side: "left" or "right", where most of it lies; None where the lung is unknown, or the
            spacing and with it the orientation.
        lobe: one of LOBES, which holds most of it; None where lobes are unknown, or outside them.
    """

    lesion_id: int
    lesion_class: str
    score: float
    voxels: int
    volume_ml: float | None
    diameter_mm: float | None
    largest_slice: int
    first_slice: int
    last_slice: int
    mean_hu: float | None
    min_hu: float | None
    side: str | None
    lobe: str | None


class _Section(NamedTuple):
    """A lesion on one slice."""

    z: int
    score: float
    voxels: int
    diameter: float  # in mm, or pixels where the spacing is unknown
    hu: np.ndarray | None  # (voxels,)
    left: int  # voxels on the patient's left
    lobes: np.ndarray  # (5,) int64, voxels in each


@dataclass(frozen=True, eq=False)
class _Scan:
    """What is known of a scan."""

    spacing: tuple[float, float, float] | None
    hu: np.ndarray | None
    lobes: np.ndarray | None
    midline: float | None


def find_lesions(
    slices: Sequence[SlicePrediction],
    spacing: tuple[float, float, float] | None = None,
    hu: np.ndarray | None = None,
    lung: np.ndarray | None = None,
    lobes: np.ndarray | None = None,
) -> tuple[tuple[Lesion, ...], tuple[tuple[int, ...], ...]]:
    """Link the outlines of a scan to lesions and measure them.

    Args:
        slices: Z predictions of one size with masks, lowest first.
        spacing: (z, y, x) in mm; None if unknown.
        hu: (Z, H, W), HU; None if unknown.
        lung: (Z, H, W) bool, upright; None if unknown.
        lobes: (Z, H, W) uint8, 0 or 1 + the lobe's index in LOBES; None if unknown.

    Returns:
        The lesions in the order of their ids: by falling number of voxels, of equal ones from the
        lowest. And for each slice the id of each instance; 0 where other outlines cover the lesion.
    """
    linked = link_outlines(
        [[x.rle or {} for x in s.instances] for s in slices],
        [[x.lesion_class for x in s.instances] for s in slices],
    )
    midline = None if lung is None or spacing is None else find_midline(lung)
    scan = _Scan(spacing, hu, lobes, midline)
    sections: defaultdict[int, list[_Section]] = defaultdict(list)
    classes: dict[int, str] = {}
    for z, (prediction, numbers) in enumerate(zip(slices, linked, strict=True)):
        if not len(numbers):
            continue
        lesions = np.array([-1, *numbers], np.int32).take(outline_map(prediction))
        for number in np.unique(numbers).tolist():
            own = [x for x, n in zip(prediction.instances, numbers, strict=True) if n == number]
            if section := _section(z, lesions, number, own, scan):
                sections[number].append(section)
                classes[number] = own[0].lesion_class
    order = sorted(sections, key=lambda number: -sum(x.voxels for x in sections[number]))
    ids = {number: lesion_id for lesion_id, number in enumerate(order, 1)}
    return (
        tuple(_lesion(ids[number], classes[number], sections[number], scan) for number in order),
        tuple(tuple(ids.get(number, 0) for number in part.tolist()) for part in linked),
    )


def longest_diameter(mask: np.ndarray, pixel: tuple[float, float] = (1.0, 1.0)) -> float:
    """Measure the longest distance within a piece of a mask, between outer corners of its pixels.

    Args:
        mask: (H, W) bool; its 8-connected pieces are measured one by one.
        pixel: height and width of a pixel, in mm.

    Returns:
        The longest of all pieces, in the unit of `pixel`; 0 of an empty mask.
    """
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    longest = 0.0
    for outline in outlines:
        corners = cv2.convexHull(outline)[:, 0]  # (h, 2) x, y: no two others lie farther apart
        steps = np.abs(corners[:, np.newaxis] - corners) + 1  # of corners: a pixel more
        longest = max(longest, float(np.hypot(*(steps * pixel[::-1]).transpose(2, 0, 1)).max()))
    return longest


def _section(
    z: int, lesions: np.ndarray, number: int, own: Sequence[Instance], scan: _Scan
) -> _Section | None:
    """Measure a lesion in (H, W) numbers of lesions; None if it has no pixel there."""
    boxes = mask_util.toBbox([x.rle for x in own]).astype(int)
    x0, y0 = boxes[:, :2].min(axis=0)
    x1, y1 = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    box = np.s_[y0:y1, x0:x1]
    mask = lesions[box] == number
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    lobes = np.zeros(len(LOBES), np.int64)
    if scan.lobes is not None:
        lobes = np.bincount(scan.lobes[z][box][mask], minlength=len(LOBES) + 1)[1:]
    return _Section(
        z,
        max(float(x.score) for x in own),
        len(rows),
        longest_diameter(mask, scan.spacing[1:] if scan.spacing else (1.0, 1.0)),
        None if scan.hu is None else scan.hu[z][box][mask],
        0 if scan.midline is None else int(np.count_nonzero(x0 + columns > scan.midline)),
        lobes,
    )


def _lesion(lesion_id: int, name: str, sections: Sequence[_Section], scan: _Scan) -> Lesion:
    voxels = sum(x.voxels for x in sections)
    largest = max(sections, key=lambda x: x.diameter)
    hu = [x.hu for x in sections if x.hu is not None]
    in_lobes = np.sum([x.lobes for x in sections], axis=0)
    lobe = LOBES[in_lobes.argmax()] if in_lobes.any() else None
    side = lobe.split()[0] if lobe else None
    if side is None and scan.midline is not None:
        side = "left" if 2 * sum(x.left for x in sections) > voxels else "right"
    return Lesion(
        lesion_id=lesion_id,
        lesion_class=name,
        score=max(x.score for x in sections),
        voxels=voxels,
        volume_ml=voxels * math.prod(scan.spacing) / 1000 if scan.spacing else None,
        diameter_mm=largest.diameter if scan.spacing else None,
        largest_slice=largest.z,
        first_slice=sections[0].z,
        last_slice=sections[-1].z,
        mean_hu=float(np.concatenate(hu).mean(dtype=np.float64)) if hu else None,
        min_hu=float(min(x.min() for x in hu)) if hu else None,
        side=side,
        lobe=lobe,
    )
