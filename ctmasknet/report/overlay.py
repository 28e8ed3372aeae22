"""What is drawn over a slice: its lesions, or the ranked boxes for and against a class.

Slices are H x W pixels, (H, W, 3) uint8 RGB. They are enlarged by a whole factor f from 1 to 8,
so that the shorter side has 512 pixels or more: labels become legible, narrow strips drawable.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..figures import SKY, VERMILION, lesion_colour, rgb
from ..inference.predictions import Instance, RankedBoxTable
from ..wording import percent
from .picture_text import text_picture

FOR, AGAINST = rgb(VERMILION), rgb(SKY)  # both bright on lung
MOST_BOXES = 16
_MIN_SIDE, _MAX_FACTOR = 512, 8


def draw_instances(
    image: np.ndarray,
    instances: Sequence[Instance],
    class_names: Sequence[str],
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Return (f H, f W, 3): a slice with boxes, masks and labels.

    The lesions come with the most important first. The order of the class names gives the colours.
    None as labels takes `instance_labels`; a label that finds no room at its box is left out.
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
    """Return (f H, f W, 3): a slice with the 16 boxes that moved a class logit most.

    Boxes that raise the logit have the colour FOR, those that lower it AGAINST; those that do
    neither are not drawn. Lines are 1, 3 or 5 pixels wide, by the contribution relative to the
    greatest. Contributions are written beside the boxes, the greatest first, where there is room;
    behind them the weights of an image head that has such.
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
    labels = [f"{value:+.2g}" for value in values]
    if ranked.attention is not None:
        weights = ranked.attention[shown]
        labels = [f"{x}, {percent(weight)}" for x, weight in zip(labels, weights, strict=True)]
    _draw_labels(canvas, boxes, labels, colours)
    return canvas


def instance_labels(
    instances: Sequence[Instance], class_names: Sequence[str], with_scores: bool = True
) -> list[str]:
    """Return a text for each lesion: its class if there are several, and its score."""
    return [
        " ".join([x.lesion_class] * (len(class_names) > 1) + [f"{x.score:.2f}"] * with_scores)
        for x in instances
    ]


def enlargement(size: tuple[int, ...]) -> int:
    """Return the factor f for a slice of this (H, W)."""
    return min(max(1, -(-_MIN_SIDE // min(size))), _MAX_FACTOR)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel of (H, W) or (H, W, 3) uint8 along both axes; return a copy."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw_labels(
    canvas: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> None:
    """Write each label on black at the first free corner of its box, if there is one."""
    taken: list[tuple[int, int, int, int]] = []
    for box, label, colour in zip(boxes, labels, colours, strict=True):
        if not label:
            continue
        picture = text_picture(label, colour, canvas.shape[1] // 2)
        areas = _label_areas(canvas.shape, box, picture.shape)
        area = next((a for a in areas if not any(_overlap(a, other) for other in taken)), None)
        if area is not None:
            taken.append(area)
            _put(canvas, area, picture)


def _put(canvas: np.ndarray, area: tuple[int, int, int, int], picture: np.ndarray) -> None:
    x0, y0, x1, y1 = area
    canvas[y0 : y1 + 1, x0 : x1 + 1] = picture[: y1 + 1 - y0, : x1 + 1 - x0]


def _label_areas(
    size: tuple[int, ...], box: np.ndarray, label: tuple[int, ...]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield a label's x0, y0, x1, y1 (last pixels) at each corner of its box, inside the canvas.

    `size` is that of the canvas, `label` that of the label, (height, width, ...) each.
    """
    height, width = min(label[0], size[0]), min(label[1], size[1])
    x0, y0, x1, y1 = box
    for y in (y0 - height, y1, y0, y1 - height):  # above, below, inside at the top, at the foot
        top = int(np.clip(y, 0, size[0] - height))
        for x in (x0, x1 - width):
            left = int(np.clip(x, 0, size[1] - width))
            yield left, top, left + width - 1, top + height - 1


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
    """Draw a box, its lines `reach` pixels wider on both sides, with a black rim.

    The rim separates neighbours and shows the colour on bright lesions. OpenCV's thick lines are
    wider than asked for (5 gives 7).
    """
    x0, y0, x1, y1 = box.tolist()
    for step in sorted(range(-reach - 1, reach + 2), key=abs, reverse=True):
        shade = colour if abs(step) <= reach else (0, 0, 0)
        low, high = (x0 + step, y0 + step), (x1 - 1 - step, y1 - 1 - step)
        cv2.rectangle(canvas, low, high, shade, 1)
