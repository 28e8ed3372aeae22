"""Add to a lung that was found by density the lesions in it, which density misses."""

import cv2
import numpy as np
from scipy import ndimage

_OWN = 0.5  # of a lesion: with so much in the lung it is the lung's
NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-connected; 8-connected in a single slice


def grown_lung(lung: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Add to a lung the 26-connected lesions that lie in it by a half or more, within its hulls.

    Lesions at the pleura are dents of the lung that was found: what reaches beyond the convex hull
    of each of its pieces on a slice lies in the chest wall. Lesions with less in the lung lie
    beside it, as what is taken for lesion in the liver does, and only touch it.

    Args:
        lung: (Z, H, W) bool.
        lesion: (Z, H, W) bool.

    Returns:
        (Z, H, W) bool.
    """
    grown = lung.copy()
    box = bounding_box(lesion)
    labels, count = ndimage.label(lesion[box], NEIGHBOURS)
    sizes, inside = (np.zeros(count + 1, np.int64) for _ in range(2))
    for part, lung_part in zip(labels, lung[box], strict=True):  # by slices, to spare memory
        sizes += np.bincount(part.ravel(), minlength=count + 1)
        inside += np.bincount(part[lung_part], minlength=count + 1)
    own = inside >= _OWN * sizes
    own[0] = False
    for whole, part, lung_slice in zip(grown[box[0]], labels, lung[box[0]], strict=True):
        added = own[part]
        if added.any():
            whole[box[1:]] |= added & _hulls(lung_slice)[box[1:]]
    return grown


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Bound the true voxels in (Z, H, W) bool; empty if there are none."""
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found else (slice(0),) * 3


def _hulls(mask: np.ndarray) -> np.ndarray:
    """Fill the convex hull of each piece of (H, W) bool."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    canvas = np.zeros(mask.shape, np.uint8)
    for contour in contours:
        cv2.fillConvexPoly(canvas, cv2.convexHull(contour), 1)
    return canvas > 0
