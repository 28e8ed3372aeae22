"""Draw lesions over a slice."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..inference.predictions import Instance

# Colour-blind safe (Okabe and Ito), RGB, by lesion class.
COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167))
MIN_SIDE = 512  # small slices are enlarged so that labels can be read
MAX_FACTOR = 8  # narrow strips stay drawable
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def draw_lesions(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: Sequence[int],
    masks: np.ndarray | None = None,
    labels: Sequence[str] = (),
) -> np.ndarray:
    """Draw boxes, masks and labels over a slice, enlarged by a whole factor if it is small.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (D, 4) x0 y0 x1 y1 in pixels of the image.
        classes: D lesion classes.
        masks: (D, H, W) bool, or None.
        labels: D texts at the boxes, the most important first, see `draw_labels`; empty draws
            none.

    Returns:
        (f H, f W, 3) uint8 RGB, f = 1 to 8 so that the shorter side has 512 pixels or more.
    """
    factor = enlargement(image.shape[:2])
    canvas = enlarged(image, factor)
    colours = [COLOURS[cls % len(COLOURS)] for cls in classes]
    for mask, colour in zip(masks if masks is not None else (), colours, strict=False):
        _draw_mask(canvas, enlarged(mask.astype(np.uint8), factor), colour)
    for box, colour in zip(boxes, colours, strict=True):
        x0, y0, x1, y1 = (round(float(v) * factor) for v in box)
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    if len(labels):
        draw_labels(canvas, boxes * factor, labels, colours)
    return canvas


def draw_instances(
    image: np.ndarray,
    instances: Sequence[Instance],
    class_names: Sequence[str],
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw lesions in plain types over their slice; see `draw_lesions`.

    Args:
        image: (H, W, 3) uint8 RGB.
        instances: with or without masks.
        class_names: of all lesion classes; their order gives the colours.
        labels: one text for each, or none; None takes `instance_labels`.

    Returns:
        The enlarged picture, uint8 RGB.
    """
    masks = [found.mask for found in instances]
    return draw_lesions(
        image,
        np.array([found.box for found in instances], float).reshape(-1, 4),
        [class_names.index(found.lesion_class) for found in instances],
        np.array(masks) if masks and all(mask is not None for mask in masks) else None,
        instance_labels(instances, class_names) if labels is None else labels,
    )


def instance_labels(
    instances: Sequence[Instance], class_names: Sequence[str], with_scores: bool = True
) -> list[str]:
    """A text for each lesion: its class, where there is more than one, and its score."""
    return [
        " ".join(
            [found.lesion_class] * (len(class_names) > 1) + [f"{found.score:.2f}"] * with_scores
        )
        for found in instances
    ]


def enlargement(size: tuple[int, ...]) -> int:
    """The whole factor, 1 to 8, that brings the shorter side to 512 pixels or more.

    Args:
        size: (H, W) of a slice.
    """
    return min(max(1, -(-MIN_SIDE // min(size))), MAX_FACTOR)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        factor: 1 or more.

    Returns:
        (f H, f W) or (f H, f W, 3) uint8, a copy.
    """
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))


def draw_labels(
    canvas: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> None:
    """Write each text on black at the first corner of its box where no earlier one is.

    Where earlier ones have taken all of a box's corners, its text is left out.

    Args:
        canvas: (H, W, 3) uint8 RGB, changed in place.
        boxes: (D, 4) x0 y0 x1 y1 in pixels of the canvas.
        labels: D texts, the most important first.
        colours: D colours of the texts, RGB.
    """
    taken: list[tuple[int, int, int, int]] = []
    for box, label, colour in zip(boxes, labels, colours, strict=True):
        left, top, right, bottom = _label_area(canvas.shape, (0, 0), label)
        width, height = right - left, bottom - top
        x0, y0, x1, y1 = box
        corners = [(x, y) for y in (y0, y1 + height, y0 + height, y1) for x in (x0, x1 - width)]
        areas = [_label_area(canvas.shape, corner, label) for corner in corners]
        area = next((a for a in areas if not any(_overlap(a, other) for other in taken)), None)
        if area is not None:
            _draw_label(canvas, area, label, colour)
            taken.append(area)


def _label_area(
    size: tuple[int, ...], corner: Sequence[float], label: str
) -> tuple[int, int, int, int]:
    """Where a label with this lower left corner lies, moved into a canvas of this size.

    Returns:
        x0, y0, x1, y1, the last pixels inside.
    """
    (width, height), baseline = cv2.getTextSize(label, _FONT, _SCALE, 1)
    x = int(np.clip(corner[0], 0, max(size[1] - width - 2, 0)))
    y = int(np.clip(corner[1] - baseline, height + 2, max(size[0] - baseline - 1, height + 2)))
    return x, y - height - 1, x + width + 1, y + baseline


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _draw_label(
    canvas: np.ndarray, area: Sequence[int], label: str, colour: tuple[int, int, int]
) -> None:
    x0, y0, x1, y1 = area
    baseline = cv2.getTextSize(label, _FONT, _SCALE, 1)[1]
    cv2.rectangle(canvas, (x0, y0), (x1, y1), (0, 0, 0), -1)
    cv2.putText(canvas, label, (x0 + 1, y1 - baseline), _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def _draw_mask(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    inside = mask > 0
    tint = 0.75 * canvas[inside] + 0.25 * np.array(colour)
    canvas[inside] = tint.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, 1)
