"""How much lesion there is: counts, areas, volumes, shares of the lung, severity.

Shapes: Z slices of H x W pixels, K lesion classes. Index K stands for any lesion: pixels of two
classes count once. docs/quantification.md has the definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..inference.predictions import SlicePrediction
from .label_map import label_volume
from .lung import LungMask

ANY_LESION = "any lesion"

BANDS = ((0.05, "<5 %"), (0.25, "5-25 %"), (0.50, "25-50 %"), (0.75, "50-75 %"))

_NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-connected; 8-connected in a single slice


@dataclass(frozen=True, eq=False)
class Quantities:
    """Sums over the slices of a scan, or of a set of single slices.

    Attributes:
        names: K lesion classes and, if K > 1, "any lesion" after them; A names in all.
        instances: (Z, A) int64, instances on each slice; "any lesion" is their sum.
        areas_px: (Z, A) int64, pixels on each slice; None without a mask head.
        pixel_mm2: (Z,) float64; NaN where unknown.
        lesions: (A,) int64, lesions in three dimensions (26-connected, of each class on its own);
            None of single slices or without masks.
        volumes_ml: (A,) float64; None of single slices, of unknown spacing or without masks.
        lung_px: (Z,) int64, pixels of the lung; None without a lung mask. 0 also for those of
            several single slices that have none (see `join`).
        lung_method: where the lung mask comes from; "" without one.
        lung_volume_ml: None where volumes_ml is, or without a lung mask.
        lung_lesion_px: (Z, A) int64, the part of areas_px inside the lung; None without either.
    """

    names: tuple[str, ...]
    instances: np.ndarray
    areas_px: np.ndarray | None
    pixel_mm2: np.ndarray
    lesions: np.ndarray | None
    volumes_ml: np.ndarray | None
    lung_px: np.ndarray | None
    lung_method: str
    lung_volume_ml: float | None
    lung_lesion_px: np.ndarray | None


def quantify(
    slices: Sequence[SlicePrediction],
    spacing: tuple[float, float, float] | None = None,
    is_scan: bool = True,
    lung: LungMask | None = None,
) -> Quantities:
    """Measure the lesions that a model has found.

    Of a scan it takes about 3 bytes for each voxel, and 6 for each in the lesions' bounding box.

    Args:
        slices: Z answers of one model; those of a scan have one size.
        spacing: (z, y, x) of a scan in mm; None if unknown.
        is_scan: whether the slices lie on each other.
        lung: of the same slices, (Z, H, W); if it grows, lesions that touch it become part of it.

    Raises:
        ValueError: no slices, different models, or sizes that do not fit.
    """
    _check(slices, lung)
    if len(slices) > 1 and not is_scan:
        lungs = [lung and replace(lung, mask=lung.mask[z : z + 1]) for z in range(len(slices))]
        pairs = zip(slices, lungs, strict=True)
        return join([quantify([found], is_scan=False, lung=its_lung) for found, its_lung in pairs])
    classes = slices[0].lesion_classes
    labels = label_volume(slices) if slices[0].has_masks else None
    areas = None if labels is None else _with_any(_count(labels, len(classes)))
    voxel_ml = float(np.prod(spacing)) / 1000 if spacing and is_scan and areas is not None else None
    lung_px, lung_lesion_px = _in_lung(lung, labels, len(classes))
    return Quantities(
        names=(*classes, ANY_LESION) if len(classes) > 1 else classes,
        instances=_with_any(np.array([_instances(found) for found in slices])),
        areas_px=areas,
        pixel_mm2=np.array([_pixel_mm2(found, spacing) for found in slices]),
        lesions=_count_lesions(labels, len(classes)) if labels is not None and is_scan else None,
        volumes_ml=None if areas is None or voxel_ml is None else areas.sum(axis=0) * voxel_ml,
        lung_px=lung_px,
        lung_method=lung.method if lung else "",
        lung_volume_ml=(
            None if lung_px is None or voxel_ml is None else float(lung_px.sum() * voxel_ml)
        ),
        lung_lesion_px=lung_lesion_px,
    )


def join(parts: Sequence[Quantities]) -> Quantities:
    """The quantities of single slices together.

    Args:
        parts: at least one, of one model's answers with `is_scan` False. If only some have a lung,
            the others count as slices without any, so shares are those of the former alone.

    Raises:
        ValueError: none, or of different models.
    """
    if len({(part.names, part.areas_px is None) for part in parts}) != 1:
        raise ValueError(
            f"found {len(parts)} quantities of different models, expected at least one, of one"
        )
    with_lung = [part for part in parts if part.lung_px is not None]
    areas = [part.areas_px for part in parts if part.areas_px is not None]
    lung_px = [
        np.zeros(len(p.instances), np.int64) if p.lung_px is None else p.lung_px for p in parts
    ]
    inside = [
        np.zeros_like(part.instances) if part.lung_lesion_px is None else part.lung_lesion_px
        for part in parts
    ]
    return Quantities(
        names=parts[0].names,
        instances=np.concatenate([part.instances for part in parts]),
        areas_px=np.concatenate(areas) if areas else None,
        pixel_mm2=np.concatenate([part.pixel_mm2 for part in parts]),
        lesions=None,
        volumes_ml=None,
        lung_px=np.concatenate(lung_px) if with_lung else None,
        lung_method="; ".join(dict.fromkeys(part.lung_method for part in with_lung)),
        lung_volume_ml=None,
        lung_lesion_px=np.concatenate(inside) if with_lung and areas else None,
    )


def slice_shares(quantities: Quantities) -> np.ndarray:
    """The share of the lung in each slice that is lesion.

    Returns:
        (Z, A) float64 in 0..1, NaN where a slice has no lung.

    Raises:
        ValueError: there is no lung mask, or the model has no masks.
    """
    lesion, lung = _known(quantities)
    return _ratio(lesion, lung[:, np.newaxis])


def shares(quantities: Quantities) -> np.ndarray:
    """The share of all the lung that is lesion.

    Returns:
        (A,) float64 in 0..1, NaN where there is no lung. Slices of which any has an unknown pixel
        size are taken to have the same one.

    Raises:
        ValueError: there is no lung mask, or the model has no masks.
    """
    lesion, lung = _known(quantities)
    pixel = quantities.pixel_mm2
    pixel = np.ones(len(pixel)) if np.isnan(pixel).any() else pixel
    return _ratio(pixel @ lesion, pixel @ lung)


def severity(share: float) -> str:
    """The band of a share of the lung, both lungs together.

    Those of Pan et al. 2020 (Radiology 295:715), who score each of the five lobes by them; here
    they are applied to both lungs as one.

    Args:
        share: 0..1.

    Returns:
        "none" (0 exactly), "<5 %", "5-25 %", "25-50 %", "50-75 %" or ">75 %". A share of exactly
        5, 25 or 50 % belongs to the band above, of 75 % to the one below.

    Raises:
        ValueError: another share, or NaN.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"found a share of the lung of {share}, expected 0 to 1")
    if share == 0:
        return "none"
    if share == BANDS[-1][0]:
        return BANDS[-1][1]
    return next((band for limit, band in BANDS if share < limit), ">75 %")


def grown_lung(lung: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Add to a lung the whole lesions that touch or overlap it.

    Args:
        lung, lesion: (Z, H, W) bool. Lesions are 26-connected.

    Returns:
        (Z, H, W) bool, a new array.
    """
    grown = lung.copy()
    box = _bounding_box(lesion, margin=1)
    labels, count = ndimage.label(lesion[box], _NEIGHBOURS)
    near = ndimage.binary_dilation(lung[box], _NEIGHBOURS)
    touching = np.zeros(count + 1, bool)
    for part, close in zip(labels, near, strict=True):  # by slices, to spare memory
        touching[part[close]] = True
    touching[0] = False
    for lung_part, part in zip(grown[box], labels, strict=True):
        lung_part |= touching[part]
    return grown


def _check(slices: Sequence[SlicePrediction], lung: LungMask | None) -> None:
    kinds = {(found.lesion_classes, found.has_masks) for found in slices}
    if len(kinds) != 1:
        raise ValueError(
            f"found {len(slices)} slices by {len(kinds)} different models, expected slices by one"
        )
    sizes = sorted({found.size for found in slices})
    if lung is not None and (len(sizes) > 1 or lung.mask.shape != (len(slices), *sizes[0])):
        raise ValueError(
            f"found a lung mask of the shape {lung.mask.shape} for {len(slices)} slices of "
            f"{', '.join(map(str, sizes))} pixels, expected one of their number and size"
        )


def _instances(found: SlicePrediction) -> list[int]:
    names = [instance.lesion_class for instance in found.instances]
    return [names.count(name) for name in found.lesion_classes]


def _pixel_mm2(found: SlicePrediction, spacing: tuple[float, float, float] | None) -> float:
    pixel = spacing[1:] if spacing else found.pixel_mm
    return pixel[0] * pixel[1] if pixel else np.nan


def _count(labels: np.ndarray, classes: int) -> np.ndarray:
    """(Z, K) int64, pixels of each class on each slice of a label volume."""
    counts = [np.bincount(part.ravel(), minlength=classes + 1)[1:] for part in labels]
    return np.array(counts, np.int64)


def _with_any(counts: np.ndarray) -> np.ndarray:
    """(Z, K) -> (Z, A)."""
    if counts.shape[1] == 1:
        return counts
    return np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)


def _count_lesions(labels: np.ndarray, classes: int) -> np.ndarray:
    """(A,) int64, 26-connected components in a label volume."""
    labels = labels[_bounding_box(labels > 0)]
    counts = [ndimage.label(labels == k, _NEIGHBOURS)[1] for k in range(1, classes + 1)]
    if classes > 1:
        counts.append(ndimage.label(labels > 0, _NEIGHBOURS)[1])
    return np.array(counts, np.int64)


def _in_lung(
    lung: LungMask | None, labels: np.ndarray | None, classes: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Pixels of the lung (Z,), and of lesions inside it (Z, A), as far as there are any."""
    if lung is None:
        return None, None
    mask, lesion = lung.mask, None
    if labels is not None:
        mask = grown_lung(mask, labels > 0) if lung.grows else mask
        lesion = _with_any(_count(labels * mask, classes))
    return np.count_nonzero(mask, axis=(1, 2)).astype(np.int64), lesion


def _bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Of the true voxels in (Z, H, W), with a margin; empty if there are none."""
    box = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(hits):
            return (slice(0),) * 3
        box.append(slice(max(hits[0] - margin, 0), hits[-1] + 1 + margin))
    return tuple(box)


def _known(quantities: Quantities) -> tuple[np.ndarray, np.ndarray]:
    if quantities.lung_lesion_px is None or quantities.lung_px is None:
        raise ValueError(
            "found no lung, or a model without masks; expected both for a share of the lung"
        )
    return quantities.lung_lesion_px, quantities.lung_px


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where the whole is 0."""
    whole = np.broadcast_to(whole, part.shape).astype(np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
