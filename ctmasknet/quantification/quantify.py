"""Measure how much lesion there is: counts, areas, volumes, shares of the lung, severity.

Shapes: Z slices of H x W pixels, K lesion classes, A names. If K > 1, index K stands for any
lesion, and pixels of two classes count once. docs/quantification.md has the definitions.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.predictions import SlicePrediction
from ..lung import LungMask
from .grown_lung import grown_lung
from .label_map import label_volume
from .lesion_measures import Lesion, find_lesions
from .lobes import count_by_lobe

ANY_LESION = "any lesion"

# A share of exactly 5, 25 or 50 % belongs to the band above, of 75 % to the one below.
_LIMITS = (0.05, 0.25, 0.50, math.nextafter(0.75, 1))
_BANDS = ("<5 %", "5-25 %", "25-50 %", "50-75 %", ">75 %")


@dataclass(frozen=True, eq=False)
class Quantities:
    """Sums over the slices of a scan, or of a set of single slices.

    Attributes:
        names: K lesion classes and, if K > 1, "any lesion" after them; A names in all. Where a
            class is called so, the last name is "all of any lesion".
        instances: (Z, A) int64, instances on each slice; "any lesion" is their sum.
        areas_px: (Z, A) int64, pixels on each slice; None without a mask head.
        pixel_mm2: (Z,) float64; NaN where unknown.
        lesions: lesions in three dimensions, in the order of their ids; None of single slices or
            without masks.
        lesion_ids: for each slice the id of each instance, 0 where others cover its lesion; empty
            where `lesions` is None.
        volumes_ml: (A,) float64; None of single slices, of unknown spacing or without masks.
        lung_px: (Z,) int64, pixels of the lung, 0 for single slices without a lung mask among
            others with one (see `join`); None without any.
        lung_method: where the lung mask comes from; "" without one.
        lung_volume_ml: None where volumes_ml is, or without a lung mask.
        lung_lesion_px: (Z, A) int64, the part of areas_px inside the lung; None without either.
        lobe_px: (5,) int64, pixels of each of LOBES in a scan; None without their label map, or
            without masks.
        lobe_lesion_px: (5, A) int64, those of them that are lesion; None where lobe_px is.
    """

    names: tuple[str, ...]
    instances: np.ndarray
    areas_px: np.ndarray | None
    pixel_mm2: np.ndarray
    lesions: tuple[Lesion, ...] | None = None
    lesion_ids: tuple[tuple[int, ...], ...] = ()
    volumes_ml: np.ndarray | None = None
    lung_px: np.ndarray | None = None
    lung_method: str = ""
    lung_volume_ml: float | None = None
    lung_lesion_px: np.ndarray | None = None
    lobe_px: np.ndarray | None = None
    lobe_lesion_px: np.ndarray | None = None

    @property
    def lesion_counts(self) -> np.ndarray | None:
        """Count the lesions in three dimensions: (A,) int64, "any lesion" is their sum."""
        if self.lesions is None:
            return None
        classes = self.names[: max(1, len(self.names) - 1)]
        found = [x.lesion_class for x in self.lesions]
        return _with_any(np.array([[found.count(name) for name in classes]], np.int64))[0]


def quantify(
    slices: Sequence[SlicePrediction],
    spacing: tuple[float, float, float] | None = None,
    lung: LungMask | None = None,
    hu: np.ndarray | None = None,
) -> Quantities:
    """Measure the lesions of a scan, or of a single slice; `join` puts single slices together.

    Takes about 3 bytes for each voxel.

    Args:
        slices: Z predictions of one size by one model, of a scan lowest first.
        spacing: (z, y, x) in mm; None if unknown.
        lung: of the same slices, (Z, H, W); if it grows, lesions that lie in it by a half or more
            become part of it.
        hu: (Z, H, W), HU of the same slices, for the lesions' density; None if unknown.

    Raises:
        ValueError: no slices, different models, or sizes that do not fit.
    """
    _check(slices, lung)
    classes = slices[0].lesion_classes
    areas = lesions = volumes = inside = by_lobe = None
    ids: tuple[tuple[int, ...], ...] = ()
    lung_mask = lung.mask if lung else None
    voxel_ml = float(np.prod(spacing)) / 1000 if spacing else None
    if slices[0].has_masks:
        labels = label_volume(slices)
        areas = _count_pixels(labels, len(classes))
        volumes = areas.sum(axis=0) * voxel_ml if voxel_ml else None
        if lung:
            lung_mask = grown_lung(lung.mask, labels > 0) if lung.grows else lung.mask
            inside = _count_pixels(labels * lung_mask, len(classes))
            if lung.lobes is not None:
                by_lobe = count_by_lobe(labels, lung.lobes, len(classes))
        lobes = lung.lobes if lung else None
        lesions, ids = find_lesions(slices, spacing, hu, lung_mask, lobes)
    lung_px = lung_mask.sum(axis=(1, 2)) if lung_mask is not None else None
    return Quantities(
        names=(*classes, _any_name(classes)) if len(classes) > 1 else classes,
        instances=_with_any(np.array([_count_instances(found) for found in slices])),
        areas_px=areas,
        pixel_mm2=np.array([_pixel_mm2(found, spacing) for found in slices]),
        lesions=lesions,
        lesion_ids=ids,
        volumes_ml=volumes,
        lung_px=lung_px,
        lung_method=lung.method if lung else "",
        lung_volume_ml=(
            float(lung_px.sum() * voxel_ml) if lung_px is not None and volumes is not None else None
        ),
        lung_lesion_px=inside,
        lobe_px=None if by_lobe is None else by_lobe.sum(axis=1),
        lobe_lesion_px=None if by_lobe is None else _with_any(by_lobe[:, 1:]),
    )


def join(parts: Sequence[Quantities]) -> Quantities:
    """Join the quantities of slices that do not lie on each other: no volumes, no lesions in 3D.

    If only some parts have a lung mask, shares are those of their slices alone. Raises a ValueError
    for no parts, or parts of different models.
    """
    if len({(part.names, part.areas_px is None) for part in parts}) != 1:
        raise ValueError(
            f"found {len(parts)} quantities of different models, expected at least one, of one"
        )
    methods = dict.fromkeys(part.lung_method for part in parts if part.lung_method)
    per_slice = ("instances", "areas_px", "pixel_mm2", "lung_px", "lung_lesion_px")
    joined: dict[str, Any] = {name: _concatenated(parts, name) for name in per_slice}
    return Quantities(names=parts[0].names, lung_method="; ".join(methods), **joined)


def slice_shares(quantities: Quantities) -> np.ndarray:
    """Return the share of the lung in each slice that is lesion; errors as `shares`.

    (Z, A) float64 in 0..1, NaN where a slice has no lung.
    """
    lesion, lung = _known(quantities)
    return lesion / np.where(lung > 0, lung, np.nan)[:, np.newaxis]


def shares(quantities: Quantities) -> np.ndarray:
    """Return the share of all the lung that is lesion.

    Returns:
        (A,) float64 in 0..1, NaN where there is no lung. If the pixel size of any slice is unknown,
        all are taken to have the same one.

    Raises:
        ValueError: there is no lung mask, or the model has no masks.
    """
    lesion, lung = _known(quantities)
    pixel = quantities.pixel_mm2
    pixel = np.ones(len(pixel)) if np.isnan(pixel).any() else pixel
    return pixel @ lesion / (pixel @ lung or np.nan)


def lobe_shares(quantities: Quantities) -> np.ndarray:
    """Return the share of each lobe that is lesion: (5, A) float64 in 0..1, in the order of LOBES.

    Raises a ValueError without a label map of the lobes, or if the model has no masks.
    """
    if quantities.lobe_px is None or quantities.lobe_lesion_px is None:
        raise ValueError("found no lobes, or a model without masks; expected both for their shares")
    return quantities.lobe_lesion_px / quantities.lobe_px[:, np.newaxis]


def severity(share: float) -> str:
    """Name the band of a share of both lungs together.

    The bands are those of Pan et al. 2020 (Radiology 295:715), who score each of the five lobes by
    them.

    Args:
        share: 0..1.

    Returns:
        "none" (0 exactly), "<5 %", "5-25 %", "25-50 %", "50-75 %" or ">75 %".

    Raises:
        ValueError: another share, or NaN.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"found a share of the lung of {share}, expected 0 to 1")
    return _BANDS[bisect_right(_LIMITS, share)] if share else "none"


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


def _any_name(classes: Sequence[str]) -> str:
    name = ANY_LESION
    while name in classes:
        name = f"all of {name}"
    return name


def _count_instances(found: SlicePrediction) -> list[int]:
    names = [instance.lesion_class for instance in found.instances]
    return [names.count(name) for name in found.lesion_classes]


def _pixel_mm2(found: SlicePrediction, spacing: tuple[float, float, float] | None) -> float:
    pixel = spacing[1:] if spacing else found.pixel_mm
    return pixel[0] * pixel[1] if pixel else np.nan


def _count_pixels(labels: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each class on each slice of a label volume: (Z, A) int64."""
    counts = [np.bincount(part.ravel(), minlength=classes + 1)[1:] for part in labels]
    return _with_any(np.array(counts, np.int64))


def _with_any(counts: np.ndarray) -> np.ndarray:
    """Add the sum over classes: (Z, K) -> (Z, A)."""
    if counts.shape[1] == 1:
        return counts
    return np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)


def _concatenated(parts: Sequence[Quantities], name: str) -> np.ndarray | None:
    """Join an attribute of parts: zeros for those that lack it, None if all do."""
    values = [getattr(part, name) for part in parts]
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    blanks = [np.zeros(part.instances.shape[: known.ndim], known.dtype) for part in parts]
    filled = [b if value is None else value for value, b in zip(values, blanks, strict=True)]
    return np.concatenate(filled)


def _known(quantities: Quantities) -> tuple[np.ndarray, np.ndarray]:
    if quantities.lung_lesion_px is None or quantities.lung_px is None:
        raise ValueError(
            "found no lung, or a model without masks; expected both for a share of the lung"
        )
    return quantities.lung_lesion_px, quantities.lung_px
