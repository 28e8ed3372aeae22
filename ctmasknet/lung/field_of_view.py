"""The part of a scan or slice that a network sees.

Shapes: Z slices of H x W pixels. A box is x0, y0, x1, y1 in whole pixels, the last ones outside.
"""

import logging
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from .search import UNKNOWN_WIDTH, LungMask, find_lung, reduced
from .sections import find_body

Box = tuple[int, int, int, int]
FIELDS = ("image", "body", "lung")

_LEAST = 160.0  # mm: a side that is shorter, as of the lung's tip, is widened
_EDGE = 10.0  # mm: what lies nearer to the image's border is cut by it
_CROPPED = 0.85  # of both sides of the image
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldOfView:
    """What a network sees: the whole image, or the box of the body or lung with a margin.

    Attributes:
        kind: of FIELDS.
        margin: in mm, on each side.
    """

    kind: str = "image"
    margin: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in FIELDS:
            raise ValueError(
                f"INPUT.FIELD_OF_VIEW is '{self.kind}', expected one of {', '.join(FIELDS)}"
            )
        if not self.margin >= 0:
            raise ValueError(f"INPUT.FIELD_MARGIN is {self.margin}, expected 0 mm or more")

    def find(
        self,
        hu: np.ndarray,
        spacing: tuple[float, float, float] | None,
        lung: LungMask | None = None,
    ) -> Box | None:
        """Find the box of a scan, or of a single slice.

        Args:
            hu: (Z, H, W), as `find_lung` takes it.
            spacing: (z, y, x) in mm; None if unknown.
            lung: of the same slices; None looks for it where the field is the lung's.

        Returns:
            The box; None is all of the image: it is wanted, is cropped already, or neither body nor
            lung was found. A warning says so, once.
        """
        if self.kind == "image":
            return None
        pixel = spacing[2] if spacing else UNKNOWN_WIDTH / max(hu.shape[1:])
        found = _lung_extent(hu, spacing, lung) if self.kind == "lung" else _body_extent(hu, pixel)
        if found is None or _is_cropped(found, hu.shape[1:], _EDGE / pixel):
            _say_whole_once(self.kind)
            return None
        return _with_margin(found, hu.shape[1:], self.margin / pixel, _LEAST / pixel)


@cache
def _say_whole_once(kind: str) -> None:
    _log.warning(
        "the network sees the %s: images that are cropped to it, and those in which it was not "
        "found, are taken whole",
        kind,
    )


def _lung_extent(
    hu: np.ndarray, spacing: tuple[float, float, float] | None, lung: LungMask | None
) -> Box | None:
    if lung is None:
        try:
            lung = find_lung(hu, spacing)
        except ValueError:
            return None
    return _extent(np.any(lung.mask, axis=0))


def _body_extent(hu: np.ndarray, pixel: float) -> Box | None:
    step = max(1, round(max(hu.shape[1:]) / 256))
    bodies = np.zeros((hu.shape[1] // step, hu.shape[2] // step), bool)
    for part in hu:
        bodies |= find_body(reduced(part, step), step * pixel)
    whole = cv2.resize(
        bodies.view(np.uint8), (hu.shape[2], hu.shape[1]), interpolation=cv2.INTER_NEAREST
    )
    return _extent(whole > 0)


def _extent(mask: np.ndarray) -> Box | None:
    """Bound the true pixels of (H, W) bool."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _with_margin(box: Box, size: tuple[int, ...], margin: float, least: float) -> Box:
    x0, x1 = _widened(box[0], box[2], size[1], margin, least)
    y0, y1 = _widened(box[1], box[3], size[0], margin, least)
    return x0, y0, x1, y1


def _widened(low: int, high: int, end: int, margin: float, least: float) -> tuple[int, int]:
    more = max(margin, (least - (high - low)) / 2)
    return max(0, int(low - more)), min(end, int(np.ceil(high + more)))


def _is_cropped(box: Box, size: tuple[int, ...], edge: float) -> bool:
    """Return whether an image is cropped to what the box bounds, or has cut some of it off."""
    x0, y0, x1, y1 = box
    if min(x0, y0, size[1] - x1, size[0] - y1) < edge:
        return True
    return x1 - x0 >= _CROPPED * size[1] and y1 - y0 >= _CROPPED * size[0]
