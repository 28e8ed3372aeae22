"""Find the lungs by density: the body slice by slice, the lungs in it as parts of the volume.

Shapes: Z slices of H x W pixels. docs/quantification.md has the method's accuracy and limits.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

LUNG_HU = -320  # aerated lung is below, the body above; foam and cloth mostly below
GAS_HU = -930  # the median of airways and bowel gas is below, of most lungs above
UNKNOWN_WIDTH = 400.0  # mm that the longer side of an image of unknown spacing is taken to have
CLOSING = 8.0  # mm, radius

_THIN = 2.0  # mm, radius: clothes, tubes and the table's shell are thinner, body walls are not
_PART = 0.05  # of the largest part: smaller ones are something else
_BODY_AREA = 0.05  # of the image: smaller pieces of tissue are no body
# Of the body's section in the slice:
_GAS_AREA = 0.10  # larger areas of GAS_HU are lungs with emphysema
_HOLE_AREA = 0.04  # larger holes are the heart between lungs that meet before and behind it
_INSIDE = 0.5  # of what is open to the image's border: more inside the body's hull is cut lung

# What is plausible:
_SHARE = (0.05, 0.75)  # of the body's section in the slice with the largest share
_MEAN_HU = (-950, -400)
_LARGEST_ML = 10_000
_CUT = 0.2  # of the lung found: what a cropped image may have cut open

METHOD = (
    f"threshold and connected components in HU (air inside the body below {LUNG_HU} HU, without "
    f"airways and gas of a median below {GAS_HU} HU; closed by {CLOSING:g} mm, holes filled; "
    "lesions that touch it added)"
)
_ASSUMED = f", the image's longer side taken as {UNKNOWN_WIDTH:g} mm"


@dataclass(frozen=True, eq=False)
class LungMask:
    """The lungs."""

    mask: np.ndarray  # (Z, H, W) bool
    method: str  # how it was found, in words for the report, or the file it was given as
    # Whether lesions that touch it belong to it: density misses consolidation. A given mask is
    # taken as it is.
    grows: bool


def find_lung(hu: np.ndarray, spacing: tuple[float, float, float] | None) -> LungMask:
    """Find both lungs by threshold and connected components.

    Besides `hu` it takes about 5 bytes for each voxel.

    Args:
        hu: (Z, H, W) int16 or float32, HU, upright; Z may be 1; values may be clipped by the
            papers' window.
        spacing: (z, y, x) in mm; None if unknown.

    Returns:
        The lungs with their vessels, without the trachea and without main bronchi where they lie
        apart from the lung in a slice.

    Raises:
        ValueError: what was found is no plausible lung.
    """
    if hu.ndim != 3:
        raise ValueError(f"found HU of the shape {hu.shape}, expected (Z, H, W)")
    pixel = spacing[2] if spacing else UNKNOWN_WIDTH / max(hu.shape[1:])
    mask = np.zeros(hu.shape, bool)
    sections, cut = np.zeros((2, len(hu)), np.int64)  # pixels of the body, and cut open
    for index, part in enumerate(hu):
        values = np.ascontiguousarray(part, np.float32)
        body = _body(values, pixel)
        sections[index] = np.count_nonzero(body)
        cut[index] = _cut_area(body)
        mask[index] = _aerated(values, body)
    _keep_large_parts(mask)
    for part, section in zip(mask, sections, strict=True):
        if part.any():
            part[:] = _closed(part, section, pixel)
    _refuse_implausible(hu, mask, sections, cut, spacing)
    return LungMask(mask, METHOD if spacing else METHOD + _ASSUMED, grows=True)


def _disc(radius: float, pixel: float) -> np.ndarray:
    pixels = max(1, round(radius / pixel))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))


def _filled(mask: np.ndarray) -> np.ndarray:
    """Fill all holes of (H, W) uint8."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)


def _body(hu: np.ndarray, pixel: float) -> np.ndarray:
    """Find the largest piece of tissue with all it encloses, (H, W) uint8; perhaps nothing."""
    dense = (hu > LUNG_HU).astype(np.uint8)
    tissue = cv2.morphologyEx(dense, cv2.MORPH_OPEN, _disc(_THIN, pixel))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(tissue)
    largest = stats[1:, cv2.CC_STAT_AREA].argmax() + 1 if len(stats) > 1 else -1
    body = _filled((labels == largest).astype(np.uint8))
    return body if np.count_nonzero(body) >= _BODY_AREA * body.size else np.zeros_like(body)


def _cut_area(body: np.ndarray) -> int:
    """Count the pixels inside the body's hull that are open to the image's border."""
    if not body.any():
        return 0
    hull = cv2.convexHull(cv2.findNonZero(body))
    inside = cv2.fillConvexPoly(np.zeros_like(body), hull, 1) > 0
    count, found = cv2.connectedComponents(1 - body, connectivity=4)
    labels: np.ndarray = found  # OpenCV says int or float; they are int32
    areas = np.bincount(labels[body == 0], minlength=count)
    cut = np.bincount(labels[inside], minlength=count) >= _INSIDE * areas
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return int(areas[border[cut[border]]].sum())


def _aerated(hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Find what may be lung in a slice, (H, W) bool."""
    air = (hu < LUNG_HU) & (body > 0)
    if not air.any():
        return air
    count, labels, stats, _ = cv2.connectedComponentsWithStats(air.astype(np.uint8), connectivity=4)
    medians = ndimage.median(hu[air], labels[air], np.arange(count))
    small = stats[:, cv2.CC_STAT_AREA] < _GAS_AREA * np.count_nonzero(body)
    kept = ~(small & (medians < GAS_HU))
    kept[0] = False
    return kept[labels]


def _keep_large_parts(mask: np.ndarray) -> None:
    """Clear all but the large parts of (Z, H, W) bool, in place."""
    labels, count = ndimage.label(mask)
    sizes = np.zeros(count + 1, np.int64)
    for part in labels:  # by slices: bincount would hold 8 bytes for each voxel
        sizes += np.bincount(part.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = (sizes > 0) & (sizes >= _PART * sizes.max())
    for index, part in enumerate(labels):
        mask[index] = kept[part]


def _closed(lung: np.ndarray, section: int, pixel: float) -> np.ndarray:
    """Add to the lung of a slice (H, W) bool its vessels and the small lesions at its edge."""
    disc = _disc(CLOSING, pixel)
    margin = len(disc) // 2
    padded = cv2.morphologyEx(np.pad(lung.astype(np.uint8), margin), cv2.MORPH_CLOSE, disc)
    closed = np.ascontiguousarray(padded[margin:-margin, margin:-margin])
    holes = _filled(closed) - closed
    _, labels, stats, _ = cv2.connectedComponentsWithStats(holes, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= _HOLE_AREA * section
    small[0] = False
    return (closed > 0) | small[labels]


def _refuse_implausible(
    hu: np.ndarray,
    mask: np.ndarray,
    sections: np.ndarray,
    cut: np.ndarray,
    spacing: tuple[float, float, float] | None,
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
    ml = areas.sum() * float(np.prod(spacing)) / 1000 if spacing else 0.0
    if ml > _LARGEST_ML:
        raise _implausible(f"{ml:.0f} ml", f"at most {_LARGEST_ML} ml")


def _implausible(found: str, expected: str) -> ValueError:
    return ValueError(f"no plausible lung: found {found}, expected {expected}; give a lung mask")
