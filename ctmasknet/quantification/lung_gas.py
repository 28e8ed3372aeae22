"""Gas that is no lung: the airway down to the main bronchi, and bowel.

Shapes: Z slices of h x w pixels, lowest first. Masks are bool, areas in mm2, pixels in mm.
"""

import cv2
import numpy as np

from .lung_sections import LUNG_HU, disc

GAS_HU = -930  # the median of airways and bowel gas is below, of most lungs above

_WALL = 3.0  # mm, of airways and bowel, with the edge that is gas in part
_RING = 4.0  # mm, beyond the wall: what a piece of gas lies in
_IN_TISSUE = 0.5  # of the ring: bowel and airways lie in tissue, bullae in lung
_LUMEN = 50.0  # mm2: smaller pieces of gas are noise, or bronchi in the lung
_LUNG_SHARE = 0.10  # of the body's section: larger pieces of gas are lungs with emphysema

_TRACHEA = (50.0, 800.0)  # mm2
_MIDDLE = 0.15  # of the body's width: how far from its middle the trachea may lie
_ROUND = 0.4  # of the box around it that it fills
_LEAK = 1.6  # an airway that grows by more from slice to slice has run into the lung


def trace_airway(hu: np.ndarray, bodies: np.ndarray, pixel: float) -> np.ndarray:
    """Trace the airway from the top down to where the main bronchi enter the lung.

    Args:
        hu: (Z, h, w) int16.
        bodies: (Z, h, w) bool, sections of the body.
        pixel: side of a pixel.

    Returns:
        (Z, h, w) bool, the lumen with its wall; perhaps nothing.
    """
    airway = np.zeros(hu.shape, bool)
    found, limit = None, 0.0
    for z in reversed(range(len(hu))):
        gas = ((hu[z] < GAS_HU) & bodies[z]).view(np.uint8)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(gas, connectivity=4)
        areas = stats[:, cv2.CC_STAT_AREA] * pixel**2
        if found is None:
            chosen = _trachea(stats, areas, centres, bodies[z])
        else:
            chosen = np.unique(labels[found])
            chosen = chosen[(chosen > 0) & (areas[chosen] <= limit)]
        if not len(chosen):
            found = None
            continue
        found = np.isin(labels, chosen)
        limit = _LEAK * areas[chosen].sum()
        airway[z] = cv2.dilate(found.view(np.uint8), disc(_WALL / pixel)).view(bool)
    return airway


def _trachea(
    stats: np.ndarray, areas: np.ndarray, centres: np.ndarray, body: np.ndarray
) -> np.ndarray:
    """Return the number of the piece of gas that may be the trachea, if there is one."""
    columns = np.flatnonzero(body.any(axis=0))
    if not len(columns):
        return np.zeros(0, int)
    middle, width = (columns[0] + columns[-1]) / 2, len(columns)
    boxes = stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT]
    fits = (areas >= _TRACHEA[0]) & (areas <= _TRACHEA[1])
    fits &= np.abs(centres[:, 0] - middle) <= _MIDDLE * width
    fits &= stats[:, cv2.CC_STAT_AREA] >= _ROUND * boxes
    fits[0] = False
    return np.flatnonzero(fits * areas == (fits * areas).max()) if fits.any() else np.zeros(0, int)


def without_gas(hu: np.ndarray, body: np.ndarray, airway: np.ndarray, pixel: float) -> np.ndarray:
    """Find what may be lung in a slice: air in the body without gas in walls of its own.

    Args:
        hu: (h, w) int16.
        body, airway: (h, w) bool.
        pixel: side of a pixel.
    """
    air = (hu < LUNG_HU) & body & ~airway
    largest = _LUNG_SHARE * np.count_nonzero(body)
    air &= ~_in_walls(hu, air, largest, pixel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(air.view(np.uint8), connectivity=4)
    inner = cv2.erode(air.view(np.uint8), disc(1)).view(bool)
    gas = hu < GAS_HU
    inside, dark = (np.bincount(labels[x], minlength=count) for x in (inner, inner & gas))
    areas, all_dark = stats[:, cv2.CC_STAT_AREA], np.bincount(labels[air & gas], minlength=count)
    is_gas = np.where(inside > 0, 2 * dark > inside, 2 * all_dark > areas)
    kept = ~(is_gas & (areas < largest))
    kept[0] = False
    return kept[labels]


def _in_walls(hu: np.ndarray, air: np.ndarray, largest: float, pixel: float) -> np.ndarray:
    """Find the pieces of gas that lie in tissue, with their walls."""
    gas = ((hu < GAS_HU) & air).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(gas, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    pieces = np.flatnonzero((areas >= _LUMEN / pixel**2) & (areas < largest))
    pieces = pieces[pieces > 0]
    found = np.zeros(hu.shape, np.uint8)
    wall, ring = disc(_WALL / pixel), disc((_WALL + _RING) / pixel)
    margin = len(ring)
    for piece in pieces:
        x, y, width, height = stats[piece, :4]
        box = np.s_[
            max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin
        ]
        lumen = (labels[box] == piece).view(np.uint8)
        walled = cv2.dilate(lumen, wall)
        around = cv2.dilate(lumen, ring) > walled
        if np.mean(hu[box][around] > LUNG_HU) >= _IN_TISSUE:
            found[box] |= walled
    return found.view(bool)
