"""Gas that is no lung: the airway down to the main bronchi, and bowel.

Shapes: Z slices of h x w pixels, lowest first. Masks are bool, areas in mm2, pixels in mm.
"""

import cv2
import numpy as np

from .sections import LUNG_HU, disc, filled

GAS_HU = -930  # the median of airways and bowel gas is below, of most lungs above

_WALL = 3.0  # mm, of airways and bowel, with the edge that is gas in part
_WALLED = 0.8  # of the edge of gas: bowel and airways have a wall, emphysema goes over into lung

_LUMEN = 50.0  # mm2: smaller pieces of gas are noise, or bronchi in the lung
_LUNG_SHARE = 0.10  # of the body's section: larger pieces of gas are lungs with emphysema
_EMPTY = 0.98  # of such a piece: the lumen of bowel is, a lung with its vessels is not

_AIRWAY_HU = -850  # bronchi of a few pixels are gas in part; their walls tell them from lung
_TRACHEA = (50.0, 800.0)  # mm2
_MIDDLE = 0.15  # of the body's width: how far from its middle the trachea may lie
_ROUND = 0.4  # of the box around it that it fills
# An airway that is followed:
_BRONCHUS = 15.0  # mm2: ends where it is smaller
_BRANCHED = 0.7  # of its edge that has a wall, at least: it opens into its branches
_LEAK = 2.0  # has run into the lung if it grows by more from slice to slice
_AROUND = 0.6  # of what is around its wall: lies in the lung if more of it is air


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
    above, limit = np.zeros(hu.shape[1:], bool), 0.0
    for z in reversed(range(len(hu))):
        pieces = Pieces((hu[z] < _AIRWAY_HU) & bodies[z], pixel)
        fits = pieces.areas >= (_BRONCHUS if limit else _TRACHEA[0])
        fits &= pieces.areas <= (limit or _TRACHEA[1])
        fits &= pieces.counts(above) > 0 if limit else _like_trachea(pieces, bodies[z])
        fits[fits] = [
            pieces.wall(hu[z], piece) >= (_BRANCHED if limit else _WALLED)
            and pieces.lung_around(hu[z], piece) <= _AROUND
            for piece in np.flatnonzero(fits).tolist()
        ]
        limit = min(_LEAK * pieces.areas[fits].sum(), _TRACHEA[1])
        if limit:
            lumen = fits[pieces.labels].view(np.uint8)
            airway[z] = above = cv2.dilate(lumen, disc(_WALL / pixel)).view(bool)
    return airway


def _like_trachea(pieces: "Pieces", body: np.ndarray) -> np.ndarray:
    """Tell which pieces are round and lie near the middle of the body, (count,) bool."""
    columns = np.flatnonzero(body.any(axis=0))
    if not len(columns):
        return np.zeros(len(pieces.areas), bool)
    middle = (columns[0] + columns[-1]) / 2
    return (pieces.filling >= _ROUND) & (np.abs(pieces.columns - middle) <= _MIDDLE * len(columns))


class Pieces:
    """The 4-connected pieces of a mask (h, w) bool; number 0 is what is outside."""

    def __init__(self, mask: np.ndarray, pixel: float):
        count, self.labels, self._stats, centres = cv2.connectedComponentsWithStats(
            mask.view(np.uint8), connectivity=4
        )
        self._pixel = pixel
        self.count = count
        self.areas = self._stats[:, cv2.CC_STAT_AREA] * pixel**2  # mm2
        self.areas[0] = 0
        self.columns = centres[:, 0]
        boxes = self._stats[:, cv2.CC_STAT_WIDTH] * self._stats[:, cv2.CC_STAT_HEIGHT]
        self.filling = self._stats[:, cv2.CC_STAT_AREA] / boxes  # of the box around it

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Count the pixels of each piece in a mask (h, w) bool."""
        return np.bincount(self.labels[mask], minlength=self.count)

    def stand_on(self, mask: np.ndarray) -> np.ndarray:
        """Tell which pieces have at least half of their pixels in a mask (h, w) bool."""
        return 2 * self.counts(mask) >= self._stats[:, cv2.CC_STAT_AREA]

    def with_wall(self, piece: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """Return the box around a piece and its wall, and their mask in it."""
        element = disc(_WALL / self._pixel)
        edge = len(element)
        x, y, width, height = self._stats[piece, :4]
        box = np.s_[max(y - edge, 0) : y + height + edge, max(x - edge, 0) : x + width + edge]
        return box, cv2.dilate((self.labels[box] == piece).view(np.uint8), element).view(bool)

    def is_empty(self, piece: int) -> bool:
        """Tell whether a piece is gas throughout, as a lumen, without vessels, as a lung has."""
        box, _ = self.with_wall(piece)
        lumen = self.labels[box] == piece
        return bool(np.mean(lumen[filled(lumen)]) >= _EMPTY)

    def wall(self, hu: np.ndarray, piece: int) -> float:
        """Return the share of a piece's edge that has a wall and does not go over into lung."""
        box, _ = self.with_wall(piece)
        lumen = (self.labels[box] == piece).view(np.uint8)
        edge = cv2.dilate(lumen, disc(1)) > lumen
        highest = cv2.dilate(hu[box], disc(_WALL / self._pixel))
        return float(np.mean(highest[edge] > LUNG_HU))

    def lung_around(self, hu: np.ndarray, piece: int) -> float:
        """Return the share of air in what lies within 3 mm around the wall of a piece."""
        box, whole = self.with_wall(piece)
        ring = cv2.dilate(whole.view(np.uint8), disc(_WALL / self._pixel)) > whole
        return float(np.mean(hu[box][ring] < LUNG_HU))


def without_gas(
    hu: np.ndarray,
    body: np.ndarray,
    airway: np.ndarray,
    below: np.ndarray,
    gas_below: np.ndarray,
    pixel: float,
) -> np.ndarray:
    """Find what may be lung in a slice: air in the body without gas in walls of its own.

    Args:
        hu: (h, w) int16.
        body, airway: (h, w) bool.
        below: (h, w) bool, the lung in the slice below. Gas that stands on lung is a cavity or a
            bronchus in it.
        gas_below: (h, w) bool, gas in the slice below that is no lung. What stands on it alone is
            the top of bowel.
        pixel: side of a pixel.
    """
    air, gas = (hu < LUNG_HU) & body & ~airway, hu < GAS_HU
    largest = _LUNG_SHARE * np.count_nonzero(body) * pixel**2
    pieces = Pieces(air & gas, pixel)
    fits = (pieces.areas >= _LUMEN) & ~pieces.stand_on(below)
    for piece in np.flatnonzero(fits).tolist():
        may_be_lung = pieces.areas[piece] >= largest and not pieces.is_empty(piece)
        if not may_be_lung and pieces.wall(hu, piece) >= _WALLED:
            box, whole = pieces.with_wall(piece)
            air[box] &= ~whole
    pieces = Pieces(air, pixel)
    inner = cv2.erode(air.view(np.uint8), disc(1)).view(bool)
    within = pieces.counts(inner)
    dark = np.where(within, pieces.counts(inner & gas), pieces.counts(air & gas))
    is_gas = 2 * dark > np.where(within, within, pieces.counts(air))
    kept = ~is_gas | (pieces.areas >= largest)
    kept &= ~pieces.stand_on(gas_below)
    kept[0] = False
    return kept[pieces.labels]
