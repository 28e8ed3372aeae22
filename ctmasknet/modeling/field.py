"""Instances of a part of an image -> those of the whole image.

Shapes: R instances, an image of H x W pixels.
"""

from collections.abc import Callable

from detectron2.structures import Boxes, Instances
from torch.nn import functional as F


def postprocess_field(
    postprocess: Callable[[Instances, int, int], Instances],
    found: Instances,
    field: tuple[int, int, int, int] | None,
    height: int,
    width: int,
) -> Instances:
    """Scale instances to the part of the image that the network saw, and put them in their place.

    Args:
        postprocess: Detectron2's `detector_postprocess`, or one like it.
        found: raw, in pixels of the network's input.
        field: x0, y0, x1, y1, the part, in pixels of the image; None if it saw all.
        height, width: of the image.

    Returns:
        Instances with `pred_boxes` and, if there are masks, `pred_masks` (R, H, W) bool, in pixels
        of the image.
    """
    if field is None:
        return postprocess(found, height, width)
    x0, y0, x1, y1 = field
    part = postprocess(found, y1 - y0, x1 - x0)
    whole = Instances((height, width), **part.get_fields())
    boxes = part.pred_boxes.tensor
    whole.pred_boxes = Boxes(boxes + boxes.new_tensor([x0, y0, x0, y0]))
    if whole.has("pred_masks"):
        whole.pred_masks = F.pad(part.pred_masks, (x0, width - x1, y0, height - y1))
    return whole
