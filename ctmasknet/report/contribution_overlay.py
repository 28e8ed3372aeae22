"""Show which ranked boxes speak for a class, and which against it.

Shapes: a slice of H x W pixels, n different ranked boxes, C image classes.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..inference.predictions import RankedBoxTable
from .overlay import draw_labels, enlarged, enlargement

# Vermilion and sky blue (Okabe and Ito), told apart by the colour-blind too, bright on lung.
FOR, AGAINST = (213, 94, 0), (86, 180, 233)


def contribution_overlay(
    image: np.ndarray, ranked: RankedBoxTable, class_index: int, count: int = 16
) -> np.ndarray:
    """Draw the boxes that moved a class logit most, enlarged as in `overlay`.

    Boxes that raise the logit have the colour FOR, those that lower it AGAINST; their lines are 1,
    3 or 5 pixels wide by the size of the contribution, relative to the greatest. Each has its
    contribution beside it, unless there is no room because greater ones have taken it. Boxes
    without any contribution are not drawn.

    Args:
        image: (H, W, 3) uint8 RGB.
        ranked: boxes in pixels of the image.
        class_index: in 0..C-1.
        count: draw at most so many boxes.

    Returns:
        (f H, f W, 3) uint8 RGB, f = 1 to 8 so that the shorter side has 512 pixels or more.

    Raises:
        IndexError: no such class.
        ValueError: a negative count.
    """
    classes = ranked.contributions.shape[1]
    if not 0 <= class_index < classes:
        raise IndexError(f"class index {class_index}: expected 0 to {classes - 1}")
    if count < 0:
        raise ValueError(f"count is {count}, expected 0 or more boxes")
    values = ranked.contributions[:, class_index]
    strongest = _strongest(values, count)
    factor = enlargement(image.shape[:2])
    canvas = enlarged(image, factor)
    boxes = np.rint(ranked.boxes * factor).astype(int)
    for index in reversed(strongest):  # the greatest on top
        share = abs(values[index]) / abs(values[strongest[0]])
        _draw_box(canvas, boxes[index], round(2 * float(share)), _colour(values[index]))
    labels = [f"{value:+.2g}" for value in values[strongest]]
    draw_labels(canvas, boxes[strongest], labels, [_colour(v) for v in values[strongest]])
    return canvas


def _strongest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` values other than 0, the greatest size first."""
    order = np.argsort(-np.abs(values), kind="stable")
    return order[values[order] != 0][:count]


def _colour(value: float) -> tuple[int, int, int]:
    return FOR if value > 0 else AGAINST


def _draw_box(
    canvas: np.ndarray, box: np.ndarray, reach: int, colour: tuple[int, int, int]
) -> None:
    """Draw a box with lines that reach so far to both sides of a pixel, with a rim of black.

    The rim keeps neighbours apart, and the colour visible on bright lesions. OpenCV's own thick
    lines are wider than asked for (5 gives 7).
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    for step in sorted(range(-reach - 1, reach + 2), key=abs, reverse=True):
        shade = colour if abs(step) <= reach else (0, 0, 0)
        low, high = (x0 + step, y0 + step), (x1 - 1 - step, y1 - 1 - step)
        cv2.rectangle(canvas, low, high, shade, 1)
