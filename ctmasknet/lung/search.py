"""Find the lungs by density: the body slice by slice, the lungs in it as parts of the volume.

Shapes: Z slices of H x W pixels, searched at h x w. docs/quantification.md has the method's
accuracy and limits.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from .gas import GAS_HU, trace_airway, without_gas
from .sections import LUNG_HU, closed, cut_area, fill_holes, find_body, refine

UNKNOWN_WIDTH = 400.0  # mm that the longer side of an image of unknown spacing is taken to have
CLOSING = 8.0  # mm, radius
LEAST_MM2 = 100.0  # of lung in a slice: one with less is taken to have none

_SIDE = 256  # pixels: larger images are searched at about this size, and outlined at their own
_PART = 0.05  # of the largest part: smaller ones are something else
_HOLE_AREA = 0.04  # of the body's section: larger holes are the heart between lungs that meet

# What is plausible:
_SHARE = (0.05, 0.75)  # of the body's section in the slice with the largest share
_MEAN_HU = (-950, -400)
_LARGEST_ML = 10_000
_CUT = 0.2  # of the lung found: what a cropped image may have cut open

METHOD = (
    f"threshold and connected components in HU (air inside the body below {LUNG_HU} HU, without "
    f"airways and bowel: gas of a median below {GAS_HU} HU in walls of its own; closed by "
    f"{CLOSING:g} mm, holes filled; lesions that lie in it by a half added)"
)
_ASSUMED = f", the image's longer side taken as {UNKNOWN_WIDTH:g} mm"


@dataclass(frozen=True, eq=False)
class LungMask:
    """The lungs."""

    mask: np.ndarray  # (Z, H, W) bool
    method: str  # how it was found, in words for the report, or the file it was given as
    # Whether lesions half in it belong to it: density misses consolidation. A given mask is
    # taken as it is.
    grows: bool
    lobes: np.ndarray | None = None  # (Z, H, W) uint8, 1 + the lobe's index in LOBES, if known


def find_lung(hu: np.ndarray, spacing: tuple[float, float, float] | None) -> LungMask:
    """Find both lungs by threshold and connected components.

    Besides `hu` it takes about 3 bytes for each voxel.

    Args:
        hu: (Z, H, W) int16 or float32, HU, upright, lowest slice first; Z may be 1; values may be
            clipped by the papers' window.
        spacing: (z, y, x) in mm; None if unknown.

    Returns:
        The lungs with their vessels, without trachea, main bronchi and bowel.

    Raises:
        ValueError: what was found is no plausible lung.
    """
    if hu.ndim != 3:
        raise ValueError(f"found HU of the shape {hu.shape}, expected (Z, H, W)")
    step = max(1, round(max(hu.shape[1:]) / _SIDE))
    pixel = step * (spacing[2] if spacing else UNKNOWN_WIDTH / max(hu.shape[1:]))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # OpenCV leaves Python's lock
        slices = list(pool.map(lambda part: _searched(part, step, pixel), hu))
        small, bodies, cut = (np.array(of_slices) for of_slices in zip(*slices, strict=True))
        sections = np.count_nonzero(bodies, axis=(1, 2))
        airway = trace_airway(small, bodies, pixel)
        lung = np.empty(small.shape, bool)
        below = gas_below = np.zeros(small.shape[1:], bool)
        for z, part in enumerate(lung):
            part[:] = without_gas(small[z], bodies[z], airway[z], below, gas_below, pixel)
            below = part
            gas_below = (small[z] < LUNG_HU) & bodies[z] & ~airway[z] & ~part
        _keep_lungs(lung)
        other_gas = airway | ((small < GAS_HU) & ~lung)
        radius = CLOSING / pixel
        lung = np.stack(list(pool.map(lambda part, body: closed(part, body, radius), lung, bodies)))
        lung &= ~other_gas
        for z, part in enumerate(lung):
            fill_holes(part, lung[z - 1] if z else ~airway[0], _HOLE_AREA * sections[z])
        mask = lung
        if step > 1:
            mask = np.empty(hu.shape, bool)
            list(pool.map(refine, lung, hu, mask))
    voxel_ml = spacing[0] * pixel**2 / 1000 if spacing else 0.0
    _refuse_implausible(small, lung, sections, cut, voxel_ml)
    return LungMask(mask, METHOD if spacing else METHOD + _ASSUMED, grows=True)


def has_lung(mask: np.ndarray, spacing: tuple[float, float, float] | None) -> np.ndarray:
    """Return which slices of (Z, H, W) bool hold at least LEAST_MM2 of lung: (Z,) bool."""
    pixel = UNKNOWN_WIDTH / max(mask.shape[1:])
    area = spacing[1] * spacing[2] if spacing else pixel**2
    return np.count_nonzero(mask, axis=(1, 2)) * area >= LEAST_MM2


def reduced(part: np.ndarray, step: int) -> np.ndarray:
    """Average a slice (H, W) over `step` x `step` pixels: (h, w) int16."""
    values = np.ascontiguousarray(part)
    if step > 1:
        height, width = values.shape
        size = max(1, width // step), max(1, height // step)
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return np.clip(values, -2000, 4000).astype(np.int16)


def _searched(part: np.ndarray, step: int, pixel: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return a slice (H, W) at (h, w), its body, and the area of what the image's border cuts."""
    small = reduced(part, step)
    body = find_body(small, pixel)
    return small, body, cut_area(body)


def _keep_lungs(lung: np.ndarray) -> None:
    """Clear all but the large parts of (Z, h, w) bool, in place.

    Parts that lie wholly below the largest section of the largest part are bowel: lungs are widest
    above the diaphragm.
    """
    labels, count = ndimage.label(lung)
    sizes = np.zeros((len(lung), count + 1), np.int64)
    for size, part in zip(sizes, labels, strict=True):
        size[:] = np.bincount(part.ravel(), minlength=count + 1)
    sizes[:, 0] = 0
    totals = sizes.sum(axis=0)
    largest = totals.argmax()
    top = len(lung) - 1 - (sizes[::-1] > 0).argmax(axis=0)
    kept = (totals > 0) & (totals >= _PART * totals[largest])
    kept &= top >= sizes[:, largest].argmax()
    for index, part in enumerate(labels):
        lung[index] = kept[part]


def _refuse_implausible(
    hu: np.ndarray,
    mask: np.ndarray,
    sections: np.ndarray,
    cut: np.ndarray,
    voxel_ml: float,
) -> None:
    areas, sections = np.count_nonzero(mask, axis=(1, 2)), np.maximum(sections, 1)
    share = (areas / sections).max()
    if (cut / sections).max() >= _SHARE[0] and cut.sum() >= _CUT * areas.sum():
        raise _implausible("air in the body that is open to the image's border", "uncropped images")
    if not areas.any():
        raise _implausible("no lung-like air inside a body", "an uncropped chest in HU, upright")
    if not _SHARE[0] <= share <= _SHARE[1]:
        low, high = (f"{100 * limit:g}" for limit in _SHARE)
        raise _implausible(
            f"at most {100 * share:.1f} % of the body's section in any slice",
            f"{low} to {high} % in the slice with most",
        )
    mean = float(hu[mask].mean(dtype=np.float64))
    if not _MEAN_HU[0] <= mean <= _MEAN_HU[1]:
        raise _implausible(f"a mean of {mean:.0f} HU", f"{_MEAN_HU[0]} to {_MEAN_HU[1]} HU")
    ml = areas.sum() * voxel_ml
    if ml > _LARGEST_ML:
        raise _implausible(f"{ml:.0f} ml", f"at most {_LARGEST_ML} ml")


def _implausible(found: str, expected: str) -> ValueError:
    return ValueError(f"no plausible lung: found {found}, expected {expected}; give a lung mask")
