"""Draw lesions over a slice."""

from collections.abc import Sequence

import cv2
import numpy as np
from detectron2.structures import Instances

# Colour-blind safe (Okabe and Ito), RGB, by lesion class.
COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167))
MIN_SIDE = 512  # small slices are enlarged so that labels can be read
MAX_FACTOR = 8  # narrow strips stay drawable


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
        labels: D texts beside the boxes; empty draws none.

    Returns:
        (f H, f W, 3) uint8 RGB, f = 1 to 8 so that the shorter side has 512 pixels or more.
    """
    factor = min(max(1, -(-MIN_SIDE // min(image.shape[:2]))), MAX_FACTOR)
    canvas = _enlarged(image, factor)
    colours = [COLOURS[cls % len(COLOURS)] for cls in classes]
    for mask, colour in zip(masks if masks is not None else (), colours, strict=False):
        _draw_mask(canvas, _enlarged(mask.astype(np.uint8), factor), colour)
    for box, colour in zip(boxes, colours, strict=True):
        x0, y0, x1, y1 = (round(float(v) * factor) for v in box)
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    # Best last: detections come by descending score, and labels may cover each other.
    for box, label, colour in reversed(list(zip(boxes, labels, colours, strict=False))):
        _draw_label(canvas, box * factor, label, colour)
    return canvas


def draw_instances(image: np.ndarray, instances: Instances, labels: Sequence[str]) -> np.ndarray:
    """Draw a model's instances over their slice; see `draw_lesions`.

    Args:
        image: (H, W, 3) uint8 RGB.
        instances: on the CPU, in pixels of the image; masks pasted, if there are any.
        labels: one text for each, or none.
    """
    return draw_lesions(
        image,
        instances.pred_boxes.tensor.numpy(),
        instances.pred_classes.tolist(),
        instances.pred_masks.numpy() if instances.has("pred_masks") else None,
        labels,
    )


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))


def _draw_mask(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    inside = mask > 0
    tint = 0.75 * canvas[inside] + 0.25 * np.array(colour)
    canvas[inside] = tint.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, 1)


def _draw_label(
    canvas: np.ndarray, box: np.ndarray, label: str, colour: tuple[int, int, int]
) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    (width, height), baseline = cv2.getTextSize(label, font, scale, 1)
    # Above the box, or at its top where the picture ends.
    x = int(np.clip(box[0], 0, max(canvas.shape[1] - width - 2, 0)))
    y = max(int(box[1]) - baseline, height + 2)
    cv2.rectangle(canvas, (x, y - height - 1), (x + width + 1, y + baseline), (0, 0, 0), -1)
    cv2.putText(canvas, label, (x + 1, y), font, scale, colour, 1, cv2.LINE_AA)
