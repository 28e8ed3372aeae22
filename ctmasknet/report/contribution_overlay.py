"""Ranked boxes over their slice: which speak for a class, and which against it."""

from __future__ import annotations

import cv2
import numpy as np

from ..figures import SKY, VERMILION, rgb
from ..inference.predictions import RankedBoxTable
from .overlay import draw_labels, enlarged, enlargement

FOR, AGAINST = rgb(VERMILION), rgb(SKY)  # both bright on lung
MOST_BOXES = 16


def contribution_overlay(image: np.ndarray, ranked: RankedBoxTable, class_index: int) -> np.ndarray:
    """Draw the 16 boxes that moved a class logit most, enlarged as in `overlay`.

    Boxes that raise the logit have the colour FOR, those that lower it AGAINST. Their lines are 1,
    3 or 5 pixels wide by the size of the contribution, relative to the greatest. Each has its
    contribution beside it, unless greater ones have taken the room. Boxes without any contribution
    are not drawn.

    Args:
        image: (H, W, 3) uint8 RGB.
        ranked: boxes in pixels of the image.
        class_index: column of the contributions.

    Returns:
        (f H, f W, 3) uint8 RGB.
    """
    values = ranked.contributions[:, class_index]
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_BOXES]
    shown = order[values[order] != 0]
    factor = enlargement(image.shape[:2])
    canvas = enlarged(image, factor)
    boxes = np.rint(ranked.boxes * factor).astype(int)[shown]
    values = values[shown]
    colours = [FOR if value > 0 else AGAINST for value in values]
    widths = np.rint(2 * np.abs(values / values[:1])).astype(int).tolist()
    for box, reach, colour in reversed(list(zip(boxes, widths, colours, strict=True))):
        _draw_box(canvas, box, reach, colour)  # the greatest on top
    draw_labels(canvas, boxes, [f"{value:+.2g}" for value in values], colours)
    return canvas


def _draw_box(
    canvas: np.ndarray, box: np.ndarray, reach: int, colour: tuple[int, int, int]
) -> None:
    """Draw a box with lines that reach so far to both sides of a pixel, with a rim of black.

    The rim keeps neighbours apart, and the colour visible on bright lesions. OpenCV's own thick
    lines are wider than asked for (5 gives 7).
    """
    x0, y0, x1, y1 = box.tolist()
    for step in sorted(range(-reach - 1, reach + 2), key=abs, reverse=True):
        shade = colour if abs(step) <= reach else (0, 0, 0)
        low, high = (x0 + step, y0 + step), (x1 - 1 - step, y1 - 1 - step)
        cv2.rectangle(canvas, low, high, shade, 1)
