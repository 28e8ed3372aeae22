"""The section of a body in a CT slice, and of the lung in it.

Shapes: slices of H x W pixels, searched at h x w. Masks are (h, w) bool, pixels in mm.
"""

import cv2
import numpy as np

LUNG_HU = -320  # aerated lung is below, the body above; foam and cloth mostly below

_THIN = 2.0  # mm, radius: clothes, tubes and the table's shell are thinner, body walls are not
_BODY_AREA = 0.05  # of the image: smaller pieces of tissue are no body
_SIDE = 0.25  # of a piece: with less of it there, it belongs to the other side alone
_INSIDE = 0.5  # of what is open to the image's border: more inside the body's hull is cut lung


def disc(radius: float) -> np.ndarray:
    """Return a disc of a radius in pixels, at least 1, as (side, side) uint8."""
    pixels = max(1, round(radius))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))


def find_body(hu: np.ndarray, pixel: float) -> np.ndarray:
    """Find the largest piece of tissue in (h, w) HU with all it encloses; perhaps nothing."""
    dense = (hu > LUNG_HU).view(np.uint8)
    tissue = cv2.morphologyEx(dense, cv2.MORPH_OPEN, disc(int(_THIN / pixel)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(tissue)
    largest = stats[1:, cv2.CC_STAT_AREA].argmax() + 1 if len(stats) > 1 else -1
    body = filled(labels == largest)
    return body if np.count_nonzero(body) >= _BODY_AREA * body.size else np.zeros_like(body)


def cut_area(body: np.ndarray) -> int:
    """Count the pixels inside the body's hull that are open to the image's border."""
    if not any(edge.any() for edge in (body[0], body[-1], body[:, 0], body[:, -1])):
        return 0  # all around it is air
    contours, _ = cv2.findContours(body.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))
    inside = cv2.fillConvexPoly(np.zeros(body.shape, np.uint8), hull, 1) > 0
    outside = (~body).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    border = border[border > 0]
    within = np.bincount(labels[inside], minlength=count)
    areas = stats[:, cv2.CC_STAT_AREA]
    return int(areas[border[within[border] >= _INSIDE * areas[border]]].sum())


def filled(mask: np.ndarray) -> np.ndarray:
    """Fill all holes."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros(mask.shape, np.uint8)
    return cv2.drawContours(canvas, contours, -1, 1, cv2.FILLED).view(bool)


def closed(lung: np.ndarray, body: np.ndarray, radius: float) -> np.ndarray:
    """Add to the lung of a slice its vessels and the small lesions at its edge.

    What lies left and right of the body's middle is closed apart: between two lungs is none.

    Args:
        lung, body: (h, w) bool.
        radius: of the closing, in pixels.
    """
    result = np.zeros(lung.shape, bool)
    if not lung.any():
        return result
    middle = round(np.flatnonzero(body.any(axis=0))[[0, -1]].mean())
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lung.view(np.uint8))
    left = np.bincount(labels[:, :middle].ravel(), minlength=count) / stats[:, cv2.CC_STAT_AREA]
    element = disc(radius)
    edge = len(element) // 2
    for side in (left >= _SIDE, left <= 1 - _SIDE):
        side[0] = False
        pieces = side[labels].view(np.uint8)
        x, y, width, height = cv2.boundingRect(pieces)
        box = np.s_[y : y + height, x : x + width]
        grown = cv2.morphologyEx(np.pad(pieces[box], edge), cv2.MORPH_CLOSE, element)
        result[box] |= grown[edge:-edge, edge:-edge] > 0
    return result


def fill_holes(lung: np.ndarray, below: np.ndarray, largest: float) -> None:
    """Fill vessels, lesions and bronchi in the lung of a slice, in place.

    Args:
        lung: (h, w) bool.
        below: (h, w) bool, the lung of the slice below. A hole that stands on what is no lung there
            is the dome of the diaphragm, the mediastinum or the hilum.
        largest: pixels of a hole.
    """
    holes = filled(lung) & ~lung
    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes.view(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    inside = (areas <= largest) & (2 * np.bincount(labels[below], minlength=count) >= areas)
    inside[0] = False
    lung |= inside[labels]


def refine(lung: np.ndarray, hu: np.ndarray, result: np.ndarray) -> None:
    """Bring the lung of a slice from (h, w) to the size of its HU, (H, W) bool, in `result`.

    Inside its edge it is as given; at the edge it is where the lung's density is.
    """
    small = lung.view(np.uint8)
    near = _enlarged(cv2.dilate(small, disc(1)), hu.shape)
    inside = _enlarged(cv2.erode(small, disc(1)), hu.shape)
    result[:] = inside | (near & (hu < LUNG_HU))


def _enlarged(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST).view(bool)
