"""Drawn over a slice: its lesions, or the ranked boxes that speak for and against a class.

Shapes: a slice of H x W pixels, D lesions or boxes. Pictures are enlarged by a whole factor f, 1 to
8, that brings the shorter side to 512 pixels or more: labels can be read, and narrow strips drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..figures import SKY, VERMILION, lesion_colour, rgb
from ..inference.predictions import Instance, RankedBoxTable

FOR, AGAINST = rgb(VERMILION), rgb(SKY)  # both bright on lung
MOST_BOXES = 16
_MIN_SIDE, _MAX_FACTOR = 512, 8
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def draw_instances(
    image: np.ndarray,
    instances: Sequence[Instance],
    class_names: Sequence[str],
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw boxes, masks and labels over a slice.

    Args:
        image: (H, W, 3) uint8 RGB.
        instances: D lesions with or without masks, the most important first.
        class_names: of all lesion classes; their order gives the colours.
        labels: D texts, or none; None takes `instance_labels`. A text is left out where those
            before it have taken the room at its box.

    Returns:
        (f H, f W, 3) uint8 RGB.
    """
    factor = enlargement(image.shape[:2])
    canvas = _enlarged(image, factor)
    colours = [rgb(lesion_colour(class_names.index(x.lesion_class))) for x in instances]
    for instance, colour in zip(instances, colours, strict=True):
        if (mask := instance.mask) is not None:
            _draw_mask(canvas, _enlarged(mask.astype(np.uint8), factor), colour)
    boxes = np.array([x.box for x in instances], float).reshape(-1, 4) * factor
    for box, colour in zip(boxes, colours, strict=True):
        x0, y0, x1, y1 = (round(value) for value in box.tolist())
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    labels = instance_labels(instances, class_names) if labels is None else labels
    if labels:
        _draw_labels(canvas, boxes, labels, colours)
    return canvas


def draw_contributions(image: np.ndarray, ranked: RankedBoxTable, class_index: int) -> np.ndarray:
    """Draw the 16 boxes that moved a class logit most.

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
    canvas = _enlarged(image, factor)
    boxes = np.rint(ranked.boxes * factor).astype(int)[shown]
    values = values[shown]
    colours = [FOR if value > 0 else AGAINST for value in values]
    widths = np.rint(2 * np.abs(values / values[:1])).astype(int).tolist()
    for box, reach, colour in reversed(list(zip(boxes, widths, colours, strict=True))):
        _draw_box(canvas, box, reach, colour)  # the greatest on top
    _draw_labels(canvas, boxes, [f"{value:+.2g}" for value in values], colours)
    return canvas


def instance_labels(
    instances: Sequence[Instance], class_names: Sequence[str], with_scores: bool = True
) -> list[str]:
    """A text for each lesion: its class, where there is more than one, and its score."""
    return [
        " ".join([x.lesion_class] * (len(class_names) > 1) + [f"{x.score:.2f}"] * with_scores)
        for x in instances
    ]


def enlargement(size: tuple[int, ...]) -> int:
    """The factor for a slice of this (H, W)."""
    return min(max(1, -(-_MIN_SIDE // min(size))), _MAX_FACTOR)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel of (H, W) or (H, W, 3) uint8 along both axes; gives a copy."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw_labels(
    canvas: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> None:
    """Write texts on black, the most important first, each at the first corner of its box that is
    free; leave out those without a free corner. Boxes are in pixels of the canvas.
    """
    taken: list[tuple[int, int, int, int]] = []
    for box, label, colour in zip(boxes, labels, colours, strict=True):
        areas = _label_areas(canvas.shape, box, label)
        area = next((a for a in areas if not any(_overlap(a, other) for other in taken)), None)
        if area is None:
            continue
        taken.append(area)
        cv2.rectangle(canvas, area[:2], area[2:], (0, 0, 0), -1)
        start = (area[0] + 1, area[3] - cv2.getTextSize(label, _FONT, _SCALE, 1)[1])
        cv2.putText(canvas, label, start, _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def _label_areas(
    size: tuple[int, ...], box: np.ndarray, label: str
) -> Iterator[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 (last pixels) of a label at the corners of its box, inside of the canvas."""
    (width, height), baseline = cv2.getTextSize(label, _FONT, _SCALE, 1)
    x0, y0, x1, y1 = box
    most_x, most_y = max(size[1] - width - 2, 0), max(size[0] - baseline - 1, height + 2)
    tall = height + baseline + 1
    for y in (y0, y1 + tall, y0 + tall, y1):
        base = int(np.clip(y - baseline, height + 2, most_y))
        for x in (x0, x1 - width - 1):
            left = int(np.clip(x, 0, most_x))
            yield left, base - height - 1, left + width + 1, base + baseline


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _draw_mask(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    inside = mask > 0
    canvas[inside] = (0.75 * canvas[inside] + 0.25 * np.array(colour)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, 1)


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
